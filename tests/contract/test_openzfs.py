"""What only OpenZFS has: large and embedded blocks, encrypted datasets, pools of its own older versions, multihost."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor as _reactor

from hybrid.errors import StorageError, StreamRefused
from hybrid.history import guids
from hybrid.storage import features
from hybrid.storage.abilities import abilities, warnings
from hybrid.storage.begin import LENGTH, parse
from hybrid.storage.openzfs import OPENZFS, OpenZfsPool, unavailable
from hybrid.storage.pools import import_pool, pool_exists, pool_properties
from tests.contract.test_pool_capabilities import cut, read_all
from tests.contract.test_pool_streams import noise, take

reactor: Any = _reactor
SITE, OTHER = "sites/s-one", "sites/s-two"
pytestmark = pytest.mark.zfs
Host = Any


@pytest.fixture
def new(openzfs: Host) -> Iterator[str]:
    """A pool with all features."""
    yield from _pool(openzfs, f"hyb{os.getpid()}new")


@pytest.fixture
def other(openzfs: Host) -> Iterator[str]:
    """Another with all features."""
    yield from _pool(openzfs, f"hyb{os.getpid()}other")


@pytest.fixture
def old(openzfs: Host) -> Iterator[str]:
    """A pool of version 28."""
    yield from _pool(openzfs, f"hyb{os.getpid()}old", "-o", "version=28")


def _pool(host: Host, name: str, *options: str) -> Iterator[str]:
    if unavailable():
        pytest.skip(unavailable())
    disk = host.where / f"{name}.img"
    try:
        host.run("truncate", "-s", "128M", str(disk))
        host.run("zpool", "create", *options, "-O", "mountpoint=none", name, str(disk))
        yield name
    finally:
        host.destroy_pool(name)


def driver(name: str, properties: dict[str, str]) -> OpenZfsPool:
    """As a node makes it."""
    return OpenZfsPool(reactor, name, capabilities=abilities(properties, library=True))


async def write(host: Host, pool: OpenZfsPool, name: str, path: str, data: bytes) -> None:
    """Put a file into live data."""
    root = str(host.where / "site")
    await pool.mount(name, root)
    host.run("dd", f"of={root}/{path}", "bs=1M", "conv=fsync", "status=none", data=data)
    await pool.unmount(name)


@pytest_twisted.ensureDeferred
async def test_a_pool_tells_what_it_can_do(openzfs: Host, new: str, old: str) -> None:
    """One made today everything; one of version 28 replicates, without what it lacks, and people hear of it."""
    newer, older = await pool_properties(reactor, new), await pool_properties(reactor, old)
    assert abilities(newer, library=True) == OPENZFS
    found = abilities(older, library=True)
    assert (found.bookmarks, found.resumable, found.knows_written, found.diff) == (False, False, True, True)
    assert found.takes & features.SPILL and not found.takes & features.COMPRESSED
    assert any("multihost" in said for said in warnings(new, newer))
    assert any("version 28" in said for said in warnings(old, older))


@pytest_twisted.ensureDeferred
async def test_a_pool_of_version_28_replicates_both_ways(openzfs: Host, new: str, old: str) -> None:
    """Whole, increments, and home again after a failover."""
    here, there = driver(new, await pool_properties(reactor, new)), driver(old, await pool_properties(reactor, old))
    await here.prepare()
    await there.prepare()
    await here.create(SITE)
    await write(openzfs, here, SITE, "f", noise(300_000))
    first = await here.snapshot(SITE, "first")
    await take(there, SITE, await read_all(await here.send(SITE, first.guid, None, there.capabilities.takes)))
    await there.bookmark(SITE, first.guid, "n2")
    assert await there.bookmarks(SITE) == {}
    await there.set_readonly(SITE, False)
    await write(openzfs, there, SITE, "g", noise(1_000))
    second = await there.snapshot(SITE, "second")
    await here.set_readonly(SITE, True)
    step = await read_all(await there.send(SITE, second.guid, first.guid, here.capabilities.takes))
    await take(here, SITE, step)
    assert guids(await here.history(SITE)) == (first.guid, second.guid)
    whole = await read_all(await here.send(SITE, second.guid, None, here.capabilities.takes))
    assert parse(whole[:LENGTH]).features & features.COMPRESSED
    with pytest.raises(StreamRefused, match=r"compressed blocks.*on the receiving pool"):
        await take(there, OTHER, whole)


@pytest_twisted.ensureDeferred
async def test_blocks_travel_as_they_are(openzfs: Host, new: str, other: str) -> None:
    """Large, compressed and embedded ones are not cut up, unpacked or packed again between two pools of OpenZFS."""
    here, there = driver(new, await pool_properties(reactor, new)), driver(other, await pool_properties(reactor, other))
    await here.prepare()
    await there.prepare()
    await here.create(SITE)
    openzfs.run("zfs", "set", "recordsize=1M", "compression=lz4", f"{new}/hybrid/{SITE}")
    large, small = (noise(64 << 10) + b"x" * (960 << 10)) * 2, b"y" * 3000
    await write(openzfs, here, SITE, "large", large)
    await write(openzfs, here, SITE, "small", small)
    first = await here.snapshot(SITE, "first")
    plain = await read_all(await here.send(SITE, first.guid, None))
    best = await read_all(await here.send(SITE, first.guid, None, there.capabilities.takes))
    kinds = features.LARGE_BLOCKS | features.COMPRESSED | features.EMBEDDED
    assert (parse(plain[:LENGTH]).features & kinds, parse(best[:LENGTH]).features & kinds) == (0, kinds)
    assert len(best) < len(plain) / 4
    await take(there, SITE, best)
    await write(openzfs, here, SITE, "more", large)
    second = await here.snapshot(SITE, "second")
    step = await read_all(await here.send(SITE, second.guid, first.guid, there.capabilities.takes))
    assert parse(step[:LENGTH]).features & kinds == kinds
    await take(there, SITE, step)
    root = str(openzfs.where / "there")
    await there.mount(SITE, root)
    for name, data in (("large", large), ("small", small), ("more", large)):
        assert openzfs.run("cat", f"{root}/{name}").stdout == data
    assert int(openzfs.run("stat", "-c", "%o", f"{root}/more").stdout) == 1 << 20
    await there.unmount(SITE)


@pytest.fixture
def machine() -> Iterator[Callable[[int], object]]:
    """Make this another machine to OpenZFS, at first 0xA1, and one that is quick to see that no other is at work."""
    number, zfs = Path("/sys/module/spl/parameters/spl_hostid"), Path("/sys/module/zfs/parameters")
    quick = {zfs / "zfs_multihost_import_intervals": "2", zfs / "zfs_multihost_interval": "200"}
    before = {path: path.read_text() for path in (number, *quick)}
    for path, value in {number: "0xA1", **quick}.items():
        path.write_text(value)
    yield lambda it: number.write_text(str(it))
    for path, value in before.items():
        path.write_text(value)


@pytest_twisted.ensureDeferred
async def test_a_pool_that_another_machine_had_is_not_imported(
    openzfs: Host, machine: Callable[[int], object], new: str
) -> None:
    """Multihost: a machine whose power was cut has its own pool again; any other one is told what to make sure of."""
    openzfs.run("zpool", "set", "multihost=on", new)
    assert not warnings(new, await pool_properties(reactor, new))
    pool = driver(new, await pool_properties(reactor, new))
    await pool.prepare()
    await pool.create(SITE)
    openzfs.run("zpool", "sync", new)
    disk, cut_off = openzfs.where / f"{new}.img", openzfs.where / "disk"
    cut_off.mkdir()
    openzfs.run("cp", "--sparse=always", str(disk), str(cut_off / disk.name))
    openzfs.destroy_pool(new)
    machine(0xB2)
    with pytest.raises(StorageError, match="no other machine uses it"):
        await import_pool(reactor, new, [str(cut_off)])
    assert not await pool_exists(reactor, new)
    machine(0xA1)
    await import_pool(reactor, new, [str(cut_off)])
    assert [one.name for one in await pool.datasets()] == [SITE]


@pytest_twisted.ensureDeferred
async def test_what_is_encrypted_is_never_sent_in_clear(openzfs: Host, new: str) -> None:
    """As it is on disk, to who takes that, also after a cut; else refused with what to try."""
    pool = driver(new, await pool_properties(reactor, new))
    await pool.prepare()
    key = openzfs.where / "key"
    key.write_bytes(bytes(range(32)))
    options = ("encryption=on", "keyformat=raw", f"keylocation=file://{key}", "canmount=noauto", "readonly=off")
    openzfs.run("zfs", "create", *(word for one in options for word in ("-o", one)), f"{new}/hybrid/{SITE}")
    secret = b"a secret that no stream shows " * 100 + noise(2_000_000)
    await write(openzfs, pool, SITE, "f", secret)
    taken = await pool.snapshot(SITE, "one")
    with pytest.raises(StreamRefused, match="takes no encrypted blocks"):
        await pool.send(SITE, taken.guid, None, OPENZFS.takes & ~features.RAW)
    whole = await read_all(await pool.send(SITE, taken.guid, None, OPENZFS.takes))
    begin = parse(whole[:LENGTH])
    assert begin.features & features.RAW
    assert b"secret that no stream" not in whole
    await cut(pool, OTHER, whole[: len(whole) // 2])
    part = await pool.partial(OTHER)
    assert part is not None and part.features & features.RAW
    await take(pool, OTHER, await read_all(await pool.send(SITE, taken.guid, None, OPENZFS.takes, part)))
    assert await pool.history(OTHER) == (taken,)
    await write(openzfs, pool, SITE, "g", secret)
    later = await pool.snapshot(SITE, "two")
    step = await read_all(await pool.send(SITE, later.guid, taken.guid, OPENZFS.takes))
    assert parse(step[:LENGTH]).features & features.RAW and b"secret that no stream" not in step
    await take(pool, OTHER, step)
    assert await pool.history(OTHER) == (taken, later)
    openzfs.run("zfs", "load-key", "-L", f"file://{key}", f"{new}/hybrid/{OTHER}")
    root = str(openzfs.where / "other")
    await pool.mount(OTHER, root)
    assert openzfs.run("cat", f"{root}/f", f"{root}/g").stdout == 2 * secret
    await pool.unmount(OTHER)
