"""Brings sites back from a store: lists what is there, and makes datasets of it. Shell."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack

import msgspec
from twisted.internet.defer import DeferredLock
from twisted.logger import Logger

from hybrid.away import lines
from hybrid.away.lines import AwaySite, Stream
from hybrid.away.ports import Held, Objects
from hybrid.away.sealing import Sealed
from hybrid.away.shipping import HELD, Label
from hybrid.away.stores import AwayStore
from hybrid.deeds import Progress, Transfers
from hybrid.errors import AlreadyExists, AwayError, Conflict, Damaged, NoSuchDataset, NoSuchSite
from hybrid.history import History
from hybrid.model import SiteId, SiteSpec
from hybrid.ports import Pool
from hybrid.view import View

SITES, STANDBY, TRASH, TEMPORARY = "sites/", "standby/", "trash/", "temporary/"
"""`standby/<site-id>`: a site that is another cluster's, kept as the store has it; nobody writes to it."""


class Fetching:
    """On one node, from any store."""

    log = Logger()

    def __init__(
        self,
        pool: Pool,
        held: Held,
        view: Callable[[], View],
        buried: Callable[[SiteId], str | None],
        admit: Callable[[SiteId], Awaitable[object]],
        revive: Callable[[SiteId], None],
        transfers: Transfers,
    ) -> None:
        """
        Args:
            buried: Of a site that was deleted in this cluster, the store it was moved to, or `""`; else `None`.
            admit: Told of a dataset that was put into `sites/`.
            revive: Have the cluster forget that a site was deleted.
        """
        self._revive, self._transfers = revive, transfers
        self._locks: dict[SiteId, DeferredLock] = {}
        """Of one site either a restore fetches or a standby: both write to the same dataset."""
        self._pool, self._held, self._view, self._buried, self._admit = pool, held, view, buried, admit

    async def sites(self, store: AwayStore, objects: Objects) -> list[AwaySite]:
        """What is there, by name. Raises `AwayError`."""
        found = [await self._site(store, objects, SiteId(name)) for name in await objects.folders(lines.SITES)]
        return sorted((one for one in found if one is not None), key=lambda one: (one.name, one.site))

    async def _site(self, store: AwayStore, objects: Objects, site: SiteId) -> AwaySite | None:
        """`None` where nothing can be restored."""
        names = await objects.names(f"{lines.SITES}{site}/")
        stored = lines.streams(name for name in names if name.startswith(lines.labels_of(site)))
        newest = lines.newest(stored)
        if newest is None:
            return None
        label = await _label(store, objects, site, newest)
        return AwaySite(site, label.spec.name, newest.at_s, len(lines.chains(stored)), sum(names.values()))

    async def restore(
        self, store: AwayStore, objects: Objects, wanted: str, at_s: int | None, progress: Progress
    ) -> SiteSpec:
        """
        Make a site of this cluster what it was, on this node; elections then find it an owner.

        What of it lies here already, on standby or in the trash since it was moved away, is not fetched again.

        Args:
            wanted: Its id, or its name then.
            at_s: See `lines.chain_at`.

        Raises:
            NoSuchSite: The store has none such.
            Conflict: The cluster has it, or something in its place.
            AwayError: The store, or what lies there; what was fetched whole stays on standby.
        """
        with progress.step("look into the store"):
            site = await self._find(store, objects, wanted)
        async with self._locks.setdefault(site, DeferredLock()):
            return await self._restore(store, objects, site, at_s, progress)

    async def _restore(
        self, store: AwayStore, objects: Objects, site: SiteId, at_s: int | None, progress: Progress
    ) -> SiteSpec:
        with progress.step("see what is there"):
            chain = lines.chain_at(lines.streams(await objects.names(lines.labels_of(site))), at_s)
            labels = [await _label(store, objects, site, stream) for stream in chain]
            spec = labels[-1].spec
            moved = self._check(store, spec)
        async with AsyncExitStack() as undo:
            if at_s is None:
                dataset = await self._ready(site, moved)
            else:
                dataset = TEMPORARY + site
                undo.push_async_callback(self._remove, dataset)
            for label, stream in await self._lacking(labels, chain, dataset):
                with progress.step(f"fetch {label.bytes} bytes"):
                    await self._receive(store, objects, site, stream, label, dataset)
            with progress.step("put it in its place"):
                self._check(store, spec)
                seen = max(label.seen for label in labels)
                properties = {"spec": msgspec.json.encode(spec).decode(), "seen": str(seen)}
                await self._pool.set_properties(dataset, {**properties, "claim": None, "trashed": None, HELD: None})
                await self._pool.rename(dataset, SITES + site)
            undo.pop_all()
        await self._admit(site)
        await self._held.refresh(site)
        if moved:
            self._revive(site)
        self.log.info("{site} is back from {store}", site=site, store=store.name)
        return spec

    async def follow(self, store: AwayStore, objects: Objects, site: SiteId) -> int:
        """
        Bring what is on standby here of a site up to date.

        Returns:
            Streams that were fetched.

        Raises:
            AwayError: The store, or what lies there; what was fetched whole stays.
        """
        async with self._locks.setdefault(site, DeferredLock()):
            if self._held.holds(site):
                return 0
            chain = lines.chain_at(lines.streams(await objects.names(lines.labels_of(site))), None)
            labels = [await _label(store, objects, site, stream) for stream in chain]
            dataset = await self._ready(site, self._buried(site) == store.name)
            lacking = await self._lacking(labels, chain, dataset)
            for label, stream in lacking:
                await self._receive(store, objects, site, stream, label, dataset)
            return len(lacking)

    async def _ready(self, site: SiteId, moved: bool) -> str:
        """The dataset to fetch into, which may not be there yet; one that was moved away comes out of the trash."""
        if moved and not await self._history(STANDBY + site) and await self._history(TRASH + site):
            await self._pool.rename(TRASH + site, STANDBY + site)
        return STANDBY + site

    async def _lacking(
        self, labels: Sequence[Label], chain: Sequence[Stream], dataset: str
    ) -> list[tuple[Label, Stream]]:
        """What `dataset` lacks; one that does not end on the chain is set aside, as a line of its own that was kept."""
        lacking = lines.missing(chain, await self._history(dataset))
        if lacking is None:
            await self._aside(dataset)
            lacking = tuple(chain)
        return [(label, stream) for label, stream in zip(labels, chain, strict=True) if stream in lacking]

    async def _aside(self, dataset: str) -> None:
        """Into the trash, where it stays as long as nobody buried all of it."""
        leaf = dataset.partition("/")[2]
        for number in range(2, 100):
            try:
                await self._pool.rename(dataset, f"{TRASH}{leaf}.{number}")
            except AlreadyExists:
                continue
            return
        raise AlreadyExists(f"{leaf} is in the trash a hundred times already")

    async def _history(self, dataset: str) -> History:
        try:
            return await self._pool.history(dataset)
        except NoSuchDataset:
            return ()

    async def _find(self, store: AwayStore, objects: Objects, wanted: str) -> SiteId:
        ids = await objects.folders(lines.SITES)
        if wanted in ids:
            return SiteId(wanted)
        found = [one.site for one in await self.sites(store, objects) if one.name == wanted]
        if not found:
            raise NoSuchSite(f"{store.name} has no site {wanted[:80]}", "", f"hybrid away sites {store.name}")
        if len(found) > 1:
            raise Conflict(f"{store.name} has {len(found)} sites called {wanted}", "", f"use {', '.join(found)}")
        return found[0]

    def _check(self, store: AwayStore, spec: SiteSpec) -> bool:
        """
        Whether it was moved from here to the store.

        Raises:
            Conflict: This cluster has it, or deleted it; or its name, domains or number are another's.
        """
        view, stone = self._view(), self._buried(spec.id)
        if spec.id in view.sites or self._held.holds(spec.id):
            raise Conflict(f"site {spec.name} is here", "it is restored from its own history", "hybrid snap rollback")
        if stone is not None and stone != store.name:
            why = "it was deleted here, and its history may still be in the trash"
            raise Conflict(f"site {spec.name} cannot be restored", why, f"hybrid site undelete {spec.name}")
        for other in view.sites.values():
            taken = {other.spec.name} & {spec.name} | {*other.spec.domains} & {*spec.domains}
            if taken or other.spec.number == spec.number:
                what = ", ".join(sorted(taken)) or f"the number {spec.number}"
                raise Conflict(f"{what} is taken by site {other.spec.name}", "", "delete or rename that one first")
        return stone is not None

    async def _receive(
        self, store: AwayStore, objects: Objects, site: SiteId, stream: Stream, label: Label, dataset: str
    ) -> None:
        """One stream, every piece checked before ZFS sees it."""
        sealed, sink = Sealed(store.key, stream.id), await self._pool.receive(dataset)
        try:
            with self._transfers.transfer("fetch", f"sites/{site}", store.name, label.bytes) as transfer:
                for number in range(label.pieces):
                    data = await objects.get(lines.piece(site, stream.id, number))
                    piece = sealed.open(number, number == label.pieces - 1, data)
                    await sink.write(piece)
                    transfer.bytes += len(piece)
                await sink.finish()
        except BaseException:
            await sink.abort()
            raise
        history = await self._pool.history(dataset)
        if not history or history[-1].guid != stream.head:
            raise Damaged(f"stream {stream.id} of {store.name} ends in another snapshot than it says")

    async def _remove(self, dataset: str) -> None:
        try:
            await self._pool.destroy(dataset, with_history=True)
        except NoSuchDataset:
            return


async def _label(store: AwayStore, objects: Objects, site: SiteId, stream: Stream) -> Label:
    """Raises `Damaged`."""
    data = Sealed(store.key, stream.id).open_label(await objects.get(lines.label(site, stream)))
    try:
        label = msgspec.json.decode(data, type=Label)
    except msgspec.MsgspecError as error:
        raise AwayError(f"stream {stream.id} cannot be understood", str(error), "is this release too old?") from error
    if label.spec.id != site or label.head.guid != stream.head or label.base != stream.base or label.format != 1:
        raise Damaged(f"stream {stream.id} of {store.name} is not what its name says")
    return label
