"""
The storage port through the `zfs` command alone: zfs-fuse (pool version 23), and OpenZFS where pyzfs is missing. Shell.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.logger import Logger

from hybrid.errors import NoSuchDataset, NoSuchSnapshot, StorageError, StreamRefused
from hybrid.model import Guid, Snapshot
from hybrid.ports import ByteSink, ByteSource, Change, Partial
from hybrid.storage import diffing, features, names, parsing
from hybrid.storage.begin import Begin
from hybrid.storage.children import Ended
from hybrid.storage.commands import ZfsCommands
from hybrid.storage.index import SnapshotIndex
from hybrid.storage.receiving import ReceivingSink, Taker, refuse_misfit, refuse_other
from hybrid.storage.streams import ChildSink, ChildSource
from hybrid.storage.zfs_datasets import DESTROY_S, ZFS_FUSE, ZfsDatasets

__all__ = ["ZFS_FUSE", "ZfsCommandPool"]

DIFF_S = 120.0


class ZfsCommandPool(ZfsDatasets):
    """See `hybrid.ports.Pool`, and `ZfsDatasets` for the arguments."""

    log = Logger()

    # ------------------------------------------------------------------------------------------- snapshots

    async def snapshot(self, name: str, snapshot_name: str) -> Snapshot:
        """See `hybrid.ports.Pool`."""
        full = self._new_snapshot(name, snapshot_name)
        await self._zfs.act(f"no snapshot of {name}", "snapshot", full)
        return await self._taken(name, full)

    async def snapshot_if_changed(self, name: str, snapshot_name: str) -> Snapshot | None:
        """See `hybrid.ports.Pool`."""
        before = self._index.newest(name) if self._index.knows(name) else await self._newest(name)
        if before is None:
            return await self.snapshot(name, snapshot_name)
        differs, mounted = await self._survey.one(self._full(name))
        if differs:
            return await self.snapshot(name, snapshot_name)
        if not mounted and not self.capabilities.knows_written:
            await self._refuse_unreplayed(name, snapshot_name)
        return None

    async def changed(self, names: Sequence[str]) -> frozenset[str]:
        """See `hybrid.ports.Pool`."""
        found = await self._survey.changed([self._full(name) for name in names])
        return frozenset(name.removeprefix(self.root + "/") for name in found)

    async def snapshots(self, names: Sequence[str], snapshot_name: str) -> tuple[Snapshot, ...]:
        """See `hybrid.ports.Pool`. One command where it takes several, else one each."""
        fulls = [self._new_snapshot(name, snapshot_name) for name in names]
        if self.capabilities.many_snapshots_at_once:
            await self._take_at_once(fulls)
            return tuple([await self._taken(name, full) for name, full in zip(names, fulls, strict=True)])
        taken: list[Snapshot] = []
        try:
            for name in names:
                taken.append(await self.snapshot(name, snapshot_name))
        except BaseException:
            for name, one in zip(names, taken, strict=False):
                await self.destroy_snapshot(name, one.guid)
            raise
        return tuple(taken)

    async def snapshot_path(self, name: str, guid: Guid) -> str | None:
        """See `hybrid.ports.Pool`. The module mounts what is looked into, and takes it away again by itself."""
        full = await self._snapshot(name, guid)
        if not self.capabilities.snapshot_directory:
            return None
        where = await self._mountpoint(name)
        return None if where is None else f"{where}/.zfs/snapshot/{full.partition('@')[2]}"

    async def diff(self, name: str, older: Guid, newer: Guid | None) -> list[Change] | None:
        """See `hybrid.ports.Pool`."""
        start = await self._snapshot(name, older)
        if newer is None:
            end = self._full(name)
        elif await self._base(name, newer, older) == start:
            end = await self._snapshot(name, newer)
        where = await self._mountpoint(name) if self.capabilities.diff else None
        if where is None:
            return None
        ended = await self._children.run(("zfs", "diff", "-FH", start, end), DIFF_S)
        if ended.status != 0:
            raise parsing.failure(f"{name} cannot be compared", ended.stderr)
        return diffing.changes(ended.stdout, where)

    async def bookmark(self, name: str, guid: Guid, tag: str) -> None:
        """See `hybrid.ports.Pool`. There are none by this driver."""

    async def bookmarks(self, name: str) -> dict[str, Guid]:
        """See `hybrid.ports.Pool`."""
        return {}

    async def forget_bookmark(self, name: str, tag: str) -> None:
        """See `hybrid.ports.Pool`."""

    async def destroy_snapshot(self, name: str, guid: Guid) -> None:
        """See `hybrid.ports.Pool`."""
        full = await self._snapshot(name, guid)
        await self._zfs.act(f"{full} was not destroyed", "destroy", full, deadline_s=DESTROY_S)
        self._index.remove(name, guid)

    async def hold(self, name: str, guid: Guid, tag: str) -> None:
        """See `hybrid.ports.Pool`."""
        names.check_tag(tag)
        await self._holds.hold(await self._snapshot(name, guid), tag)

    async def release(self, name: str, guid: Guid, tag: str) -> None:
        """See `hybrid.ports.Pool`."""
        names.check_tag(tag)
        await self._holds.release(await self._snapshot(name, guid), tag)

    async def holds(self, name: str, guid: Guid) -> frozenset[str]:
        """See `hybrid.ports.Pool`."""
        return await self._holds.tags(await self._snapshot(name, guid))

    # --------------------------------------------------------------------------------------------- streams

    async def send(
        self, name: str, guid: Guid, base: Guid | None, takes: int = 0, resume: Partial | None = None
    ) -> ByteSource:
        """See `hybrid.ports.Pool`. A plain stream, which every receiver takes."""
        full = await self._snapshot(name, guid)
        if base is None:
            return await self._sender(full)
        return await self._sender(full, await self._base(name, guid, base))

    async def receive(self, name: str, resumable: bool = False) -> ByteSink:
        """See `hybrid.ports.Pool`."""
        self._full(name)
        return ReceivingSink(lambda begin: self._approve(name, begin, resumable))

    async def partial(self, name: str) -> Partial | None:
        """See `hybrid.ports.Pool`. Nothing is kept by this driver."""
        return None

    async def abandon(self, name: str) -> None:
        """See `hybrid.ports.Pool`."""

    async def estimate(self, name: str, guid: Guid, base: Guid | None, takes: int = 0) -> int | None:
        """See `hybrid.ports.Pool`. This command cannot tell."""
        await self._snapshot(name, guid)
        return None

    # ---------------------------------------------------------------------------------------------- within

    def _new_snapshot(self, name: str, snapshot_name: str) -> str:
        return f"{self._full(name)}@{names.check_snapshot(snapshot_name)}"

    async def _take_at_once(self, fulls: Sequence[str]) -> None:
        """All of these snapshots in one transaction group, or none."""
        await self._zfs.act(f"no snapshots {fulls[0]}, …", "snapshot", *fulls)

    async def _refuse_unreplayed(self, name: str, snapshot_name: str) -> None:
        """Raises `Busy` while the intent log holds what live data do not: it has to be mounted before a snapshot."""
        full = self._new_snapshot(name, snapshot_name)
        await self._zfs.act(f"no snapshot of {name}", "snapshot", full)
        await self._zfs.act(f"{full} was not destroyed", "destroy", full)

    async def _mountpoint(self, name: str) -> str | None:
        values = await self._zfs.values(self._full(name), "mounted", "mountpoint")
        return values["mountpoint"] if values["mounted"] == "yes" else None

    async def _taken(self, name: str, full: str) -> Snapshot:
        """A snapshot that was taken just now."""
        values = await self._zfs.values(full, "guid", "creation")
        taken = Snapshot(Guid(int(values["guid"])), full.partition("@")[2], int(values["creation"]))
        self._index.add(name, taken)
        return taken

    async def _newest(self, name: str) -> Snapshot | None:
        """The head, read again if it is not the one last seen."""
        newest = self._index.newest(name)
        if newest is not None:
            full = f"{self._full(name)}@{newest.name}"
            if (await self._zfs.guids([full])).get(full) == newest.guid:
                return newest
        found = await self.history(name)
        return found[-1] if found else None

    async def _base(self, name: str, guid: Guid, base: Guid) -> str:
        """The full name of where an increment to `guid` begins: earlier in this dataset, or its origin."""
        if self._index.find(name, base) is None:
            await self.history(name)
        line = [snapshot.guid for snapshot in self._index.line(name)]
        if base in line and line.index(base) < line.index(guid):
            return await self._snapshot(name, base)
        origin = (await self._zfs.values(self._full(name), "origin")).get("origin", "-")
        if origin != "-" and (await self._zfs.guids([origin])).get(origin) == base:
            return origin
        raise NoSuchSnapshot(f"{name} has no snapshot {base} before {guid}")

    async def _sender(self, full: str, base: str | None = None) -> ByteSource:
        """What sends a snapshot, from another on; full names."""

        def failing(ended: Ended) -> StorageError:
            return parsing.failure(f"{full} was not sent", ended.stderr)

        argv = ("zfs", "send", full) if base is None else ("zfs", "send", "-i", base, full)
        return await ChildSource.start(self._children, self._sends, argv, failing)

    async def _approve(self, name: str, begin: Begin, resumable: bool) -> Taker:
        """Check a stream against its target and start what takes it."""
        refusal = features.refusal(begin.features, self.capabilities.takes)
        if refusal is not None:
            raise StreamRefused(f"{name} did not take the stream", *refusal)
        try:
            await self._refuse_mounted(name)
            if not await self._goes_on(name, begin):
                newest = await self._newest(name)
                refuse_misfit(name, begin, () if newest is None else (newest,), False)
        except NoSuchDataset:
            self._index.forget(name)
            if begin.features & features.RESUMING:
                refuse_other(name, begin, None)
            refuse_misfit(name, begin, None, True)
        self._zfs.acts += 1
        return _Extending(await self._receiver(name, begin, resumable), self._zfs, self._index, name, begin)

    async def _goes_on(self, name: str, begin: Begin) -> bool:
        """Whether the stream goes on with what is here of one; if not, that is abandoned. Raises `StreamRefused`."""
        there = await self.partial(name)
        if begin.features & features.RESUMING:
            refuse_other(name, begin, there)
            return True
        if there is not None:
            await self.abandon(name)
        return False

    async def _receiver(self, name: str, begin: Begin, resumable: bool) -> Taker:
        """What takes an approved stream."""

        def failing(ended: Ended) -> StorageError:
            return parsing.failure(f"{name} did not take the stream", ended.stderr, receiving=True)

        return await ChildSink.start(self._children, self._receives, ("zfs", "receive", self._full(name)), failing)


class _Extending:
    """A taker that tells the index of the new snapshot once it is on disk."""

    def __init__(self, taker: Taker, zfs: ZfsCommands, index: SnapshotIndex, name: str, begin: Begin) -> None:
        self._taker, self._zfs, self._index, self._name, self._begin = taker, zfs, index, name, begin
        self.write, self.broken = taker.write, taker.broken

    @property
    def descriptor(self) -> int | None:
        """See `Taker`."""
        return self._taker.descriptor

    async def abort(self) -> None:
        """See `Taker`."""
        try:
            await self._taker.abort()
        finally:
            self._zfs.acts += 1

    async def finish(self) -> None:
        """See `Taker`."""
        try:
            await self._taker.finish()
        finally:
            self._zfs.acts += 1
        begin = self._begin
        taken = Snapshot(begin.to_guid, begin.to_name.partition("@")[2], begin.created_at_s)
        if self._index.knows(self._name):
            self._index.add(self._name, taken)
        else:
            self._index.learn(self._name, (taken,))
