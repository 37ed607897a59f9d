"""
Takes streams from peers: fenced, checked, one at a time per dataset, and never at the cost of what is here. Shell.

What is here and went another way is set aside as a stash before the stream is taken. A dataset that is not here yet is
received under `temporary/` and put in its place complete with its properties, so that a crash leaves all or nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from hybrid.cluster.room import Level, level, percent
from hybrid.cluster.sanity import leaps
from hybrid.errors import Busy, HybridError, OutOfSpace, PeerError, QuotaReached, StreamRefused
from hybrid.model import Claim, Fact, NodeId, Received, SiteId, StreamBroken
from hybrid.ports import ByteSink, IncomingStream, Partial, Pool
from hybrid.wire import Offer, Refused, Taken
from hybrid_replicator.berths import Berths
from hybrid_replicator.fit import Beside, CutBack, Diverges, Extends, Fresh, Held, Misfit, fit
from hybrid_replicator.gate import Gates
from hybrid_replicator.header import BadStream
from hybrid_replicator.holds import BaseHolds
from hybrid_replicator.index import HistoryIndex
from hybrid_replicator.intake import limit_bytes, take_in
from hybrid_replicator.names import SEEN, SPEC, STASH_TAG, kind_of, site_dataset, site_of
from hybrid_replicator.parts import Parts, received_at
from hybrid_replicator.ports import Fences
from hybrid_replicator.snapshots import Snapshots
from hybrid_replicator.stash import Stashes
from hybrid_replicator.tasks import patiently
from hybrid_replicator.temporary import discard
from hybrid_replicator.traffic import PacedStream, Traffic

RESERVE = 1 - Level.FULL / 100
"""The part of a pool that receives leave free: a full pool cannot even be tidied up."""


class Receiver:
    """The stream handler of this node."""

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        pool: Pool,
        index: HistoryIndex,
        fences: Fences,
        gates: Gates,
        snapshots: Snapshots,
        stashes: Stashes,
        holds: BaseHolds,
        traffic: Traffic,
        report: Callable[[Fact], None],
    ) -> None:
        self._traffic, self._berths = traffic, Berths()
        self._clock, self._pool, self._index, self._fences, self._gates = clock, pool, index, fences, gates
        self._snapshots, self._stashes, self._holds, self._report = snapshots, stashes, holds, report
        self.parts = Parts(clock, pool)
        self._under_way: set[str] = set()
        self._unsure: set[str] = set()
        """Datasets of which a stream ended in an error: what is on disk is known when they were read again."""

    async def receive(self, sender: NodeId, offer: msgspec.Struct, stream: IncomingStream) -> Taken | Refused:
        """Answer an offer. Whatever happens, the old head of what is here stands or the new one is on disk."""
        if not isinstance(offer, Offer) or kind_of(offer.dataset) is None:
            return Refused("broken", "this is no offer of a dataset that is replicated")
        if offer.dataset in self._under_way:
            return Refused("busy", f"{offer.dataset} is being received already")
        if self._berths.full(sender, offer.base is None):
            return Refused("busy", "as much is being received as this node takes at a time")
        self._under_way.add(offer.dataset)
        failed: Exception | None = None
        try:
            with (
                self._berths.taken(sender, offer.base is None),
                self._traffic.transfer("receive", offer.dataset, sender, offer.size_bytes) as transfer,
            ):
                answer = await self._answer(sender, offer, PacedStream(stream, self._traffic.paced(stream, transfer)))
        except Exception as error:
            failed, answer = error, self._refusal(offer, error)
            self._unsure.add(offer.dataset)
            await stream.abort()
        finally:
            self._under_way.discard(offer.dataset)
        if isinstance(answer, Refused):
            if answer.reason == "broken" and not isinstance(failed, PeerError):
                self._report(StreamBroken(sender, answer.why))
            self.log.info(
                "{dataset} from {sender} refused: {reason} {why}",
                dataset=offer.dataset,
                sender=sender,
                reason=answer.reason,
                why=answer.why,
            )
        return answer

    async def _answer(self, sender: NodeId, offer: Offer, stream: IncomingStream) -> Taken | Refused:
        if kind_of(offer.dataset) != "site":
            return await self._take_copy(offer, stream)
        site = site_of(offer.dataset)
        refused = self._fenced(sender, site, offer)
        if refused is not None:
            return refused
        await self._fences.saw(site, offer.claim)  # what others told is on disk only from now on
        async with self._gates.of(site).shared(stream.abort):
            await self._stashes.finish(site)
            answer = await self._take_site(site, offer, stream)
            if isinstance(answer, Taken):
                await self._note(site, sender, offer)
            return answer

    async def look_again(self) -> None:
        """
        Read again what streams that failed left, and tell: all of one may be here, and only its end was not seen.

        Raises `StorageError`, `Busy`; what was not read is read the next time.
        """
        for dataset in sorted(self._unsure - self._under_way):
            if kind_of(dataset) != "site":
                await self._index.refresh(dataset)
            else:
                site = site_of(dataset)
                async with self._gates.of(site).shared():
                    history = await self._index.refresh(dataset)
                if history:
                    self._report(Received(site, self._taken_under(site), history[-1].guid))
            self._unsure.discard(dataset)

    def _taken_under(self, site: SiteId) -> Claim:
        """What is on disk: it was written before any stream was taken under it. Larger ones may only be heard of."""
        text = self._index.properties(site_dataset(site)).get(SEEN)
        return Claim.parse(text) if text else self._fences.seen(site)

    def _fenced(self, sender: NodeId, site: SiteId, offer: Offer) -> Refused | None:
        """Why `sender` may not send `site` now, if so."""
        seen = self._seen(site)
        if self._fences.is_writer(site):
            return Refused("owner", "this node is the owner itself", seen)
        if offer.claim < seen:
            return Refused("stale", f"a newer claim than {offer.claim} is known", seen)
        strict = offer.spec is not None and offer.spec.consistency == "strict"
        if leaps(seen.epoch, offer.claim.epoch, strict):
            return Refused("broken", f"no healthy node claims epoch {offer.claim.epoch}", seen)
        if offer.claim.node != sender:
            return Refused("broken", f"{sender} sends under the claim of {offer.claim.node}")
        if offer.spec is not None and offer.spec.id != site:
            return Refused("broken", f"the spec is of site {offer.spec.id}")
        return None

    def _seen(self, site: SiteId) -> Claim:
        """The largest claim heard of; where a crash left only stashes, that with which they were set aside."""
        fences, dataset = self._fences.seen(site), site_dataset(site)
        aside = self._index.datasets_of(site) if dataset not in self._index else []
        texts = [self._index.properties(name).get(SEEN) for name in aside]
        return max([fences, *(Claim.parse(text) for text in texts if text)])

    # ------------------------------------------------------------------------------------------------- taking

    async def _take_site(self, site: SiteId, offer: Offer, stream: IncomingStream) -> Taken | Refused:
        if offer.dataset not in self._index:
            await self._index.refresh(offer.dataset)
        ours = self._index.history(offer.dataset) if offer.dataset in self._index else None
        elsewhere = offer.base is not None and self._index.image_with(offer.base) is not None
        match fit(ours, offer.base, offer.to.guid, elsewhere):
            case Held():
                return Taken(offer.to.guid)
            case CutBack(to):
                await self._stashes.stash(site, to, "conflict")
                return await self._checked(offer)
            case Extends():
                return await self._extend(site, offer, stream)
            case Diverges(base):
                await self._room(offer)
                await self._stashes.stash(site, base, "conflict")
                return await self._extend(site, offer, stream)
            case Fresh():
                return await self._put_in_place(offer, stream, self._properties(offer), None)
            case Beside():
                return await self._put_in_place(offer, stream, self._properties(offer), site)
            case Misfit():
                return Refused("base", f"snapshot {offer.base} is not here")

    async def _take_copy(self, offer: Offer, stream: IncomingStream) -> Taken | Refused:
        """
        An image or a stash: immutable, so it is taken whole once.

        A stash that is here under another name is not taken twice: this node set the same history aside by itself.
        """
        await self._index.refresh(offer.dataset)
        if self._index.has(offer.to.guid):
            return Taken(offer.to.guid)
        if offer.dataset in self._index:
            return Refused("base", f"another {offer.dataset} is here")
        if offer.base is not None and not self._index.has(offer.base):
            return Refused("base", f"snapshot {offer.base} is not here")
        return await self._put_in_place(offer, stream, offer.properties, None)

    async def _extend(self, site: SiteId, offer: Offer, stream: IncomingStream) -> Taken | Refused:
        limit = await self._room(offer)
        try:
            await take_in(offer, stream, lambda: self._pool.receive(offer.dataset, resumable=True), limit)
        except StreamRefused as error:
            if offer.goes_on:
                await self.parts.give_up(offer.dataset)
            history = await self._index.reread(offer.dataset)
            if await self._snapshots.keep_present(site) is not None:
                await self._stashes.stash(site, history[-1].guid, "modified")
                return Refused("base", "the replica had been modified; that is set aside now")
            return Refused("broken" if history[-1].guid == offer.base else "base", str(error))
        except BaseException:
            await self.parts.kept(offer.dataset)
            raise
        return await self._checked(offer)

    async def part(self, dataset: str) -> Partial | None:
        """What is here of a stream of `dataset` that was cut."""
        if dataset in self._under_way:
            return None
        return await self.parts.of(dataset if dataset in self._index else received_at(dataset))

    async def _put_in_place(
        self, offer: Offer, stream: IncomingStream, properties: dict[str, str], instead: SiteId | None
    ) -> Taken | Refused:
        """Receive a new dataset; with `instead`, what is in its place is set aside once the new one is complete."""
        limit = await self._room(offer, Level.SHORT if kind_of(offer.dataset) == "stash" else Level.SCARCE)
        temporary = received_at(offer.dataset)
        if not offer.goes_on:
            await discard(self._pool, temporary)

        async def open_sink() -> ByteSink:
            return await self._pool.receive(temporary, resumable=True)

        try:
            await take_in(offer, stream, open_sink, limit)
            await self._pool.set_properties(temporary, properties)
            if kind_of(offer.dataset) == "stash":
                await self._pool.hold(temporary, offer.to.guid, STASH_TAG)
            if instead is not None:
                await self._stashes.stash(instead, None, "conflict")
            await patiently(self._clock, lambda: self._pool.rename(temporary, offer.dataset))
        except BaseException as error:
            if isinstance(error, StreamRefused) or not await self.parts.kept(temporary):
                await discard(self._pool, temporary)
            raise
        await self._index.refresh(offer.dataset)
        return await self._checked(offer)

    async def _room(self, offer: Offer, below: Level = Level.FULL) -> int:
        """How many bytes may come. Raises `OutOfSpace` when those announced do not fit, or the pool is not `below`."""
        space = await self._pool.space()
        if level(space.size_bytes, space.free_bytes) >= below:
            full = percent(space.size_bytes, space.free_bytes)
            raise OutOfSpace(f"{offer.dataset} is not taken", f"the pool is {full} % full", "add disks, or free space")
        left = space.free_bytes - int(space.size_bytes * RESERVE)
        if left <= (offer.size_bytes or 0):
            raise OutOfSpace(f"no room for {offer.dataset}", f"{max(left, 0)} bytes may still be received")
        return limit_bytes(offer, left)

    # -------------------------------------------------------------------------------------------------- after

    async def _checked(self, offer: Offer) -> Taken | Refused:
        """The answer, from the pool and not from memory."""
        history = await self._index.reread(offer.dataset)
        if not history or history[-1].guid != offer.to.guid:
            return Refused("broken", f"the stream was received, and yet {offer.to.guid} is not the newest here")
        return Taken(offer.to.guid)

    def _properties(self, offer: Offer) -> dict[str, str]:
        spec = {SPEC: msgspec.json.encode(offer.spec).decode()} if offer.spec is not None else {}
        return {**spec, SEEN: str(offer.claim)}

    async def _note(self, site: SiteId, sender: NodeId, offer: Offer) -> None:
        """Write down what came with the stream where it differs, hold the new base, and tell."""
        known, new = self._index.properties(offer.dataset), self._properties(offer)
        if SEEN in known:
            del new[SEEN]  # was written by the fence, or a newer one
        changed = {key: value for key, value in new.items() if known.get(key) != value}
        if changed:
            await self._pool.set_properties(offer.dataset, changed)
            self._index.wrote(offer.dataset, changed)
        self._holds.want(offer.dataset, sender, offer.to.guid)
        self._report(Received(site, offer.claim, offer.to.guid))

    def _refusal(self, offer: Offer, error: Exception) -> Refused:
        match error:
            case OutOfSpace() | QuotaReached():
                return Refused("space", str(error))
            case BadStream() | StreamRefused() | PeerError():
                return Refused("broken", str(error))
            case Busy():
                return Refused("busy", str(error))
            case HybridError():
                self.log.failure("receiving {dataset} failed", dataset=offer.dataset)
                return Refused("storage", str(error))
            case _:
                self.log.failure("receiving {dataset} failed", dataset=offer.dataset)
                return Refused("storage", f"{type(error).__name__}: see the log of this node")
