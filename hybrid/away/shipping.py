"""Puts the newest snapshot of a site into a store, and takes away what is too old there. Shell."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Protocol

import msgspec
from twisted.logger import Logger

from hybrid.away import lines
from hybrid.away.lines import Stream
from hybrid.away.ports import Objects
from hybrid.away.sealing import Sealed
from hybrid.away.stores import DAY_S, AwayStore
from hybrid.deeds import Transfer, Transfers
from hybrid.errors import AwayError, HybridError, NoSuchDataset, NoSuchSnapshot, PeerError
from hybrid.history import History
from hybrid.model import Claim, Guid, SiteId, SiteSpec, Snapshot
from hybrid.ports import ByteSource, Dataset, Pool

PIECE = 4 * 1024 * 1024
"""Bytes sealed and put at once: some 10 ms of this process, and what a restore holds in memory."""
UNFINISHED_S = 7 * DAY_S
"""Pieces of a stream that was begun so long ago and has no label go."""
HELD = "away"
"""Property of a site's dataset: JSON, for each store the guid that is held for it."""


class Label(msgspec.Struct, frozen=True, kw_only=True):
    """What stands sealed beside a stream's pieces."""

    spec: SiteSpec
    seen: Claim
    """The largest claim known then: whoever restores it claims more."""
    head: Snapshot
    base: Guid | None
    pieces: int
    bytes: int
    sent_at_s: int
    by: str
    """Name of the node."""
    format: int = 1


class Histories(Protocol):
    """The replicator, as this module needs it."""

    def history(self, site: SiteId) -> History:
        """The main line on this node, oldest first."""

    def sharing(self, site: SiteId, abort: Callable[[], Awaitable[None]]) -> AbstractAsyncContextManager[None]:
        """Work on a site's dataset beside others; `abort` is called when somebody wants it alone. Raises `Busy`."""


class Shipping:
    """Of one node, to any store."""

    log = Logger()

    def __init__(
        self,
        name: str,
        pool: Pool,
        machine: Histories,
        seen: Callable[[SiteId], Claim],
        wall_s: Callable[[], float],
        entropy: Callable[[int], bytes],
        tell: Callable[[str, SiteId, str], None],
        transfers: Transfers,
    ) -> None:
        """
        Args:
            name: Of this node, for people.
            seen: The largest claim known of a site.
            wall_s: Seconds since the epoch.
            entropy: So many random bytes.
            tell: `(kind, site, text)`, once when a site is found to run in another cluster too.
        """
        self._tell, self._transfers = tell, transfers
        self._told: dict[tuple[str, SiteId], int] = {}
        """The term of which was told."""
        self._name, self._pool, self._machine, self._seen = name, pool, machine, seen
        self._wall_s, self._entropy = wall_s, entropy

    async def ship(self, store: AwayStore, objects: Objects, spec: SiteSpec) -> Stream | None:
        """
        Have the store hold our newest snapshot of a site.

        Returns:
            The stream that was put there; `None` when it was there already, or there is none.

        Raises:
            AwayError: The store; nothing there counts before all of it is there.
            StorageError: Our pool.
            Busy: Something else is done to the site.
        """
        site = spec.id
        stored = lines.streams(await objects.names(lines.labels_of(site)))
        history = self._machine.history(site)
        due = lines.due(stored, history)
        shipped = None
        if due is not None:
            shipped = await self._ship(store, objects, spec, history[-1], due.base)
            stored = (*stored, shipped)
        if history:
            await self._hold(store.name, site, history[-1].guid)
        self._warn(store, site, lines.foreign(stored, history, self._seen(site).epoch))
        await self._tidy(store, objects, site, stored)
        return shipped

    async def _ship(
        self, store: AwayStore, objects: Objects, spec: SiteSpec, head: Snapshot, base: Guid | None
    ) -> Stream:
        site, now_s = spec.id, int(self._wall_s())
        stream = Stream(head.created_at_s, head.epoch, head.guid, base, f"{now_s:010x}{self._entropy(11).hex()}")
        sealed, cut = Sealed(store.key, stream.id), _Cut()
        async with self._machine.sharing(site, cut):
            source = await self._pool.send(f"sites/{site}", head.guid, base)
            cut.source = source
            try:
                with self._transfers.transfer("store", f"sites/{site}", store.name, None) as transfer:
                    count = await self._put(objects, site, stream.id, sealed, source, transfer)
            finally:
                await source.abort()
        if cut.wanted:
            raise PeerError(
                f"copying {spec.name} away was called off", "the site is being opened, closed or rolled back"
            )
        label = Label(
            spec=spec,
            seen=self._seen(site),
            head=head,
            base=base,
            pieces=count,
            bytes=transfer.bytes,
            sent_at_s=now_s,
            by=self._name,
        )
        await objects.put(lines.label(site, stream), sealed.seal_label(msgspec.json.encode(label)))
        self.log.info("{site} is in {store}: {size} bytes", site=site, store=store.name, size=transfer.bytes)
        return stream

    async def _put(
        self, objects: Objects, site: SiteId, stream: str, sealed: Sealed, source: ByteSource, transfer: Transfer
    ) -> int:
        """Put all of `source` there. Returns how many pieces."""
        number = 0
        async for last, piece in pieces(source):
            await objects.put(lines.piece(site, stream, number), sealed.seal(number, last, piece))
            number += 1
            transfer.bytes += len(piece)
        return number

    # ---------------------------------------------------------------------------------------------------- after

    async def _hold(self, store: str, site: SiteId, guid: Guid) -> None:
        """Keep the snapshot from which the next stream goes on; let the one before go."""
        dataset = f"sites/{site}"
        try:
            held = _held(await self._pool.dataset(dataset))
            before = held.get(store)
            if before == guid:
                return
            await self._pool.hold(dataset, guid, f"away-{store}")
            text = msgspec.json.encode({**held, store: guid}).decode()
            await self._pool.set_properties(dataset, {HELD: text})
            if before is not None:
                await self._pool.release(dataset, before, f"away-{store}")
        except (NoSuchDataset, NoSuchSnapshot):
            self.log.debug("{guid} of {site} went away before it was held", guid=guid, site=site)

    def _warn(self, store: AwayStore, site: SiteId, stream: Stream | None) -> None:
        """Tell once that another cluster goes on with a site of ours."""
        if stream is not None and self._told.get((store.name, site), 0) < stream.epoch:
            self._told[store.name, site] = stream.epoch
            text = (
                f"in {store.name} it goes on under the term {stream.epoch}, unknown here: another cluster runs it too"
            )
            self._tell("away-elsewhere", site, text)

    async def _tidy(self, store: AwayStore, objects: Objects, site: SiteId, stored: tuple[Stream, ...]) -> None:
        """Remove what is too old, labels first: what has none does not count. Trouble here is only logged."""
        now_s = self._wall_s()
        try:
            going = lines.expendable(stored, store.keep_s, now_s)
            for stream in going:
                await objects.remove(lines.label(site, stream))
            if going:
                await self._sweep(objects, site, [stream for stream in stored if stream not in going], now_s)
        except AwayError as error:
            self.log.warn(
                "old streams of {site} stay in {store}: {error}", site=site, store=store.name, error=str(error)
            )

    async def _sweep(self, objects: Objects, site: SiteId, left: list[Stream], now_s: float) -> None:
        for name in lines.lost_pieces(await objects.names(f"{lines.SITES}{site}/data/"), left):
            begun_s = int(name.split("/")[3][:10], 16)
            if now_s - begun_s > UNFINISHED_S:
                await objects.remove(name)


async def pieces(source: ByteSource) -> AsyncIterator[tuple[bool, bytes]]:
    """All of `source`, cut up: whether it is the last piece, and the piece. At least one, maybe empty."""
    buffer = bytearray()
    while data := await source.read():
        buffer += data
        while len(buffer) > PIECE:
            yield False, bytes(buffer[:PIECE])
            del buffer[:PIECE]
    yield True, bytes(buffer)


class _Cut:
    """Ends a stream when somebody wants the site alone."""

    def __init__(self) -> None:
        self.source: ByteSource | None = None
        self.wanted = False

    async def __call__(self) -> None:
        self.wanted = True
        if self.source is not None:
            with suppress(HybridError):
                await self.source.abort()


def _held(dataset: Dataset) -> dict[str, Guid]:
    """What the property `HELD` says; nothing readable: nothing."""
    try:
        return msgspec.json.decode(dataset.properties.get(HELD, "{}"), type=dict[str, Guid])
    except msgspec.MsgspecError:
        return {}
