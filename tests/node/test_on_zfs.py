"""Take-over, return, roll-back and move of a site, by whole nodes on real pools (zfs-fuse, OpenZFS)."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet import reactor as _reactor

from hybrid.storage.openzfs import OpenZfsPool, unavailable
from hybrid.storage.zfs import ZfsCommandPool
from tests.contract.conftest import ZfsHands
from tests.node.cluster import Steps
from tests.node.real import RealCluster, in_its_own_greenlet

pytestmark = pytest.mark.zfs
reactor: Any = _reactor
PLACES = {"a": "paris", "b": "london"}
POOL_BYTES = 192 * 1024 * 1024
_NUMBERS = itertools.count(1)


@pytest.fixture(params=["zfs_fuse", "openzfs"])
def cluster(request: pytest.FixtureRequest) -> Iterator[RealCluster]:
    """Two nodes in two data centres, each on a pool of its own."""
    host = request.getfixturevalue(request.param)
    if request.param == "openzfs" and unavailable():
        pytest.skip(unavailable())
    driver = OpenZfsPool if request.param == "openzfs" else ZfsCommandPool
    pools = {name: f"hyb{os.getpid()}t{next(_NUMBERS)}" for name in PLACES}
    made: RealCluster | None = None
    try:
        for pool in pools.values():
            host.create_pool(pool, str(POOL_BYTES))
        disks = {name: (ZfsHands(host, driver(reactor, pool, host.prefix)), pool) for name, pool in pools.items()}
        made = RealCluster(PLACES, disks)
        made.start()
        yield made
    finally:
        if made is not None:
            made.end()
        for pool in pools.values():
            host.destroy_pool(pool)


@in_its_own_greenlet
def test_the_owner_dies_returns_and_nothing_is_lost(cluster: RealCluster) -> None:
    """The other server takes over with what was replicated; the rest is a stash when the first one is back."""
    spec = cluster.create()
    a, b = cluster.members["a"], cluster.members["b"]
    a.write(spec.id, "guestbook", b"one")
    cluster.wait(15)
    a.write(spec.id, "guestbook", b"one two")
    a.power_cut()
    cluster.wait(20)
    assert cluster.owners(spec) == {"b": "b"}
    assert (b.site(spec).state, b.files(spec.id)["guestbook"]) == ("serving", b"one")
    b.write(spec.id, "guestbook", b"one three")
    a.start()
    cluster.wait(40)
    (stash,) = b.site(spec).stashes
    assert cluster.owners(spec) == {"a": "b", "b": "b"}
    assert a.pool.files(f"stash/{stash.id}")["guestbook"] == b"one two"
    assert {name: member.files(spec.id)["guestbook"] for name, member in cluster.members.items()} == {
        "a": b"one three",
        "b": b"one three",
    }


@in_its_own_greenlet
def test_a_site_moves_and_goes_back_in_time(cluster: RealCluster) -> None:
    """A planned move loses nothing; a roll-back on the new owner can be undone, and both servers follow."""
    spec = cluster.create()
    a, b = cluster.members["a"], cluster.members["b"]
    a.write(spec.id, "page", b"first")
    cluster.wait(15)
    first = b.core.replicator.history(spec.id)[-1]
    a.write(spec.id, "page", b"second")
    cluster.run(a.core.hosting.move(spec.id, b.id, Steps()))
    assert cluster.owners(spec) == {"a": "b", "b": "b"}
    assert b.files(spec.id)["page"] == b"second"
    cluster.run(b.core.hosting.rollback(spec.id, first.guid, Steps()))
    assert b.files(spec.id)["page"] == b"first"
    cluster.wait(15)
    assert a.files(spec.id)["page"] == b"first"
