"""What is to be done when: a heap of calls, each with its time. Pure: somebody else looks at the clock."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from typing import Any

_ROUNDING_S = 1e-6
"""Times go through sums of floats: what is due within this is due."""


class Entry:
    """One call to come."""

    __slots__ = ("args", "call")

    def __init__(self, call: Callable[..., None], args: tuple[Any, ...]) -> None:
        self.call: Callable[..., None] | None = call
        self.args = args

    def cancel(self) -> None:
        """Do not call it after all."""
        self.call = None


class Agenda:
    """Calls by their times, first come first served."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Entry]] = []
        self._count = 0

    def at(self, time_s: float, call: Callable[..., None], *args: object) -> Entry:
        """Have `call(now_s, *args)` called at `time_s`, unless it is cancelled before."""
        self._count += 1
        entry = Entry(call, args)
        heapq.heappush(self._heap, (time_s, self._count, entry))
        return entry

    @property
    def due_s(self) -> float:
        """When `run` has something to do; infinity: never."""
        heap = self._heap
        while heap and heap[0][2].call is None:
            heapq.heappop(heap)
        return heap[0][0] if heap else math.inf

    def run(self, now_s: float) -> None:
        """Make every call whose time has come."""
        heap, until_s = self._heap, now_s + _ROUNDING_S
        while heap and heap[0][0] <= until_s:
            entry = heapq.heappop(heap)[2]
            if entry.call is not None:
                entry.call(now_s, *entry.args)
