"""
What this node knows, as its parts ask for it: all of it drawn from the registers and from who is alive. Pure.

Every answer is made of the facts of this moment; only the view is kept, to be renewed from what changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hybrid.cluster import viewing
from hybrid.cluster.candidates import CLAIMING, claimant
from hybrid.cluster.ledger import Ledger
from hybrid.cluster.membership import Membership
from hybrid.model import Claim, Guid, NodeId, NodeRegister, SiteId, SiteRegister, Stash
from hybrid.view import View


class Knowledge:
    """The questions of a node's parts about the cluster."""

    def __init__(
        self,
        me: NodeId,
        zones: tuple[str, ...],
        membership: Membership,
        ledger: Ledger,
        upstream: Callable[[SiteId], str | None],
        lost: Callable[[], frozenset[NodeId]],
        now_s: Callable[[], float],
    ) -> None:
        """
        Args:
            upstream: The address of a site's container, while it serves here.
            lost: Nodes given up as places for copies.
            now_s: Monotonic seconds.
        """
        self._me, self._membership, self._ledger = me, membership, ledger
        self._lost, self._now_s = lost, now_s
        self._views = viewing.Views(me, ledger, zones, upstream)
        ledger.follow(self._views.touch)

    def view(self) -> View:
        """The view of this moment; the one before itself when nothing differs."""
        return self._views.renew(self._membership.live(self._now_s()), self._lost())

    def owned(self, site: SiteId) -> bool:
        """Whether a living node owns it."""
        return claimant(self._ledger.registers(site), self._membership.live(self._now_s())) is not None

    def claim_of(self, site: SiteId, node: NodeId) -> Claim | None:
        """The claim on `site` that `node` last said it holds, and acts on."""
        register = self._ledger.registers(site).get(node)
        return register.claim if register is not None and register.role in CLAIMING else None

    def registers(self, site: SiteId) -> Mapping[NodeId, SiteRegister]:
        """What each node says about `site`. Do not keep: it changes."""
        return self._ledger.registers(site)

    def stashes(self, site: SiteId) -> tuple[Stash, ...]:
        """Of all nodes, oldest first."""
        return viewing.stashes(self._ledger.registers(site))

    def heads(self, site: SiteId) -> dict[NodeId, tuple[Guid, ...]]:
        """What other nodes publish of `site`, newest first: never forgotten here, a stream may have to start there."""
        registers = self._ledger.registers(site).items()
        return {node: register.recent for node, register in registers if node != self._me and register.recent}

    def copies_at(self, site: SiteId, head: Guid | None) -> tuple[int, int]:
        """How many other living nodes are replicas of `site`, and how many of these say that `head` is theirs."""
        live = self._membership.live(self._now_s())
        told = [said for node, said in self._ledger.registers(site).items() if node in live and node != self._me]
        copies = [said.head for said in told if said.role == "replica"]
        return len(copies), copies.count(head)

    def nodes(self) -> Mapping[NodeId, NodeRegister]:
        """What every node known says of itself."""
        return self._ledger.nodes()

    def addresses(self) -> dict[NodeId, tuple[str, int]]:
        """Where to find every other node ever known: host and cluster port."""
        nodes = self._ledger.nodes().items()
        return {node: (register.address, register.cluster_port) for node, register in nodes if node != self._me}
