"""
What this node holds of each site: durable in dataset properties, published as registers.

Shell. The only writer of this node's `SiteRegister`s, and the fence that the receiver asks before it takes a stream.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Protocol

import msgspec
from msgspec.structs import replace
from twisted.internet.defer import DeferredLock
from twisted.logger import Logger

from hybrid.cluster.candidates import newest_spec
from hybrid.cluster.conflict import bids_in_force
from hybrid.errors import NoSuchDataset, NoSuchSite
from hybrid.history import History
from hybrid.hosting.summary import late_s, safe_copies
from hybrid.load import Placed, SiteLoad
from hybrid.model import NO_CLAIM, Bid, Claim, Guid, NodeId, Proof, Role, SiteId, SiteRegister, SiteSpec, Stash
from hybrid.ports import Dataset, Pool

PREFIX = "sites/"
"""Datasets of sites: `sites/<site-id>`."""


class Registers(Protocol):
    """The ledger, as this module needs it."""

    def publish(self, site: SiteId, register: SiteRegister) -> SiteRegister:
        """Make `register` this node's word about `site`."""

    def seen(self, site: SiteId) -> Claim:
        """The largest claim on `site` in any register."""

    def registers(self, site: SiteId) -> Mapping[NodeId, SiteRegister]:
        """Every node's word about `site`."""


class Past(Protocol):
    """The time machine, as this module needs it."""

    def history(self, site: SiteId) -> History:
        """Main line here, oldest first."""

    def stashes(self, site: SiteId) -> tuple[Stash, ...]:
        """Stashes here, oldest first."""

    def acknowledged(self, site: SiteId) -> dict[NodeId, Guid]:
        """Of a site owned here, the newest snapshot that each node said it holds."""


class Holding(msgspec.Struct, frozen=True):
    """One site on this node. Replaced, never changed in place."""

    spec: SiteSpec
    role: Role = "replica"
    claim: Claim | None = None
    seen: Claim = NO_CLAIM
    serving: bool = False
    trouble: str = ""
    lag_s: float | None = None
    data_bytes: int = 0
    history_bytes: int = 0
    """Of an owner, as last published. Not on disk: they are measured again."""
    bids: dict[str, Bid] = {}
    successor: NodeId | None = None
    united: tuple[Guid, ...] = ()
    """See `SiteRegister.united`. Not on disk: the live data say so too, and are asked again."""
    awaiting: tuple[Claim, ...] = ()
    """See `SiteRegister.awaiting`."""
    paused: bool = False
    """While `awaiting`: stopped, unmounted, and all in a snapshot."""
    proof: Proof | None = None
    load: SiteLoad | None = None
    """Of an owner, as last published. Not on disk, as it is measured again."""
    placed: tuple[Placed, ...] = ()
    """See `SiteRegister.placed`. On disk with the claim."""


def dataset_of(site: SiteId) -> str:
    """The dataset of a site."""
    return PREFIX + site


def encode_spec(spec: SiteSpec) -> str:
    """A spec as it stands in the dataset property `spec`."""
    return msgspec.json.encode(spec).decode()


def owned_properties(spec: SiteSpec, claim: Claim) -> dict[str, str]:
    """What the dataset of a new site says, owned under `claim`."""
    return {"spec": encode_spec(spec), "claim": str(claim), "seen": str(claim)}


def read_holding(dataset: Dataset) -> Holding | None:
    """What the properties of a site's dataset say; `None` where they say nothing readable."""
    try:
        spec = msgspec.json.decode(dataset.properties["spec"], type=SiteSpec)
        claim = Claim.parse(dataset.properties["claim"]) if dataset.properties.get("claim") else None
        seen = Claim.parse(dataset.properties["seen"]) if dataset.properties.get("seen") else NO_CLAIM
        awaiting = dataset.properties.get("awaiting", "[]")
        return Holding(
            spec=spec,
            claim=claim,
            seen=max(seen, claim or NO_CLAIM),  # a crash may come between the two: no claim is ever used again
            bids=msgspec.json.decode(dataset.properties.get("bids", "{}"), type=dict[str, Bid]),
            awaiting=msgspec.json.decode(awaiting, type=tuple[Claim, ...]) if claim else (),  # it went with the claim
            proof=msgspec.json.decode(dataset.properties.get("proof", "null"), type=Proof | None),
            placed=msgspec.json.decode(dataset.properties.get("placed", "[]"), type=tuple[Placed, ...]),
        )
    except (KeyError, ValueError, msgspec.MsgspecError):
        return None


class Holdings:
    """All sites this node holds something of."""

    log = Logger()

    def __init__(self, pool: Pool, past: Past, registers: Registers, changed: Callable[[SiteId], None]) -> None:
        """`changed(site)` is called after each publication."""
        self._pool, self._past, self._registers, self._changed = pool, past, registers, changed
        self._held: dict[SiteId, Holding] = {}
        self._locks: dict[SiteId, DeferredLock] = {}
        self._durable: dict[SiteId, Claim] = {}
        """The largest claim that is known to be on disk as seen: a call that failed left it in mind alone."""

    # ------------------------------------------------------------------------------------------------ reading

    def __iter__(self) -> Iterator[SiteId]:
        return iter(list(self._held))

    def get(self, site: SiteId) -> Holding | None:
        """What is held of `site`, or `None`."""
        return self._held.get(site)

    def holds(self, site: SiteId) -> bool:
        """Whether anything of `site` is here."""
        return site in self._held

    def need(self, site: SiteId) -> Holding:
        """Like `get`; raises `NoSuchSite`."""
        holding = self._held.get(site)
        if holding is None:
            raise NoSuchSite(f"site {site} is not on this node")
        return holding

    def seen(self, site: SiteId) -> Claim:
        """The largest claim on `site` this node knows of, from its disk or from the ledger."""
        holding = self._held.get(site)
        return max(holding.seen if holding else NO_CLAIM, self._registers.seen(site))

    def is_writer(self, site: SiteId) -> bool:
        """Whether live data of `site` may change here now."""
        holding = self._held.get(site)
        return holding is not None and holding.role in ("opening", "owner", "stashing", "leaving")

    def busy(self, site: SiteId) -> float:
        """How busy `site` is: when the eighth newest snapshot was taken, or the oldest of fewer. Larger is busier."""
        return min((snapshot.created_at_s for snapshot in self._past.history(site)[-8:]), default=0)

    # ------------------------------------------------------------------------------------------------ writing

    async def load(self) -> list[SiteId]:
        """Read every site dataset of the pool; nothing is published yet. Returns those read, by id."""
        for dataset in await self._pool.datasets():
            if dataset.name.startswith(PREFIX):
                self._take(dataset)
        return sorted(self._held)

    async def refresh(self, site: SiteId) -> None:
        """Read `site` again after the receiver changed it (spec, seen), and publish; old trouble is over then."""
        dataset = await self._pool.dataset(dataset_of(site))
        before = self._held.get(site)
        if before is None or not self.is_writer(site):
            self._take(dataset)
        self.publish(site)

    async def take_up(self, site: SiteId) -> None:
        """Hold what may be there by now: a history set aside with no base leaves no main line behind."""
        try:
            await self.refresh(site)
        except NoSuchDataset:
            self.log.debug("there is no main line of {site}", site=site)

    def _take(self, dataset: Dataset) -> None:
        site = SiteId(dataset.name.removeprefix(PREFIX))
        holding = read_holding(dataset)
        if holding is None:
            self.log.warn("dataset {name} has no readable spec: left alone", name=dataset.name)
            return
        self._durable[site] = holding.seen
        before = self._held.get(site)
        if before is not None:  # what a stash leaves as the main line has no properties yet
            holding = replace(holding, seen=max(holding.seen, before.seen), proof=holding.proof or before.proof)
        self._held[site] = holding

    def add(self, spec: SiteSpec, claim: Claim) -> None:
        """A new site, whose dataset is there and says what `owned_properties` does."""
        self._held[spec.id] = Holding(spec=spec, role="opening", claim=claim, seen=claim)
        self._durable[spec.id] = claim
        self.publish(spec.id)

    async def claim(self, site: SiteId, claim: Claim) -> None:
        """Hold `claim`, durably before anything else happens under it."""
        placed = self.need(site).placed
        told = msgspec.json.encode(placed).decode() if placed else None
        await self._write(site, claim, {"claim": str(claim), "bids": None, "awaiting": None, "placed": told})
        self.update(site, claim=claim, bids={}, awaiting=(), paused=False)

    def explain(self, site: SiteId, placed: tuple[Placed, ...]) -> None:
        """Why it comes here: kept and told with the claim that follows."""
        self._held[site] = replace(self.need(site), placed=placed)

    async def release(self, site: SiteId) -> None:
        """
        Give the claim up, durably, and be a replica.

        Where that fails it is given up all the same, as it may be gone from the disk; the role stays, and it is to be
        tried again.
        """
        self._held[site] = replace(self.need(site), claim=None)
        await self._write(site, self.seen(site), {"claim": None, "bids": None, "awaiting": None})
        self.update(
            site,
            claim=None,
            role="replica",
            serving=False,
            trouble="",
            successor=None,
            lag_s=None,
            load=None,
            bids={},
            awaiting=(),
            paused=False,
        )

    async def bid(self, site: SiteId, key: str, bid: Bid) -> None:
        """Bid in the conflict `key`: durably first, so that no restart changes what others have seen."""
        holding = self.need(site)
        bids = {key: bid, **bids_in_force(holding.bids, holding.claim)}
        await self._pool.set_properties(dataset_of(site), {"bids": msgspec.json.encode(bids).decode()})
        self.update(site, bids=bids)

    async def await_pick(self, site: SiteId, claims: tuple[Claim, ...]) -> None:
        """Write nothing any more until a person picked among `claims`, durably."""
        await self._pool.set_properties(dataset_of(site), {"awaiting": msgspec.json.encode(claims).decode()})
        self.update(site, awaiting=claims, paused=False, serving=False)

    async def picked(self, site: SiteId) -> None:
        """A person picked what is here: it need not wait any more."""
        await self._pool.set_properties(dataset_of(site), {"awaiting": None})
        self.update(site, awaiting=(), paused=False)

    async def saw(self, site: SiteId, claim: Claim) -> None:
        """Remember `claim` durably, so that nothing older is ever taken again."""
        holding = self._held.get(site)
        if holding is not None and claim > self._durable.get(site, NO_CLAIM):
            try:
                await self._write(site, claim, {})
            except NoSuchDataset:  # all of it was set aside; what is to take its place comes with a claim of its own
                self.log.info("{site} has no main line here that could remember {claim}", site=site, claim=str(claim))
            if site in self._held:
                self.publish(site)

    async def _write(self, site: SiteId, seen: Claim, properties: Mapping[str, str | None]) -> None:
        """
        Write properties, and with them the largest claim that was seen, which never goes back: one call at a time.

        What was seen is kept in mind first: of a call that fails, a part may be on disk.
        """
        async with self.writing(site):
            holding = self.need(site)
            self._held[site] = replace(holding, seen=max(holding.seen, seen, self._registers.seen(site)))
            largest = self.need(site).seen
            await self._pool.set_properties(dataset_of(site), {"seen": str(largest), **properties})
            self._durable[site] = max(largest, self._durable.get(site, NO_CLAIM))

    @asynccontextmanager
    async def writing(self, site: SiteId) -> AsyncIterator[None]:
        """Entered by whoever writes what was seen of `site`; a swap of histories does so too, on a new dataset."""
        async with self._locks.setdefault(site, DeferredLock()):
            yield

    async def prove(self, site: SiteId, proof: Proof) -> None:
        """Remember what came of starting the copy here."""
        await self._pool.set_properties(dataset_of(site), {"proof": msgspec.json.encode(proof).decode()})
        self.update(site, proof=proof)

    async def catch_up(self, site: SiteId) -> None:
        """Make the newest spec that anybody published our own: its owner may have changed it after its last stream."""
        said = self._registers.registers(site).values()
        newest = newest_spec(register for register in said if register.role != "none")
        if newest is not None and newest.version > self.need(site).spec.version:
            await self.write_spec(newest)

    async def write_spec(self, spec: SiteSpec) -> None:
        """Replace the spec (the caller is the owner and gave it the next version)."""
        await self._pool.set_properties(dataset_of(spec.id), {"spec": encode_spec(spec)})
        self.update(spec.id, spec=spec)

    async def rewrite(self, site: SiteId) -> None:
        """Write all properties again: a dataset made by clone and promote inherits none."""
        holding = self.need(site)
        await self._write(
            site,
            holding.seen,
            {
                "spec": encode_spec(holding.spec),
                "claim": str(holding.claim) if holding.claim else None,
                "bids": msgspec.json.encode(holding.bids).decode() if holding.bids else None,
            },
        )

    def update(self, site: SiteId, **changes: object) -> None:
        """Replace fields of the holding and publish."""
        self._held[site] = replace(self.need(site), **changes)
        self.publish(site)

    def forget(self, site: SiteId) -> None:
        """The dataset is gone from `sites/`: publish that nothing is held."""
        self._held.pop(site, None)
        self._durable.pop(site, None)
        self._registers.publish(site, SiteRegister(role="none", seen=self._registers.seen(site)))
        self._changed(site)

    def publish(self, site: SiteId) -> None:
        """Publish what is held of `site` now."""
        self._registers.publish(site, self._register(site))
        self._changed(site)

    def _register(self, site: SiteId) -> SiteRegister:
        holding = self.need(site)
        history = self._past.history(site)
        head = history[-1] if history else None
        ours = next((snapshot for snapshot in reversed(history) if snapshot.epoch), None)
        interval_s = holding.spec.snapshot_every_s
        return SiteRegister(
            role=holding.role,
            claim=holding.claim,
            seen=max(holding.seen, holding.claim or NO_CLAIM),
            head=head.guid if head else None,
            head_epoch=ours.epoch if ours else 0,  # the head itself may have a name given by hand
            head_counter=ours.counter if ours else 0,
            head_at_s=head.created_at_s if head else 0,
            length=len(history),
            recent=tuple(snapshot.guid for snapshot in history[:-9:-1]),
            serving=holding.serving,
            trouble=holding.trouble,
            lag_s=holding.lag_s,
            late_s=late_s(holding.lag_s, interval_s),
            safe_copies=safe_copies(history, self._past.acknowledged(site), interval_s),
            data_bytes=holding.data_bytes if holding.role == "owner" else 0,
            history_bytes=holding.history_bytes if holding.role == "owner" else 0,
            spec=holding.spec,
            stashes=self._past.stashes(site),
            bids=bids_in_force(holding.bids, holding.claim),
            successor=holding.successor,
            united=holding.united,
            awaiting=holding.awaiting,
            proof=holding.proof,
            load=holding.load if holding.role == "owner" else None,
            placed=holding.placed if holding.claim is not None else (),
        )
