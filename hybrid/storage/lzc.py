"""
The one place that knows pyzfs (libzfs_core): its calls with types, its exceptions as ours. Shell; every call blocks.

pyzfs of PyPI (0.2.3, of 2016) must not be used with a current OpenZFS: `lzc_receive` has one more parameter in the
library since, so that it would pass the descriptor as a flag. OpenZFS's own pyzfs (Debian: python3-pyzfs) is fine.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
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
    "StreamMismatch": StreamRefused,
    "DestinationModified": StreamRefused,
    "StreamFeatureNotSupported": StreamRefused,
    "UnknownStreamFeature": StreamRefused,
    "SuspendedPool": StorageSick,
    "ZFSInitializationFailed": StorageSick,
}


class ZfsCore(Protocol):
    """What the driver needs of libzfs_core; names are full (`pool/hybrid/sites/x@y`). Raises `StorageError`s."""

    def snapshot(self, name: str) -> None:
        """Take one; on disk when this returns."""

    def destroy_snapshot(self, name: str) -> None:
        """Remove one, not later: a held or cloned one is `Busy`."""

    def hold(self, name: str, tag: str) -> None:
        """Hold; held with that tag already: fine."""

    def release(self, name: str, tag: str) -> None:
        """Release; not held with that tag: fine."""

    def holds(self, name: str) -> frozenset[str]:
        """Tags."""

    def send(self, name: str, base: str | None, fd: int) -> None:
        """Write the stream to `fd`; returns at its end."""

    def receive(self, name: str, origin: str | None, fd: int) -> None:
        """Read a stream from `fd` into snapshot `name`, as a clone of `origin` if given; on disk when this returns."""

    def send_space(self, name: str, base: str | None) -> int:
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

    def snapshot(self, name: str) -> None:
        """See `ZfsCore`."""
        with _meaning(f"no snapshot {name}"):
            self._library.lzc_snapshot([name.encode()])

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

    def send(self, name: str, base: str | None, fd: int) -> None:
        """See `ZfsCore`. No flags: every receiver reads what comes."""
        with _meaning(f"{name} was not sent"):
            self._library.lzc_send(name.encode(), None if base is None else base.encode(), fd)

    def receive(self, name: str, origin: str | None, fd: int) -> None:
        """See `ZfsCore`. Never by force."""
        with _meaning(f"{name} was not received"):
            given = None if origin is None else origin.encode()
            self._library.lzc_receive(name.encode(), fd, force=False, raw=False, origin=given)

    def send_space(self, name: str, base: str | None) -> int:
        """See `ZfsCore`."""
        with _meaning(f"{name} cannot be measured"):
            return int(self._library.lzc_send_space(name.encode(), None if base is None else base.encode()))
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
