"""
A pool in memory: the whole port, with ZFS's rules, for tests and simulations. Pure: time comes in by `now`.

It passes the same contract tests as the real drivers. Contents are small files that tests write with `write`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence

from hybrid.errors import (
    AlreadyExists,
    Busy,
    HasHistory,
    NoSuchDataset,
    NoSuchSnapshot,
    OutOfSpace,
    QuotaReached,
    StorageError,
    StreamRefused,
)
from hybrid.history import History
from hybrid.model import Guid, Snapshot
from hybrid.ports import ByteSink, ByteSource, Capabilities, Dataset, Health, Space
from hybrid.storage import memory_stream, names
from hybrid.storage.memory_faults import Faults
from hybrid.storage.memory_state import OVERHEAD_BYTES, Files, Moment, Volume, content_bytes, promote, used_bytes


class MemoryPool(Faults):
    """
    See `hybrid.ports.Pool`.

    Args:
        now: Wall time in seconds, recorded with snapshots.
        seed: Two pools of different seeds never make the same guid; give each node its name.
        size_bytes: Capacity; content beyond it raises `OutOfSpace`.
    """

    capabilities = Capabilities(driver="memory", knows_written=True)

    def __init__(self, now: Callable[[], float] = lambda: 0.0, seed: str = "", size_bytes: int = 1 << 40) -> None:
        super().__init__()
        self._now = now
        self._seed = seed
        self._minted = 0
        self._poured_bytes = 0
        self._volumes: dict[str, Volume] = {}
        self._prepared = False
        self.size_bytes = size_bytes
        self._reserved_bytes = 0

    # ------------------------------------------------------------------------------------------- for tests

    def write(self, name: str, path: str, data: bytes) -> None:
        """Put a file into live data. Raises `StorageError` when read-only, `QuotaReached`, `OutOfSpace`."""
        volume = self._volume(name)
        self._replace(volume, {**volume.files, path: bytes(bytearray(data))})

    def remove(self, name: str, path: str) -> None:
        """Remove a file from live data; raises `KeyError` if it is not there."""
        volume = self._volume(name)
        files = dict(volume.files)
        del files[path]
        self._replace(volume, files)

    def read(self, name: str, path: str, guid: Guid | None = None) -> bytes:
        """A file of live data, or of a snapshot; raises `KeyError` if it is not there."""
        return self.files(name, guid)[path]

    def files(self, name: str, guid: Guid | None = None) -> Files:
        """All of live data, or of a snapshot: path to content."""
        volume = self._volume(name)
        return volume.files if guid is None else self._moment(name, guid).files

    def fill_up(self, left_bytes: int = 0) -> None:
        """Behave as if something else had filled the pool but for so much."""
        self.size_bytes = used_bytes(self._volumes.values()) + self._reserved_bytes + left_bytes
        self._poured_bytes = max(self._poured_bytes, self.size_bytes + 1)

    def vanish(self, name: str) -> None:
        """A dataset goes with its history, by other hands than ours."""
        del self._volumes[name]

    def occupy(self, name: str, occupied: bool = True) -> None:
        """Behave as if a process had a file open in the mounted dataset: `unmount` raises `Busy`."""
        self._volume(name).occupied = occupied

    def lose_power(self) -> None:
        """What a power cut leaves: all that was written, nothing mounted, nothing in use."""
        for volume in self._volumes.values():
            volume.mountpoint, volume.occupied = None, False

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

    async def send(self, name: str, guid: Guid, base: Guid | None) -> ByteSource:
        """See `hybrid.ports.Pool`."""
        await self.enter("send")
        self.refuse_damaged(guid)
        return memory_stream.Source(self._stream(name, guid, base))

    async def receive(self, name: str) -> ByteSink:
        """See `hybrid.ports.Pool`."""
        await self.enter("receive")
        names.check_dataset(name)
        if name in self._volumes:
            self._refuse_mounted(name, self._volumes[name])
        return memory_stream.Sink(lambda data: self._receive(name, data))

    async def estimate(self, name: str, guid: Guid, base: Guid | None) -> int | None:
        """See `hybrid.ports.Pool`."""
        await self.enter("estimate")
        return len(self._stream(name, guid, base))

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

    def _volume(self, name: str) -> Volume:
        try:
            return self._volumes[names.check_dataset(name)]
        except KeyError:
            raise NoSuchDataset(f"there is no dataset {name}") from None

    def _moment(self, name: str, guid: Guid) -> Moment:
        moment = self._volume(name).find(guid)
        if moment is None:
            raise NoSuchSnapshot(f"{name} has no snapshot {guid}")
        return moment

    def _holder(self, moment: Moment) -> str:
        return next(name for name, volume in self._volumes.items() if moment in volume.moments)

    def _describe(self, name: str) -> Dataset:
        volume, origin = self._volume(name), None
        if volume.origin is not None:
            origin = (self._holder(volume.origin), volume.origin.snapshot.guid)
        return Dataset(
            name=name,
            properties=dict(volume.properties),
            readonly=volume.readonly,
            mountpoint=volume.mountpoint,
            used_bytes=used_bytes([volume]),
            referenced_bytes=content_bytes([volume.files]),
            history_bytes=used_bytes([volume]) - content_bytes([volume.files]) - OVERHEAD_BYTES,
            origin=origin,
        )

    def _add(self, name: str, volume: Volume) -> None:
        self._refuse_taken(name)
        self._refuse_full(OVERHEAD_BYTES)
        self._volumes[name] = volume

    def _take(self, name: str, snapshot_name: str) -> Snapshot:
        volume = self._volume(name)
        if any(moment.snapshot.name == names.check_snapshot(snapshot_name) for moment in volume.moments):
            raise AlreadyExists(f"{name} has a snapshot {snapshot_name}")
        self._refuse_full(OVERHEAD_BYTES)
        snapshot = Snapshot(self._mint(), snapshot_name, int(self._now()))
        volume.moments.append(Moment(snapshot, volume.files))
        return snapshot

    def _mint(self) -> Guid:
        self._minted += 1
        digest = hashlib.blake2b(f"{self._seed}/{self._minted}".encode(), digest_size=8).digest()
        return Guid(int.from_bytes(digest, "little"))

    def _replace(self, volume: Volume, files: Files) -> None:
        if volume.readonly:
            raise StorageError("nothing was written", "the dataset is read-only")
        if volume.quota_bytes is not None and content_bytes([files]) > volume.quota_bytes:
            raise QuotaReached("nothing was written", f"the quota is {volume.quota_bytes} bytes")
        self._refuse_full(content_bytes([volume.files, files]) - content_bytes([volume.files]))
        volume.files = files

    def _stream(self, name: str, guid: Guid, base: Guid | None) -> bytes:
        volume, moment = self._volume(name), self._moment(name, guid)
        if base is None:
            return memory_stream.encode(name, moment.snapshot, moment.files, None, {}, False)
        older = volume.moments[: volume.moments.index(moment)]
        clone = volume.origin is not None and volume.origin.snapshot.guid == base
        if clone and volume.origin is not None:
            older.append(volume.origin)
        start = next((one for one in older if one.snapshot.guid == base), None)
        if start is None:
            raise NoSuchSnapshot(f"{name} has no snapshot {base} before {guid}")
        return memory_stream.encode(name, moment.snapshot, moment.files, base, start.files, clone)

    def _receive(self, name: str, data: bytes) -> None:
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

    def _local_origin(self, base: Guid | None, clone: bool) -> Moment | None:
        if base is None:
            return None
        found = next((moment for volume in self._volumes.values() if (moment := volume.find(base))), None)
        if found is None or not clone:
            raise StreamRefused("the stream was not taken", f"snapshot {base}, where it begins, is not here")
        return found

    def _refuse_taken(self, name: str) -> None:
        if names.check_dataset(name) in self._volumes:
            raise AlreadyExists(f"there is a dataset {name} already")
        if not self._prepared:
            raise NoSuchDataset(f"there is no dataset to hold {name}", "", "call `prepare` first")

    def _refuse_mounted(self, name: str, volume: Volume) -> None:
        if volume.mountpoint is not None:
            raise Busy(f"{name} is in use", f"it is mounted at {volume.mountpoint}")

    def _refuse_needed(self, name: str, moment: Moment) -> None:
        if moment.holds:
            raise Busy(f"{name}@{moment.snapshot.name} was not destroyed", f"held by {', '.join(sorted(moment.holds))}")
        clone = next((other for other, volume in self._volumes.items() if volume.origin is moment), None)
        if clone is not None:
            raise Busy(f"{name}@{moment.snapshot.name} was not destroyed", f"{clone} is its clone")

    def _free_bytes(self) -> int:
        return max(0, self.size_bytes - self._reserved_bytes - used_bytes(self._volumes.values()))

    def _refuse_full(self, more_bytes: int) -> None:
        self._poured_bytes += max(0, more_bytes)
        if self._poured_bytes <= self.size_bytes - self._reserved_bytes:
            return  # all that was ever written fits, so no need to count what is left of it
        if more_bytes > 0 and more_bytes > self._free_bytes():
            raise OutOfSpace("the pool is full", f"{more_bytes} bytes do not fit in {self._free_bytes()}")


def _checked(properties: Mapping[str, str] | None) -> dict[str, str]:
    return {names.check_key(key): value for key, value in (properties or {}).items()}
