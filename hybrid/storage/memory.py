"""
A pool in memory: the whole port, with ZFS's rules, for tests and simulations. Pure: time comes in by `now`.

It passes the same contract tests as the real drivers. Contents are small files that tests write with `write`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial as bind
from typing import get_args

from hybrid.errors import Busy, HasHistory, NoSuchSnapshot, StorageError, StreamRefused
from hybrid.history import History
from hybrid.model import Guid, RecordBytes, Snapshot
from hybrid.ports import ByteSink, ByteSource, Capabilities, Change, Dataset, Health, Partial, Space
from hybrid.storage import features, memory_stream, names
from hybrid.storage.begin import Begin
from hybrid.storage.memory_state import OVERHEAD_BYTES, Moment, Volume, changes, promote
from hybrid.storage.memory_volumes import Volumes

MEMORY = Capabilities(driver="memory", knows_written=True)
"""What simulated nodes have."""


class MemoryPool(Volumes):
    """
    See `hybrid.ports.Pool`.

    Args:
        now: Wall time in seconds, recorded with snapshots.
        seed: Two pools of different seeds never make the same guid; give each node its name.
        size_bytes: Capacity; content beyond it raises `OutOfSpace`.
        capabilities: What it can do; the more of them, the more like OpenZFS.
    """

    def __init__(
        self,
        now: Callable[[], float] = lambda: 0.0,
        seed: str = "",
        size_bytes: int = 1 << 40,
        capabilities: Capabilities = MEMORY,
    ) -> None:
        super().__init__(now, seed, size_bytes)
        self.capabilities = capabilities
        self._partials: dict[str, bytes] = {}
        """The beginnings of streams that were cut."""

    # -------------------------------------------------------------------------------------------- datasets

    async def prepare(self) -> None:
        """See `hybrid.ports.Pool`."""
        await self.enter("prepare")
        self._prepared = True

    async def datasets(self) -> list[Dataset]:
        """See `hybrid.ports.Pool`."""
        await self.enter("datasets")
        return [self._describe(name) for name in sorted(self._volumes)]

    async def dataset(self, name: str) -> Dataset:
        """See `hybrid.ports.Pool`."""
        await self.enter("dataset")
        return self._describe(name)

    async def history(self, name: str) -> History:
        """See `hybrid.ports.Pool`."""
        await self.enter("history")
        return tuple(moment.snapshot for moment in self._volume(name).moments)

    async def create(self, name: str, properties: Mapping[str, str] | None = None) -> None:
        """See `hybrid.ports.Pool`."""
        await self.enter("create")
        self._add(name, Volume(files={}, properties=_checked(properties)))

    async def clone(self, origin: str, guid: Guid, name: str, properties: Mapping[str, str] | None = None) -> None:
        """See `hybrid.ports.Pool`."""
        await self.enter("clone")
        moment = self._moment(origin, guid)
        self._add(name, Volume(files=moment.files, properties=_checked(properties), origin=moment))

    async def destroy(self, name: str, with_history: bool = False) -> None:
        """See `hybrid.ports.Pool`."""
        await self.enter("destroy")
        if self._partials.pop(name, None) is not None and name not in self._volumes:
            return
        volume = self._volume(name)
        self._refuse_mounted(name, volume)
        if volume.moments and not with_history:
            raise HasHistory(f"{name} was not destroyed", f"it has {len(volume.moments)} snapshots")
        for moment in volume.moments:
            self._refuse_needed(name, moment)
        del self._volumes[name]

    async def rename(self, name: str, new_name: str) -> None:
        """See `hybrid.ports.Pool`."""
        await self.enter("rename")
        volume = self._volume(name)
        self._refuse_mounted(name, volume)
        self._refuse_taken(new_name)
        self._volumes[new_name] = self._volumes.pop(name)

    async def promote(self, name: str) -> None:
        """See `hybrid.ports.Pool`."""
        await self.enter("promote")
        volume = self._volume(name)
        if volume.origin is None:
            raise StorageError(f"{name} cannot be promoted", "it is not a clone")
        promote(volume, self._volumes[self._holder(volume.origin)])

    async def set_properties(self, name: str, properties: Mapping[str, str | None]) -> None:
        """See `hybrid.ports.Pool`."""
        await self.enter("set_properties")
        current = self._volume(name).properties
        for key, value in properties.items():
            names.check_key(key)
            if value is None:
                current.pop(key, None)
            else:
                current[key] = value

    async def set_readonly(self, name: str, readonly: bool) -> None:
        """See `hybrid.ports.Pool`."""
        await self.enter("set_readonly")
        self._volume(name).readonly = readonly

    async def set_quota(self, name: str, quota_bytes: int | None) -> None:
        """See `hybrid.ports.Pool`."""
        await self.enter("set_quota")
        self._volume(name).quota_bytes = quota_bytes

    async def set_record_size(self, name: str, record_bytes: int) -> None:
        """See `hybrid.ports.Pool`."""
        await self.enter("set_record_size")
        if record_bytes not in get_args(RecordBytes):
            raise StorageError(f"files of {name} are not written in records of {record_bytes} bytes")
        self._volume(name).record_bytes = record_bytes

    async def mount(self, name: str, path: str) -> None:
        """See `hybrid.ports.Pool`. Only remembered: there is nothing at `path`."""
        await self.enter("mount")
        volume = self._volume(name)
        if volume.mountpoint == path:
            return
        if volume.mountpoint is not None:
            raise Busy(f"{name} was not mounted at {path}", f"it is mounted at {volume.mountpoint}")
        if any(other.mountpoint == path for other in self._volumes.values()):
            raise Busy(f"{name} was not mounted at {path}", "another dataset is mounted there")
        volume.mountpoint = path

    async def unmount(self, name: str) -> None:
        """See `hybrid.ports.Pool`."""
        await self.enter("unmount")
        volume = self._volume(name)
        if volume.occupied and volume.mountpoint is not None:
            raise Busy(f"{name} was not unmounted", "a process uses it")
        volume.mountpoint = None

    async def clear_dead_mounts(self) -> list[str]:
        """See `hybrid.ports.Pool`. There are none."""
        await self.enter("clear_dead_mounts")
        return []

    # ------------------------------------------------------------------------------------------- snapshots

    async def snapshot(self, name: str, snapshot_name: str) -> Snapshot:
        """See `hybrid.ports.Pool`."""
        await self.enter("snapshot")
        return self._take(name, snapshot_name)

    async def snapshot_if_changed(self, name: str, snapshot_name: str) -> Snapshot | None:
        """See `hybrid.ports.Pool`."""
        await self.enter("snapshot_if_changed")
        return self._take(name, snapshot_name) if self._volume(name).changed() else None

    async def changed(self, names: Sequence[str]) -> frozenset[str]:
        """See `hybrid.ports.Pool`."""
        await self.enter("changed")
        here = {name: self._volumes.get(name) for name in names}
        return frozenset(name for name, volume in here.items() if volume is None or volume.changed())

    async def snapshots(self, names: Sequence[str], snapshot_name: str) -> tuple[Snapshot, ...]:
        """See `hybrid.ports.Pool`."""
        await self.enter("snapshots")
        for name in names:
            self._refuse_snapshot(name, snapshot_name)
        return tuple([self._take(name, snapshot_name) for name in names])

    async def snapshot_path(self, name: str, guid: Guid) -> str | None:
        """See `hybrid.ports.Pool`. Nothing is there."""
        await self.enter("snapshot_path")
        snapshot, mountpoint = self._moment(name, guid).snapshot, self._volume(name).mountpoint
        known = self.capabilities.snapshot_directory and mountpoint is not None
        return f"{mountpoint}/.zfs/snapshot/{snapshot.name}" if known else None

    async def diff(self, name: str, older: Guid, newer: Guid | None) -> list[Change] | None:
        """See `hybrid.ports.Pool`."""
        await self.enter("diff")
        volume, start = self._volume(name), self._moment(name, older)
        end = None if newer is None else self._moment(name, newer)
        if end is not None and volume.moments.index(end) <= volume.moments.index(start):
            raise NoSuchSnapshot(f"{name} has no snapshot {newer} after {older}")
        if not self.capabilities.diff or volume.mountpoint is None:
            return None
        return changes(start.files, volume.files if end is None else end.files)

    async def bookmark(self, name: str, guid: Guid, tag: str) -> None:
        """See `hybrid.ports.Pool`."""
        await self.enter("bookmark")
        if self.capabilities.bookmarks:
            stands = self._volume(name).bookmarks.get(names.check_tag(tag))
            if stands is None or stands.snapshot.guid != guid:
                self._volume(name).bookmarks[tag] = self._moment(name, guid)

    async def bookmarks(self, name: str) -> dict[str, Guid]:
        """See `hybrid.ports.Pool`."""
        await self.enter("bookmarks")
        return {tag: moment.snapshot.guid for tag, moment in self._volume(name).bookmarks.items()}

    async def forget_bookmark(self, name: str, tag: str) -> None:
        """See `hybrid.ports.Pool`."""
        await self.enter("forget_bookmark")
        self._volume(name).bookmarks.pop(names.check_tag(tag), None)

    async def destroy_snapshot(self, name: str, guid: Guid) -> None:
        """See `hybrid.ports.Pool`."""
        await self.enter("destroy_snapshot")
        moment = self._moment(name, guid)
        self._refuse_needed(name, moment)
        self._volume(name).moments.remove(moment)

    async def hold(self, name: str, guid: Guid, tag: str) -> None:
        """See `hybrid.ports.Pool`."""
        await self.enter("hold")
        self._moment(name, guid).holds.add(names.check_tag(tag))

    async def release(self, name: str, guid: Guid, tag: str) -> None:
        """See `hybrid.ports.Pool`."""
        await self.enter("release")
        self._moment(name, guid).holds.discard(names.check_tag(tag))

    async def holds(self, name: str, guid: Guid) -> frozenset[str]:
        """See `hybrid.ports.Pool`."""
        await self.enter("holds")
        return frozenset(self._moment(name, guid).holds)

    # --------------------------------------------------------------------------------------------- streams

    async def send(
        self, name: str, guid: Guid, base: Guid | None, takes: int = 0, resume: Partial | None = None
    ) -> ByteSource:
        """See `hybrid.ports.Pool`."""
        await self.enter("send")
        self.refuse_damaged(guid)
        data = self._stream(name, guid, base, takes if resume is None else resume.features)
        return memory_stream.Source(data if resume is None else memory_stream.rest(data, resume.offset))

    async def receive(self, name: str, resumable: bool = False) -> ByteSink:
        """See `hybrid.ports.Pool`."""
        await self.enter("receive")
        names.check_dataset(name)
        if name in self._volumes:
            self._refuse_mounted(name, self._volumes[name])
        keep = bind(self._keep, name) if resumable and self.capabilities.resumable else None
        return memory_stream.Sink(lambda data: self._receive(name, data), keep)

    async def partial(self, name: str) -> Partial | None:
        """See `hybrid.ports.Pool`."""
        await self.enter("partial")
        return memory_stream.partial(self._partials.get(name, b""))

    async def abandon(self, name: str) -> None:
        """See `hybrid.ports.Pool`."""
        await self.enter("abandon")
        self._partials.pop(names.check_dataset(name), None)

    async def estimate(self, name: str, guid: Guid, base: Guid | None, takes: int = 0) -> int | None:
        """See `hybrid.ports.Pool`."""
        await self.enter("estimate")
        return len(self._stream(name, guid, base, takes))

    async def space(self) -> Space:
        """See `hybrid.ports.Pool`."""
        await self.enter("space")
        return Space(self.size_bytes, self._free_bytes())

    async def reserve(self, wanted_bytes: int) -> int:
        """See `hybrid.ports.Pool`."""
        await self.enter("reserve")
        self._reserved_bytes = min(wanted_bytes, self._reserved_bytes + self._free_bytes())
        return self._reserved_bytes

    async def health(self) -> Health:
        """See `hybrid.ports.Pool`."""
        await self.enter("health")
        return self.condition

    async def check(self) -> None:
        """See `hybrid.ports.Pool`."""
        await self.enter("check")

    # ---------------------------------------------------------------------------------------------- within

    def _stream(self, name: str, guid: Guid, base: Guid | None, takes: int) -> bytes:
        volume, moment = self._volume(name), self._moment(name, guid)
        uses = takes & self.capabilities.takes & features.COMPRESSED
        if base is None:
            return memory_stream.encode(name, moment.snapshot, moment.files, None, {}, uses)
        older = volume.moments[: volume.moments.index(moment)]
        older += volume.bookmarks.values()
        clone = volume.origin is not None and volume.origin.snapshot.guid == base
        if clone and volume.origin is not None:
            older.append(volume.origin)
        start = next((one for one in older if one.snapshot.guid == base), None)
        if start is None:
            raise NoSuchSnapshot(f"{name} has no snapshot {base} before {guid}")
        return memory_stream.encode(name, moment.snapshot, moment.files, base, start.files, uses, clone)

    def _receive(self, name: str, data: bytes) -> None:
        data = memory_stream.whole(data, self._partials.pop(name, b""))
        self._refuse_features(name, memory_stream.beginning(data))
        head, body = memory_stream.decode(data)
        if name in self._volumes:
            volume = self._volumes[name]
            self._refuse_misfit(name, volume, head.from_guid)
            files = volume.files
        else:
            volume = Volume(files={}, readonly=True, origin=self._local_origin(head.from_guid, head.clone))
            files = volume.origin.files if volume.origin is not None else {}
        self._refuse_full(sum(map(len, body.written.values())) + OVERHEAD_BYTES)
        if name not in self._volumes:
            self._add(name, volume)
        volume.files = memory_stream.apply(body, files)
        volume.moments.append(Moment(body.snapshot, volume.files))

    def _refuse_misfit(self, name: str, volume: Volume, base: Guid | None) -> None:
        if base is None or not volume.moments:
            raise StreamRefused(f"{name} did not take the stream", "it exists, and the stream begins from nothing")
        if volume.moments[-1].snapshot.guid != base:
            raise StreamRefused(f"{name} did not take the stream", "the stream does not begin at its newest snapshot")
        if volume.changed():
            raise StreamRefused(f"{name} did not take the stream", "it was modified since its newest snapshot")

    def _keep(self, name: str, data: bytes) -> None:
        """Keep the beginning of a stream that was cut, unless it goes on with another than what is here."""
        with suppress(StreamRefused):
            self._partials[name] = memory_stream.whole(data, self._partials.pop(name, b""))

    def _refuse_features(self, name: str, head: Begin) -> None:
        refusal = features.refusal(head.features, self.capabilities.takes)
        if refusal is not None:
            raise StreamRefused(f"{name} did not take the stream", *refusal)

    def _local_origin(self, base: Guid | None, clone: bool) -> Moment | None:
        if base is None:
            return None
        found = next((moment for volume in self._volumes.values() if (moment := volume.find(base))), None)
        if found is None or not clone:
            raise StreamRefused("the stream was not taken", f"snapshot {base}, where it begins, is not here")
        return found


def _checked(properties: Mapping[str, str] | None) -> dict[str, str]:
    return {names.check_key(key): value for key, value in (properties or {}).items()}
