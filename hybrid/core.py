"""
A node behind its ports: all its parts but sockets, containers and disks. Shell, on any clock and any drivers.

Wiring happens in `Core.__init__`, life in `live`: storage, index, containers, what is held, then voice and ears. The
same code runs in `hybrid.node` on real drivers and in tests on the fakes, several nodes on one clock.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path

from twisted.application.service import MultiService
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from hybrid import defaults
from hybrid.away.fetching import Fetching
from hybrid.away.service import Away
from hybrid.away.shipping import Shipping
from hybrid.cluster import placement
from hybrid.cluster.election import Elections
from hybrid.cluster.ledger import Merged
from hybrid.drivers import Drivers
from hybrid.errors import HybridError
from hybrid.hosting.accesslogs import AccessLogs, nobody
from hybrid.hosting.addresses import id_base
from hybrid.hosting.care import Care
from hybrid.hosting.checkup import Checkup
from hybrid.hosting.choices import Choices
from hybrid.hosting.condition import Condition
from hybrid.hosting.creation import Creation
from hybrid.hosting.deletions import Deletions
from hybrid.hosting.discards import Discards
from hybrid.hosting.extracts import Extracts
from hybrid.hosting.holdings import Holdings
from hybrid.hosting.logins import Logins
from hybrid.hosting.moving import Moving
from hybrid.hosting.observer import Observer
from hybrid.hosting.placements import Placements
from hybrid.hosting.placing import Placing
from hybrid.hosting.previews import Previews
from hybrid.hosting.purge import Purge
from hybrid.hosting.relief import Relief
from hybrid.hosting.rolling import Rolling
from hybrid.hosting.sandboxes import Sandboxes
from hybrid.hosting.service import HostingService
from hybrid.hosting.steward import Steward
from hybrid.hosting.storage import StorageCheck
from hybrid.hosting.tasks import SiteTasks, in_background
from hybrid.hosting.terms import Terms
from hybrid.hosting.tombstones import Tombstone
from hybrid.hosting.uniting import Uniting
from hybrid.hosting.watch import Watch
from hybrid.loops import Loops
from hybrid.model import NO_CLAIM, Claim, Fact, NodeId, SiteId
from hybrid.outlook import Outlook
from hybrid.presence import Presence
from hybrid.settings import Settings
from hybrid.shelf import Shelf
from hybrid.storage.witnessed import witnessed
from hybrid.strict.sites import StrictSites
from hybrid.traffic import traffic_of
from hybrid.view import SiteView
from hybrid.wire import Done, LogLines, OwnerSeen, SeesOwner, TakeOver
from hybrid_replicator.kept import Kept
from hybrid_replicator.service import Replicator

DECIDE_EVERY_S = 0.5
CHECK_EVERY_S = 1.0
WATCH_EVERY_S = 5.0
AWAY_EVERY_S = 20.0
CONDITION_EVERY_S = 60.0
PURGE_EVERY_S = 3600.0


class Core(MultiService):
    """
    One node.

    Attributes:
        hosting: What the API can have done here (`hybrid.deeds.Hosting`).
        known: What this node knows of the cluster.
        deletions: What this node does about deleted sites.
        away: Copies of histories in stores far away.
        presence: This node as a member of the cluster.
        logins: Begins sessions of people who logged in.
        previews: Past moments that people look at, of all nodes.
        outlook: The newest view, and who follows it.
        care: What it does for sites beyond serving them.
        access_logs: Become files of the sites.
        placing: What sites take of it, and which go elsewhere for that.
        shelf: The images on this node.
        shared: The cluster's shared map.
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
        kept = Kept(drivers.memory, reactor.seconds)
        drivers = replace(drivers, pool=witnessed(drivers.pool, kept))
        self._reactor, self._settings, self._me, self._drivers = reactor, settings, me, drivers
        self._zones = zones
        pool, links, now_s = drivers.pool, drivers.links, reactor.seconds()
        self.told: list[Callable[[str, SiteId, str], None]] = []
        self.observed: list[Callable[[Fact], None]] = []
        self.presence = Presence(
            reactor,
            settings,
            me,
            incarnation,
            zones,
            drivers,
            self,
            held=lambda: self._holdings,
            upstream=lambda site: self._terms.upstream(site),
            storage_ok=lambda: self._check.answers,
            alarms=lambda: (*self._condition.alarms, *self._relief.alarms),
            measured=lambda: self.placing.measured(),
            draining=lambda: self.placing.draining(),
        )
        self._membership, self._ledger = self.presence.membership, self.presence.ledger
        self.known, self.shared = self.presence.known, self.presence.shared
        self._traffic, self._gentle = traffic_of(
            reactor, settings, lambda: self.outlook.view, drivers.wall_s, drivers.probe
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
            default_grid=lambda: defaults.decode(self.shared.get(defaults.KEY)).retention,
            forget_by_s=drivers.patient_wall_s,
            kept=kept,
            traffic=self._traffic,
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
        self._relief = Relief(
            reactor, lambda: self.outlook.view, self.hosting.move, self._tell, self.presence.describe_soon
        )
        self.placing = self._new_placing()
        self.presence.departures.look(self._ledger.shared())
        self._loops = Loops(reactor)

    def _wire_deeds(self, now_s: float) -> None:
        drivers, me, holdings, terms = self._drivers, self._me, self._holdings, self._terms
        self._elections = Elections(me, self._settings.timing, now_s)
        self._placements = Placements(me, holdings, self.known.registers, drivers.wall_s)
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
            self._placements.note,
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
            self._placements.note,
        )
        self._uniting = Uniting(self._reactor, self.replicator, holdings, self._tasks, self.known.stashes, self._tell)
        self._watch = Watch(self._reactor, drivers.containers, holdings, terms, self._tasks)
        self._checkup = Checkup(self._reactor, drivers.containers, holdings, terms, self._tasks, self._tell)
        self._check = StorageCheck(
            self._reactor, drivers.pool, self._storage_lost, self._watch.storage_still_lost, self._storage_back
        )
        self.deletions = Deletions(
            self._reactor,
            me,
            drivers.seals,
            self.replicator,
            self.replicator,
            holdings,
            terms,
            self._tasks,
            self.shared,
            self.known.owned,
            self.known.copies_at,
            claims,
            drivers.wall_s,
        )
        self._discards = Discards(self.shared, self.replicator, holdings, drivers.wall_s)
        self._purge = Purge(drivers.pool, self.deletions.entry, drivers.wall_s, self._discards.is_due)
        self.away = self._new_away()
        self._condition = Condition(
            drivers.pool, self._settings.pool, drivers.patient_wall_s, self.presence.describe_soon
        )
        self.shelf = Shelf(drivers.pool)
        self._sandboxes = Sandboxes(self._settings, drivers.containers, self.replicator)
        self.previews = Previews(
            self._reactor,
            me,
            self._zones,
            self.shared,
            self._sandboxes,
            drivers.accepts,
            drivers.random.getrandbits,
            drivers.wall_s,
        )
        self.logins = Logins(holdings, drivers.containers, self.previews.container)
        creation = Creation(
            me, self._settings, drivers.pool, holdings, terms, drivers.shift_owners, claims, drivers.imprint
        )
        rolling = Rolling(me, self.replicator, holdings, terms, self.known.stashes, claims)
        self.care = Care(
            self._reactor,
            self._settings,
            drivers.pool,
            drivers.containers,
            self.replicator,
            holdings,
            terms,
            self._tasks,
            creation,
            rolling,
            self._moving,
            self.shared,
            lambda: self.outlook.view,
            self._tell,
            drivers.wall_s,
        )
        self.access_logs = AccessLogs(
            self._reactor,
            me,
            drivers.append or nobody,
            drivers.links,
            holdings,
            self._tasks,
            lambda: self.outlook.view,
            lambda site: (terms.root(site), id_base(holdings.need(site).spec, self._settings)),
        )
        self.hosting = HostingService(
            lambda: self.outlook.view,
            self.shelf,
            self.replicator,
            drivers.containers,
            holdings,
            terms,
            self._tasks,
            creation,
            self._moving,
            rolling,
            self.deletions,
            Choices(lambda: self.outlook.view, self.shared, self.deletions.entry, drivers.wall_s),
            self._discards,
            Extracts(self._reactor, drivers.containers, self.replicator, self._sandboxes),
            self.previews,
            claims,
            self.care,
            drivers.random.getrandbits,
        )

    def _new_away(self) -> Away:
        drivers, machine, holdings = self._drivers, self.replicator, self._holdings
        return Away(
            self._reactor,
            self._me,
            lambda: self.outlook.view,
            lambda: holdings,
            self.shared,
            Shipping(
                self._settings.name,
                drivers.pool,
                machine,
                holdings.seen,
                drivers.wall_s,
                drivers.entropy,
                self._tell,
                self._traffic,
            ),
            Fetching(
                drivers.pool,
                holdings,
                lambda: self.outlook.view,
                self._moved_to,
                machine.admit,
                self.deletions.revive,
                self._traffic,
            ),
            drivers.objects,
            drivers.entropy,
            lambda: self.hosting,
            self._tell,
            in_background,
        )

    def _new_placing(self) -> Placing:
        return Placing(
            self._reactor,
            self._settings,
            self._drivers.gauge,
            lambda: self.outlook.view,
            self._holdings,
            self._placements,
            self.known.registers,
            self.care.groups.all,
            self.shared,
            self._tasks,
            self._moving,
            lambda: defaults.decode(self.shared.get(defaults.KEY)).bursting,
            self._tell,
            self.presence.describe_soon,
            self._drivers.wall_s,
            self._me,
        )

    def _moved_to(self, site: SiteId) -> str | None:
        stone = self.deletions.entry(site)
        return stone.moved_to if isinstance(stone, Tombstone) else None

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
        await self._sandboxes.recover()
        await self.care.proofs.recover()
        await self.replicator.recover()
        await self.shelf.load()
        await self._drivers.containers.prepare()
        await self.care.groups.recover()
        await self._resume()
        await self.presence.describe()
        self._drivers.links.handle(SeesOwner, self._sees_owner)
        self._drivers.links.handle(TakeOver, self._take_over)
        self._drivers.links.handle(LogLines, self.access_logs.take_on)
        self.presence.setServiceParent(self)
        self.replicator.setServiceParent(self)
        self._strict.decide()
        self.startService()
        self.outlook.add(self.replicator.follow)
        for interval_s, deed in (
            (DECIDE_EVERY_S, self._decide),
            (CHECK_EVERY_S, self._check.look),
            (WATCH_EVERY_S, self._watch.look),
            (WATCH_EVERY_S, self._checkup.look),
            (WATCH_EVERY_S, self._observer.look),
            (WATCH_EVERY_S, self.deletions.look),
            (WATCH_EVERY_S, self._discards.look),
            (WATCH_EVERY_S, self.previews.look),
            (WATCH_EVERY_S, self._uniting.look),
            (AWAY_EVERY_S, self.away.look),
            (WATCH_EVERY_S, self._relief.look),
            (WATCH_EVERY_S, self.access_logs.look),
            (CONDITION_EVERY_S, self._condition.look),
            (PURGE_EVERY_S, self._purge.look),
            *self.care.loops(),
            *self.placing.loops(),
        ):
            self._loops.every(interval_s, deed)
        if self._gentle is not None:
            self._loops.every(CHECK_EVERY_S, self._gentle.look)
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
        await self.access_logs.finish()
        self._loops.stop()
        self._strict.stop()
        self.outlook.stop()
        if self.running:
            await MultiService.stopService(self)

    # ------------------------------------------------------------------------------------------------ facts in

    def report(self, fact: Fact) -> None:
        """A component observed something."""
        self._observer.report(fact)
        self.presence.vigilance.observe(fact)
        self.care.sleeping.observe(fact)
        self.access_logs.observe(fact)
        self.placing.report(fact)
        for observe in self.observed:
            observe(fact)

    def heard(self, merged: Merged) -> None:
        """See `Rest`."""
        self._steward.changed(None if merged.nodes or merged.shared else merged.sites)
        if merged.shared:
            in_background("looking at deletions", self.deletions.look)
            in_background("looking at previews", self.previews.look)
        for site in merged.disputed:
            if self._holdings.get(site) is not None:
                self._holdings.publish(site)
            else:  # a life before this one held it; its disk was replaced, or it died before it could say so
                self._holdings.forget(site)
        self.outlook.changed()

    def lives_changed(self) -> None:
        """See `Rest`."""
        self._steward.changed()
        self.outlook.changed()

    def spoke(self) -> None:
        """See `Rest`."""
        self._steward.changed()
        self.outlook.changed()

    def nodes_changed(self) -> None:
        """See `Rest`."""
        self.outlook.changed()

    def give_way(self) -> None:
        """See `Rest`."""
        self._elections.bar()

    def _published(self, site: SiteId) -> None:
        """This node's own word about a site changed."""
        self._steward.changed((site,))
        self.presence.hurry()
        self.outlook.changed()

    def _tell(self, kind: str, site: SiteId, text: str) -> None:
        self.log.info("{kind} {site}: {text}", kind=kind, site=site, text=text)
        for tell in self.told:
            tell(kind, site, text)

    # ------------------------------------------------------------------------------------------------ decisions

    def _decide(self) -> None:
        try:
            self._strict.look()
        finally:
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

    def _targets(self, site: SiteView) -> tuple[NodeId, ...]:
        return placement.replicas(site, self.outlook.view)

    def _replicated_to(self, site: SiteId) -> tuple[NodeId, ...]:
        seen = self.outlook.view.sites.get(site)
        return self._targets(seen) if seen is not None else ()

    # -------------------------------------------------------------------------------------------------- storage

    async def _storage_lost(self) -> None:
        await self._watch.storage_lost()
        await self.presence.describe()

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

    def writing(self, site: SiteId) -> AbstractAsyncContextManager[None]:
        """See `Holdings.writing`."""
        return self._holdings().writing(site)

    def is_writer(self, site: SiteId) -> bool:
        """See `Holdings.is_writer`."""
        return self._holdings().is_writer(site)
