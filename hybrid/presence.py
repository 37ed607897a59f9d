"""
A node's presence in its cluster: who is alive, what everybody says, what this node says of itself. Shell.

`Presence` is wired here, lives as a service, and knows nothing of sites' deeds: the rest of the node hears from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from hybrid.adapters import SharedValues, restore
from hybrid.cluster.absence import Absences
from hybrid.cluster.gossip import Gossiping
from hybrid.cluster.keyring import KEYRING
from hybrid.cluster.ledger import Ledger, Merged
from hybrid.cluster.membership import Membership
from hybrid.cluster.pulse import Pulse
from hybrid.cluster.rotation import Rotation
from hybrid.departures import Departures
from hybrid.description import Description
from hybrid.drivers import Drivers
from hybrid.hosting.tasks import in_background
from hybrid.knowledge import Knowledge
from hybrid.load import NodeLoad
from hybrid.loops import Loops
from hybrid.model import NodeId, SiteId
from hybrid.settings import Settings
from hybrid.vigilance import Vigilance

DESCRIBE_EVERY_S = 10.0
LOST_EVERY_S = 5.0


class Rest(Protocol):
    """The rest of the node, as it hears from here."""

    def heard(self, merged: Merged) -> None:
        """Others said something new."""

    def lives_changed(self) -> None:
        """A node came to life, or is taken for dead."""

    def spoke(self) -> None:
        """This node said something new about itself, or wrote a shared value."""

    def nodes_changed(self) -> None:
        """A node was removed, given up, or is there again."""

    def give_way(self) -> None:
        """Another node has this one's key, and goes on: claim nothing any more."""


class Presence(MultiService):
    """
    What makes a node a member.

    Attributes:
        membership: Who is alive.
        ledger: What everybody says.
        known: What this node knows of the cluster.
        shared: The cluster's shared map.
        keys: The cluster's keys for datagrams.
        departures: Nodes that were removed.
        vigilance: What is wrong with others, and whether there is another of this one.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        settings: Settings,
        me: NodeId,
        incarnation: int,
        zones: tuple[str, ...],
        drivers: Drivers,
        rest: Rest,
        held: Callable[[], Iterable[SiteId]],
        upstream: Callable[[SiteId], str | None],
        storage_ok: Callable[[], bool],
        alarms: Callable[[], tuple[str, ...]] = tuple,
        measured: Callable[[], NodeLoad | None] = lambda: None,
        draining: Callable[[], bool] = lambda: False,
    ) -> None:
        """
        Args:
            held: Sites of which something is held here.
            upstream: The address of a site's container, while it serves here.
            storage_ok: Whether this node's storage answers.
            alarms: What people must hear of this node itself.
            measured: What this node has and what of that is in use.
            draining: Whether it is to own nothing.
        """
        super().__init__()
        self._reactor, self._me, self._drivers, self._rest = reactor, me, drivers, rest
        links = drivers.links
        self.membership = Membership(me, incarnation, settings.timing, reactor.seconds(), drivers.random, settings.dc)
        self.ledger = Ledger(me, incarnation, drivers.seals)
        restore(self.ledger, drivers.memory)
        self._know(self.ledger.nodes())
        self._absences = Absences(settings.timing.repair_s)
        self.known = Knowledge(
            me,
            zones,
            self.membership,
            self.ledger,
            upstream=upstream,
            lost=lambda: self._absences.lost,
            now_s=reactor.seconds,
        )
        boot = (incarnation, int.from_bytes(drivers.entropy(7), "big"))
        self.vigilance = Vigilance(boot, self.ledger, self._give_way, self.describe_soon)
        self._gossip = Gossiping(
            reactor,
            self.membership,
            self.ledger,
            links,
            drivers.random.sample,
            held,
            self.vigilance.listens,
            self._heard,
        )
        self.shared = SharedValues(self.ledger, drivers.memory, self._spoke, drivers.wall_s)
        self.keys = Rotation(self.shared, drivers.entropy, drivers.wall_s, reactor.seconds, self._leads)
        self.departures = Departures(
            me,
            self.ledger,
            links,
            self.shared.put,
            self._forget,
            lambda: self.keys.rotate(hurried=True),
            self.live,
            self.vigilance.kept_out,
            drivers.wall_s,
        )
        self._description = Description(
            settings,
            me,
            drivers.seals.key,
            self.vigilance,
            drivers.pool,
            self.ledger,
            drivers.load,
            storage_ok,
            alarms,
            self._spoke,
            measured,
            draining,
        )
        self._loops = Loops(reactor)
        Pulse(reactor, self.membership, drivers.datagrams, links, self._lives_changed).setServiceParent(self)
        self._gossip.setServiceParent(self)

    # --------------------------------------------------------------------------------------------------- life

    def startService(self) -> None:
        """Speak and listen. `describe` was awaited."""
        self.keys.ensure(founder=not self.ledger.nodes().keys() - {self._me})
        super().startService()
        self._loops.every(LOST_EVERY_S, self._look_for_lost)
        self._loops.every(DESCRIBE_EVERY_S, self.describe)
        self._loops.every(DESCRIBE_EVERY_S, self.keys.look)

    def stopService(self) -> Deferred[None] | None:
        """Fall silent."""
        self._loops.stop()
        stopped: Deferred[None] | None = super().stopService()
        return stopped

    async def describe(self) -> None:
        """Publish what this node says of itself."""
        await self._description.publish()

    def describe_soon(self) -> None:
        """Something that this node says of itself is not as it was."""
        if self.running:
            in_background("describing this node", self.describe)

    # ----------------------------------------------------------------------------------------------- speaking

    def hurry(self) -> None:
        """This node's word about a site changed: tell it now."""
        self._gossip.hurry()

    def _spoke(self) -> None:
        self._gossip.hurry()
        self._rest.spoke()

    def _give_way(self) -> None:
        self.membership.bar()
        self._rest.give_way()

    # ------------------------------------------------------------------------------------------------ hearing

    def live(self) -> frozenset[NodeId]:
        """The living nodes, this one included."""
        return self.membership.live(self._reactor.seconds())

    def _heard(self, merged: Merged) -> None:
        """Gossip changed something: what must outlive this process is kept, the rest of the node is told."""
        if merged.nodes:
            nodes = self.ledger.nodes()
            self._drivers.memory.keep_nodes(nodes[node] for node in merged.nodes if node in nodes)
            self._know(merged.nodes)
        if KEYRING in merged.shared:
            self.keys.refresh()
        if merged.shared:
            self._drivers.memory.keep_shared(self.shared.entries(merged.shared))
            self.departures.look(merged.shared)
            self.shared.heard(merged.shared)
        self._rest.heard(merged)

    def _lives_changed(self) -> None:
        self._rest.lives_changed()
        self._gossip.lives_changed()

    def _look_for_lost(self) -> None:
        """Notice who has been silent for too long."""
        if self._absences.look(self.ledger.nodes(), self.live(), self._reactor.seconds()):
            self._rest.nodes_changed()

    # -------------------------------------------------------------------------------------------------- nodes

    def _know(self, nodes: Iterable[NodeId]) -> None:
        """These are tried for ever, each as is fit for its data centre."""
        for node in nodes:
            register = self.ledger.nodes().get(node)
            self.membership.know(node, self._reactor.seconds(), register.dc if register is not None else "")

    def _forget(self, node: NodeId) -> None:
        """A node was removed from the cluster."""
        self.membership.forget(node)
        self._drivers.memory.forget_node(node)
        self._rest.nodes_changed()

    def _leads(self) -> bool:
        """Of the living nodes one does what one has to do; it does no harm if, for a while, two do."""
        return self._me == min(self.live())
