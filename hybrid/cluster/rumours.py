"""Updates on their way through the cluster: each told a bounded number of times, the least told first. Pure."""

from __future__ import annotations

import math

from hybrid.cluster.packets import ALIVE, Update
from hybrid.model import NodeId

RETRANSMIT_MULT = 4

_Key = tuple[NodeId, str]


class Rumours:
    """What still has to be told: of each node that it is alive, or who accuses it."""

    def __init__(self) -> None:
        self._new: dict[_Key, Update] = {}
        self._told: dict[_Key, tuple[Update, int]] = {}
        self.pending = False
        """Whether there is anything to tell; asked for with each packet."""

    def __bool__(self) -> bool:
        return self.pending

    def spread(self, update: Update) -> None:
        """Tell `update` from now on. That a node is alive replaces what was told of it before, and the other way."""
        node, state, _, accuser = update
        if state == ALIVE:
            self.drop(node)
        for key in ((node, accuser), (node, "")):
            self._new.pop(key, None)
            self._told.pop(key, None)
        self._new[node, accuser] = update
        self.pending = True

    def drop(self, node: NodeId) -> None:
        """Tell nothing more of `node`."""
        for updates in (self._new, self._told):
            for key in [key for key in updates if key[0] == node]:
                del updates[key]
        self.pending = bool(self._new or self._told)

    def take(self, limit: int, nodes: int) -> tuple[Update, ...]:
        """At most `limit` updates for one packet; each counts as told once more, in a cluster of `nodes`."""
        times = RETRANSMIT_MULT * math.ceil(math.log10(nodes + 1))
        again: list[tuple[_Key, Update, int]] = []
        while self._new and len(again) < limit:
            key = next(iter(self._new))
            again.append((key, self._new.pop(key), 1))
        while self._told and len(again) < limit:
            key = next(iter(self._told))
            update, count = self._told.pop(key)
            again.append((key, update, count + 1))
        for key, update, count in again:
            if count < times:
                self._told[key] = (update, count)
        self.pending = bool(self._new or self._told)
        return tuple(update for _, update, _ in again)
