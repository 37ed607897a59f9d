"""
A node behind its ports: all its parts but sockets, containers and disks. Shell, on any clock and any drivers.

Wiring happens in `Core.__init__`, life in `live`: storage, index, containers, what is held, then voice and ears. The
same code runs in `hybrid.node` on real drivers and in tests on the fakes, several nodes on one clock.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from twisted.application.service import MultiService
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from hybrid.adapters import Memory, SharedValues, restore
from hybrid.cluster import placement
from hybrid.cluster.absence import Absences
from hybrid.cluster.election import Elections
from hybrid.cluster.gossip import Gossiping, Links
from hybrid.cluster.keyring import KEYRING
from hybrid.cluster.ledger import Ledger, Merged
from hybrid.cluster.membership import Membership
from hybrid.cluster.pulse import Datagrams, Pulse
from hybrid.cluster.pulse import Links as PulseLinks
from hybrid.cluster.rotation import Rotation
from hybrid.cluster.sealing import Seals
from hybrid.departures import Departures
from hybrid.departures import Links as Cuts
from hybrid.description import Description
from hybrid.errors import HybridError
from hybrid.hosting.choices import Choices
from hybrid.hosting.creation import Creation
from hybrid.hosting.deletions import Deletions
from hybrid.hosting.holdings import Holdings
from hybrid.hosting.moving import Moving
from hybrid.hosting.observer import Observer
from hybrid.hosting.purge import Purge
from hybrid.hosting.rolling import Rolling
from hybrid.hosting.service import HostingService
from hybrid.hosting.steward import Steward
from hybrid.hosting.storage import StorageCheck
from hybrid.hosting.tasks import SiteTasks, in_background
from hybrid.hosting.terms import Accepts, Terms
from hybrid.hosting.uniting import Uniting
from hybrid.hosting.watch import Watch
from hybrid.knowledge import Knowledge
from hybrid.loops import Loops
from hybrid.model import NO_CLAIM, Claim, Fact, NodeId, SiteId
from hybrid.outlook import Outlook
from hybrid.ports import Containers, Peers, Pool
from hybrid.settings import Settings
from hybrid.shelf import Shelf
from hybrid.strict.ports import StrictDrivers
from hybrid.strict.sites import StrictSites
from hybrid.view import SiteView
from hybrid.vigilance import Vigilance
from hybrid.wire import Done, OwnerSeen, SeesOwner, TakeOver
from hybrid_replicator.ports import Files
from hybrid_replicator.service import Replicator

DECIDE_EVERY_S = 0.5
CHECK_EVERY_S = 1.0
WATCH_EVERY_S = 5.0
DESCRIBE_EVERY_S = 10.0
PURGE_EVERY_S = 3600.0


class PeerLinks(Peers, Links, Cuts, PulseLinks, Protocol):
    """Links as the core uses them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drivers:
    """What a node stands on."""

    pool: Pool
    containers: Containers
    links: PeerLinks
    datagrams: Datagrams
    entropy: Callable[[int], bytes]
    files: Files
    memory: Memory
    seals: Seals
    accepts: Accepts
    shift_owners: Callable[[str, int], Awaitable[object]]
    wall_s: Callable[[], float]
    random: random.Random
    load: Callable[[], float]
    strict: StrictDrivers | None = None
    """etcd and the guardian, where this node has them."""


class Core(MultiService):
    """
    One node.

    Attributes:
        hosting: What the API can have done here (`hybrid.deeds.Hosting`).
        departures: Nodes that were removed.
        known: What this node knows of the cluster.
        deletions: What this node does about deleted sites.
        outlook: The newest view, and who follows it.
        shelf: The images on this node.
        shared: The cluster's shared map.
        vigilance: What is wrong with others, and whether there is another of this one.
        told: Called with `(kind, site, text)` at each transition of a site; for the log of events.
        observed: Called with each fact.
    """

    log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        settings: Settings,
        me: NodeId,
        incarnation: int,
        zones: tuple[str, ...],
        drivers: Drivers,
    ) -> None:
        super().__init__()
        self._reactor, self._settings, self._me, self._drivers = reactor, settings, me, drivers
        pool, links, now_s = drivers.pool, drivers.links, reactor.seconds()
        self.told: list[Callable[[str, SiteId, str], None]] = []
        self.observed: list[Callable[[Fact], None]] = []
        self._membership = Membership(me, incarnation, settings.timing, now_s, drivers.random, settings.dc)
        self._ledger = Ledger(me, incarnation, drivers.seals)
        restore(self._ledger, drivers.memory)
        self._know(self._ledger.nodes())
        self._absences = Absences(settings.timing.repair_s)
        self.known = Knowledge(
            me,
            zones,
            self._membership,
            self._ledger,
            upstream=lambda site: self._terms.upstream(site),
            lost=lambda: self._absences.lost,
            now_s=reactor.seconds,
        )
        boot = (incarnation, int.from_bytes(drivers.entropy(7), "big"))
        self.vigilance = Vigilance(boot, self._ledger, self._give_way, self._describe)
        self._gossip = Gossiping(
            reactor,
            self._membership,
            self._ledger,
            links,
            drivers.random.sample,
            lambda: self._holdings,
            self.vigilance.listens,
            self._heard,
        )
        self._pulse = Pulse(reactor, self._membership, drivers.datagrams, links, self._lives_changed)
        self.shared = SharedValues(self._ledger, drivers.memory, self._spoke, drivers.wall_s)
        self.keys = Rotation(self.shared, drivers.entropy, drivers.wall_s, reactor.seconds, self._leads)
        self.departures = Departures(
            me,
            self._ledger,
            links,
            self.shared.put,
            self._forget,
            lambda: self.keys.rotate(hurried=True),
            lambda: self._membership.live(reactor.seconds()),
            self.vigilance.kept_out,
            drivers.wall_s,
        )
        self.replicator = Replicator(
            reactor,
            pool,
            links,
            fences=_Held(lambda: self._holdings),
            targets=self._targets,
            live_root=lambda site: self._terms.live_root(site),
            report=self.report,
            me=me,
            files=drivers.files,
            place=Path(settings.state_dir) / "temporary",
            jitter=drivers.random.random,
            now_s=drivers.wall_s,
            heads=self.known.heads,
        )
        self._ledger.follow(self.replicator.heard)
        self._tasks = SiteTasks()
        self._holdings = Holdings(pool, self.replicator, self._ledger, self._published)
        self._strict = StrictSites(
            reactor, settings, me, drivers.strict, self._membership, self._ledger, self._holdings
        )
        self._terms = Terms(
            reactor,
            settings,
            pool,
            self.replicator,
            drivers.containers,
            self._holdings,
            drivers.accepts,
            self._strict.claims,
        )
        self._wire_deeds(now_s)
        self.outlook = Outlook(reactor, self.known.view)
        self.departures.look(self._ledger.shared())
        self._loops = Loops(reactor)

    def _wire_deeds(self, now_s: float) -> None:
        drivers, me, holdings, terms = self._drivers, self._me, self._holdings, self._terms
        self._elections = Elections(me, self._settings.timing, now_s)
        self._steward = Steward(
            self._reactor,
            me,
            self._membership,
            self._ledger,
            self._elections,
            drivers.links,
            holdings,
            terms,
            self._tasks,
            self._tell,
            self._strict.claims.is_strict,
            drivers.random.random,
        )
        self._observer = Observer(holdings, self.replicator, in_background)
        claims = self._strict.claims
        self._moving = Moving(
            self._reactor,
            self._settings.timing,
            me,
            drivers.pool,
            drivers.links,
            self.replicator,
            holdings,
            terms,
            claims,
            self.known.claim_of,
        )
        self._uniting = Uniting(self._reactor, self.replicator, holdings, self._tasks, self.known.stashes, self._tell)
        self._watch = Watch(self._reactor, drivers.containers, holdings, terms, self._tasks)
        self._check = StorageCheck(
            self._reactor, drivers.pool, self._storage_lost, self._watch.storage_still_lost, self._storage_back
        )
        self._description = Description(
            self._settings,
            me,
            drivers.seals.key,
            self.vigilance,
            drivers.pool,
            self._ledger,
            drivers.load,
            lambda: self._check.answers,
            self._spoke,
        )
        self.deletions = Deletions(
            me,
            drivers.seals,
            self.replicator,
            self.replicator,
            holdings,
            terms,
            self._tasks,
            self.shared,
            self.known.owned,
            claims,
            drivers.wall_s,
        )
        self._purge = Purge(drivers.pool, self.deletions.entry, drivers.wall_s)
        self.shelf = Shelf(drivers.pool)
        self.hosting = HostingService(
            lambda: self.outlook.view,
            self.shelf,
            self.replicator,
            drivers.containers,
            holdings,
            terms,
            self._tasks,
            Creation(me, self._settings, drivers.pool, holdings, terms, drivers.shift_owners, claims),
            self._moving,
            Rolling(me, self.replicator, holdings, terms, self.known.stashes, claims),
            self.deletions,
            Choices(lambda: self.outlook.view, self.shared, self.deletions.entry, drivers.wall_s),
            claims,
            drivers.random.getrandbits,
        )

    # --------------------------------------------------------------------------------------------------- life

    async def live(self) -> None:
        """Come to life; returns when this node speaks and listens. Trouble with one site is that site's alone."""
        self._strict.begin(
            self._drivers.links,
            self._terms,
            self._tasks,
            self._replicated_to,
            lambda site: self._steward.owner_seen(site, NO_CLAIM),
            self._tell,
        )
        await self._storage_answers()
        await self._drivers.pool.prepare()
        await self.replicator.recover()
        await self.shelf.load()
        await self._drivers.containers.prepare()
        await self._resume()
        await self._description.publish()
        self._drivers.links.handle(SeesOwner, self._sees_owner)
        self._drivers.links.handle(TakeOver, self._take_over)
        self.keys.ensure(founder=not self._ledger.nodes().keys() - {self._me})
        self._pulse.setServiceParent(self)
        self._gossip.setServiceParent(self)
        self.replicator.setServiceParent(self)
        self._strict.decide()
        self.startService()
        self.outlook.add(self.replicator.follow)
        for interval_s, deed in (
            (DECIDE_EVERY_S, self._decide),
            (CHECK_EVERY_S, self._check.look),
            (WATCH_EVERY_S, self._watch.look),
            (WATCH_EVERY_S, self._observer.look),
            (WATCH_EVERY_S, self.deletions.look),
            (WATCH_EVERY_S, self._uniting.look),
            (WATCH_EVERY_S, self._look_for_lost),
            (DESCRIBE_EVERY_S, self._description.publish),
            (DESCRIBE_EVERY_S, self.keys.look),
            (PURGE_EVERY_S, self._purge.look),
        ):
            self._loops.every(interval_s, deed)
        self.log.info("node {name} ({node}) is up", name=self._settings.name, node=self._me)

    async def _storage_answers(self) -> None:
        """Wait for the pool, for ever: a node without storage has nothing to say."""
        while True:
            try:
                await self._drivers.pool.check()
                return
            except HybridError as error:
                self.log.warn("waiting for the pool: {error}", error=str(error))
                await deferLater(self._reactor, 0.5, lambda: None)

    async def _resume(self) -> None:
        sites = await self._holdings.load()
        running = await self._drivers.containers.running()
        for site in sites:
            try:
                await self._terms.resume(site, site in running)
            except Exception as error:
                if not isinstance(error, HybridError):
                    self.log.failure("resuming {site} failed", site=site)
                self._watch.not_resumed(site, str(error))

    async def die(self) -> None:
        """Fall silent; containers go on."""
        self._loops.stop()
        self._strict.stop()
        self.outlook.stop()
        if self.running:
            await MultiService.stopService(self)

    # ------------------------------------------------------------------------------------------------ facts in

    def report(self, fact: Fact) -> None:
        """A component observed something."""
        self._observer.report(fact)
        for observe in self.observed:
            observe(fact)

    def _heard(self, merged: Merged) -> None:
        """Gossip changed something."""
        self._steward.changed(None if merged.nodes or merged.shared else merged.sites)
        if merged.nodes:
            nodes = self._ledger.nodes()
            self._drivers.memory.keep_nodes(nodes[node] for node in merged.nodes if node in nodes)
            self._know(merged.nodes)
        if KEYRING in merged.shared:
            self.keys.refresh()
        if merged.shared:
            self._drivers.memory.keep_shared(self.shared.entries(merged.shared))
            self.departures.look(merged.shared)
            in_background("looking at deletions", self.deletions.look)
        for site in merged.disputed:
            if self._holdings.get(site) is not None:
                self._holdings.publish(site)
            else:  # a life before this one held it; its disk was replaced, or it died before it could say so
                self._holdings.forget(site)
        self.outlook.changed()

    def _forget(self, node: NodeId) -> None:
        """A node was removed from the cluster."""
        self._membership.forget(node)
        self._drivers.memory.forget_node(node)
        self.outlook.changed()

    def _know(self, nodes: Iterable[NodeId]) -> None:
        """These are tried for ever, each as is fit for its data centre."""
        for node in nodes:
            register = self._ledger.nodes().get(node)
            self._membership.know(node, self._reactor.seconds(), register.dc if register is not None else "")

    def _lives_changed(self) -> None:
        """A node came to life, or is taken for dead."""
        self._steward.changed()
        self.outlook.changed()
        self._gossip.lives_changed()

    def _leads(self) -> bool:
        """Of the living nodes one does what one has to do; it does no harm if, for a while, two do."""
        return self._me == min(self._membership.live(self._reactor.seconds()))

    def _published(self, site: SiteId) -> None:
        """This node's own word about a site changed."""
        self._steward.changed((site,))
        self._gossip.hurry()
        self.outlook.changed()

    def _tell(self, kind: str, site: SiteId, text: str) -> None:
        self.log.info("{kind} {site}: {text}", kind=kind, site=site, text=text)
        for tell in self.told:
            tell(kind, site, text)

    def _give_way(self) -> None:
        """Another node has this one's key, and goes on."""
        self._elections.bar()
        self._membership.bar()

    def _describe(self) -> None:
        """This node has something new to say about itself."""
        if self.running:
            in_background("describing this node", self._description.publish)

    def _spoke(self) -> None:
        """This node said something new about itself, or wrote a shared value."""
        self._steward.changed()
        self._gossip.hurry()
        self.outlook.changed()

    # ------------------------------------------------------------------------------------------------ decisions

    def _decide(self) -> None:
        self._steward.look()

    async def _sees_owner(self, sender: NodeId, request: object) -> OwnerSeen:
        assert isinstance(request, SeesOwner)
        taking = self._moving.taking(request.site)
        if taking is not None:
            return OwnerSeen(taking)
        return await self._steward.sees_owner(sender, request)

    async def _take_over(self, sender: NodeId, request: object) -> Done:
        assert isinstance(request, TakeOver)
        return await self._tasks.run(request.site, "take over", lambda: self._moving.take_over(sender, request))

    def _look_for_lost(self) -> None:
        """Notice who has been silent for too long."""
        now_s = self._reactor.seconds()
        if self._absences.look(self._ledger.nodes(), self._membership.live(now_s), now_s):
            self.outlook.changed()

    def _targets(self, site: SiteView) -> tuple[NodeId, ...]:
        return placement.replicas(site, self.outlook.view)

    def _replicated_to(self, site: SiteId) -> tuple[NodeId, ...]:
        seen = self.outlook.view.sites.get(site)
        return self._targets(seen) if seen is not None else ()

    # -------------------------------------------------------------------------------------------------- storage

    async def _storage_lost(self) -> None:
        await self._watch.storage_lost()
        await self._description.publish()

    async def _storage_back(self) -> None:
        self._watch.storage_back()


class _Held:
    """The fence of the receiver, which is made before the holdings are."""

    def __init__(self, holdings: Callable[[], Holdings]) -> None:
        self._holdings = holdings

    def seen(self, site: SiteId) -> Claim:
        """See `Holdings.seen`."""
        return self._holdings().seen(site)

    async def saw(self, site: SiteId, claim: Claim) -> None:
        """See `Holdings.saw`."""
        await self._holdings().saw(site, claim)

    def is_writer(self, site: SiteId) -> bool:
        """See `Holdings.is_writer`."""
        return self._holdings().is_writer(site)
