"""
Brings one site to one peer: asks what it holds, plans, sends the image first where it is missing, then the site. Shell.

What a peer holds is remembered only as long as nothing goes wrong; after any error it is asked again.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import msgspec
from twisted.internet.defer import DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from hybrid.errors import NoSuchSnapshot, PeerError, StorageError
from hybrid.history import History
from hybrid.model import NO_CLAIM, Claim, Guid, NodeId, SiteId, SiteSpec, Snapshot
from hybrid.ports import ByteSource, Partial, Peers, Pool
from hybrid.wire import AskHistory, HistoryHeld, Offer, Refused, Taken
from hybrid_replicator.index import HistoryIndex
from hybrid_replicator.names import site_dataset
from hybrid_replicator.plan import Nothing, NothingInCommon, SendImageFirst, Step, TheyDiverged, plan
from hybrid_replicator.resuming import Resuming
from hybrid_replicator.traffic import Traffic

ATTEMPTS = 4
"""Looks at the peer's history within one delivery: an image, a base that moved, a modified replica."""


class NotTaken(PeerError):
    """The peer refused a stream; `reason` is `hybrid.wire.Refused`'s, `seen` the newer claim it knows of."""

    def __init__(self, node: NodeId, refused: Refused) -> None:
        super().__init__(f"{node} did not take the stream", f"{refused.reason}: {refused.why}")
        self.reason, self.seen = refused.reason, refused.seen


@dataclass(frozen=True, slots=True)
class Delivered:
    """The peer holds `head`; so much was sent for it."""

    head: Guid
    bytes: int
    seconds: float


class Empty:
    """See `hybrid.ports.ByteSource`: a stream of nothing."""

    async def read(self) -> bytes:
        """See `hybrid.ports.ByteSource`."""
        return b""

    async def abort(self) -> None:
        """See `hybrid.ports.ByteSource`."""


class Cut:
    """Lets somebody else cut the stream of a delivery under way."""

    def __init__(self) -> None:
        self._source: ByteSource | None = None
        self.wanted = False

    async def __call__(self) -> None:
        """Cut it now, and whatever the delivery would send next."""
        self.wanted = True
        if self._source is not None:
            await self._source.abort()

    async def watch(self, source: ByteSource) -> None:
        """`source` is what is being sent now."""
        self._source = source
        if self.wanted:
            await source.abort()
            raise PeerError("the delivery was called off", "the site is being opened, closed or rolled back")


class Delivery:
    """Sends to peers; one delivery of a site to a peer at a time."""

    log = Logger()

    def __init__(self, clock: IReactorTime, pool: Pool, peers: Peers, index: HistoryIndex, traffic: Traffic) -> None:
        self._traffic = traffic
        self._clock, self._pool, self._peers, self._index = clock, pool, peers, index
        self.answered_s: dict[NodeId, float] = {}
        """When each peer last answered anything."""
        self._heads: dict[tuple[str, NodeId], Snapshot] = {}
        self._sending: dict[str, list[Guid]] = {}
        self._images: set[tuple[str, NodeId]] = set()
        self._locks: dict[tuple[str, NodeId], DeferredLock] = {}
        self._takes: dict[NodeId, int] = {}
        """Features of streams that each peer takes, as it said last."""
        self._resuming = Resuming()

    async def bring(
        self, site: SiteId, node: NodeId, claim: Claim, spec: SiteSpec | None, cut: Cut
    ) -> Delivered | None:
        """
        Make our head of `site` that of `node`.

        Returns:
            What was done; `None` when there is no snapshot yet.

        Raises:
            NotTaken: The peer refused.
            PeerError: It cannot be reached, or the stream was cut.
            StorageError: Our pool failed.
        """
        dataset = site_dataset(site)
        async with self._lock(dataset, node):
            try:
                return await self._bring(dataset, node, claim, spec, cut)
            except BaseException:
                self._heads.pop((dataset, node), None)
                raise

    async def _bring(
        self, dataset: str, node: NodeId, claim: Claim, spec: SiteSpec | None, cut: Cut
    ) -> Delivered | None:
        began_s, total = self._clock.seconds(), 0
        image = self._index.image_of(dataset)
        for attempt in range(ATTEMPTS):
            ours = self._index.history(dataset)
            theirs = await self._theirs(dataset, node, ours)
            rest = self._resuming.next(dataset, node, ours, theirs)
            if rest is not None:
                offer = Offer(dataset=dataset, claim=claim, base=rest[0].base, to=rest[1], spec=spec, goes_on=True)
                total += await self._go_on(node, offer, cut, rest[0])
                continue
            image_there = image is not None and (image[0], node) in self._images
            marks = await self._bookmarks(dataset, ours, theirs)
            match plan(ours, theirs, image[1] if image else None, image_there, marks):
                case Nothing(None):
                    return None
                case Nothing(head) if head is not None:
                    return self._delivered(dataset, node, ours[-1], total, began_s)
                case SendImageFirst() if image is not None:
                    sent = await self._send_image(image[0], image[1], node, cut)
                    total += sent or 0
                    image = image if sent is not None else None
                case Step(base, to) | NothingInCommon(base, to) | TheyDiverged(base, to):
                    offer = Offer(dataset=dataset, claim=claim, base=base, to=to, spec=spec)
                    try:
                        total += await self._send(node, offer, cut)
                    except NotTaken as refused:
                        self._mistook(dataset, node, image)
                        if refused.reason != "base" or attempt == ATTEMPTS - 1:
                            raise
                    except NoSuchSnapshot:
                        await self._index.reread(dataset)  # somebody destroyed it by hand
                        if attempt == ATTEMPTS - 1:
                            raise
                    else:
                        return self._delivered(dataset, node, to, total, began_s)
        raise PeerError(f"{node} could not be brought up to date", f"after {ATTEMPTS} attempts", "it is tried again")

    def _delivered(self, dataset: str, node: NodeId, head: Snapshot, total: int, began_s: float) -> Delivered:
        self._heads[dataset, node] = head
        return Delivered(head.guid, total, self._clock.seconds() - began_s)

    def under_way(self, site: SiteId) -> frozenset[Guid]:
        """Snapshots of `site` that streams under way start from or end at."""
        return frozenset(self._sending.get(site_dataset(site), ()))

    def forget(self, site: SiteId) -> None:
        """A new term began: others may have sent to the peers since."""
        for key in [key for key in self._heads if key[0] == site_dataset(site)]:
            del self._heads[key]

    def doubt(self, node: NodeId) -> None:
        """The peer was away: it may not be what it was."""
        self._heads = {key: head for key, head in self._heads.items() if key[1] != node}
        self._images = {key for key in self._images if key[1] != node}

    # --------------------------------------------------------------------------------------------------- steps

    async def _theirs(self, dataset: str, node: NodeId, ours: History) -> History | None:
        """
        What the peer holds: from memory its head alone, which is enough for an increment, as the peer looks at that.

        That there is nothing to send is never known from memory: its disk may be another one since.
        """
        head = self._heads.get((dataset, node))
        if head is not None and head in ours[:-1]:
            return (head,)
        return await self.ask(dataset, node)

    async def ask(self, dataset: str, node: NodeId) -> History | None:
        """What `node` holds of `dataset`, oldest first; `None`: no such dataset. Raises `PeerError`: it did not say."""
        answer = await self._peers.request(node, AskHistory(dataset))
        self.answered_s[node] = self._clock.seconds()
        if not isinstance(answer, HistoryHeld):
            raise PeerError(f"{node} did not say what it holds of {dataset}", f"it answered {type(answer).__name__}")
        self._takes[node] = answer.takes
        self._resuming.told(dataset, node, answer.part)
        return answer.history

    async def _bookmarks(self, dataset: str, ours: History, theirs: History | None) -> Collection[Guid]:
        """Where increments may begin besides our snapshots; asked only where the peer's head is none of these."""
        if not self._pool.capabilities.bookmarks or not theirs or theirs[-1] in ours:
            return ()
        return (await self._pool.bookmarks(dataset)).values()

    async def _go_on(self, node: NodeId, offer: Offer, cut: Cut, part: Partial) -> int:
        """
        Bytes sent of the rest of a stream that was cut; 0 if it cannot be gone on with.

        The peer gives up the part then, or as soon as another stream comes.
        """
        self._heads.pop((offer.dataset, node), None)
        try:
            return await self._send(node, offer, cut, part)
        except (NotTaken, StorageError) as error:
            if isinstance(error, NotTaken) and error.reason in ("busy", "stale", "owner"):
                raise
            self.log.warn("a cut stream of {dataset} begins anew: {why}", dataset=offer.dataset, why=str(error))
            return 0

    async def copy(self, dataset: str, guid: Guid, bases: tuple[Guid | None, ...], node: NodeId, cut: Cut) -> int:
        """
        Give `node` an immutable dataset (an image, a stash) with its properties, unless it holds it.

        Args:
            guid: Its one snapshot that counts.
            bases: Where the stream may start, best first; the next is tried where the peer, or this node, lacks one.

        Returns:
            Bytes sent.

        Raises:
            NotTaken: The peer refused; `base` also when another one stands under that name there.
        """
        async with self._lock(dataset, node):
            held = await self.ask(dataset, node)
            if held is not None:
                if all(snapshot.guid != guid for snapshot in held):
                    raise NotTaken(node, Refused("base", f"another {dataset} is there"))
                return 0
            history = self._index.history(dataset) or await self._index.refresh(dataset)
            to = next((snapshot for snapshot in history if snapshot.guid == guid), None)
            if to is None:
                raise NoSuchSnapshot(f"{dataset} has no snapshot {guid} any more")
            offer = Offer(dataset=dataset, claim=NO_CLAIM, base=None, to=to, properties=self._index.properties(dataset))
            rest = self._resuming.next(dataset, node, (to,), None)
            if rest is not None:
                goes_on = msgspec.structs.replace(offer, base=rest[0].base, goes_on=True)
                sent = await self._go_on(node, goes_on, cut, rest[0])
                if sent:
                    return sent
            for base in bases[:-1]:
                try:
                    return await self._send(node, msgspec.structs.replace(offer, base=base), cut)
                except NotTaken as refused:
                    if refused.reason != "base":
                        raise
                except NoSuchSnapshot as error:  # this node got it whole itself
                    self.log.debug("{dataset} goes without a base: {error}", dataset=dataset, error=error)
            return await self._send(node, msgspec.structs.replace(offer, base=bases[-1]), cut)

    async def _send_image(self, image: str, guid: Guid, node: NodeId, cut: Cut) -> int | None:
        """Bytes sent until the peer holds the image; `None` if another one stands under its name there."""
        if image not in self._index:
            await self._index.refresh(image)
        begin = self._index.made_from(image)  # of a moment of a site, which the peer may hold
        try:
            sent = await self.copy(image, guid, (None,) if begin is None else (begin, None), node, cut)
        except NotTaken as refused:
            if refused.reason != "base":
                raise
            self.log.warn("{node} holds another {image}: the site is sent whole", node=node, image=image)
            return None
        self._images.add((image, node))
        return sent

    async def _send(self, node: NodeId, offer: Offer, cut: Cut, part: Partial | None = None) -> int:
        """Bytes sent until the peer said it has taken them."""
        ends = [guid for guid in (offer.base, offer.to.guid) if guid is not None]
        sending = self._sending.setdefault(offer.dataset, [])
        sending += ends
        try:
            size_bytes, opened = await self._open(node, offer, part)
            offer = msgspec.structs.replace(offer, size_bytes=size_bytes)
            about_bytes = size_bytes if size_bytes is not None else await self._whole_bytes(offer)
            with self._traffic.transfer("send", offer.dataset, node, about_bytes) as transfer:
                source = self._traffic.paced(opened, transfer)
                await cut.watch(source)
                answer = await self._peers.offer(node, offer, source)
        finally:
            for guid in ends:
                sending.remove(guid)
        self.answered_s[node] = self._clock.seconds()
        match answer:
            case Taken(head) if head == offer.to.guid:
                return transfer.bytes
            case Refused():
                raise NotTaken(node, answer)
            case _:
                raise PeerError(f"{node} did not say that it holds {offer.dataset}@{offer.to.name}", str(answer))

    async def _open(self, node: NodeId, offer: Offer, part: Partial | None) -> tuple[int | None, ByteSource]:
        """Size (at most), where known, and bytes of the stream; nothing where the peer only has to cut back."""
        if offer.base == offer.to.guid:
            return 0, Empty()
        takes = self._takes.get(node, 0)
        size_bytes = await self._pool.estimate(offer.dataset, offer.to.guid, offer.base, takes)
        return size_bytes, await self._pool.send(offer.dataset, offer.to.guid, offer.base, takes, part)

    async def _whole_bytes(self, offer: Offer) -> int | None:
        """About how much a whole copy is, for people, where the pool cannot tell how long a stream will be."""
        return (await self._pool.dataset(offer.dataset)).referenced_bytes if offer.base is None else None

    def _mistook(self, dataset: str, node: NodeId, image: tuple[str, Guid] | None) -> None:
        """What we thought the peer holds was wrong."""
        self._heads.pop((dataset, node), None)
        if image is not None:
            self._images.discard((image[0], node))

    def _lock(self, dataset: str, node: NodeId) -> DeferredLock:
        return self._locks.setdefault((dataset, node), DeferredLock())
