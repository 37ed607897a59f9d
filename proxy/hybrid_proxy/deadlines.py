"""
Deadlines of tens of thousands of connections, kept by one timer. Shell.

A connection writes down when it is due; every half second those that are overdue are told. Setting a deadline is one
assignment, so the common case (the deadline is put off long before it is reached) costs nothing.
"""

from __future__ import annotations

from typing import Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from hybrid.model import SiteId

SWEEP_S = 0.5
NEVER = float("inf")


class Watched(Protocol):
    """Something with a deadline."""

    due_s: float
    """On the clock of `Deadlines`; `NEVER` while nothing is awaited."""

    def overdue(self) -> None:
        """`due_s` has passed. Called again at the next sweep unless `due_s` is set anew."""


class Deadlines:
    """Tells what it watches when its time has come, at most `SWEEP_S` late."""

    log = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._watched: set[Watched] = set()
        self._sweep_call = LoopingCall(self._sweep)
        self._sweep_call.clock = clock
        self.now_s = clock.seconds()
        """As of the last sweep."""

    def start(self) -> None:
        """Begin."""
        if not self._sweep_call.running:
            self._sweep_call.start(SWEEP_S)

    def stop(self) -> None:
        """Watch nothing any more."""
        if self._sweep_call.running:
            self._sweep_call.stop()

    def watch(self, thing: Watched) -> None:
        """Look at `thing` from now on, until `forget`."""
        self._watched.add(thing)

    def forget(self, thing: Watched) -> None:
        """Undo `watch`; not watched: fine."""
        self._watched.discard(thing)

    def sites(self) -> set[SiteId]:
        """Whose those connections are that have a `site`; requests by HTTP are none."""
        return {site for thing in self._watched if (site := getattr(thing, "site", None))}

    def _sweep(self) -> None:
        now_s = self.now_s = self._clock.seconds()
        for thing in [thing for thing in self._watched if thing.due_s <= now_s]:
            try:
                thing.overdue()
            except Exception:
                self.log.failure("a deadline could not be kept")
