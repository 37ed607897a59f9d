"""Large streams are moved by processes of their own: nothing about them is less sure for that."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
import pytest_twisted
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import connectProtocol
from twisted.internet.task import deferLater

from hybrid.cluster import pump, squeezing, tls
from hybrid.cluster.framed import Connections
from hybrid.cluster.identity import Identity
from hybrid.cluster.link import LinkTiming
from hybrid.cluster.peers import PeerLinks
from hybrid.cluster.pumping import WINDOW, Pump, Pumps
from hybrid.cluster.streams import OutgoingStream
from hybrid.errors import HybridError, PeerError, StorageError
from hybrid.model import NO_CLAIM, Guid, NodeId, Snapshot
from hybrid.ports import ByteSink, IncomingStream, Moved, SourcePipe
from hybrid.settings import Settings
from hybrid.storage import begin
from hybrid.storage.children import Children, Ended, Slots
from hybrid.storage.parsing import failure
from hybrid.storage.pipes import PipeSink, PipeSource
from hybrid.storage.receiving import ReceivingSink, Taker
from hybrid.storage.streams import ChildSink, ChildSource
from hybrid.wire import Offer, Refused, Taken
from hybrid_replicator.header import BadStream
from hybrid_replicator.intake import take_in
from tests.cluster.conftest import LetIn
from tests.cluster.raw import until

reactor: Any = _reactor
PUMP_AT = 300_000
SIZE = 24 * 1024 * 1024
TIMING = LinkTiming(stall_s=30.0)
OFFER = Offer(dataset="sites/s-1", claim=NO_CLAIM, base=None, to=Snapshot(Guid(7), "x", 0))


@pytest.fixture
def stream(tmp_path: Path) -> Path:
    """A file with what looks like a stream from its first record on, and differs everywhere."""
    head = begin.pack(begin.Begin(Guid(7), None, "pool/sites/s-1@x", 0))
    path = tmp_path / "stream"
    path.write_bytes(head + os.urandom(SIZE))
    return path


class Watched:
    """A source of which is known what went past this process; each report of that may have to wait."""

    def __init__(self, source: ChildSource | PipeSource) -> None:
        self._source = source
        self.read_bytes = self.pumped_bytes = self.saved_bytes = 0
        self.wait: Deferred[None] | None = None
        self.on_report: Deferred[None] = Deferred()
        self.on_saved: Deferred[None] = Deferred()
        self.abort = source.abort

    async def read(self) -> bytes:
        """See `hybrid.ports.ByteSource`."""
        if not self.on_report.called:
            await deferLater(reactor, 0.05)  # else all would have come before the pumps are there
        data = await self._source.read()
        self.read_bytes += len(data)
        return data

    async def source_pipe(self) -> SourcePipe | None:
        """See `hybrid.ports.PipedSource`."""
        pipe = await self._source.source_pipe()
        return pipe and replace(pipe, moved=self._moved)

    async def _moved(self, size_bytes: int, saved_bytes: int = 0) -> None:
        self.pumped_bytes += size_bytes
        self.saved_bytes += saved_bytes
        if not self.on_report.called:
            self.on_report.callback(None)
        if saved_bytes and not self.on_saved.called:
            self.on_saved.callback(None)
        if self.wait is not None:
            await self.wait


class Two:
    """Node `a` sends to node `b`."""

    def __init__(self, a: PeerLinks, b: PeerLinks, b_id: NodeId, folder: Path) -> None:
        self.a, self.b, self.b_id, self.folder = a, b, b_id, folder
        self.limit = 1 << 40
        self.taker = f"cat > {folder}/out"
        self.failed: list[Exception] = []
        self.squeezes = False
        self.saved_there = 0
        self.over: Deferred[None] = Deferred()
        b.handle_streams(self._take)

    @property
    def taken(self) -> Path:
        """What the receiver's child got."""
        return self.folder / "out"

    async def source(self, command: str) -> Watched:
        """What a command writes."""
        argv = ("sh", "-c", command)
        return Watched(await ChildSource.start(Children(reactor), Slots(reactor, 1), argv, failing))

    async def send(self, source: Watched) -> msgspec.Struct:
        """Offer it."""
        return await self.a.offer(self.b_id, OFFER, source)

    async def open_sink(self) -> ByteSink:
        """Feeds the command `taker`."""
        return ReceivingSink(self._approve)

    async def _approve(self, head: begin.Begin) -> Taker:
        return await ChildSink.start(Children(reactor), Slots(reactor, 1), ("sh", "-c", self.taker), failing)

    async def _take(self, sender: NodeId, offer: msgspec.Struct, stream: IncomingStream) -> msgspec.Struct:
        assert isinstance(offer, Offer)
        try:
            await take_in(offer, Counted(stream, self), self.open_sink, self.limit)
        except (HybridError, BadStream) as error:
            self.failed.append(error)
            return Refused("broken", str(error))
        finally:
            self.over.callback(None)
        return Taken(offer.to.guid)


class Counted:
    """A stream at the receiver, of which is known what did not travel."""

    def __init__(self, stream: IncomingStream, two: Two) -> None:
        self._stream, self._two = stream, two
        self.accept, self.read, self.abort = stream.accept, stream.read, stream.abort

    def lead_into(self, sink: ByteSink, moved: Moved) -> None:
        """See `hybrid.ports.IncomingStream`."""

        async def counted(size_bytes: int, saved_bytes: int = 0) -> None:
            self._two.saved_there += saved_bytes
            await moved(size_bytes, saved_bytes)

        self._stream.lead_into(sink, counted)


def failing(ended: Ended) -> StorageError:
    """What a child's bad end means."""
    return failure(f"status {ended.status}", ended.stderr)


@pytest_twisted.async_yield_fixture
async def two(alpha: Identity, beta: Identity, tmp_path: Path) -> AsyncIterator[Two]:
    """Two nodes on loopback."""
    addresses: dict[NodeId, tuple[str, int]] = {}
    nodes = []
    both: list[Two] = []
    for identity in (alpha, beta):
        settings = Settings(name=identity.name, address="127.0.0.1", cluster_port=0)
        links = PeerLinks(
            reactor,
            identity,
            settings,
            lambda: addresses,
            lambda: 0.5,
            TIMING,
            pump_at=PUMP_AT,
            squeezes=lambda node: both[0].squeezes,
        )
        links.startService()
        addresses[identity.node] = ("127.0.0.1", links.port)
        nodes.append(links)
    a, b = nodes
    a.look()
    await until(lambda: beta.node in a.connected())
    both.append(Two(a, b, beta.node, tmp_path))
    yield both[0]
    for links in nodes:
        await links.stopService()


def digest(path: Path) -> str:
    """Of a file's content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest_twisted.ensureDeferred
async def test_a_large_stream_arrives_whole_past_the_reactor(two: Two, stream: Path) -> None:
    """Every byte comes, in order, the answer too, and this process touched few of them."""
    source = await two.source(f"cat {stream}; sleep 0.05; cat {stream}")
    assert await two.send(source) == Taken(Guid(7))
    assert two.taken.read_bytes() == stream.read_bytes() * 2
    assert source.read_bytes + source.pumped_bytes >= 2 * SIZE
    assert source.pumped_bytes > SIZE


@pytest_twisted.ensureDeferred
async def test_streams_of_libzfs_go_the_same_way(two: Two, stream: Path) -> None:
    """What a thread writes into a pipe, and another reads from one, passes this process by as well."""
    got: list[bytes] = []

    def give(descriptor: int) -> None:
        with open(descriptor, "wb", closefd=False) as pipe:
            pipe.write(stream.read_bytes())

    def take(descriptor: int) -> None:
        with open(descriptor, "rb", closefd=False) as pipe:
            got.append(pipe.read())

    async def approve(head: begin.Begin) -> Taker:
        return PipeSink(reactor, reactor.getThreadPool(), take, lambda: None)

    async def open_sink() -> ByteSink:
        return ReceivingSink(approve)

    two.open_sink = open_sink  # type: ignore[method-assign]  # the other driver's
    source = Watched(cast(Any, PipeSource(reactor, reactor.getThreadPool(), give, lambda: None)))
    assert await two.send(source) == Taken(Guid(7))
    assert got == [stream.read_bytes()]
    assert source.pumped_bytes > SIZE / 2


@pytest_twisted.ensureDeferred
async def test_a_receiver_may_still_answer_before_the_end(two: Two, stream: Path) -> None:
    """A stream that is too long is refused with the reason, not just cut."""
    two.limit = 4 * SIZE
    source = await two.source(f"while cat {stream}; do :; done")
    answer = await two.send(source)
    assert isinstance(answer, Refused) and "longer" in answer.why
    assert source.pumped_bytes


@pytest_twisted.ensureDeferred
async def test_a_pool_that_takes_no_more_says_why(two: Two, stream: Path) -> None:
    """The reason of `zfs receive` reaches the sender."""
    two.taker = "head -c 3000000 > /dev/null; echo cannot receive: quota >&2; exit 1"
    answer = await two.send(await two.source(f"while cat {stream}; do :; done"))
    assert isinstance(answer, Refused) and "quota" in answer.why


@pytest_twisted.ensureDeferred
async def test_a_source_that_fails_in_the_end_is_no_whole_stream(two: Two, stream: Path) -> None:
    """All bytes came, but `zfs send` says that they are not right: the receiver takes nothing."""
    source = await two.source(f"cat {stream}; echo the pool failed >&2; exit 1")
    with pytest.raises(StorageError, match="the pool failed"):
        await two.send(source)
    await two.over
    assert isinstance(two.failed[0], PeerError)
    assert source.pumped_bytes
    assert two.taken.stat().st_size <= stream.stat().st_size - begin.LENGTH  # without the last record


@pytest.mark.parametrize("way", ["send", "receive"])
@pytest_twisted.ensureDeferred
async def test_a_pump_that_dies_cuts_its_stream(
    two: Two, stream: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever end it is: both hear of it, and what makes a stream whole never reached the pool."""
    pumps: dict[str, Pump] = {}
    start = Pumps.start

    def starting(self: Pumps, way: Any, peer: Any) -> Pump:
        pumps[way] = start(self, way, peer)
        return pumps[way]

    monkeypatch.setattr(Pumps, "start", starting)
    source = await two.source(f"while cat {stream}; do :; done")
    sending = Deferred.fromCoroutine(two.send(source))
    await source.on_report
    pumps[way].signal("KILL")
    with pytest.raises(PeerError):
        answer = await sending
        raise PeerError(answer.why if isinstance(answer, Refused) else "")  # the receiver heard first
    await two.over
    assert isinstance(two.failed[0], PeerError)
    assert all(pump.ended is not None for pump in pumps.values())


@pytest_twisted.ensureDeferred
async def test_a_stream_that_waits_stands_still_and_is_cut_at_once(two: Two, stream: Path) -> None:
    """What is not to come yet does not come, beyond what was let through; and nobody waits to cut it."""
    source = await two.source(f"while cat {stream}; do :; done")
    source.wait = Deferred()
    sending = Deferred.fromCoroutine(two.send(source))
    await source.on_report
    before = two.taken.stat().st_size
    await deferLater(reactor, 0.2)
    assert two.taken.stat().st_size - before <= WINDOW + PUMP_AT
    two.a.cut(two.b_id, "by hand")
    with pytest.raises(PeerError, match="by hand"):
        await sending
    await two.over
    source.wait.callback(None)


@pytest_twisted.ensureDeferred
async def test_a_node_of_an_older_release_gets_it_over_the_link(two: Two, stream: Path, beta: Identity) -> None:
    """What only one side can do is not done."""
    source = await two.source(f"cat {stream}")
    source.on_report.callback(None)
    outgoing = OutgoingStream(reactor, TIMING, Connections(), beta.node, OFFER, two.a._pumps())
    await connectProtocol(two.a._endpoint(beta.node, tls.STREAM), outgoing)
    assert await outgoing.carry(source) == Taken(Guid(7))
    assert digest(two.taken) == digest(stream)
    assert source.pumped_bytes == 0


@pytest_twisted.ensureDeferred
async def test_what_goes_over_a_slow_line_is_compressed(two: Two, stream: Path) -> None:
    """The same bytes come out, whether they can be compressed or not, and both ends know how many did not travel."""
    two.squeezes = True
    source = await two.source(f"cat {stream}; head -c {SIZE} /dev/zero; cat {stream}")
    assert await two.send(source) == Taken(Guid(7))
    assert two.taken.read_bytes() == stream.read_bytes() + bytes(SIZE) + stream.read_bytes()
    assert SIZE * 0.95 < source.saved_bytes <= SIZE
    assert two.saved_there == source.saved_bytes


@pytest_twisted.ensureDeferred
async def test_a_node_that_cannot_decompress_gets_it_as_it_is(
    two: Two, stream: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is compressed for a node that does not say that it takes that, as those of older releases do not."""
    two.squeezes = True
    monkeypatch.setattr(squeezing, "taken", lambda: ())
    source = await two.source(f"cat {stream}; head -c {SIZE} /dev/zero")
    assert await two.send(source) == Taken(Guid(7))
    assert two.taken.read_bytes() == stream.read_bytes() + bytes(SIZE)
    assert source.pumped_bytes and (source.saved_bytes, two.saved_there) == (0, 0)


@pytest_twisted.ensureDeferred
async def test_a_compressed_stream_that_was_cut_is_sent_again(two: Two, stream: Path) -> None:
    """Both ends hear of the cut, and the next stream to the same node comes whole."""
    two.squeezes = True
    endless = await two.source(f"cat {stream}; cat /dev/zero")
    sending = Deferred.fromCoroutine(two.send(endless))
    await endless.on_saved
    two.a.cut(two.b_id, "by hand")
    with pytest.raises(PeerError, match="by hand"):
        await sending
    await two.over
    assert isinstance(two.failed[0], PeerError)
    two.over = Deferred()
    await until(lambda: two.b_id in two.a.connected())
    again = await two.source(f"cat {stream}; head -c {SIZE} /dev/zero")
    assert await two.send(again) == Taken(Guid(7))
    assert two.taken.read_bytes() == stream.read_bytes() + bytes(SIZE)


@pytest.mark.parametrize("what", ["noise", "cut", "too much", "nothing"])
def test_a_bad_block_is_refused(what: str) -> None:
    """Whatever a member sends in place of a compressed block, no more than one block is ever made of it."""
    order = {"library": squeezing.library(), "squeeze": True}
    squeeze, unsqueeze = pump.squeezer(order), pump.unsqueezer(order)
    assert squeeze is not None
    good = squeeze(memoryview(bytes(pump.BLOCK)))
    assert unsqueeze(memoryview(good)) == bytes(pump.BLOCK)
    bad = {
        "noise": os.urandom(1000),
        "cut": good[:-1],
        "too much": squeeze(memoryview(bytes(1000 * pump.BLOCK))),
        "nothing": squeeze(memoryview(b"")),
    }
    with pytest.raises(ValueError, match="block"):
        unsqueeze(memoryview(bad[what]))


@pytest_twisted.ensureDeferred
async def test_pumps_know_each_other_by_the_first_handshake(alpha: Identity, beta: Identity, let_in: LetIn) -> None:
    """A third member, or nobody's certificate, in place of the node that offered the stream: nothing is moved."""
    gamma = let_in(alpha, "gamma")
    for really in (beta, gamma):
        ours, theirs = sockets()
        (source, into), (out, sink) = os.pipe(), os.pipe()
        os.write(into, b"some data")
        os.close(into)
        sender = Pumps(reactor, alpha).start("send", beta.certificate)
        receiver = Pumps(reactor, really).start("receive", alpha.certificate)
        sending = Deferred.fromCoroutine(sender.run(ours.fileno(), source, _moved))
        receiving = Deferred.fromCoroutine(receiver.run(theirs.fileno(), sink, _moved, b"held"))
        for one in (sending, receiving):
            one.addErrback(lambda failure: str(failure.value)).addTimeout(20, reactor)
        sent = await sending
        ours.close()
        received = await receiving
        os.close(sink)
        if really is beta:
            assert (sent, received, os.read(out, 100)) == (b"", b"data", b"heldsome ")
        else:
            assert "of another node" in str(sent) and "cut" in str(received) and os.read(out, 100) == b""
        for descriptor in (source, out):
            os.close(descriptor)
        theirs.close()


async def _moved(size_bytes: int, saved_bytes: int = 0) -> None:
    """Nothing waits."""


def sockets() -> tuple[socket.socket, socket.socket]:
    """Both ends of a connection on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        ours = socket.create_connection(listening.getsockname())
        theirs, _ = listening.accept()
        return ours, theirs
