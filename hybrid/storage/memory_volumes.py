"""
The datasets of a pool in memory and the rules they keep: names, room, quotas, what is in use. Pure.

`hybrid.storage.memory` makes the port of it; the first methods are for tests, which write and read files with them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from hybrid.errors import AlreadyExists, Busy, NoSuchDataset, NoSuchSnapshot, OutOfSpace, QuotaReached, StorageError
from hybrid.model import Guid, Snapshot
from hybrid.ports import Dataset
from hybrid.storage import names
from hybrid.storage.memory_faults import Faults
from hybrid.storage.memory_state import OVERHEAD_BYTES, Files, Moment, Volume, content_bytes, used_bytes


class Volumes(Faults):
    """The contents of a pool; see `MemoryPool` for the arguments."""

    def __init__(self, now: Callable[[], float], seed: str, size_bytes: int) -> None:
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

    def record_bytes(self, name: str) -> int | None:
        """Of which size its files' records are; `None`: nobody said."""
        return self._volume(name).record_bytes

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
        volume = self._refuse_snapshot(name, snapshot_name)
        snapshot = Snapshot(self._mint(), snapshot_name, int(self._now()))
        volume.moments.append(Moment(snapshot, volume.files))
        return snapshot

    def _refuse_snapshot(self, name: str, snapshot_name: str) -> Volume:
        """The dataset, if a snapshot of that name can be taken."""
        volume = self._volume(name)
        if any(moment.snapshot.name == names.check_snapshot(snapshot_name) for moment in volume.moments):
            raise AlreadyExists(f"{name} has a snapshot {snapshot_name}")
        self._refuse_full(OVERHEAD_BYTES)
        return volume

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
