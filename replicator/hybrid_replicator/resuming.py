"""Decides whether a stream that was cut is worth going on with. Pure; compares by guid only."""

from __future__ import annotations

from hybrid.history import History
from hybrid.model import NodeId, Snapshot
from hybrid.ports import Partial

MOST_TRIES = 3
"""Without a byte more: then the stream begins anew (a part that nothing can be added to would stand for ever)."""


class Resuming:
    """What peers said they have of streams to them, and how often one was gone on with in vain."""

    def __init__(self) -> None:
        self._parts: dict[tuple[str, NodeId], Partial] = {}
        self._tries: dict[tuple[str, NodeId], tuple[Partial, int]] = {}

    def told(self, dataset: str, node: NodeId, part: Partial | None) -> None:
        """`node` has `part` of a stream of `dataset`, or nothing."""
        if part is None:
            self._parts.pop((dataset, node), None)
            self._tries.pop((dataset, node), None)
        else:
            self._parts[dataset, node] = part

    def next(
        self, dataset: str, node: NodeId, ours: History, theirs: History | None
    ) -> tuple[Partial, Snapshot] | None:
        """
        The part to go on with now, and the snapshot it will be; asked for once each time it was told.

        `None`: there is none, its snapshot is not ours any more, the peer ends elsewhere since, or it was in vain.
        """
        key = dataset, node
        part = self._parts.pop(key, None)
        if part is None:
            return None
        to = next((snapshot for snapshot in ours if snapshot.guid == part.to), None)
        if to is None or (theirs and theirs[-1].guid != part.base):
            return None
        last, tries = self._tries.get(key, (part, 0))
        tries = tries + 1 if last == part else 1
        self._tries[key] = part, tries
        return (part, to) if tries <= MOST_TRIES else None
