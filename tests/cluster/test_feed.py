"""The feed when a reader is slow, broken or away."""

from __future__ import annotations

import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import cast

import msgspec
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.endpoints import UNIXClientEndpoint, connectProtocol
from twisted.internet.interfaces import IPushProducer, ITransport
from twisted.internet.protocol import connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from hybrid.feed import MAX_BEHIND, FeedClient, FeedServer, Reactor
from hybrid.frames import FrameProtocol, header
from hybrid.model import Fact, NodeId, Served, SiteId
from hybrid.view import NodeView, View

ME = NodeId("n-aaaaaaaaaaaaaaaa")


def view(serial: int, padding: str = "") -> View:
    """A view of one node."""
    node = NodeView(
        id=ME,
        name="n1",
        dc="paris",
        address="10.0.0.1",
        cluster_port=1,
        interior_port=2,
        api_port=3,
        live=True,
        release=padding,
    )
    return View(me=ME, serial=serial, zones=("example.net",), nodes={ME: node}, sites={})


class Feed:
    """A feeder, its socket, and the facts it got."""

    def __init__(self, path: Path) -> None:
        self.path = str(path / "run" / "view.sock")
        self.facts: list[Fact] = []
        self.server = FeedServer(cast(Reactor, reactor), self.path, self.facts.append)

    async def raw(self) -> Raw:
        """A reader made by hand."""
        reader = Raw()
        await connectProtocol(UNIXClientEndpoint(reactor, self.path), reader)
        return reader


class Raw(FrameProtocol):
    """A reader that keeps frames; it can be told to read nothing."""

    max_frame = 2 * MAX_BEHIND

    def __init__(self) -> None:
        super().__init__()
        self.frames: list[bytes] = []
        self.lost = False

    def frame_received(self, body: bytes) -> None:
        """Keep it."""
        self.frames.append(body)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Cut off, or closed."""
        self.lost = True


async def until(true: Callable[[], bool]) -> None:
    """Let the reactor turn until `true()`; at most ten seconds."""
    for _ in range(1000):
        if true():
            return
        await deferLater(reactor, 0.01)
    raise AssertionError("it did not happen")


@pytest_twisted.async_yield_fixture
async def feed(tmp_path: Path) -> AsyncIterator[Feed]:
    """A feeder with a view."""
    one = Feed(tmp_path)
    one.server.startService()
    one.server.follow(view(1))
    await until(lambda: Path(one.path).exists())
    yield one
    await one.server.stopService()


@pytest_twisted.ensureDeferred
async def test_socket_is_not_for_everybody(feed: Feed) -> None:
    """No user of the server without rights reads the view or invents facts."""
    assert stat.S_IMODE(Path(feed.path).stat().st_mode) & 0o007 == 0


@pytest_twisted.ensureDeferred
async def test_views_in_a_burst_travel_as_one_change(feed: Feed) -> None:
    """A hundred changes in a moment cost the readers one."""
    raw = await feed.raw()
    await until(lambda: len(raw.frames) == 1)
    for serial in range(2, 102):
        feed.server.follow(view(serial))
    await until(lambda: len(raw.frames) == 2)
    await deferLater(reactor, 0.05)
    assert len(raw.frames) == 2
    assert msgspec.msgpack.decode(raw.frames[1])["change"]["serial"] == 101


@pytest_twisted.ensureDeferred
async def test_reader_that_reads_nothing_is_cut_off_and_others_go_on(feed: Feed) -> None:
    """A proxy that hangs costs the node bounded memory, and the other proxies nothing."""
    stuck, well = await feed.raw(), await feed.raw()
    await until(lambda: bool(stuck.frames and well.frames))
    cast(IPushProducer, stuck.transport).pauseProducing()
    for serial in range(2, 9):
        feed.server.follow(view(serial, chr(64 + serial) * (MAX_BEHIND // 5)))
        await until(lambda: len(well.frames) == serial)  # noqa: B023 (awaited at once)
    cast(IPushProducer, stuck.transport).resumeProducing()
    await until(lambda: stuck.lost)
    assert not well.lost and len(stuck.frames) < len(well.frames)


@pytest_twisted.ensureDeferred
async def test_garbage_from_a_reader_ends_that_reader_only(feed: Feed) -> None:
    """A worker gone mad is cut off; the node and the other workers are not disturbed."""
    well = await feed.raw()
    for noise in (b"\x00\x00\x00\x03abc", header(2**31), b"GET / HTTP/1.1\r\n\r\n"):
        mad = await feed.raw()
        cast(ITransport, mad.transport).write(noise)
        await until(lambda: mad.lost)  # noqa: B023 (awaited at once)
    feed.server.follow(view(2))
    await until(lambda: len(well.frames) == 2)
    assert feed.facts == []


@pytest_twisted.ensureDeferred
async def test_facts_of_a_worker_reach_the_node(feed: Feed) -> None:
    """What a proxy counted arrives; what it counts while the node is away is dropped without harm."""
    client = FeedClient(cast(Reactor, reactor), feed.path, lambda new: None)
    fact = Served(SiteId("s-1"), 5, 1000)
    client.report(fact)
    client.startService()
    await client.whenConnected()
    client.report(fact)
    await until(lambda: feed.facts == [fact])
    assert not client.is_heard  # the node process does not know the cluster yet
    feed.server.follow(view(1))
    await until(lambda: client.is_heard)
    await client.stopService()
    client.report(fact)
    assert not client.is_heard


@pytest_twisted.ensureDeferred
async def test_worker_does_not_pile_up_facts_for_a_node_that_stands_still(feed: Feed) -> None:
    """While the node process is stopped a proxy's memory does not grow."""
    client = FeedClient(cast(Reactor, reactor), feed.path, lambda new: None)
    client.startService()
    follower = cast(IPushProducer, await client.whenConnected())
    follower.pauseProducing()
    for _ in range(1000):
        client.report(Served(SiteId("s-1"), 1, 1))
    follower.resumeProducing()
    client.report(Served(SiteId("s-2"), 1, 1))
    await until(lambda: bool(feed.facts))
    assert feed.facts == [Served(SiteId("s-2"), 1, 1)]
    await client.stopService()
