"""
Reading what `zfs` writes: property rows, histories, mounts, and which error a message means. Pure.

An unknown message is never taken for a known one: it becomes a plain `StorageError` with the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from hybrid.errors import (
    AlreadyExists,
    Busy,
    NoSuchDataset,
    OutOfSpace,
    QuotaReached,
    StorageError,
    StorageSick,
    StreamRefused,
)
from hybrid.history import History
from hybrid.model import Guid, Snapshot
from hybrid.ports import Dataset
from hybrid.storage import properties

Row = tuple[str, str, str, str]
"""Name, property, value, source; as `zfs get -Hp -o name,property,value,source`."""

DATASET_PROPERTIES = "used", "referenced", "usedbysnapshots", "readonly", "mounted", "mountpoint", "origin"

_OURS: tuple[tuple[str, type[StorageError]], ...] = (
    ("out of space", OutOfSpace),
    ("no space left on device", OutOfSpace),
    ("greater than available space", OutOfSpace),
    ("quota exceeded", QuotaReached),
    ("dataset already exists", AlreadyExists),
    ("conflicting snapshot", AlreadyExists),
    ("dataset does not exist", NoSuchDataset),
    ("parent does not exist", NoSuchDataset),
    ("no such pool", NoSuchDataset),
    ("dependent clones", Busy),
    ("is busy", Busy),
    ("already mounted", Busy),
    ("unable to open /dev/zfs", StorageSick),
    ("cannot connect to socket", StorageSick),
    ("error connecting to zfs-fuse", StorageSick),
    ("make sure that the zfs-fuse daemon is running", StorageSick),
    ("the zfs modules", StorageSick),
    ("i/o is currently suspended", StorageSick),
    ("pool i/o is suspended", StorageSick),
)
_RECEIVE: tuple[tuple[str, type[StorageError]], ...] = (
    ("invalid backup stream", StreamRefused),
    ("invalid stream", StreamRefused),
    ("failed to read from stream", StreamRefused),
    ("does not match incremental source", StreamRefused),
    ("has been modified since most recent snapshot", StreamRefused),
    ("must specify -f to overwrite", StreamRefused),
    ("local origin for clone", StreamRefused),
    ("incomplete stream", StreamRefused),
)


def failure(what: str, stderr: str, receiving: bool = False) -> StorageError:
    """The error that a failed command's message means."""
    text = " ".join(stderr.partition("usage:")[0].split())
    known = (*_RECEIVE, *_OURS) if receiving else _OURS
    kind = next((kind for words, kind in known if words in text.lower()), StorageError)
    return kind(what, text[:500] or "no message")


def nothing_to_abandon(stderr: str) -> bool:
    """Whether `zfs receive -A` failed for want of anything to remove."""
    return any(words in stderr for words in ("does not have any resumable receive state", "dataset does not exist"))


def rows(output: bytes) -> list[Row]:
    """The rows of `zfs get`; a value may hold anything but tabs and newlines."""
    found = []
    for line in output.decode(errors="replace").split("\n"):
        parts = line.split("\t")
        if len(parts) == 4:
            found.append((parts[0], parts[1], parts[2], parts[3]))
    return found


def grouped(found: Iterable[Row]) -> dict[str, list[Row]]:
    """Rows by name, in the order in which names first come."""
    groups: dict[str, list[Row]] = {}
    for row in found:
        groups.setdefault(row[0], []).append(row)
    return groups


def dataset(root: str, name: str, group: Iterable[Row], guids: dict[str, Guid]) -> Dataset:
    """
    A dataset from its rows.

    Args:
        root: `<pool>/hybrid`, taken off names.
        name: With the root.
        guids: Of origins, by their full name; an origin that is not in it, or not below the root, is left out.
    """
    values = {key: value for _, key, value, _ in group}
    origin = values.get("origin", "-")
    where, _, _ = origin.partition("@")
    below = root + "/"
    return Dataset(
        name=name.removeprefix(below),
        properties=properties.join(local(group)),
        readonly=values.get("readonly") == "on",
        mountpoint=values.get("mountpoint") if values.get("mounted") == "yes" else None,
        used_bytes=int(values.get("used", 0)),
        referenced_bytes=int(values.get("referenced", 0)),
        history_bytes=int(values.get("usedbysnapshots", 0)),
        origin=(where.removeprefix(below), guids[origin]) if origin in guids and where.startswith(below) else None,
    )


def local(group: Iterable[Row]) -> dict[str, str]:
    """Raw user properties set on a dataset itself, not inherited."""
    return {key: value for _, key, value, source in group if key.startswith(properties.PREFIX) and source == "local"}


def history(found: Iterable[Row]) -> History:
    """Snapshots from rows of `guid`, `creation`, `createtxg`; oldest first."""
    snapshots = []
    for name, group in grouped(found).items():
        values = {key: value for _, key, value, _ in group}
        if "@" in name and "guid" in values:
            snapshot = Snapshot(Guid(int(values["guid"])), name.partition("@")[2], int(values["creation"]))
            snapshots.append((int(values["createtxg"]), snapshot))
    return tuple(snapshot for _, snapshot in sorted(snapshots, key=lambda pair: pair[0]))


def mounts(table: bytes) -> list[tuple[str, str, str]]:
    """Device, path and type of each mount in `/proc/mounts`, oldest first."""
    lines = [line.split(" ") for line in table.decode(errors="replace").splitlines()]
    return [(_unescaped(device), _unescaped(path), kind) for device, path, kind, *_ in lines]


def fuse_mounts(table: bytes, root: str) -> list[str]:
    """Mount points of `root` and of datasets below it that a FUSE daemon serves, newest first."""
    found = [(device, path) for device, path, kind in mounts(table) if kind.startswith("fuse")]
    return [path for device, path in reversed(found) if device == root or device.startswith(root + "/")]


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), text)
