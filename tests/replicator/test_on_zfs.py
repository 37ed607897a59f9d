"""The whole path on real ZFS: two pools, real streams, real files, a real clock."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any, cast

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import deferLater

from hybrid.cluster.memory_peers import MemoryNetwork
from hybrid.errors import NoSuchPath, StorageError
from hybrid.history import guids
from hybrid.model import NO_CLAIM, Claim, Fact, Guid, NodeId, Replicated, SiteId, SiteSpec, Snapshot, Version
from hybrid.ports import ByteSource, Partial
from hybrid.storage.children import Reactor
from hybrid.storage.openzfs import OpenZfsPool, unavailable
from hybrid.storage.zfs import ZfsCommandPool
from hybrid.view import NodeView, SiteView, View
from hybrid.wire import Offer
from hybrid_replicator.children import ChildFiles
from hybrid_replicator.header import check, read
from hybrid_replicator.service import Replicator

REACTOR = cast(Reactor, reactor)
pytestmark = pytest.mark.zfs
A, B = NodeId("n-aaaaaaaaaaaaaaaa"), NodeId("n-bbbbbbbbbbbbbbbb")
SITE = SiteId("s-abcdefghijklmnopqrstuvwxyz")
MAIN = f"sites/{SITE}"
IMAGE = "images/static-0123"
BREAKS_AFTER = 3 * 1024 * 1024
_NUMBERS = itertools.count(1)


class Fences:
    """Claims of one node."""

    def __init__(self) -> None:
        self.claim, self.writer = NO_CLAIM, False

    def seen(self, site: SiteId) -> Claim:
        """See `hybrid_replicator.ports.Fences`."""
        return self.claim

    async def saw(self, site: SiteId, claim: Claim) -> None:
        """See `hybrid_replicator.ports.Fences`."""
        self.claim = max(self.claim, claim)

    def writing(self, site: SiteId) -> AbstractAsyncContextManager[None]:
        """See `hybrid_replicator.ports.Fences`."""
        return nullcontext()

    def is_writer(self, site: SiteId) -> bool:
        """See `hybrid_replicator.ports.Fences`."""
        return self.writer


class Node:
    """A replicator on a real pool."""

    def __init__(
        self, namespace: Any, network: MemoryNetwork, name: NodeId, pool: ZfsCommandPool, other: NodeId
    ) -> None:
        self.namespace, self.name, self.pool = namespace, name, pool
        self.fences, self.peers, self.facts = Fences(), network.join(name), list[Fact]()
        self.live = str(namespace.where / f"live-{name}")
        program = (*namespace.prefix, sys.executable, "-m", "hybrid_replicator.files")
        worker = (shutil.which(program[0]) or "", *program[1:])
        self.replicator = Replicator(
            reactor,
            self.pool,
            self.peers,
            self.fences,
            lambda site: (other,),
            lambda site: self.live if self.fences.writer else None,
            self.facts.append,
            name,
            files=ChildFiles(REACTOR, REACTOR, command=worker),
            place=namespace.where / f"look-{name}",
            jitter=random.Random(1).random,
            now_s=time.time,
            look_every_s=1.0,
        )

    async def start(self) -> None:
        """As the node's process does."""
        await self.pool.prepare()
        await self.replicator.recover()
        self.peers.startService()
        self.replicator.startService()

    async def stop(self) -> None:
        """As the node's process does."""
        await self.replicator.stopService()
        await self.peers.stopService()

    async def open(self, claim: Claim) -> None:
        """Begin a term: writable and mounted."""
        self.fences.writer = True
        await self.fences.saw(SITE, claim)
        await self.pool.set_readonly(MAIN, False)
        await self.replicator.snapshot(SITE, claim)
        await self.pool.mount(MAIN, self.live)

    def write(self, path: str, data: bytes) -> None:
        """What a visitor does."""
        target = f"of={self.live}/{path}"
        self.namespace.run("dd", target, "bs=1M", "conv=fsync", "status=none", data=data)

    def read(self, path: str) -> bytes:
        """Live data."""
        data: bytes = self.namespace.run("cat", f"{self.live}/{path}").stdout
        return data


def view(me: NodeId, claim: Claim) -> View:
    """Both nodes live, one site."""
    spec = SiteSpec(id=SITE, version=Version(1, 0), name="shop", domains=(), image="static@0123", number=1)
    nodes = {
        name: NodeView(id=name, name=name, dc="x", address="", cluster_port=1, interior_port=2, api_port=3, live=True)
        for name in (A, B)
    }
    sites = {SITE: SiteView(spec=spec, state="serving", owner=claim.node, claim=claim)}
    return View(me=me, serial=claim.epoch, zones=(), nodes=nodes, sites=sites)


async def until(met: Callable[[], bool], what: str, seconds: float = 120.0) -> float:
    """Wait until `met()`; how long that took."""
    began_s = time.monotonic()
    while not met():
        assert time.monotonic() - began_s < seconds, f"{what}: not in {seconds} s"
        await deferLater(reactor, 0.05, lambda: None)
    return time.monotonic() - began_s


@pytest.fixture(params=["zfs_fuse", "openzfs"])
def nodes(request: pytest.FixtureRequest) -> Iterator[tuple[Node, Node]]:
    """Two nodes whose pools are on one machine, joined; of each real driver."""
    host = request.getfixturevalue(request.param)
    if request.param == "openzfs" and unavailable():
        pytest.skip(unavailable())
    yield from _two(host, OpenZfsPool if request.param == "openzfs" else ZfsCommandPool)


def _two(host: Any, driver: type[ZfsCommandPool]) -> Iterator[tuple[Node, Node]]:
    network = MemoryNetwork(reactor, reconnect_s=0.0)
    names = [f"hyb{os.getpid()}r{next(_NUMBERS)}" for _ in range(2)]
    try:
        for name in names:
            host.create_pool(name, str(192 * 1024 * 1024))
        a, b = (driver(REACTOR, name, host.prefix) for name in names)
        yield Node(host, network, A, a, B), Node(host, network, B, b, A)
    finally:
        for name in names:
            host.destroy_pool(name)


async def furnish(a: Node) -> None:
    """An image and a site of it on `a`."""
    await a.pool.create(IMAGE, {"manifest": "static"})
    image = await a.pool.snapshot(IMAGE, "image")
    await a.pool.clone(IMAGE, image.guid, MAIN)
    await a.open(Claim(1, A))


@pytest_twisted.ensureDeferred
async def test_from_a_write_to_another_server_and_back_in_time(nodes: tuple[Node, Node]) -> None:
    """Write, replicate, look into the past, restore a file, roll back, undo, diverge and converge: on real ZFS."""
    a, b = nodes
    await a.start()
    await b.start()
    await furnish(a)
    for node in nodes:
        node.replicator.follow(view(node.name, Claim(1, A)))
    a.write("page", b"first")
    first = await _replicated(a, b)
    a.write("page", b"second" * 100_000)
    a.write("other", b"kept")
    second = await _replicated(a, b)
    assert a.replicator.lag_s(SITE) is not None
    replica = await b.pool.dataset(MAIN)
    assert replica.readonly and replica.mountpoint is None and replica.origin is not None

    folder = await b.replicator.browse(SITE, second, "/", "", 10)
    assert [entry.name for entry in folder.entries] == ["other", "page"]
    assert await content(await b.replicator.read(SITE, first, "/page", "file")) == b"first"
    with pytest.raises(NoSuchPath):
        await b.replicator.browse(SITE, first, "../..", "", 10)
    assert await a.replicator.restore(SITE, first, "page", "") == (1, "/page")
    assert (a.read("page"), a.read("other")) == (b"first", b"kept")
    await _replicated(a, b)

    async with a.replicator.exclusive(SITE):
        await a.pool.unmount(MAIN)
        stash = await a.replicator.stash(SITE, first, "rollback")
        await a.open(Claim(2, A))
    for node in nodes:
        node.replicator.follow(view(node.name, Claim(2, A)))
    assert a.read("page") == b"first"
    await _replicated(a, b)
    assert guids(b.replicator.history(SITE))[0] == first and len(b.replicator.stashes(SITE)) == 1

    async with a.replicator.exclusive(SITE):
        await a.pool.unmount(MAIN)
        await a.replicator.unstash(stash.id, "undo")
        await a.open(Claim(3, A))
    for node in nodes:
        node.replicator.follow(view(node.name, Claim(3, A)))
    assert a.read("other") == b"kept"
    await _replicated(a, b)
    assert await content(await b.replicator.read(SITE, b.replicator.history(SITE)[-1].guid, "other", "file")) == b"kept"

    for node in nodes:
        left = {one.name.split("-")[0] for one in await node.pool.datasets() if one.name.startswith("temporary/")}
        assert left <= {"temporary/look"}  # kept for those who look again
        for dataset in await node.pool.datasets():
            if dataset.name.startswith(("sites/", "stash/s-")):
                assert guids(await node.pool.history(dataset.name)) == guids(
                    node.replicator._index.history(dataset.name)
                )
        await node.stop()
    await a.pool.unmount(MAIN)


async def content(source: ByteSource) -> bytes:
    """All of it."""
    found = b""
    while piece := await source.read():
        found += piece
    return found


async def _replicated(a: Node, b: Node) -> Any:
    """Wait until all that was written is on `b`; the newest snapshot."""
    await a.replicator.snapshot(SITE, a.fences.claim, only_if_changed=True)
    head = a.replicator.history(SITE)[-1].guid

    def there() -> bool:
        history = b.replicator.history(SITE)
        return bool(history) and history[-1].guid == a.replicator.history(SITE)[-1].guid

    await until(there, "replication")
    return head


class BreakingPool(OpenZfsPool):
    """The first stream of more than `BREAKS_AFTER` bytes breaks there."""

    broken = False

    async def send(
        self, name: str, guid: Guid, base: Guid | None, takes: int = 0, resume: Partial | None = None
    ) -> ByteSource:
        """See `hybrid.ports.Pool`."""
        return Breaking(await super().send(name, guid, base, takes, resume), self)


class Breaking:
    """See `hybrid.ports.ByteSource`."""

    def __init__(self, source: ByteSource, pool: BreakingPool) -> None:
        self._source, self._pool, self._bytes = source, pool, 0

    async def read(self) -> bytes:
        """The next piece, or the break."""
        data = await self._source.read()
        self._bytes += len(data)
        if self._bytes > BREAKS_AFTER and not self._pool.broken:
            self._pool.broken = True
            raise StorageError("the stream broke", "a disk was pulled")
        return data

    async def abort(self) -> None:
        """See `hybrid.ports.ByteSource`."""
        await self._source.abort()


@pytest.fixture
def breaking(openzfs: Any) -> Iterator[tuple[Node, Node]]:
    """Two nodes with OpenZFS."""
    if unavailable():
        pytest.skip(unavailable())
    yield from _two(openzfs, BreakingPool)


@pytest_twisted.ensureDeferred
async def test_a_copy_that_breaks_off_goes_on(breaking: tuple[Node, Node]) -> None:
    """On OpenZFS most of it travels once only; afterwards the replica is as the site, and no part is left."""
    a, b = breaking
    await a.start()
    await b.start()
    await furnish(a)
    a.write("big", os.urandom(4 * BREAKS_AFTER))
    for node in breaking:
        node.replicator.follow(view(node.name, Claim(1, A)))
    await _replicated(a, b)
    assert isinstance(a.pool, BreakingPool) and a.pool.broken
    assert await content(await b.replicator.read(SITE, b.replicator.history(SITE)[-1].guid, "big", "file")) == a.read(
        "big"
    )
    arrived = [fact.bytes for fact in a.facts if isinstance(fact, Replicated)]
    assert sum(arrived) < 3.5 * BREAKS_AFTER
    assert not [one.name for one in await b.pool.datasets() if one.name.startswith("temporary/receive")]
    for node in breaking:
        await node.stop()
    await a.pool.unmount(MAIN)


@pytest_twisted.ensureDeferred
async def test_the_head_of_a_real_stream_is_read(nodes: tuple[Node, Node]) -> None:
    """What ZFS writes is what the receiver checks."""
    a, _ = nodes
    await a.start()
    await furnish(a)
    image, (first,) = (await a.pool.history(IMAGE))[0], await a.pool.history(MAIN)
    a.write("page", b"x")
    second = await a.pool.snapshot(MAIN, "hyb-000001-aaaaaaaa-0000009")
    for base, to in ((None, image), (image, first), (first, second)):
        dataset = IMAGE if to is image else MAIN
        source = await a.pool.send(dataset, to.guid, base.guid if base else None)
        begin = read(await source.read())
        await source.abort()
        check(begin, _offer(dataset, base, to))
        assert begin.to_name.endswith(f"{dataset}@{to.name}")
    await a.stop()
    await a.pool.unmount(MAIN)


def _offer(dataset: str, base: Snapshot | None, to: Snapshot) -> Offer:
    return Offer(dataset=dataset, claim=NO_CLAIM, base=base.guid if base else None, to=to)


@pytest_twisted.ensureDeferred
async def test_the_mail_of_a_stash_comes_back_into_the_main_line(nodes: tuple[Node, Node]) -> None:
    """Mail that came in on the side that lost is in the mailbox again, once, beside what came in since."""
    a, _ = nodes
    await a.start()
    await furnish(a)
    a.namespace.run("mkdir", "-p", *(f"{a.live}/box/{place}" for place in ("cur", "new", "tmp")))
    a.write("box/new/1", b"before")
    base = await a.replicator.snapshot(SITE, Claim(1, A))
    assert base is not None
    a.write("box/new/2", b"there")
    async with a.replicator.exclusive(SITE):
        await a.pool.unmount(MAIN)
        stash = await a.replicator.stash(SITE, base.guid, "conflict")
        await a.open(Claim(2, A))
    a.write("box/new/3", b"here")
    assert [await a.replicator.unite(SITE, stash.id) for _ in range(2)] == [1, 0]
    assert [a.read(f"box/new/{number}") for number in (1, 2, 3)] == [b"before", b"there", b"here"]
    assert not [one.name for one in await a.pool.datasets() if one.name.startswith("temporary/")]
    await a.stop()
    await a.pool.unmount(MAIN)
