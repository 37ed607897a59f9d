"""What is to be done when: a heap of calls, each with its time. Pure: somebody else looks at the clock."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from typing import Any

_ROUNDING_S = 1e-6
"""Times go through sums of floats: what is due within this is due."""


class Agenda:
    """Calls by their times, first come first served. They cannot be taken back: they look for themselves."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0

    def at(self, time_s: float, call: Callable[..., None], *args: object) -> None:
        """Have `call(now_s, *args)` called at `time_s`."""
        self._count += 1
        heapq.heappush(self._heap, (time_s, self._count, call, args))

    @property
    def due_s(self) -> float:
        """When `run` has something to do; infinity: never."""
        return self._heap[0][0] if self._heap else math.inf

    def run(self, now_s: float) -> None:
        """Make every call whose time has come."""
        heap = self._heap
        while heap and heap[0][0] <= now_s + _ROUNDING_S:
            _, _, call, args = heapq.heappop(heap)
            call(now_s, *args)
