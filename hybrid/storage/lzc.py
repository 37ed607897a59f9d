"""
The one place that knows pyzfs (libzfs_core): its calls with types, its exceptions as ours. Shell; every call blocks.

pyzfs of PyPI (0.2.3, of 2016) must not be used with a current OpenZFS: `lzc_receive` has one more parameter in the
library since, so that it would pass the descriptor as a flag. OpenZFS's own pyzfs (Debian: python3-pyzfs) is fine.
"""

from __future__ import annotations

import importlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Protocol

from hybrid.errors import (
    AlreadyExists,
    Busy,
    NoSuchDataset,
    NoSuchSnapshot,
    OutOfSpace,
    QuotaReached,
    StorageError,
    StorageSick,
    StreamRefused,
)
from hybrid.model import Guid

_MEANINGS: dict[str, type[StorageError]] = {
    "SnapshotExists": AlreadyExists,
    "FilesystemExists": AlreadyExists,
    "DatasetExists": AlreadyExists,
    "SnapshotNotFound": NoSuchSnapshot,
    "FilesystemNotFound": NoSuchDataset,
    "DatasetNotFound": NoSuchDataset,
    "ParentNotFound": NoSuchDataset,
    "PoolNotFound": NoSuchDataset,
    "SnapshotIsCloned": Busy,
    "SnapshotIsHeld": Busy,
    "DatasetBusy": Busy,
    "NoSpace": OutOfSpace,
    "QuotaExceeded": QuotaReached,
    "BadStream": StreamRefused,
    "StreamTruncated": StreamRefused,
    "StreamFeatureInvalid": StreamRefused,
    "StreamFeatureIncompatible": StreamRefused,
    "StreamMismatch": StreamRefused,
    "DestinationModified": StreamRefused,
    "StreamFeatureNotSupported": StreamRefused,
    "UnknownStreamFeature": StreamRefused,
    "SuspendedPool": StorageSick,
    "ZFSInitializationFailed": StorageSick,
}


class ZfsCore(Protocol):
    """What the driver needs of libzfs_core; names are full (`pool/hybrid/sites/x@y`). Raises `StorageError`s."""

    def snapshot(self, names: Sequence[str]) -> None:
        """Take all of these in one transaction group, or none; on disk when this returns."""

    def bookmark(self, name: str, snapshot: str) -> None:
        """Make bookmark `name` (`pool/hybrid/sites/x#y`); there already: fine."""

    def bookmarks(self, dataset: str) -> dict[str, Guid]:
        """Guids of the snapshots that a dataset's bookmarks were made of, by their short names."""

    def destroy_bookmarks(self, names: Sequence[str]) -> None:
        """Remove these; not there: fine."""

    def destroy_snapshot(self, name: str) -> None:
        """Remove one, not later: a held or cloned one is `Busy`."""

    def hold(self, name: str, tag: str) -> None:
        """Hold; held with that tag already: fine."""

    def release(self, name: str, tag: str) -> None:
        """Release; not held with that tag: fine."""

    def holds(self, name: str) -> frozenset[str]:
        """Tags."""

    def send(
        self, name: str, base: str | None, fd: int, flags: Collection[str], resume: tuple[int, int] | None
    ) -> None:
        """
        Write the stream to `fd`; returns at its end.

        Args:
            base: A snapshot or bookmark.
            flags: `compress`, `large_blocks`, `embedded_data`, `raw`.
            resume: Object and offset to go on at.
        """

    def receive(self, name: str, origin: str | None, fd: int, resumable: bool, raw: bool) -> None:
        """
        Read a stream from `fd` into snapshot `name`, as a clone of `origin` if given; on disk when this returns.

        With `resumable` the beginning of one that is cut is kept.
        """

    def send_space(self, name: str, base: str | None, flags: Collection[str]) -> int:
        """Bytes of a stream, about."""


def unavailable() -> str:
    """Why pyzfs cannot be used here; empty when it can."""
    try:
        library = importlib.import_module("libzfs_core")
    except Exception as error:  # cffi raises OSError where libzfs_core.so is missing
        return f"pyzfs cannot be loaded: {error}"
    if not hasattr(library, "lzc_receive_one"):
        return "pyzfs is the one of PyPI, older than this OpenZFS: install python3-pyzfs"
    try:
        library.lzc_exists(b"hybrid-is-this-there")
    except Exception as error:
        return f"OpenZFS does not answer pyzfs: {error}"
    return ""


class Lzc:
    """See `ZfsCore`: libzfs_core itself, loaded at the first use."""

    def __init__(self) -> None:
        self._library: ModuleType = importlib.import_module("libzfs_core")

    def snapshot(self, names: Sequence[str]) -> None:
        """See `ZfsCore`."""
        with _meaning(f"no snapshot {names[0]}" + (", …" if len(names) > 1 else "")):
            self._library.lzc_snapshot([name.encode() for name in names])

    def bookmark(self, name: str, snapshot: str) -> None:
        """See `ZfsCore`."""
        with _meaning(f"no bookmark {name}", fine="BookmarkExists"):
            self._library.lzc_bookmark({name.encode(): snapshot.encode()})

    def bookmarks(self, dataset: str) -> dict[str, Guid]:
        """See `ZfsCore`."""
        with _meaning(f"bookmarks of {dataset} cannot be read"):
            found = self._library.lzc_get_bookmarks(dataset.encode(), [b"guid"])
            return {name.decode(): Guid(int(values[b"guid"][b"value"])) for name, values in found.items()}
        raise AssertionError

    def destroy_bookmarks(self, names: Sequence[str]) -> None:
        """See `ZfsCore`."""
        with _meaning(f"{names[0]} was not forgotten"):
            self._library.lzc_destroy_bookmarks([name.encode() for name in names])

    def destroy_snapshot(self, name: str) -> None:
        """See `ZfsCore`."""
        with _meaning(f"{name} was not destroyed"):
            self._library.lzc_destroy_snaps([name.encode()], defer=False)

    def hold(self, name: str, tag: str) -> None:
        """See `ZfsCore`."""
        with _meaning(f"{name} was not held", fine="HoldExists"):
            missing = self._library.lzc_hold({name.encode(): tag.encode()})
            if missing:
                raise NoSuchSnapshot(f"{name} was not held", "it is not here")

    def release(self, name: str, tag: str) -> None:
        """See `ZfsCore`."""
        with _meaning(f"{name} was not released", fine="HoldNotFound"):
            self._library.lzc_release({name.encode(): [tag.encode()]})

    def holds(self, name: str) -> frozenset[str]:
        """See `ZfsCore`."""
        with _meaning(f"holds of {name} cannot be read"):
            return frozenset(tag.decode() for tag in self._library.lzc_get_holds(name.encode()))
        raise AssertionError  # `_meaning` passes nothing over without `fine`

    def send(
        self, name: str, base: str | None, fd: int, flags: Collection[str], resume: tuple[int, int] | None
    ) -> None:
        """See `ZfsCore`."""
        start = None if base is None else base.encode()
        with _meaning(f"{name} was not sent"):
            if resume is None:
                self._library.lzc_send(name.encode(), start, fd, flags=sorted(flags))
            else:
                self._library.lzc_send_resume(name.encode(), start, fd, sorted(flags), *resume)

    def receive(self, name: str, origin: str | None, fd: int, resumable: bool, raw: bool) -> None:
        """See `ZfsCore`. Never by force."""
        given = None if origin is None else origin.encode()
        call = self._library.lzc_receive_resumable if resumable else self._library.lzc_receive
        with _meaning(f"{name} was not received"):
            call(name.encode(), fd, force=False, raw=raw, origin=given)

    def send_space(self, name: str, base: str | None, flags: Collection[str]) -> int:
        """See `ZfsCore`."""
        start = None if base is None else base.encode()
        with _meaning(f"{name} cannot be measured"):
            return int(self._library.lzc_send_space(name.encode(), start, flags=sorted(flags)))
        raise AssertionError


@contextmanager
def _meaning(what: str, fine: str = "") -> Iterator[None]:
    """Turn pyzfs's exceptions into ours; one named `fine` is passed over."""
    try:
        yield
    except StorageError:
        raise
    except Exception as error:
        first = next(iter(getattr(error, "errors", ())), error)  # of several, the first says why
        name = type(first).__name__
        if name == fine:
            return
        raise _MEANINGS.get(name, StorageError)(what, f"{name}: {first}") from error
