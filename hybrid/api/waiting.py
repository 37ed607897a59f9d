"""Waiting for the next change of something, with a deadline. Shell."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime


class Waiting:
    """Who waits for which key."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._waiting: dict[str, list[Deferred[None]]] = {}

    async def next_change(self, key: str, timeout_s: float) -> None:
        """Return when `key` changes, or after `timeout_s`."""
        changed: Deferred[None] = Deferred()
        self._waiting.setdefault(key, []).append(changed)
        late = self._clock.callLater(timeout_s, self._wake, key, changed)
        try:
            await changed
        finally:
            if late.active():
                late.cancel()
            self._forget(key, changed)

    def changed(self, key: str) -> None:
        """Wake all who wait for `key`."""
        for changed in self._waiting.pop(key, []):
            changed.callback(None)

    def _wake(self, key: str, changed: Deferred[None]) -> None:
        self._forget(key, changed)
        changed.callback(None)

    def _forget(self, key: str, changed: Deferred[None]) -> None:
        waiting = [other for other in self._waiting.get(key, []) if other is not changed]
        if waiting:
            self._waiting[key] = waiting
        else:
            self._waiting.pop(key, None)
