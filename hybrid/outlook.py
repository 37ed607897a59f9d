"""
Builds the view when something changed, and hands it to those who follow it. Shell.

Many changes at once make one view. A follower that raises is logged and does not keep the others from following.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from hybrid.view import View

COALESCE_S = 0.01


class Outlook:
    """The newest view of this node."""

    log = Logger()

    def __init__(self, reactor: IReactorTime, build: Callable[[], View]) -> None:
        """`build()` makes the view of this moment; it returns the one before when nothing differs."""
        self._reactor, self._build = reactor, build
        self._followers: list[Callable[[View], None]] = []
        self._pending: IDelayedCall | None = None
        self.view = build()

    def add(self, follow: Callable[[View], None]) -> None:
        """Call `follow` with each new view, and with the newest one now."""
        self._followers.append(follow)
        follow(self.view)

    def changed(self, _: object = None) -> None:
        """Something that the view is built from may have changed."""
        if self._pending is None:
            self._pending = self._reactor.callLater(COALESCE_S, self.renew)

    def renew(self) -> None:
        """Build the view now, and tell the followers if it differs."""
        if self._pending is not None and self._pending.active():
            self._pending.cancel()
        self._pending = None
        try:
            view = self._build()
        except Exception:
            self.log.failure("building the view failed; the last one stands")
            return
        if view is self.view:
            return
        self.view = view
        for follow in self._followers:
            try:
                follow(view)
            except Exception:
                self.log.failure("a follower failed on view {serial}", serial=view.serial)

    def stop(self) -> None:
        """Build no more."""
        if self._pending is not None and self._pending.active():
            self._pending.cancel()
