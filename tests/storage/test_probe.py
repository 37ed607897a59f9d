"""How long small writes to a pool take, measured on a real one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor

from hybrid.storage.children import Children
from hybrid.storage.probe import DATASET, WRITES, SyncProbe
from hybrid.storage.zfs import ZfsCommandPool


@pytest.fixture
def pool(zfs_fuse: Any) -> Iterator[ZfsCommandPool]:
    """A pool of zfs-fuse."""
    name = f"probe{os.getpid()}"
    zfs_fuse.create_pool(name, "96M")
    yield ZfsCommandPool(reactor, name, zfs_fuse.prefix)  # type: ignore[arg-type]  # the module is the reactor
    zfs_fuse.destroy_pool(name)


@pytest.mark.zfs
@pytest_twisted.ensureDeferred
async def test_writes_are_timed_on_the_pool_and_nowhere_else(zfs_fuse: Any, pool: ZfsCommandPool) -> None:
    """Each time some figures, also when its dataset was unmounted meanwhile; none where there is no pool."""
    await pool.prepare()
    folder = zfs_fuse.where / f"probe-{pool.pool}"
    probe = SyncProbe(reactor, pool, folder)  # type: ignore[arg-type]  # the module is the reactor
    probe._children = Children(reactor, zfs_fuse.prefix)  # type: ignore[arg-type]  # where the pool is mounted
    first = await probe.writes_s()
    assert len(first) == WRITES
    assert all(latency_s > 0.0 for latency_s in first)
    await pool.unmount(DATASET)
    assert await probe.writes_s() == []
    assert len(await probe.writes_s()) == WRITES
    await pool.unmount(DATASET)
    await pool.destroy(DATASET)
    zfs_fuse.destroy_pool(pool.pool)
    assert await probe.writes_s() == []
    assert await probe.writes_s() == []
