"""
The replicator of a node, put together: `hybrid.deeds.TimeMachine` for those who open, close and roll back sites. Shell.

It looks at the sites owned here, snapshots what changed, sends it to the peers that should hold it, takes what other
owners send, forgets what is old, and goes back in time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from itertools import count
from pathlib import Path

import msgspec
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from hybrid.deeds import Differences, Folder, Form, StashReason, TakenBack, TransferSeen
from hybrid.errors import Busy, NoSuchSnapshot
from hybrid.history import History
from hybrid.loops import Loops
from hybrid.model import Claim, Fact, Guid, NodeId, SiteId, SiteSpec, Snapshot, Stash
from hybrid.ports import ByteSource, IncomingStream, Peers, Pool
from hybrid.view import NodeView, SiteView, View
from hybrid.wire import AskHistory, HistoryHeld, Refused
from hybrid_replicator.apart import Apart
from hybrid_replicator.bases import Bases
from hybrid_replicator.chores import Chores
from hybrid_replicator.copies import StashCopies
from hybrid_replicator.delivery import Delivery
from hybrid_replicator.forgetting import Forgetting
from hybrid_replicator.gate import Abort, Gates
from hybrid_replicator.holds import BaseHolds
from hybrid_replicator.index import HistoryIndex, written_spec
from hybrid_replicator.keeping import Keeping
from hybrid_replicator.kept import Kept
from hybrid_replicator.names import kind_of, site_dataset, stash_dataset
from hybrid_replicator.outbox import Outbox
from hybrid_replicator.owned import Duty, Owned
from hybrid_replicator.past import Past
from hybrid_replicator.ports import Fences, Files, Heads, LiveRoot, Targets
from hybrid_replicator.receiver import Receiver
from hybrid_replicator.rounds import Rounds
from hybrid_replicator.schedule import Schedule
from hybrid_replicator.sender import Sender
from hybrid_replicator.sizes import Sizes
from hybrid_replicator.snapshots import Snapshots
from hybrid_replicator.stash import Stashes
from hybrid_replicator.tasks import Tasks
from hybrid_replicator.traffic import Traffic, unlimited
from hybrid_replicator.trash import Trash
from hybrid_replicator.windows import Windows

TICK_S = 1.0


def no_heads(site: SiteId) -> Mapping[NodeId, tuple[Guid, ...]]:
    """For a node that knows of nobody else's heads."""
    return {}


class Replicator(Service):
    """See `hybrid.deeds.TimeMachine`. Until `recover` was awaited, peers are told to wait."""

    log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        pool: Pool,
        peers: Peers,
        fences: Fences,
        targets: Targets,
        live_root: LiveRoot,
        report: Callable[[Fact], None],
        me: NodeId,
        *,
        files: Files,
        place: Path,
        jitter: Callable[[], float],
        now_s: Callable[[], float],
        look_every_s: float = 5.0,
        heads: Heads = no_heads,
        default_grid: Callable[[], str] = str,
        forget_by_s: Callable[[], float] | None = None,
        kept: Kept | None = None,
        traffic: Traffic | None = None,
    ) -> None:
        """
        Args:
            targets: Given a site's view, the nodes that should hold a copy.
            live_root: Where a site's live data is mounted here, if it is.
            files: File work in snapshots and live data.
            place: A directory of ours; snapshots are mounted below it to look into them.
            jitter: Between 0 and 1, at random.
            now_s: Wall time.
            look_every_s: The pause between two looks at one site; at least 1.
            heads: What other nodes publish of a site: the newest in common is never forgotten here.
            default_grid: How histories are kept of which nothing else is said, see `hybrid.grid`; empty: as is usual.
            forget_by_s: Wall time by which snapshots are old; default: `now_s`.
            kept: Histories that outlive the process, and the witness of `pool`; none are kept without.
            traffic: How fast streams may be; without it, as fast as can be.
        """
        self._reactor, self._pool, self._peers, self._me = reactor, pool, peers, me
        self._heads, self._now_s = heads, now_s
        self._index, self._gates, self._tasks = HistoryIndex(pool, kept), Gates(), Tasks()
        holds, snapshots = BaseHolds(reactor, pool), Snapshots(pool, self._index, me)
        self._traffic = traffic or unlimited(reactor)
        self._delivery = Delivery(reactor, pool, peers, self._index, self._traffic)
        self._sender = Sender(
            reactor, self._index, Outbox(jitter), self._delivery, self._gates, holds, fences, self._tasks, report
        )
        self._windows = Windows(reactor, pool, self._index, place, partial(next, count(int(now_s() * 1000))))
        self._past = Past(reactor, pool, self._index, files, live_root, self._windows, self._traffic, me)
        self._stashes = Stashes(
            reactor, pool, self._index, snapshots, report, me, now_s, self._past.clear, fences.writing
        )
        self._receiver = Receiver(
            reactor,
            pool,
            self._index,
            fences,
            self._gates,
            snapshots,
            self._stashes,
            holds,
            self._traffic,
            report,
        )
        self._schedule = Schedule(max(1.0, look_every_s))
        self._rounds = Rounds(
            reactor, self._schedule, self._index, snapshots, self._gates, self._sender, self._tasks, report
        )
        self._trash = Trash(reactor, pool, self._index, now_s, self._past.clear)
        self._apart = Apart(reactor, pool, self._index, holds.swapped, now_s, self._traffic, me)
        self._copies = StashCopies(reactor, self._index, self._delivery, self._holders)
        self._keeping, self._forget_by_s = Keeping(default_grid), forget_by_s or now_s
        self._holds, self._chores = holds, self._upkeep(holds, report)
        self._owned = Owned(me, targets)
        self._followed: dict[SiteId, tuple[Duty, bool]] = {}
        self._duties: dict[SiteId, Duty] = {}
        self._live: frozenset[NodeId] = frozenset()
        self._nodes: Mapping[NodeId, NodeView] = {}
        self._sites: Mapping[SiteId, SiteView] = {}
        self._recovered = False
        self._loops = Loops(reactor)
        peers.handle(AskHistory, self.history_asked)
        peers.handle_streams(self.receive)

    def _upkeep(self, holds: BaseHolds, report: Callable[[Fact], None]) -> Chores:
        """What is done when there is time."""
        return Chores(
            self._reactor,
            self._index,
            self._gates,
            Forgetting(self._pool, self._index, holds, self._forget_by_s),
            self._stashes,
            self._past,
            self._copies,
            holds,
            self._sender,
            self._tasks,
            Bases(self._reactor, self._delivery, holds, self._heads, self._needed),
            self._heads,
            self._receiver,
            report,
            self._keeping,
            Sizes(self._pool, self._index, self._keeping, report),
            lambda: self._duties,
        )

    # ------------------------------------------------------------------------------------------- life and view

    async def recover(self) -> None:
        """See `hybrid.deeds.TimeMachine`. The pool is prepared."""
        await self._apart.recover()
        await self._windows.recover(self._receiver.parts.left)
        await self._index.load()
        self._past.recover(await self._stashes.recover())
        self._recovered = True

    def startService(self) -> None:
        """Begin the rounds."""
        super().startService()
        self._tick()
        self._loops.every(TICK_S, self._tick)

    def stopService(self) -> Deferred[None]:
        """End the rounds and cut transfers; fires when nothing is under way any more."""
        super().stopService()
        self._loops.stop()
        return Deferred.fromCoroutine(self._wind_up())

    def follow(self, view: View) -> None:
        """Take over who owns what, and who is there. Cheap where little changed."""
        self._keeping.follow(view)
        live = self._live
        if view.nodes is not self._nodes:
            self._nodes = view.nodes
            live = frozenset(node.id for node in view.nodes.values() if node.live and node.id != self._me)
            self._holds.follow(view.nodes.keys())
        owned, self._sites = self._owned.follow(view, self._reactor.seconds()), view.sites
        if owned == self._followed and live == self._live:
            return
        self._followed, self._live = owned, live
        self._duties = {site: duty for site, (duty, _) in owned.items()}
        self._sender.follow(self._duties, live)
        self._rounds.follow({site: duty for site, (duty, serving) in owned.items() if serving})

    def _tick(self) -> None:
        """Every second; never raises, or the loop would end."""
        for chore in (self._rounds.begin, self._sender.pump, self._chores.begin):
            try:
                chore()
            except Exception:
                self.log.failure("a part of the replicator's tick failed")

    async def _wind_up(self) -> None:
        recovered, self._recovered = self._recovered, False
        await self._copies.cut()
        await self._gates.cut_all()
        await self._tasks.ended()
        if recovered:
            while self._index.settle(0.0):
                pass

    # -------------------------------------------------------------------------------------------------- peers

    async def receive(self, sender: NodeId, offer: msgspec.Struct, stream: IncomingStream) -> msgspec.Struct:
        """Answer an offered stream with `Taken` or `Refused`."""
        if not self._recovered:
            return Refused("busy", "the node is starting or stopping")
        return await self._receiver.receive(sender, offer, stream)

    async def history_asked(self, sender: NodeId, request: msgspec.Struct) -> HistoryHeld:
        """Answer what is here of a dataset."""
        if not self._recovered:
            raise Busy("the node is starting or stopping")
        if not isinstance(request, AskHistory) or kind_of(request.dataset) is None:
            return HistoryHeld(None)
        if request.dataset not in self._index:
            await self._index.refresh(request.dataset)
        history = self._index.history(request.dataset) if request.dataset in self._index else None
        return HistoryHeld(history, self._pool.capabilities.takes, await self._receiver.part(request.dataset))

    # --------------------------------------------------------------------------------------------- what is known

    def history(self, site: SiteId) -> History:
        """See `hybrid.deeds.TimeMachine`."""
        return self._index.history(site_dataset(site))

    def stashes(self, site: SiteId) -> tuple[Stash, ...]:
        """See `hybrid.deeds.TimeMachine`."""
        return self._index.stashes(site)

    def stash_history(self, site: SiteId, stash_id: str) -> History:
        """See `hybrid.deeds.TimeMachine`."""
        main = {snapshot.guid for snapshot in self.history(site)}
        return tuple(one for one in self._index.history(stash_dataset(stash_id)) if one.guid not in main)

    def transfers(self) -> tuple[TransferSeen, ...]:
        """See `hybrid.deeds.TimeMachine`."""
        return self._traffic.seen()

    def acknowledged(self, site: SiteId) -> dict[NodeId, Guid]:
        """The newest snapshot of a site owned here that each node said it holds."""
        return self._sender.protection(site).heads() if site in self._duties else {}

    def lag_s(self, site: SiteId) -> float | None:
        """
        The age of the oldest change that no other live node holds; 0.0 when all is safe.

        `None` for a site that is not owned here or wants no copies.
        """
        duty = self._duties.get(site)
        if duty is None or duty.spec.copies == 0:
            return None
        patience_s = 2 * self._schedule.interval_s(site) + TICK_S
        return self._sender.protection(site).lag_s(
            self.history(site), self._live, self._reactor.seconds(), self._now_s(), patience_s
        )

    def _holders(self, site: SiteId) -> tuple[NodeId, ...]:
        """Other live nodes that hold `site`, as many as copies are wanted."""
        seen = self._sites.get(site)
        return tuple(node for node in seen.holders if node in self._live)[: seen.spec.copies] if seen else ()

    def _needed(self, site: SiteId) -> frozenset[Guid]:
        """Snapshots that retention keeps: bases with peers, of stashes, and of streams under way."""
        of_stashes = {guid for stash in self.stashes(site) for guid in (stash.base, stash.head) if guid is not None}
        bases = self._sender.protection(site).bases(self._reactor.seconds()) if site in self._duties else frozenset()
        heads = {guids[0] for guids in self._heads(site).values()} | self._holds.wanted(site_dataset(site))
        return bases | heads | of_stashes | self._delivery.under_way(site) | self._marked(site)

    def _marked(self, site: SiteId) -> frozenset[Guid]:
        """Snapshots a person wants to keep: as the owner says, or, where nothing was heard of it, as the data do."""
        seen = self._sites.get(site)
        spec = seen.spec if seen is not None else written_spec(self._index.properties(site_dataset(site)))
        return frozenset(mark.guid for mark in spec.marks) if spec is not None else frozenset()

    def heard(self, site: SiteId) -> None:
        """
        Somebody publishes something else of `site`: notice what is in common, before it is too long ago to be told.
        """
        dataset = site_dataset(site)
        history = self._index.history(dataset)
        for peer, guids in self._heads(site).items() if history else ():
            self._holds.heard(dataset, history, peer, guids)

    # --------------------------------------------------------------------------------------------------- deeds

    def exclusive(self, site: SiteId) -> AbstractAsyncContextManager[None]:
        """See `hybrid.deeds.TimeMachine`. Streams under way are cut, so it is entered soon; they start again later."""
        return self._gates.of(site).exclusive()

    def sharing(self, site: SiteId, abort: Abort) -> AbstractAsyncContextManager[None]:
        """Read `site` beside others; `abort` is awaited when somebody wants it alone. Raises `Busy` where one has."""
        return self._gates.of(site).shared(abort)

    async def admit(self, site: SiteId) -> None:
        """The dataset of `site` was put into its place by somebody else."""
        await self._index.refresh(site_dataset(site))

    async def snapshot(
        self, site: SiteId, claim: Claim, only_if_changed: bool = False, consistent: bool = False
    ) -> Snapshot | None:
        """See `hybrid.deeds.TimeMachine`. Raises `Busy` while a stash of the site is unfinished."""
        self._refuse_unfinished(site)
        return await self._rounds.take(site, claim, only_if_changed, consistent)

    async def snapshot_together(
        self, claims: Mapping[SiteId, Claim], consistent: bool, valid: Callable[[], bool]
    ) -> tuple[Snapshot, ...]:
        """See `hybrid.deeds.TimeMachine`. Raises `Busy` while a stash of one of them is unfinished."""
        for site in claims:
            self._refuse_unfinished(site)
        return await self._rounds.take_together(list(claims), consistent, valid)

    async def push(self, spec: SiteSpec, claim: Claim, node: NodeId) -> Guid:
        """See `hybrid.deeds.TimeMachine`. Raises `PeerError`, also when the peer refused."""
        head = await self._sender.push(spec, claim, node)
        if head is None:
            raise NoSuchSnapshot(f"site {spec.id} has no snapshot to send")
        return head

    async def stash(self, site: SiteId, base: Guid | None, why: StashReason) -> Stash:
        """See `hybrid.deeds.TimeMachine`."""
        return await self._stashes.stash(site, base, why)

    async def unstash(self, stash_id: str, why: StashReason) -> Stash:
        """See `hybrid.deeds.TimeMachine`."""
        return await self._stashes.unstash(stash_id, why)

    async def browse(self, site: SiteId, guid: Guid, path: str, after: str, limit: int) -> Folder:
        """See `hybrid.deeds.TimeMachine`."""
        return await self._past.browse(site, guid, path, after, limit)

    async def read(self, site: SiteId, guid: Guid, path: str, form: Form) -> ByteSource:
        """See `hybrid.deeds.TimeMachine`."""
        return await self._past.read(site, guid, path, form)

    async def compare(self, site: SiteId, old: Guid, new: Guid, path: str) -> Differences:
        """See `hybrid.deeds.TimeMachine`."""
        return await self._past.compare(site, old, new, path)

    async def restore(self, site: SiteId, guid: Guid, path: str, copy: str) -> tuple[int, str]:
        """See `hybrid.deeds.TimeMachine`."""
        return await self._past.restore(site, guid, path, copy)

    async def lend(self, site: SiteId, guid: Guid, name: str, quota_bytes: int | None, taken_back: TakenBack) -> str:
        """See `hybrid.deeds.TimeMachine`."""
        return await self._windows.lend(site, guid, name, quota_bytes, taken_back)

    async def read_lent(self, name: str, path: str) -> ByteSource:
        """See `hybrid.deeds.TimeMachine`."""
        return await self._past.read_lent(self._windows.lent(name), path)

    async def give_back(self, name: str) -> None:
        """See `hybrid.deeds.TimeMachine`."""
        await self._windows.give_back(name)

    async def unite(self, site: SiteId, stash_id: str) -> int:
        """See `hybrid.deeds.TimeMachine`."""
        return await self._past.unite(site, stash_id)

    def is_clone(self, site: SiteId) -> bool:
        """See `hybrid.deeds.TimeMachine`."""
        return self._apart.is_clone(site)

    async def base(self, site: SiteId, guid: Guid) -> tuple[str, Guid]:
        """See `hybrid.deeds.TimeMachine`."""
        return await self._apart.base(site, guid)

    async def sweep_bases(self) -> None:
        """See `hybrid.deeds.TimeMachine`."""
        await self._apart.sweep()

    async def copy_apart(self, site: SiteId) -> None:
        """See `hybrid.deeds.TimeMachine`."""
        await self._apart.copy(site)

    async def take_apart(self, site: SiteId) -> None:
        """See `hybrid.deeds.TimeMachine`."""
        await self._past.clear(site)
        await self._apart.take_place(site)

    async def clear_apart(self, site: SiteId) -> None:
        """See `hybrid.deeds.TimeMachine`."""
        await self._apart.clear(site)

    async def trash(self, site: SiteId) -> None:
        """Put the main line of `site` into the trash, whole; the caller holds `exclusive`, and it is not mounted."""
        await self._past.clear(site)
        await self._trash.put(site)

    async def untrash(self, site: SiteId) -> bool:
        """Bring back what of `site` was put into the trash last; `False`: there is nothing, or it is here already."""
        return await self._trash.take_back(site)

    async def discard(self, site: SiteId, head: Guid) -> int:
        """Put the stashes of `site` that end in `head` into the trash. Returns how many. Raises `Busy`."""
        found = [stash.id for stash in self.stashes(site) if stash.head == head]
        if not found:
            return 0
        async with self._gates.of(site).exclusive():
            self._refuse_unfinished(site)
            for stash_id in found:
                await self._trash.put_stash(site, stash_id)
        return len(found)

    async def undiscard(self, site: SiteId, head: Guid) -> int:
        """Bring them back. Returns how many there were. Raises `Busy`."""
        if not self._index.stashes_in_trash(site, head):
            return 0
        async with self._gates.of(site).exclusive():
            self._refuse_unfinished(site)
            return await self._trash.take_stashes_back(site, head)

    def _refuse_unfinished(self, site: SiteId) -> None:
        if site in self._stashes.unfinished:
            raise Busy(f"site {site} is at work", "a change of its history is being finished", "try again soon")
