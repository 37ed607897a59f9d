"""The zfs-fuse daemon and pools, for real: made, killed, back again, with everything that was synced."""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from hybrid.errors import AlreadyExists, NoSuchDataset, StorageError, StorageSick
from hybrid.settings import Settings
from hybrid.storage.children import Children
from hybrid.storage.daemon import ZfsDaemon
from hybrid.storage.detect import detect
from hybrid.storage.pools import create_pool, import_pool, pool_exists
from hybrid.storage.zfs import ZfsCommandPool

reactor: Any = _reactor
SITE = "sites/s-one"
SIZE = 96 * 1024 * 1024
pytestmark = pytest.mark.zfs
Namespace = Any


def settings(namespace: Namespace) -> Settings:
    """Of a node that runs its own daemon, with its pool in the test's folder."""
    where = str(namespace.where)
    return Settings(name="t", address="127.0.0.1", pool=f"hyb{os.getpid()}d", state_dir=where, zfs_daemon=True)


def with_daemon(
    test: Callable[[Namespace, ZfsDaemon, Settings], Awaitable[None]],
) -> Callable[[Namespace], Deferred[None]]:
    """Run a test beside a daemon in a namespace of its own, and end both."""

    async def run(namespace: Namespace) -> None:
        config = settings(namespace)
        daemon = ZfsDaemon(reactor, config, namespace.prefix)
        daemon.startService()
        try:
            await daemon.ready()
            await test(namespace, daemon, config)
        finally:
            await daemon.stopService()
            assert daemon.pid is None

    @pytest_twisted.ensureDeferred
    async def test_it(zfs_namespace: Namespace) -> None:
        await run(zfs_namespace)

    test_it.__doc__ = test.__doc__
    return test_it  # type: ignore[no-any-return]  # the decorator has no types


async def made_pool(namespace: Namespace, config: Settings) -> ZfsCommandPool:
    """A new pool with a mounted site that has one snapshot and a file after it."""
    await create_pool(reactor, config.pool, f"{config.state_dir}/disk.img", SIZE, namespace.prefix)
    pool = ZfsCommandPool(reactor, config.pool, namespace.prefix)
    await pool.prepare()
    await pool.create(SITE, {"spec": "x"})
    await pool.mount(SITE, f"{config.state_dir}/mnt")
    namespace.run("sh", "-c", f"echo safe > {config.state_dir}/mnt/f")
    await pool.snapshot(SITE, "one")
    return pool


async def killed(daemon: ZfsDaemon) -> None:
    """Kill the daemon and wait until the next one answers."""
    lost: list[str] = []
    back: Deferred[None] = Deferred()
    daemon.on_lost.append(lost.append)
    daemon.on_back.append(lambda: back.callback(None))
    assert daemon.pid is not None
    os.kill(daemon.pid, signal.SIGKILL)
    await back.addTimeout(30, reactor)
    assert len(lost) == 1
    daemon.on_lost.clear()
    daemon.on_back.clear()


@with_daemon
async def test_a_killed_daemon_comes_back_with_its_pool(
    namespace: Namespace, daemon: ZfsDaemon, config: Settings
) -> None:
    """After kill -9 the snapshots are there, dead mounts are noticed, and the site mounts again where it was."""
    pool = await made_pool(namespace, config)
    path = f"{config.state_dir}/mnt"
    before = await pool.history(SITE)
    await killed(daemon)
    with pytest.raises(StorageSick, match="dead"):
        await pool.check()
    assert namespace.run("cat", f"{path}/f", check=False).returncode != 0
    await pool.unmount(SITE)
    await pool.check()
    assert await pool.history(SITE) == before
    assert (await pool.dataset(SITE)).properties == {"spec": "x"}
    await pool.mount(SITE, path)
    assert namespace.run("cat", f"{path}/f").stdout == b"safe\n"
    assert await pool.snapshot(SITE, "two")


@with_daemon
async def test_mount_alone_repairs_a_dead_mount(namespace: Namespace, daemon: ZfsDaemon, config: Settings) -> None:
    """Whoever only mounts again (a node that starts) gets a working mount, even with a process inside the dead one."""
    pool = await made_pool(namespace, config)
    path = f"{config.state_dir}/mnt"
    children = Children(reactor, namespace.prefix)
    inside = Deferred.fromCoroutine(children.run(("sh", "-c", f"cd {path} && exec sleep 100"), 60))
    await killed(daemon)
    await pool.mount(SITE, path)
    assert namespace.run("cat", f"{path}/f").stdout == b"safe\n"
    namespace.run("pkill", "-f", "^sleep 100$", check=False)
    await inside


@with_daemon
async def test_dead_mounts_are_cleared_while_the_daemon_is_down(
    namespace: Namespace, daemon: ZfsDaemon, config: Settings
) -> None:
    """A node that lost its storage tidies up at once, and finds nothing to do the second time."""
    pool = await made_pool(namespace, config)
    await pool.check()
    assert await pool.clear_dead_mounts() == []
    await daemon.stopService()
    namespace.start_daemon()
    await pool.mount(SITE, f"{config.state_dir}/mnt")
    namespace.daemon.kill()
    namespace.daemon.wait()
    assert await pool.clear_dead_mounts() == [f"{config.state_dir}/mnt"]
    assert await pool.clear_dead_mounts() == []
    with pytest.raises(StorageSick):
        await pool.check()


@with_daemon
async def test_a_node_that_starts_clears_dead_mounts(namespace: Namespace, daemon: ZfsDaemon, config: Settings) -> None:
    """`prepare` leaves no dead mount behind, so that `dataset` tells truly what is mounted."""
    pool = await made_pool(namespace, config)
    await killed(daemon)
    again = ZfsCommandPool(reactor, config.pool, namespace.prefix)
    await again.prepare()
    await again.check()
    assert (await again.dataset(SITE)).mountpoint is None
    assert [one.name for one in await pool.history(SITE)] == ["one"]


@with_daemon
async def test_a_hung_daemon_is_told_by_the_deadline(namespace: Namespace, daemon: ZfsDaemon, config: Settings) -> None:
    """A stopped daemon makes calls fail as sick, in time, with no child left over; a continued one works on."""
    pool = await made_pool(namespace, config)
    assert daemon.pid is not None
    os.kill(daemon.pid, signal.SIGSTOP)
    try:
        with pytest.raises(StorageSick):
            await Children(reactor, namespace.prefix).run(("zfs", "list"), 0.5)
    finally:
        os.kill(daemon.pid, signal.SIGCONT)
    await pool.check()
    assert namespace.run("pgrep", "-x", "zfs", "-P", str(os.getpid()), check=False).stdout == b""


@with_daemon
async def test_a_receive_cut_by_the_daemons_death_leaves_the_old_head(
    namespace: Namespace, daemon: ZfsDaemon, config: Settings
) -> None:
    """The stream fails, the replica's history is what it was, and the same stream is taken afterwards."""
    pool = await made_pool(namespace, config)
    namespace.run("sh", "-c", f"head -c 3000000 /dev/urandom > {config.state_dir}/mnt/big")
    first, second = (await pool.history(SITE))[0], await pool.snapshot(SITE, "two")
    await _copy(pool, first.guid, None)
    source, sink = await pool.send(SITE, second.guid, first.guid), await pool.receive("stash/copy")
    pieces = [await source.read() for _ in range(4)]
    for piece in pieces:
        await sink.write(piece)
    await killed(daemon)
    with pytest.raises(StorageError):
        await sink.finish()
    await sink.abort()
    await source.abort()
    assert [one.guid for one in await pool.history("stash/copy")] == [first.guid]
    await _copy(pool, second.guid, first.guid)
    assert [one.guid for one in await pool.history("stash/copy")] == [first.guid, second.guid]


async def _copy(pool: ZfsCommandPool, guid: Any, base: Any) -> None:
    source, sink = await pool.send(SITE, guid, base), await pool.receive("stash/copy")
    while piece := await source.read():
        await sink.write(piece)
    await sink.finish()


@with_daemon
async def test_pools_are_never_made_over_something(namespace: Namespace, daemon: ZfsDaemon, config: Settings) -> None:
    """A file that exists, a taken name, odd names and sizes are refused; what is there stays."""
    await made_pool(namespace, config)
    prefix, disk = namespace.prefix, f"{config.state_dir}/disk.img"
    assert await pool_exists(reactor, config.pool, prefix)
    assert not await pool_exists(reactor, "another", prefix)
    with pytest.raises(AlreadyExists):
        await create_pool(reactor, "another", disk, SIZE, prefix)
    with pytest.raises(AlreadyExists):
        await create_pool(reactor, config.pool, f"{config.state_dir}/disk2.img", SIZE, prefix)
    for name, path, size in (("mirror", disk, SIZE), ("-f", disk, SIZE), ("ok", "disk", SIZE), ("ok", disk + "3", 1)):
        with pytest.raises(StorageError):
            await create_pool(reactor, name, path, size, prefix)
    assert not (namespace.where / "disk2.img").exists()
    with pytest.raises(NoSuchDataset):
        await import_pool(reactor, "another", (config.state_dir,), prefix)


@with_daemon
async def test_an_exported_pool_is_found_and_imported(
    namespace: Namespace, daemon: ZfsDaemon, config: Settings
) -> None:
    """A pool that the cache does not know (moved disk, lost cache) is imported from its folder at start."""
    pool = await made_pool(namespace, config)
    await pool.unmount(SITE)
    namespace.run("zpool", "export", config.pool)
    assert not await pool_exists(reactor, config.pool, namespace.prefix)
    await killed(daemon)
    assert await pool_exists(reactor, config.pool, namespace.prefix)
    assert (await pool.dataset(SITE)).mountpoint is None


@with_daemon
async def test_the_driver_is_detected(namespace: Namespace, daemon: ZfsDaemon, config: Settings) -> None:
    """With the daemon up and the pool made, the node gets the driver that fits."""
    await made_pool(namespace, config)
    pool = await detect(reactor, config, namespace.prefix)
    assert pool.capabilities.driver == "zfs-fuse"
    await pool.check()


@pytest_twisted.ensureDeferred
async def test_a_machine_without_storage_is_told_what_to_install(zfs_namespace: Namespace) -> None:
    """No daemon: the error says how to get one. OpenZFS asked for and missing: so does that."""
    config = Settings(name="t", address="127.0.0.1", pool="nopool")
    with pytest.raises(StorageSick, match="systemctl start zfs-fuse"):
        await detect(reactor, config, zfs_namespace.prefix)
    if not os.path.exists("/dev/zfs"):
        with pytest.raises(StorageError, match="apt install"):
            await detect(reactor, Settings(name="t", address="127.0.0.1", storage="openzfs"))


@pytest_twisted.ensureDeferred
async def test_a_daemon_that_cannot_start_is_tried_again_and_says_why(zfs_namespace: Namespace) -> None:
    """Here a second daemon in a namespace that has one: it waits, reports, and ends when asked to."""
    zfs_namespace.start_daemon()
    second = ZfsDaemon(reactor, settings(zfs_namespace), ("nsenter", "-t", "1", "-m", "--", "false", "--"))
    second.startService()
    with pytest.raises(StorageSick):
        await second.ready(0.5)
    await deferLater(reactor, 0)
    await second.stopService()
