"""Removal of nodes: refused while something would be lost with them, then noted for ever and carried out. Shell."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Protocol

from twisted.logger import Logger

from hybrid.cluster.ledger import Ledger
from hybrid.cluster.removal import REMOVED, Removal, Removals, dumps, obstacles
from hybrid.errors import Conflict
from hybrid.model import NodeId


class Links(Protocol):
    """What removal needs of the links. See `hybrid.cluster.peers.PeerLinks`."""

    def cut(self, node: NodeId, reason: str) -> None:
        """End whatever is open to `node` and from it."""


class Departures:
    """
    Nodes that were removed, as this node carries it out.

    Attributes:
        removals: The notes; asked at each handshake.
    """

    log = Logger()

    def __init__(
        self,
        me: NodeId,
        ledger: Ledger,
        links: Links,
        put: Callable[[str, str], None],
        forget: Callable[[NodeId], None],
        rotate_keys: Callable[[], None],
        live: Callable[[], Collection[NodeId]],
        kept_out: Callable[[str], None],
        wall_s: Callable[[], float],
    ) -> None:
        """
        Args:
            put: Writes a value of the shared map.
            forget: Called with each node that is gone for good, whoever removed it.
            rotate_keys: Gives the cluster new keys for what is sent by UDP, where the removal was asked for.
            live: Nodes that are up.
            kept_out: Called with the note's text when it is this node that was removed.
            wall_s: Seconds since the epoch.
        """
        self.removals = Removals()
        self._me, self._ledger, self._links, self._put = me, ledger, links, put
        self._forget, self._rotate_keys, self._kept_out = forget, rotate_keys, kept_out
        self._live, self._wall_s = live, wall_s

    def remove(self, node: NodeId, by: str, force: bool) -> None:
        """
        Remove `node` for good: its certificate counts no more, nor anything it said. Its disk is not touched.

        Args:
            node: A known one.
            by: Who wants it, for the log of the node itself.
            force: Also when something would be lost to the cluster.

        Raises:
            Conflict: It is this node; or something would be lost, and it is not forced.
        """
        name = self._ledger.nodes()[node].name
        if node == self._me:
            raise Conflict("a node cannot remove itself", "", "ask another node")
        sites = [self._ledger.registers(site) for site in self._ledger.sites_of(node)]
        lost = obstacles(node, sites, self._live())
        if lost and not force:
            why = "; ".join(lost[:5]) + (f"; and {len(lost) - 5} more" if len(lost) > 5 else "")
            raise Conflict(f"{name} is still needed", why, "`--force` removes it all the same; its disk is not touched")
        spared = tuple(sorted(other for other in self._ledger.nodes() if other != node))
        where = self._ledger.nodes()[self._me].name
        note = Removal(name=name, by=f"{by} at {where}", at_s=int(self._wall_s()), spared=spared)
        self._put(REMOVED + node, dumps(note))
        self.look((REMOVED + node,))
        self._rotate_keys()

    def look(self, keys: Iterable[str]) -> None:
        """Carry out what the shared map says under `keys`, among others."""
        for node in self.removals.take((key, self._ledger.shared_value(key)) for key in keys):
            note = self.removals[node]
            self.log.warn("{text}", text=note.text, node=node)
            if node == self._me:
                self._kept_out(note.text)
                continue
            self._ledger.expel(node)
            self._forget(node)
            self._links.cut(node, note.text)
