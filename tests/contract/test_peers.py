"""The contract of `hybrid.ports.Peers`: what may be relied on between nodes, whatever carries it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import msgspec
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.logger import capturedLogs

from hybrid.cluster.certificates import new_key
from hybrid.cluster.founding import create_cluster
from hybrid.cluster.identity import Identity
from hybrid.cluster.link import LinkTiming
from hybrid.cluster.memory_peers import MemoryNetwork, MemoryPeers
from hybrid.cluster.peers import PeerLinks, Reactor
from hybrid.errors import Busy, PeerError
from hybrid.model import NO_CLAIM, Guid, NodeId, SiteId, Snapshot
from hybrid.ports import IncomingStream
from hybrid.settings import Settings
from hybrid.wire import ApiAnswer, ApiCall, AskHistory, Done, Gossip, HistoryHeld, Offer, Refused, SeesOwner, Taken

STALL_S = 0.5
A, B, NOBODY = NodeId("n-aaaaaaaaaaaaaaaa"), NodeId("n-bbbbbbbbbbbbbbbb"), NodeId("n-zzzzzzzzzzzzzzzz")
OFFER = Offer(dataset="sites/s-1", claim=NO_CLAIM, base=None, to=Snapshot(Guid(7), "x", 0))


Links = MemoryPeers | PeerLinks


class Pair:
    """Two connected nodes."""

    def __init__(self, a: Links, b: Links, a_id: NodeId, b_id: NodeId) -> None:
        self.a, self.b, self.a_id, self.b_id = a, b, a_id, b_id


class Bytes:
    """A `ByteSource` of prepared chunks; an exception among them is raised, a Deferred is waited for."""

    def __init__(self, *chunks: bytes | Exception | Deferred[bytes]) -> None:
        self._chunks = list(chunks)
        self.read_bytes = 0
        self.aborted = 0

    async def read(self) -> bytes:
        """See `hybrid.ports.ByteSource`."""
        if not self._chunks:
            return b""
        chunk = self._chunks.pop(0)
        if isinstance(chunk, Exception):
            raise chunk
        if isinstance(chunk, Deferred):
            return await chunk
        self.read_bytes += len(chunk)
        return chunk

    async def abort(self) -> None:
        """See `hybrid.ports.ByteSource`."""
        self.aborted += 1


async def memory_pair() -> AsyncIterator[Pair]:
    """Two nodes on one in-memory network."""
    network = MemoryNetwork(reactor, delay_s=0.0, dead_s=0.1, reconnect_s=0.0, stall_s=STALL_S)
    a, b = network.join(A), network.join(B)
    a.startService()
    b.startService()
    await connected(a, B)
    yield Pair(a, b, A, B)
    for peers in (a, b):
        if peers.running:
            await peers.stopService()


async def tls_pair() -> AsyncIterator[Pair]:
    """Two nodes of one cluster, mutual TLS over loopback."""
    alpha = cluster("n1")
    beta = member(alpha, "n2")
    addresses: dict[NodeId, tuple[str, int]] = {}
    timing = LinkTiming(ping_s=0.1, dead_s=2.0, stall_s=STALL_S, retry_s=0.05, retry_max_s=0.1)
    nodes = []
    for identity in (alpha, beta):
        settings = Settings(name=identity.name, address="127.0.0.1", cluster_port=0)
        links = PeerLinks(cast(Reactor, reactor), identity, settings, lambda: addresses, lambda: 0.5, timing)
        links.startService()
        addresses[identity.node] = ("127.0.0.1", links.port)
        nodes.append(links)
    a, b = nodes
    a.look()
    b.look()
    await connected(a, beta.node)
    yield Pair(a, b, alpha.node, beta.node)
    for links in nodes:
        if links.running:
            await links.stopService()


def cluster(name: str) -> Identity:
    """The first node of a new cluster."""
    with TemporaryDirectory() as folder:
        return create_cluster(Path(folder), name, "127.0.0.1", time.time())


def member(of: Identity, name: str) -> Identity:
    """Another node of the cluster."""
    key = new_key()
    issuers = of.admit(key.public_key(), time.time())
    return Identity.begin(of.cluster, key, issuers, of.root, name, "127.0.0.1", time.time())


PAIRS: dict[str, Callable[[], AsyncIterator[Pair]]] = {"memory": memory_pair, "tls": tls_pair}


@pytest.fixture(params=sorted(PAIRS))
def carrier(request: pytest.FixtureRequest) -> AsyncIterator[Pair]:
    """Every driver of the port."""
    return PAIRS[request.param]()


@pytest_twisted.async_yield_fixture
async def two(carrier: AsyncIterator[Pair]) -> AsyncIterator[Pair]:
    """Two connected nodes."""
    yield await anext(carrier)
    async for _ in carrier:
        pass


async def connected(peers: Links, node: NodeId) -> None:
    """Wait until `peers` has a link to `node`."""
    up: Deferred[None] = Deferred()
    peers.on_connected(lambda other: up.callback(None) if other == node and not up.called else None)
    if node not in peers.connected():
        await up.addTimeout(5, reactor)


async def read_all(stream: IncomingStream) -> bytes:
    """Everything up to the end of `stream`."""
    parts = []
    while data := await stream.read():
        parts.append(data)
    return b"".join(parts)


def taking(received: list[bytes]) -> Callable[[NodeId, msgspec.Struct, IncomingStream], Awaitable[msgspec.Struct]]:
    """A stream handler that accepts, keeps everything, and answers `Taken`."""

    async def take(sender: NodeId, offer: msgspec.Struct, stream: IncomingStream) -> msgspec.Struct:
        await stream.accept()
        received.append(await read_all(stream))
        assert isinstance(offer, Offer)
        return Taken(offer.to.guid)

    return take


@pytest_twisted.ensureDeferred
async def test_request_is_answered_and_the_sender_is_known(two: Pair) -> None:
    """A node that asks gets the answer; the one that answers knows who asked."""
    senders = []

    async def answer(sender: NodeId, request: msgspec.Struct) -> msgspec.Struct:
        senders.append(sender)
        return HistoryHeld((Snapshot(Guid(2**64 - 1), "s", 5),))

    two.b.handle(AskHistory, answer)
    reply = await two.a.request(two.b_id, AskHistory("sites/s-1"))
    assert reply == HistoryHeld((Snapshot(Guid(2**64 - 1), "s", 5),))
    assert senders == [two.a_id]


@pytest_twisted.ensureDeferred
async def test_error_of_the_peer_goes_back_with_its_reason(two: Pair) -> None:
    """What a peer could not do is told where it was asked, with the reason and what to try."""

    async def refuse(sender: NodeId, request: msgspec.Struct) -> msgspec.Struct:
        raise Busy("dataset sites/s-1", "is mounted", "try again in a second")

    two.b.handle(AskHistory, refuse)
    with pytest.raises(PeerError) as caught:
        await two.a.request(two.b_id, AskHistory("sites/s-1"))
    assert "is mounted" in caught.value.why
    assert caught.value.try_ == "try again in a second"


@pytest_twisted.ensureDeferred
async def test_message_nobody_handles_is_unsupported_and_the_link_stays(two: Pair) -> None:
    """A message of a newer release is refused by name; other requests go on."""

    async def answer(sender: NodeId, request: msgspec.Struct) -> msgspec.Struct:
        return Done()

    two.b.handle(AskHistory, answer)
    with pytest.raises(PeerError, match="unsupported"):
        await two.a.request(two.b_id, SeesOwner(SiteId("s-1")))
    assert await two.a.request(two.b_id, AskHistory("d")) == Done()


@pytest_twisted.ensureDeferred
async def test_defect_in_an_answer_is_logged_there_and_told_without_details(two: Pair) -> None:
    """A bug in one answer neither breaks the link nor sends inner details to others."""

    async def broken(sender: NodeId, request: msgspec.Struct) -> msgspec.Struct:
        raise ZeroDivisionError("secret detail")

    two.b.handle(AskHistory, broken)
    with capturedLogs() as logged, pytest.raises(PeerError, match="internal error") as caught:
        await two.a.request(two.b_id, AskHistory("d"))
    assert "secret detail" not in str(caught.value)
    assert any(event.get("log_failure") for event in logged)


@pytest_twisted.ensureDeferred
async def test_node_without_a_link_cannot_be_reached(two: Pair) -> None:
    """Asking a node that is not there fails at once, for requests and streams, and the source is let go."""
    with pytest.raises(PeerError, match="cannot be reached"):
        await two.a.request(NOBODY, Done())
    source = Bytes(b"x")
    with pytest.raises(PeerError, match="cannot be reached"):
        await two.a.offer(NOBODY, OFFER, source)
    assert source.aborted
    assert two.a.send(NOBODY, Done()) is False


@pytest_twisted.ensureDeferred
async def test_late_answer_is_an_error_at_the_deadline(two: Pair) -> None:
    """Nobody waits longer than the deadline; the answer that comes later disturbs nothing."""
    slow: Deferred[None] = Deferred()

    async def answer(sender: NodeId, request: msgspec.Struct) -> msgspec.Struct:
        if request == AskHistory("slow"):
            await slow
        return Done()

    two.b.handle(AskHistory, answer)
    with pytest.raises(PeerError, match="did not answer"):
        await two.a.request(two.b_id, AskHistory("slow"), deadline_s=0.05)
    slow.callback(None)
    assert await two.a.request(two.b_id, AskHistory("fast")) == Done()


@pytest_twisted.ensureDeferred
async def test_many_requests_at_once_each_get_their_own_answer(two: Pair) -> None:
    """Requests side by side are never mixed up, and a slow one delays no other."""
    first: Deferred[None] = Deferred()

    async def echo(sender: NodeId, request: msgspec.Struct) -> msgspec.Struct:
        assert isinstance(request, ApiCall)
        if request.path == "0":
            await first
        return ApiAnswer(status=200, body=request.path.encode())

    two.b.handle(ApiCall, echo)
    waiting = [Deferred.fromCoroutine(two.a.request(two.b_id, ApiCall(method="GET", path=str(n)))) for n in range(50)]
    others = await gatherResults(waiting[1:])
    assert not waiting[0].called
    first.callback(None)
    answers = [await waiting[0], *others]
    assert [answer.body for answer in answers if isinstance(answer, ApiAnswer)] == [b"%d" % n for n in range(50)]


@pytest_twisted.ensureDeferred
async def test_message_of_megabytes_arrives(two: Pair) -> None:
    """A forwarded upload of some megabytes passes."""
    body = bytes(range(256)) * (3 * 4096)

    async def echo(sender: NodeId, request: msgspec.Struct) -> msgspec.Struct:
        assert isinstance(request, ApiCall)
        return ApiAnswer(status=200, body=request.body)

    two.b.handle(ApiCall, echo)
    answer = await two.a.request(two.b_id, ApiCall(method="PUT", path="/", body=body))
    assert answer == ApiAnswer(status=200, body=body)


@pytest_twisted.ensureDeferred
async def test_sent_message_reaches_the_handler_without_an_answer(two: Pair) -> None:
    """Gossip goes one way, in both directions at once."""
    heard: list[tuple[NodeId, msgspec.Struct]] = []
    both: Deferred[None] = Deferred()

    async def hear(sender: NodeId, message: msgspec.Struct) -> msgspec.Struct:
        heard.append((sender, message))
        if len(heard) == 2:
            both.callback(None)
        return Done()

    two.a.handle(Gossip, hear)
    two.b.handle(Gossip, hear)
    await connected(two.b, two.a_id)
    assert two.a.send(two.b_id, Gossip())
    assert two.b.send(two.a_id, Gossip())
    await both.addTimeout(5, reactor)
    assert sorted(sender for sender, _ in heard) == sorted([two.a_id, two.b_id])


@pytest_twisted.ensureDeferred
async def test_stream_arrives_whole_and_is_acknowledged(two: Pair) -> None:
    """Megabytes arrive in order, the receiver's answer comes back, the source is let go."""
    received: list[bytes] = []
    two.b.handle_streams(taking(received))
    chunks = [bytes([n]) * 200_000 for n in range(20)]
    source = Bytes(*chunks)
    assert await two.a.offer(two.b_id, OFFER, source) == Taken(Guid(7))
    assert received == [b"".join(chunks)]
    assert source.aborted


@pytest_twisted.ensureDeferred
async def test_empty_stream_is_complete(two: Pair) -> None:
    """Nothing to send is a stream too."""
    received: list[bytes] = []
    two.b.handle_streams(taking(received))
    assert await two.a.offer(two.b_id, OFFER, Bytes()) == Taken(Guid(7))
    assert received == [b""]


@pytest_twisted.ensureDeferred
async def test_refused_stream_is_never_read(two: Pair) -> None:
    """A refusal comes before any byte is sent."""

    async def refuse(sender: NodeId, offer: msgspec.Struct, stream: IncomingStream) -> msgspec.Struct:
        return Refused("stale", "a newer claim is known")

    two.b.handle_streams(refuse)
    source = Bytes(b"x" * 1000)
    assert await two.a.offer(two.b_id, OFFER, source) == Refused("stale", "a newer claim is known")
    assert source.read_bytes == 0
    assert source.aborted


@pytest_twisted.ensureDeferred
async def test_receiver_may_answer_before_the_end(two: Pair) -> None:
    """A full pool is told at once; the rest of the stream is not sent, also while the source has nothing to give."""

    async def full(sender: NodeId, offer: msgspec.Struct, stream: IncomingStream) -> msgspec.Struct:
        await stream.accept()
        await stream.read()
        return Refused("space", "pool full")

    two.b.handle_streams(full)
    never: Deferred[bytes] = Deferred()
    source = Bytes(b"x" * 1000, never)
    assert await two.a.offer(two.b_id, OFFER, source) == Refused("space", "pool full")
    assert source.aborted


@pytest_twisted.ensureDeferred
async def test_failed_source_is_never_mistaken_for_the_end(two: Pair) -> None:
    """When the sender's pool fails, the receiver hears of a cut, not of a complete stream."""
    ends: list[object] = []
    cut: Deferred[None] = Deferred()

    async def take(sender: NodeId, offer: msgspec.Struct, stream: IncomingStream) -> msgspec.Struct:
        await stream.accept()
        try:
            ends.append(await read_all(stream))
        except PeerError as error:
            ends.append(error)
            raise
        finally:
            cut.callback(None)
        return Done()

    two.b.handle_streams(take)
    source = Bytes(b"x" * 1000, Busy("send of sites/s-1", "the pool failed"))
    with pytest.raises(Busy, match="the pool failed"):
        await two.a.offer(two.b_id, OFFER, source)
    await cut.addTimeout(5, reactor)
    assert isinstance(ends[0], PeerError)
    assert source.aborted


@pytest_twisted.ensureDeferred
async def test_receiver_that_does_not_read_slows_the_source(two: Pair) -> None:
    """A slow disk on one node never fills the memory of another; afterwards everything arrives."""
    resume: Deferred[None] = Deferred()
    total: list[int] = []

    async def slow(sender: NodeId, offer: msgspec.Struct, stream: IncomingStream) -> msgspec.Struct:
        await stream.accept()
        await resume
        total.append(len(await read_all(stream)))
        return Done()

    two.b.handle_streams(slow)
    source = Bytes(*[b"x" * 262_144] * 160)
    sending = Deferred.fromCoroutine(two.a.offer(two.b_id, OFFER, source))
    await deferLater(reactor, 0.25)
    assert source.read_bytes < 20 * 1024 * 1024
    resume.callback(None)
    assert await sending == Done()
    assert total == [160 * 262_144]


@pytest_twisted.ensureDeferred
async def test_stream_without_progress_is_given_up(two: Pair) -> None:
    """A receiver that hangs is left after the no-progress deadline, so that the next send can start."""

    async def hang(sender: NodeId, offer: msgspec.Struct, stream: IncomingStream) -> msgspec.Struct:
        await stream.accept()
        await Deferred[None]()
        return Done()

    two.b.handle_streams(hang)
    source = Bytes(b"x")
    with pytest.raises(PeerError):
        await two.a.offer(two.b_id, OFFER, source)
    assert source.aborted


@pytest_twisted.ensureDeferred
async def test_node_that_stops_ends_what_is_under_way(two: Pair) -> None:
    """A node that goes away fails requests and streams at once on both sides; no end of stream is invented."""
    ends: list[object] = []
    started, ended = Deferred[None](), Deferred[None]()

    async def take(sender: NodeId, offer: msgspec.Struct, stream: IncomingStream) -> msgspec.Struct:
        await stream.accept()
        await stream.read()
        started.callback(None)
        try:
            ends.append(await read_all(stream))
        except PeerError as error:
            ends.append(error)
        ended.callback(None)
        return Done()

    async def never(sender: NodeId, request: msgspec.Struct) -> msgspec.Struct:
        await Deferred[None]()
        return Done()

    two.b.handle_streams(take)
    two.b.handle(AskHistory, never)
    asking = Deferred.fromCoroutine(two.a.request(two.b_id, AskHistory("d")))
    sending = Deferred.fromCoroutine(two.a.offer(two.b_id, OFFER, Bytes(b"x" * 1000, Deferred())))
    await started.addTimeout(5, reactor)
    await two.b.stopService()
    for outcome in (asking, sending):
        with pytest.raises(PeerError):
            await outcome
    await ended.addTimeout(5, reactor)
    assert isinstance(ends[0], PeerError)
    assert two.b_id not in two.a.connected()
