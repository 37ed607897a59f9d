"""Long work between other things: some milliseconds at a time. Shell."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

SLICE_S = 0.005
LEAST_STEPS = 8
"""In one go, whatever time they take: what is small is done at once."""


class Slices:
    """
    One work at a time.

    Args:
        reactor: Its clock.
        work: Makes the steps of a round; what it leads to is done by its last step.
    """

    log = Logger()

    def __init__(self, reactor: IReactorTime, work: Callable[[], Iterator[None]]) -> None:
        self._reactor, self._work = reactor, work
        self._under_way: Iterator[None] | None = None
        self._is_behind = False
        self._later: IDelayedCall | None = None

    def begin(self) -> None:
        """Do a round, after the one under way; many calls meanwhile are one."""
        self._is_behind = True
        if self._under_way is None:
            self._under_way = self._rounds()
            self._go_on()

    def _rounds(self) -> Iterator[None]:
        while self._is_behind:
            self._is_behind = False
            yield from self._work()

    def _go_on(self) -> None:
        until_s = self._reactor.seconds() + SLICE_S
        try:
            for number, _ in enumerate(self._under_way or ()):
                if number >= LEAST_STEPS and self._reactor.seconds() > until_s:
                    self._later = self._reactor.callLater(0, self._go_on)
                    return
        except Exception:
            self.log.failure("a round failed; what was before it stands")
        self._under_way = None

    def stop(self) -> None:
        """Go on no more."""
        if self._later is not None and self._later.active():
            self._later.cancel()
