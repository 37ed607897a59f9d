"""The contract of `hybrid.away.ports.Objects`, in memory and on a real S3 server: rclone's, which checks signatures."""

from __future__ import annotations

import itertools
import random
import socket
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from hybrid.away.lines import chain_at, labels_of, streams
from hybrid.away.memory import MemoryObjects
from hybrid.away.ports import Objects
from hybrid.away.s3 import S3Objects
from hybrid.away.sealing import Sealed
from hybrid.away.shipping import PIECE, Shipping
from hybrid.away.stores import AwayStore
from hybrid.errors import NoSuchObject, StoreRefused, StoreUnreachable
from hybrid.history import History
from hybrid.model import Claim, NodeId, SiteId, SiteSpec, Version
from hybrid.ports import Pool
from hybrid_replicator.gate import Abort, Gate
from hybrid_replicator.traffic import unlimited
from tests.away.bucket import ACCESS, SECRET, serving

SITE = SiteId("s-one")
_NUMBERS = itertools.count(1)


def store_at(port: int, **more: str) -> AwayStore:
    """One on this machine."""
    store = AwayStore(
        name="vault",
        endpoint=f"http://127.0.0.1:{port}",
        bucket="copies",
        access_key=ACCESS,
        secret_key=SECRET,
        folder="some/folder/",
        key=bytes(32),
    )
    return msgspec.structs.replace(store, **more)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a running S3 server with an empty bucket `copies`."""
    with serving(tmp_path_factory.mktemp("buckets")) as port:
        yield port


@pytest.fixture(params=["memory", "s3"])
def objects(request: pytest.FixtureRequest) -> Iterator[Objects]:
    """An empty folder."""
    if request.param == "memory":
        yield MemoryObjects()
        return
    folder = f"test-{next(_NUMBERS)}/"
    made = S3Objects(reactor, store_at(request.getfixturevalue("server"), folder=folder), time.time)
    yield made
    pytest_twisted.blockon(Deferred.fromCoroutine(made.close()))


@pytest_twisted.ensureDeferred
async def test_an_object_is_what_was_put_there(objects: Objects) -> None:
    """Any bytes, also none; overwriting replaces; what is not there is told apart."""
    data = bytes(range(256)) * 5000
    for content in (b"", b"x", data):
        await objects.put("sites/s-one/data/ab/00000000", content)
        assert await objects.get("sites/s-one/data/ab/00000000") == content
    with pytest.raises(NoSuchObject):
        await objects.get("sites/s-one/data/ab/00000001")


@pytest_twisted.ensureDeferred
async def test_names_are_listed_by_prefix(objects: Objects) -> None:
    """Sorted, with sizes; folders one level deep; nothing there is an empty list."""
    assert await objects.names("sites/") == {}
    assert await objects.folders("sites/") == []
    for number in range(3):
        await objects.put(f"sites/s-{number}/labels/a.b", b"x" * number)
    await objects.put("hybrid-away", b"mark")
    assert await objects.names("sites/") == {f"sites/s-{number}/labels/a.b": number for number in range(3)}
    assert await objects.folders("sites/") == ["s-0", "s-1", "s-2"]
    assert await objects.names("sites/s-1/") == {"sites/s-1/labels/a.b": 1}


@pytest_twisted.ensureDeferred
async def test_removing_twice_is_no_error(objects: Objects) -> None:
    """And what was removed is gone."""
    await objects.put("one", b"1")
    await objects.remove("one")
    await objects.remove("one")
    with pytest.raises(NoSuchObject):
        await objects.get("one")
    assert await objects.names("") == {}


@pytest_twisted.ensureDeferred
async def test_more_names_than_one_answer_holds(server: int) -> None:
    """A listing of more than a thousand objects comes in pages, all of them read."""
    made = S3Objects(reactor, store_at(server, folder="many/"), time.time)
    for number in range(1005):
        await made.put(f"n/{number:05d}", b"")
    assert len(await made.names("n/")) == 1005
    await made.close()


@pytest_twisted.ensureDeferred
async def test_wrong_keys_buckets_and_ports_are_told_apart(server: int) -> None:
    """Refused, not tried again; unreachable, after tries; both say what to check."""
    for wrong in ({"secret_key": "no"}, {"access_key": "no"}, {"bucket": "nobucket"}):
        made = S3Objects(reactor, store_at(server, **wrong), time.time)
        with pytest.raises(StoreRefused, match="check keys, bucket"):
            await made.put("x", b"x")
        await made.close()
    with pytest.raises(StoreRefused):
        await S3Objects(reactor, store_at(server), lambda: time.time() - 86400).get("x")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = S3Objects(reactor, store_at(free.getsockname()[1]), time.time, rests_s=(0.01,))
        with pytest.raises(StoreUnreachable, match="check the endpoint"):
            await nobody.get("x")


class Line:
    """The replicator's part in shipping, over a pool."""

    def __init__(self) -> None:
        self.line: History = ()
        self.gate = Gate(SITE)

    def history(self, site: SiteId) -> History:
        """See `hybrid.away.shipping.Histories`."""
        return self.line

    def sharing(self, site: SiteId, abort: Abort) -> Any:
        """See `hybrid.away.shipping.Histories`."""
        return self.gate.shared(abort)


@pytest_twisted.ensureDeferred
async def test_a_real_history_goes_there_and_comes_back(pair: Any, objects: Objects) -> None:
    """Whole and increments of a dataset larger than a piece, out of one pool, through the store, into another."""
    here, there = pair
    await here.pool.prepare()
    await there.pool.prepare()
    await here.pool.create(f"sites/{SITE}")
    line = Line()
    chance, claim = random.Random(1), Claim(3, NodeId("n-a"))
    shipping = Shipping(
        "n1", here.pool, line, lambda site: claim, time.time, chance.randbytes, print, unlimited(Clock())
    )
    store = store_at(1)
    content = {"a": chance.randbytes(2 * PIECE + 12345), "b": b"small"}
    for counter, (path, data) in enumerate(content.items(), 1):
        await here.write(f"sites/{SITE}", path, data)
        await here.pool.snapshot(f"sites/{SITE}", f"hyb-000003-a-{counter:07d}")
        line.line = await here.pool.history(f"sites/{SITE}")
        assert await shipping.ship(store, objects, spec()) is not None
        assert await shipping.ship(store, objects, spec()) is None
    await fetch(there.pool, store, objects)
    assert await there.pool.history(f"sites/{SITE}") == line.line
    assert await there.files(f"sites/{SITE}", line.line[-1].guid) == content


def spec() -> SiteSpec:
    """Of the site."""
    return SiteSpec(id=SITE, version=Version(1, 0), name="one", domains=(), image="static@1", number=1)


async def fetch(pool: Pool, store: AwayStore, objects: Objects) -> None:
    """Receive the newest line."""
    for stream in chain_at(streams(await objects.names(labels_of(SITE))), None):
        names = sorted(await objects.names(f"sites/{SITE}/data/{stream.id}/"))
        sealed, sink = Sealed(store.key, stream.id), await pool.receive(f"sites/{SITE}")
        for number, name in enumerate(names):
            await sink.write(sealed.open(number, number == len(names) - 1, await objects.get(name)))
        await sink.finish()
