"""
Keeps which snapshot of one site each node acknowledged, and says how old the oldest unprotected change may be. Pure.

Conservative: a change is taken to have happened right after the last moment at which it surely had not.
"""

from __future__ import annotations

from collections.abc import Set

from hybrid.history import History
from hybrid.model import Guid, NodeId

SEEN_WITHIN_S = 30 * 24 * 3600
"""A peer that acknowledged nothing for so long no longer keeps snapshots from being forgotten."""

_NOTHING: tuple[Guid | None, float] = (None, 0.0)


class Protection:
    """The acknowledgements of one site, and the looks at its live data."""

    def __init__(self) -> None:
        self._acknowledged: dict[NodeId, tuple[Guid, float]] = {}
        self._doubted: set[NodeId] = set()
        self._looked_s: dict[Guid, float] = {}

    def looked(self, head: Guid, began_s: float) -> None:
        """All changes before `began_s` are in snapshot `head`, our newest."""
        self._looked_s.pop(head, None)
        self._looked_s[head] = began_s
        while len(self._looked_s) > 1000:
            del self._looked_s[next(iter(self._looked_s))]

    def acknowledged(self, node: NodeId, guid: Guid, now_s: float) -> None:
        """`node` holds `guid` as its head."""
        self._acknowledged[node] = guid, now_s
        self._doubted.discard(node)

    def doubt(self, node: NodeId) -> None:
        """`node` was away: what it acknowledged stays a base to be kept, and no longer counts as a copy."""
        self._doubted.add(node)

    def heads(self) -> dict[NodeId, Guid]:
        """The last snapshot that each node acknowledged, without those in doubt."""
        return {node: guid for node, (guid, _) in self._acknowledged.items() if node not in self._doubted}

    def holds(self, node: NodeId, guid: Guid) -> bool:
        """Whether `guid` is what `node` acknowledged last."""
        return node not in self._doubted and self._acknowledged.get(node, _NOTHING)[0] == guid

    def bases(self, now_s: float) -> frozenset[Guid]:
        """Snapshots that peers heard of lately have in common with us."""
        return frozenset(guid for guid, at_s in self._acknowledged.values() if now_s - at_s <= SEEN_WITHIN_S)

    def lag_s(self, history: History, live: Set[NodeId], now_s: float, wall_s: float, patience_s: float) -> float:
        """
        The age of the oldest change that no other live node holds.

        Args:
            history: Our main line, oldest first.
            live: The other nodes that can be asked for what they hold.
            now_s: Monotonic, as given to `looked`.
            wall_s: Wall time, for snapshots taken before this process began to look.
            patience_s: A look is overdue after so long; until then, a safe newest snapshot means all is safe.

        Returns:
            Seconds, 0.0 when all is safe; the age of the whole history when nothing of it is known to be safe.
        """
        if not history:
            return 0.0
        held = {guid for node, guid in self.heads().items() if node in live}
        safe = next((snapshot for snapshot in reversed(history) if snapshot.guid in held), None)
        if safe is None:
            return max(0.0, wall_s - history[0].created_at_s)
        looked_s = self._looked_s.get(safe.guid)
        age_s = max(0.0, now_s - looked_s if looked_s is not None else wall_s - safe.created_at_s)
        return 0.0 if safe.guid == history[-1].guid and looked_s is not None and age_s <= patience_s else age_s
