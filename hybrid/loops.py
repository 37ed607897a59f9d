"""Things done again and again: a loop that survives its own exceptions, and never runs beside itself. Shell."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger


class Loops:
    """The loops of one owner."""

    log = Logger()

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor
        self._loops: list[LoopingCall] = []

    def every(self, interval_s: float, deed: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """
        Do `deed` each `interval_s`, first after one interval; while one run lasts, the next waits.

        A `LoopingCall` whose function raises never runs again, so what `deed` raises is logged and swallowed.
        """

        async def survive() -> None:
            try:
                await deed()
            except Exception:
                self.log.failure("{deed} failed", deed=getattr(deed, "__qualname__", repr(deed)))

        loop = LoopingCall(lambda: Deferred.fromCoroutine(survive()))
        loop.clock = self._reactor
        loop.start(interval_s, now=False)
        self._loops.append(loop)

    def stop(self) -> None:
        """Begin no more runs."""
        for loop in self._loops:
            if loop.running:
                loop.stop()
