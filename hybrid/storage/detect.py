"""Which storage this machine has: the OpenZFS module, else zfs-fuse, else an error that says what is missing. Shell."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from hybrid.errors import HybridError, StorageError, StorageSick
from hybrid.ports import Pool
from hybrid.settings import Settings
from hybrid.storage.abilities import abilities, warnings
from hybrid.storage.children import Children, Reactor
from hybrid.storage.openzfs import OpenZfsPool, unavailable
from hybrid.storage.pools import pool_exists, pool_properties
from hybrid.storage.zfs import ZfsCommandPool

UP_S = 60.0
"""How long a daemon that this node starts itself may take to answer."""
AGAIN_S = 0.25
ZFS_DEVICE = Path("/dev/zfs")

_log = Logger()


async def detect(reactor: Reactor, settings: Settings, prefix: Sequence[str] = ()) -> Pool:
    """
    The driver for `settings.pool`, by `settings.storage`.

    With `settings.zfs_daemon` the daemon may still be starting: it is waited for.

    Raises:
        StorageError: No usable storage, or no such pool: with what is missing and what to do.
        StorageSick: The storage is there and does not answer.
    """
    kind = settings.storage
    if kind == "auto":
        kind = "openzfs" if ZFS_DEVICE.exists() and not settings.zfs_daemon else "zfs-fuse"
    if kind == "openzfs":
        return await _openzfs(reactor, settings)
    await _zfs_fuse_answers(reactor, settings, prefix)
    await _pool_is_there(reactor, settings, prefix)
    return ZfsCommandPool(reactor, settings.pool, prefix)


async def _openzfs(reactor: Reactor, settings: Settings) -> Pool:
    if not ZFS_DEVICE.exists():
        raise StorageError("no OpenZFS", "there is no /dev/zfs", "apt install zfs-dkms zfsutils-linux; modprobe zfs")
    if not (await Children(reactor).has("zfs")):
        raise StorageError("no OpenZFS", "the command `zfs` is missing", "apt install zfsutils-linux")
    await _pool_is_there(reactor, settings, ())
    properties, reason = await pool_properties(reactor, settings.pool), unavailable()
    for warning in warnings(settings.pool, properties):
        _log.warn("{warning}", warning=warning)
    capabilities = abilities(properties, library=not reason)
    if reason:
        _log.warn("OpenZFS through the zfs command: {reason}", reason=reason)
        return ZfsCommandPool(reactor, settings.pool, capabilities=capabilities)
    return OpenZfsPool(reactor, settings.pool, capabilities=capabilities)


async def _zfs_fuse_answers(reactor: Reactor, settings: Settings, prefix: Sequence[str]) -> None:
    """Wait for the daemon if it is ours, else ask once."""
    children = Children(reactor, prefix)
    if not await children.has("zfs") or not await children.has("zpool"):
        raise StorageError("no ZFS", "neither the OpenZFS module nor zfs-fuse is here", "apt install zfs-fuse")
    deadline_s = reactor.seconds() + (UP_S if settings.zfs_daemon else 0.0)
    while True:
        ended = await children.run(("zpool", "list", "-H", "-o", "name"))
        if ended.status == 0:
            return
        if reactor.seconds() >= deadline_s:
            raise StorageSick("zfs-fuse does not answer", ended.stderr, "systemctl start zfs-fuse")
        await _pause(reactor)


async def _pool_is_there(reactor: Reactor, settings: Settings, prefix: Sequence[str]) -> None:
    """The pool is imported, or is being so by a daemon that has just come up."""
    deadline_s = reactor.seconds() + (UP_S if settings.zfs_daemon else 0.0)
    while not await pool_exists(reactor, settings.pool, prefix):
        if reactor.seconds() >= deadline_s:
            raise _no_pool(settings)
        await _pause(reactor)


def _no_pool(settings: Settings) -> HybridError:
    return StorageError(
        f"there is no pool {settings.pool}", "it was not made, or not imported", "run `hybrid init`, or `zpool import`"
    )


async def _pause(reactor: IReactorTime) -> None:
    await deferLater(reactor, AGAIN_S)
