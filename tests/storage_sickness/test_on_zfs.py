"""Sick storage as real ZFS shows it: full pools, disks that fail, wrong bits on them, quotas, pools kept apart."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor as _reactor
from twisted.internet.task import deferLater

from hybrid.errors import Busy, OutOfSpace
from hybrid.storage.health import alarms
from hybrid.storage.reserved import ReservedPool
from hybrid.storage.zfs import ZfsCommandPool

reactor: Any = _reactor
SITE = "sites/s-one"
MEBIBYTE = 2**20
pytestmark = pytest.mark.zfs
_NUMBERS = itertools.count(1)


class Disks:
    """A pool on files, and hands to spoil them."""

    def __init__(self, host: Any, name: str, count: int) -> None:
        self.host, self.name = host, name
        self.disks = [f"{host.where}/{name}.{number}" for number in range(count)]
        for disk in self.disks:
            host.run("truncate", "-s", "128M", disk)
        kind = ("mirror",) if count > 1 else ()
        host.run("zpool", "create", "-O", "mountpoint=none", name, *kind, *self.disks)
        self.pool = ZfsCommandPool(reactor, name, host.prefix)

    def folder(self) -> str:
        """A path to mount at."""
        return f"{self.host.where}/{self.name}.mnt{next(_NUMBERS)}"

    def write(self, path: str, mebibytes: int) -> int:
        """Write a file that cannot be compressed; the status of `dd`."""
        argv = ("dd", "if=/dev/urandom", f"of={path}", "bs=65536", f"count={16 * mebibytes}", "conv=fsync")
        return int(self.host.run(*argv, check=False).returncode)

    def spoil(self, disk: str) -> None:
        """Write over the middle of a disk, behind the back of ZFS."""
        argv = ("dd", "if=/dev/urandom", f"of={disk}", "bs=1M", "seek=5", "count=90", "conv=notrunc")
        self.host.run(*argv)

    async def scrubbed(self) -> None:
        """Have all blocks read, and wait for the end of it."""
        self.host.run("zpool", "scrub", self.name)
        for _ in range(600):
            status = self.host.run("zpool", "status", self.name).stdout.decode()
            if "scrub completed" in status or "scrub repaired" in status:
                return
            await deferLater(reactor, 0.1, lambda: None)
        raise AssertionError("the scrub does not end")


@pytest.fixture(params=[1])
def disks(request: pytest.FixtureRequest, zfs_fuse: Any) -> Iterator[Disks]:
    """A pool of its own for the test."""
    made = Disks(zfs_fuse, f"hyb{os.getpid()}s{next(_NUMBERS)}", request.param)
    try:
        yield made
    finally:
        zfs_fuse.run("zpool", "destroy", "-f", made.name, check=False)
        for disk in made.disks:
            zfs_fuse.run("rm", "-f", disk)


@pytest_twisted.ensureDeferred
async def test_row_8_a_full_pool_is_still_worked_with(disks: Disks) -> None:
    """Tenants fill a pool until nothing goes any more; the node claims, snapshots, renames and clones all the same."""
    pool = ReservedPool(disks.pool)
    await pool.prepare()
    await pool.create(SITE)
    first = await pool.snapshot(SITE, "first")
    await pool.create("trash/filling")
    place = disks.folder()
    await pool.mount("trash/filling", place)
    assert disks.write(f"{place}/all", 200) != 0
    for number in range(100):
        try:
            await disks.pool.snapshot(SITE, f"plain-{number}")
        except OutOfSpace:
            break
        disks.write(f"{place}/more{number}", 8)
    else:
        raise AssertionError("the pool does not get full")
    await pool.set_properties(SITE, {"claim": "7,n-a"})
    await pool.snapshot(SITE, "second")
    await pool.clone(SITE, first.guid, "stash/x")
    await pool.rename("stash/x", "trash/x")
    await pool.set_readonly(SITE, True)
    assert (await pool.dataset(SITE)).properties["claim"] == "7,n-a"
    assert disks.write(f"{place}/tenant", 2) != 0
    assert (await pool.space()).free_bytes < MEBIBYTE
    await pool.unmount("trash/filling")
    await pool.destroy("trash/filling", with_history=True)
    assert (await pool.space()).free_bytes > 50 * MEBIBYTE


@pytest_twisted.ensureDeferred
async def test_row_9_at_the_quota_deleting_makes_room_whatever_history_holds(disks: Disks) -> None:
    """A full site with snapshots of all it has can delete, and write as much again: history is not in the quota."""
    pool = disks.pool
    await pool.prepare()
    await pool.create(SITE)
    await pool.set_quota(SITE, 20 * MEBIBYTE)
    place = disks.folder()
    await pool.mount(SITE, place)
    for number in range(3):
        assert disks.write(f"{place}/big", 40) != 0
        await pool.snapshot(SITE, f"full-{number}")
        disks.host.run("rm", f"{place}/big")
        await pool.snapshot(SITE, f"empty-{number}")
        assert disks.write(f"{place}/again", 12) == 0
        disks.host.run("rm", f"{place}/again")
    found = await pool.dataset(SITE)
    assert found.history_bytes > 30 * MEBIBYTE
    assert found.referenced_bytes < 20 * MEBIBYTE


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("disks", [2], indirect=True)
async def test_a_disk_of_a_mirror_with_wrong_bits_is_told_and_costs_nothing(disks: Disks) -> None:
    """ZFS reads the other disk and repairs; people are told which disk to replace before the second one fails."""
    pool = disks.pool
    await pool.prepare()
    await pool.create(SITE)
    place = disks.folder()
    await pool.mount(SITE, place)
    assert disks.write(f"{place}/f", 20) == 0
    await pool.snapshot(SITE, "one")
    assert alarms(disks.name, await pool.health()) == ()
    disks.spoil(disks.disks[0])
    await disks.scrubbed()
    (told,) = alarms(disks.name, await pool.health())
    assert "repaired itself" in told and disks.disks[0] in told and disks.disks[1] not in told
    await pool.check()


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("disks", [2], indirect=True)
async def test_a_degraded_mirror_is_told_and_works(disks: Disks) -> None:
    """One disk is out: the pool goes on, and the alarm names the disk and the command."""
    pool = disks.pool
    await pool.prepare()
    disks.host.run("zpool", "offline", disks.name, disks.disks[1])
    health = await pool.health()
    assert health.state == "degraded"
    (told,) = alarms(disks.name, health)
    assert disks.disks[1] in told and f"zpool replace {disks.name}" in told
    await pool.check()
    await pool.create(SITE)


@pytest_twisted.ensureDeferred
async def test_damaged_data_without_a_second_disk_is_told(disks: Disks) -> None:
    """What no disk has whole any more is counted, and the alarm says where good copies are."""
    pool = disks.pool
    await pool.prepare()
    await pool.create(SITE)
    place = disks.folder()
    await pool.mount(SITE, place)
    assert disks.write(f"{place}/f", 40) == 0
    await pool.snapshot(SITE, "one")
    disks.spoil(disks.disks[0])
    await disks.scrubbed()
    health = await pool.health()
    assert health.data_errors > 0
    assert "other servers hold good copies" in alarms(disks.name, health)[0]


@pytest_twisted.ensureDeferred
async def test_row_7_a_snapshot_in_use_is_busy_and_goes_later(disks: Disks) -> None:
    """A clone that somebody looks into keeps its snapshot: `Busy`, no harm, and gone once nobody looks any more."""
    pool = disks.pool
    await pool.prepare()
    await pool.create(SITE)
    taken = await pool.snapshot(SITE, "one")
    await pool.snapshot(SITE, "two")
    await pool.clone(SITE, taken.guid, "temporary/look")
    with pytest.raises(Busy):
        await pool.destroy_snapshot(SITE, taken.guid)
    await pool.destroy("temporary/look")
    await pool.destroy_snapshot(SITE, taken.guid)
    assert [one.name for one in await pool.history(SITE)] == ["two"]


def test_row_20_a_second_daemon_does_not_import_the_same_pools(disks: Disks, zfs_namespace: Any) -> None:
    """Two daemons on one machine know nothing of each other's pools."""
    zfs_namespace.start_daemon()
    assert disks.name in disks.host.run("zpool", "list", "-H", "-o", "name").stdout.decode()
    assert disks.name not in zfs_namespace.run("zpool", "list", "-H", "-o", "name").stdout.decode()
