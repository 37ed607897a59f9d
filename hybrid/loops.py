"""Things done again and again: a loop that survives its own exceptions, and never runs beside itself. Shell."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from hybrid.detach import detach

Deed = Callable[[], Coroutine[Any, Any, object] | None]
"""What is done each time. One that has nothing to wait for returns `None`: then a turn costs one timer, no more."""


class Loops:
    """The loops of one owner."""

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor
        self._loops: list[_Loop] = []

    def every(self, interval_s: float, deed: Deed) -> None:
        """
        Do `deed` each `interval_s`, first after one interval; while one run lasts, the next waits.

        What `deed` raises is logged and swallowed. Turns that were missed are not made up for.
        """
        loop = _Loop(self._reactor, interval_s, deed)
        self._loops.append(loop)

    def stop(self) -> None:
        """Begin no more runs."""
        for loop in self._loops:
            loop.stop()


class _Loop:
    """One of them, from its making to `stop`."""

    log = Logger()

    def __init__(self, reactor: IReactorTime, interval_s: float, deed: Deed) -> None:
        self._reactor, self._interval_s, self._deed = reactor, interval_s, deed
        self._due_s = reactor.seconds()
        self._stopped = False
        self._call: IDelayedCall | None = None
        self._wait()

    def stop(self) -> None:
        self._stopped = True
        if self._call is not None and self._call.active():
            self._call.cancel()

    def _wait(self) -> None:
        """Until the next turn that has not been missed."""
        if self._stopped:
            return
        now_s = self._reactor.seconds()
        self._due_s += self._interval_s
        if self._due_s <= now_s:
            self._due_s += self._interval_s * int((now_s - self._due_s) / self._interval_s + 1)
        self._call = self._reactor.callLater(self._due_s - now_s, self._turn)

    def _turn(self) -> None:
        try:
            run = self._deed()
        except Exception as error:
            self._failed(error)
            run = None
        if run is None:
            self._wait()
        else:
            detach(run, self._wait, self._failed)

    def _failed(self, _: Exception) -> None:
        self.log.failure("{deed} failed", deed=getattr(self._deed, "__qualname__", repr(self._deed)))
