"""
Decides how long bytes have to wait: limits per node, link and time of day, and what the pool can bear. Pure.

Token buckets of the generic cell rate kind (ITU-T I.371): one number each, the moment at which all that was let through
would have passed at the rate. Of all buckets that a piece goes through the slowest counts. Streams that share one take
turns by pieces, so a small change never waits for a large copy to end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import quantiles

from hybrid.model import NodeId
from hybrid.settings import RateLimit

BURST_S = 1.0
"""What was not used is saved up for so long: what comes in small pieces passes at once."""
FLOOR_BYTES_PER_S = 1024 * 1024.0
"""A receive is never made slower than this for the sake of others: it has to end some time."""
TWICE = 2.0
"""Writes of others may take so many times as long as without a receive."""
GROWTH, SHRINKAGE = 1.15, 0.6
FREE_BYTES_PER_S = 4e9
"""A rate that nothing here reaches."""
FEW = 8
"""Samples that must be there before anything is concluded."""


class Bucket:
    """One limit."""

    def __init__(self) -> None:
        self._passed_s = float("-inf")

    def take(self, size_bytes: int, bytes_per_s: float, now_s: float) -> float:
        """Let `size_bytes` through; the seconds from now after which they may go on."""
        began_s = max(self._passed_s, now_s - BURST_S)
        self._passed_s = began_s + size_bytes / bytes_per_s
        return max(0.0, self._passed_s - now_s)


class Paces:
    """
    The limits of one way (in or out) of this node.

    Args:
        limits: As the settings say; those of the other way count for nothing.
        place: The data centre of a node, and its name; a node is meant by either, or by its id.
        minute: Of the day, 0 to 1439, by this node's local time.
    """

    def __init__(
        self,
        way: str,
        limits: Sequence[RateLimit],
        place: Callable[[NodeId], tuple[str, ...]],
        minute: Callable[[], int],
    ) -> None:
        self._limits = [limit for limit in limits if limit.way in (way, "both")]
        self._place, self._minute = place, minute
        self._buckets: dict[tuple[int, str], Bucket] = {}

    def take(self, node: NodeId, size_bytes: int, now_s: float) -> float:
        """Let a piece through to or from `node`; the seconds after which the next may come."""
        waits = [0.0]
        for number, limit in enumerate(self._limits):
            if not holds_at(limit, self._minute()):
                continue
            if limit.to == "*":
                key = number, ""
            elif limit.to in (node, *self._place(node)):
                key = number, limit.to
            else:
                continue
            waits.append(self._buckets.setdefault(key, Bucket()).take(size_bytes, limit.bytes_per_s, now_s))
        return max(waits)


def holds_at(limit: RateLimit, minute: int) -> bool:
    """Whether it counts at that minute of the day; hours may go over midnight."""
    if not limit.hours:
        return True
    begin, end = (int(part[:2]) * 60 + int(part[3:]) for part in limit.hours.split("-"))
    return begin <= minute < end if begin <= end else minute >= begin or minute < end


class Strain:
    """
    How fast may be received, by how long small synchronous writes to the same pool take meanwhile.

    Latencies at rest are remembered; while something is received, the rate falls as long as the recent ones are more
    than twice as long, from what really came on, and grows again when they are not.
    """

    def __init__(self) -> None:
        self._rest: list[float] = []
        self._recent: list[float] = []
        self._bucket = Bucket()
        self._came_bytes, self._since_s, self._until_s = 0, 0.0, 0.0
        """What came since the last conclusion."""
        self.bytes_per_s = FREE_BYTES_PER_S

    def at_rest(self, latency_s: float) -> None:
        """A write took so long while nothing large was received."""
        self._rest = [*self._rest, latency_s][-200:]
        self._recent.clear()

    def under_load(self, latency_s: float) -> None:
        """A write took so long while something was."""
        self._recent.append(latency_s)
        if len(self._rest) < FEW or len(self._recent) < FEW:
            return
        if high(self._recent) > TWICE * high(self._rest):
            self.bytes_per_s = max(FLOOR_BYTES_PER_S, min(self.bytes_per_s, self._came_per_s()) * SHRINKAGE)
        else:
            self.bytes_per_s = min(FREE_BYTES_PER_S, self.bytes_per_s * GROWTH)
        self._recent.clear()
        self._came_bytes, self._since_s = 0, self._until_s

    def take(self, size_bytes: int, now_s: float) -> float:
        """Let a received piece through; the seconds after which the next may come."""
        if not self._came_bytes:
            self._since_s = now_s
        self._came_bytes, self._until_s = self._came_bytes + size_bytes, now_s
        return self._bucket.take(size_bytes, self.bytes_per_s, now_s)

    def _came_per_s(self) -> float:
        seconds = self._until_s - self._since_s
        return self._came_bytes / seconds if seconds > 0.0 else FREE_BYTES_PER_S


def high(samples: Sequence[float]) -> float:
    """What 95 of 100 are below."""
    return quantiles(samples, n=20, method="inclusive")[-1]
