"""The bounded log of what happened, as this node saw it, and those who follow it. Shell only in its clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.logger import Logger

from hybrid.api.changes import Told
from hybrid.api.moments import rfc3339
from hybrid.api.schema import Event

CAPACITY = 10_000


class Events:
    """
    Events by growing number.

    Numbers begin at the time of start in milliseconds, so that a number from before a restart is always smaller.
    """

    log = Logger()

    def __init__(self, wall_s: Callable[[], float], capacity: int = CAPACITY) -> None:
        self._wall_s = wall_s
        self._kept: deque[Event] = deque(maxlen=capacity)
        self._first = int(wall_s() * 1000) + 1
        self._next = self._first
        self._followers: list[Callable[[], None]] = []

    @property
    def newest(self) -> int:
        """The number of the newest event; one before the first when there is none yet."""
        return self._next - 1

    def tell(self, told: Told, operation: str | None = None) -> Event:
        """Write an event down and tell those who follow."""
        event = Event(
            seq=self._next,
            at=rfc3339(self._wall_s()),
            kind=told.kind,
            text=told.text,
            site=told.site,
            node=told.node,
            operation=operation,
        )
        self._next += 1
        self._kept.append(event)
        for follower in list(self._followers):
            try:
                follower()
            except Exception:
                self.log.failure("a follower of events failed")
        return event

    def since(self, seq: int, limit: int) -> tuple[Event, ...]:
        """The first `limit` events with a number above `seq`, oldest first."""
        if not self._kept:
            return ()
        skip = max(0, seq + 1 - self._kept[0].seq)
        return tuple(self._kept[index] for index in range(skip, min(len(self._kept), skip + limit)))

    def missed(self, seq: int) -> bool:
        """Whether events after `seq` are gone: dropped, or from before this node's start."""
        oldest = self._kept[0].seq if self._kept else self._next
        return 0 < seq < oldest - 1

    def follow(self, follower: Callable[[], None]) -> Callable[[], None]:
        """Call `follower()` after each event, until the returned function is called."""
        self._followers.append(follower)

        def stop() -> None:
            if follower in self._followers:
                self._followers.remove(follower)

        return stop
