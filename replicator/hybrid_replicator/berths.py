"""
Decides how many streams are received at the same time. Pure.

Each sender has a few berths of its own, whole copies take half of them all at most, and what does not fit is refused at
once instead of waiting: so a slow sender, or many of them, delays nobody's newest changes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from hybrid.model import NodeId

IN_ALL = 8
PER_SENDER = 3
WHOLE = 4


class Berths:
    """Those of this node."""

    def __init__(self, in_all: int = IN_ALL, per_sender: int = PER_SENDER, whole: int = WHOLE) -> None:
        self._in_all, self._per_sender, self._most_whole = in_all, per_sender, whole
        self._of: Counter[NodeId] = Counter()
        self._whole = 0

    def full(self, sender: NodeId, whole: bool) -> bool:
        """Whether another stream of `sender` has to wait; `whole` is a copy from nothing."""
        if self._of.total() >= self._in_all or self._of[sender] >= self._per_sender:
            return True
        return whole and self._whole >= self._most_whole

    @contextmanager
    def taken(self, sender: NodeId, whole: bool) -> Iterator[None]:
        """While a stream is received."""
        self._of[sender] += 1
        self._whole += whole
        try:
            yield
        finally:
            self._of[sender] -= 1
            self._whole -= whole
