"""
Which silent nodes are given up as places for copies. Pure.

A node that restarts is silent for a while and comes back with all it held: making its copies again elsewhere at once
would send whole sites about for nothing. One that stays away longer is *lost*: others take its place. Nothing is
deleted for it, and a lost node that returns is a place as good as before. Times are monotonic seconds.
"""

from __future__ import annotations

from collections.abc import Collection

from hybrid.model import NodeId

OFTEN_S = 10.0
"""To be asked at least so often: a longer pause means that nobody looked (this process was stopped)."""


class Absences:
    """
    Since when this node has missed others.

    Attributes:
        lost: The nodes that have been missing for too long, as of the last look.
    """

    def __init__(self, patience_s: float) -> None:
        """`patience_s`: a node taken for dead for so long is lost."""
        self.lost: frozenset[NodeId] = frozenset()
        self._patience_s = patience_s
        self._since_s: dict[NodeId, float] = {}
        self._looked_s: float | None = None

    def look(self, known: Collection[NodeId], live: Collection[NodeId], now_s: float) -> bool:
        """
        Note who of `known` is missing now. Returns whether `lost` changed.

        Time in which nobody looked does not count: after a pause this node has heard nobody, and lost nobody.
        """
        if self._looked_s is not None and now_s - self._looked_s > OFTEN_S:
            self._since_s.clear()
        self._looked_s = now_s
        self._since_s = {node: self._since_s.get(node, now_s) for node in known if node not in live}
        before = self.lost
        self.lost = frozenset(node for node, s in self._since_s.items() if now_s - s >= self._patience_s)
        return self.lost != before
