"""Links between nodes when something is wrong: with the wire, with the peer, with who claims to be the peer."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import cast

import msgspec
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.interfaces import ITransport
from twisted.internet.protocol import Factory, Protocol, ServerFactory, connectionDone
from twisted.internet.task import Clock, deferLater
from twisted.logger import capturedLogs
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from twisted.test.iosim import IOPump, connectedServerAndClient

from hybrid import wire
from hybrid.cluster import tls
from hybrid.cluster.answering import Answers
from hybrid.cluster.doorway import MAX_STRANGERS_FROM_ONE
from hybrid.cluster.framed import Connections, Framed
from hybrid.cluster.identity import Identity
from hybrid.cluster.link import AcceptedLink, LinkTiming, OutgoingLink
from hybrid.cluster.neighbour import IDLE, MAX_TOLD
from hybrid.cluster.peers import PeerLinks, Reactor
from hybrid.cluster.removal import REMOVED, Removal, Removals, dumps
from hybrid.cluster.streams import AcceptedStream, OutgoingStream
from hybrid.errors import PeerError
from hybrid.model import NO_CLAIM, Guid, NodeId, SiteId, Snapshot
from hybrid.ports import IncomingStream
from tests.cluster.raw import TIMING, Addresses, dial, hello, links_of, number_of, until

OFFER = wire.Offer(dataset="sites/s-1", claim=NO_CLAIM, base=None, to=Snapshot(Guid(7), "x", 0))


@pytest_twisted.async_yield_fixture
async def node(alpha: Identity) -> AsyncIterator[PeerLinks]:
    """Alpha, listening, that knows nobody; it answers `SeesOwner`."""
    links = links_of(alpha, {})
    links.handle(wire.SeesOwner, answer_nothing)
    links.startService()
    yield links
    await links.stopService()


async def answer_nothing(sender: NodeId, request: msgspec.Struct) -> msgspec.Struct:
    """No owner is seen."""
    return wire.OwnerSeen(None)


class TestGreeting:
    """How a link begins; more in `test_bad_input.py`."""

    @pytest_twisted.ensureDeferred
    async def test_member_is_greeted_back(self, node: PeerLinks, alpha: Identity, beta: Identity) -> None:
        """A link begins with both sides saying who they are."""
        raw = await dial(node, alpha, beta, tls.CONTROL, hello(beta))
        assert wire.unpack((await raw.hear(1))[0]) == (0, wire.Hello(cluster=alpha.cluster.id, node=alpha.node))
        raw.abort("done")

    @pytest_twisted.ensureDeferred
    async def test_request_before_the_greeting(self, node: PeerLinks, alpha: Identity, beta: Identity) -> None:
        """Nothing is answered before the greeting."""
        raw = await dial(node, alpha, beta, tls.CONTROL, wire.pack(1, wire.SeesOwner(SiteId("s-1"))))
        await raw.closed()
        assert raw.heard == []

    @pytest_twisted.ensureDeferred
    async def test_unknown_protocol(self, node: PeerLinks, alpha: Identity, beta: Identity) -> None:
        """A protocol of a newer release is refused at the door."""
        raw = await dial(node, alpha, beta, b"hybrid-ctl/2", hello(beta))
        await raw.closed()
        assert raw.heard == []


class TestStreams:
    """When a stream is complete, and when data counts; more in `test_bad_input.py`."""

    @pytest.mark.parametrize("end", [b"", None], ids=["complete", "cut"])
    @pytest_twisted.ensureDeferred
    async def test_only_an_empty_frame_is_the_end(
        self, node: PeerLinks, alpha: Identity, beta: Identity, end: bytes | None
    ) -> None:
        """A sender that vanishes, however politely, has not sent a complete stream."""
        outcome: Deferred[bytes] = Deferred()

        async def take(sender: NodeId, offer: msgspec.Struct, stream: IncomingStream) -> msgspec.Struct:
            await stream.accept()
            parts = []
            try:
                while data := await stream.read():
                    parts.append(data)
            except PeerError as error:
                outcome.errback(error)
                raise
            outcome.callback(b"".join(parts))
            return wire.Taken(Guid(7))

        node.handle_streams(take)
        raw = await dial(node, alpha, beta, tls.STREAM, wire.pack(1, OFFER))
        assert wire.unpack((await raw.hear(1))[0]) == (1, wire.Done())
        for frame in (b"some", b"thing") if end is None else (b"some", b"thing", end):
            raw.put(frame)
        if end is None:
            cast(TLSMemoryBIOProtocol, raw.transport).unregisterProducer()
            cast(ITransport, raw.transport).loseConnection()
            with pytest.raises(PeerError, match="was cut"):
                await outcome
        else:
            assert await outcome == b"something"
            assert wire.unpack((await raw.hear(2))[1]) == (1, wire.Taken(Guid(7)))
            raw.abort("done")

    @pytest_twisted.ensureDeferred
    async def test_stream_data_that_nobody_asked_for(self, node: PeerLinks, alpha: Identity, beta: Identity) -> None:
        """Bytes sent before the receiver accepted never reach its handler."""
        read: list[bytes] = []
        over: Deferred[None] = Deferred()

        async def hesitate(sender: NodeId, offer: msgspec.Struct, stream: IncomingStream) -> msgspec.Struct:
            try:
                read.append(await stream.read())
            finally:
                over.callback(None)
            return wire.Done()

        node.handle_streams(hesitate)
        raw = await dial(node, alpha, beta, tls.STREAM, wire.pack(1, OFFER), b"data", b"")
        await raw.closed()
        await over.addTimeout(5, reactor)
        assert read == [] and number_of(node, "not asked for") == 1


class TestDoor:
    """Connections that never become anything."""

    @pytest_twisted.ensureDeferred
    async def test_silent_connections_are_closed_and_few(self, node: PeerLinks) -> None:
        """Sockets opened and left alone are closed by themselves, and cannot crowd members out."""
        opened = [await self._connect(node) for _ in range(MAX_STRANGERS_FROM_ONE + 5)]
        for _ in range(100):
            if sum(silent.lost for silent in opened) >= 5:
                break
            await deferLater(reactor, 0.01)
        assert sum(silent.lost for silent in opened) == 5
        await deferLater(reactor, TIMING.connect_s + 0.2)
        assert all(silent.lost for silent in opened)

    async def _connect(self, node: PeerLinks) -> Silent:
        silent = Silent()
        await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", node.port), silent)
        return silent

    @pytest_twisted.ensureDeferred
    async def test_plain_text_is_no_handshake(self, node: PeerLinks, alpha: Identity, beta: Identity) -> None:
        """A browser or a scanner at the cluster port is closed; members are served all the same."""
        silent = await self._connect(node)
        cast(ITransport, silent.transport).write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        raw = await dial(node, alpha, beta, tls.CONTROL, hello(beta))
        assert len(await raw.hear(1)) == 1
        raw.abort("done")


class Silent(Protocol):
    """Opens a connection and says nothing."""

    lost = False

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Closed by the other side."""
        self.lost = True


class TestOnDemand:
    """In a large cluster there is a link while it is of use."""

    @pytest_twisted.ensureDeferred
    async def test_opened_for_a_request_and_closed_when_idle(
        self, node: PeerLinks, alpha: Identity, beta: Identity
    ) -> None:
        """A node that nobody talks to costs no connection; a request waits until there is one, and is answered."""
        ours = links_of(beta, {alpha.node: ("127.0.0.1", node.port)}, keep_up_to=0)
        lost: list[NodeId] = []
        ours.on_lost(lost.append)
        ours.startService()
        try:
            for _ in range(2):
                await deferLater(reactor, 0.1, lambda: None)
                assert not ours.connected()
                assert len(ours._connections) == 0
                asked = [Deferred.fromCoroutine(ours.request(alpha.node, wire.SeesOwner(SiteId("s-1")))) for _ in "ab"]
                assert await gatherResults(asked) == [wire.OwnerSeen(None)] * 2
                assert ours.connected() == {alpha.node}
                await until(lambda: not ours.connected())
            assert ours.ends() == {IDLE: 2}
            assert not lost
        finally:
            await ours.stopService()

    @pytest_twisted.ensureDeferred
    async def test_what_is_told_waits_for_the_link(self, node: PeerLinks, alpha: Identity, beta: Identity) -> None:
        """Gossip to a node without a link is not lost: it opens one and goes over it, in order."""
        heard: list[msgspec.Struct] = []

        async def hear(sender: NodeId, message: msgspec.Struct) -> wire.Done:
            heard.append(message)
            return wire.Done()

        node.handle(wire.Gossip, hear)
        ours = links_of(beta, {alpha.node: ("127.0.0.1", node.port)}, keep_up_to=0)
        ours.startService()
        try:
            told = [wire.Gossip(quiet=number % 2 == 0) for number in range(MAX_TOLD)]
            assert all(ours.send(alpha.node, message) for message in told)
            assert not ours.send(alpha.node, wire.Gossip())
            await until(lambda: len(heard) == MAX_TOLD)
            assert heard == told
        finally:
            await ours.stopService()

    @pytest_twisted.ensureDeferred
    async def test_a_node_that_is_down_is_told_at_once(self, alpha: Identity, beta: Identity) -> None:
        """Who asks a node that refuses connections waits for no deadline; what was told counts as lost."""
        ours = links_of(beta, {alpha.node: ("127.0.0.1", 1)}, keep_up_to=0)
        lost: list[NodeId] = []
        ours.on_lost(lost.append)
        ours.startService()
        try:
            assert ours.send(alpha.node, wire.Gossip())
            with pytest.raises(PeerError, match="cannot be reached"):
                await ours.request(alpha.node, wire.Done(), deadline_s=600)
            assert lost == [alpha.node]
        finally:
            await ours.stopService()

    @pytest_twisted.ensureDeferred
    async def test_waiting_ends_with_the_deadline_or_the_node(self, alpha: Identity, beta: Identity) -> None:
        """A request to a node that accepts and says nothing ends in time; one under way when this node stops, then."""
        silent = cast(Reactor, reactor).listenTCP(0, cast(ServerFactory, Factory.forProtocol(Silent)), 10, "127.0.0.1")
        address = silent.getHost()
        assert isinstance(address, IPv4Address)
        ours = links_of(beta, {alpha.node: ("127.0.0.1", address.port)}, keep_up_to=0)
        ours.startService()
        try:
            with pytest.raises(PeerError, match="cannot be reached"):
                await ours.request(alpha.node, wire.Done(), deadline_s=0.05)
            waiting = Deferred.fromCoroutine(ours.request(alpha.node, wire.Done(), deadline_s=600))
            await ours.stopService()
            with pytest.raises(PeerError, match="cannot be reached"):
                await waiting
        finally:
            await ours.stopService()
            await maybeDeferred(silent.stopListening)


class TestKeeping:
    """Links come back by themselves."""

    @pytest_twisted.ensureDeferred
    async def test_link_returns_when_its_node_does(self, alpha: Identity, beta: Identity) -> None:
        """A node that was restarted is linked again within moments, and can be asked."""
        addresses: Addresses = {}
        first = links_of(beta, {})
        first.startService()
        port = first.port
        addresses[beta.node] = ("127.0.0.1", port)
        ups: list[NodeId] = []
        ours = links_of(alpha, addresses)
        ours.on_connected(ups.append)
        ours.startService()
        try:
            await until(lambda: ours.connected() == {beta.node})
            await first.stopService()
            await until(lambda: not ours.connected())
            with pytest.raises(PeerError, match="cannot be reached"):
                await ours.request(beta.node, wire.Done())
            second = links_of(beta, {}, port)
            second.handle(wire.SeesOwner, answer_nothing)
            second.startService()
            await until(lambda: ours.connected() == {beta.node})
            assert await ours.request(beta.node, wire.SeesOwner(SiteId("s-1"))) == wire.OwnerSeen(None)
            assert ups == [beta.node, beta.node]
            await second.stopService()
        finally:
            await ours.stopService()

    @pytest_twisted.ensureDeferred
    async def test_another_node_at_that_address_is_no_link(
        self, node: PeerLinks, alpha: Identity, beta: Identity
    ) -> None:
        """When addresses were swapped nobody is taken for somebody else, and the reason is told."""
        wanted = NodeId("n-someoneelse00000")
        ours = links_of(beta, {wanted: ("127.0.0.1", node.port)})
        ours.startService()
        try:
            await until(lambda: any("certificate verify failed" in reason for reason in ours.ends()))
            with pytest.raises(PeerError, match="certificate verify failed"):
                await ours.request(wanted, wire.Done())
        finally:
            await ours.stopService()

    @pytest_twisted.ensureDeferred
    async def test_node_no_longer_known_is_let_go(self, node: PeerLinks, alpha: Identity, beta: Identity) -> None:
        """A removed node keeps no link."""
        addresses: Addresses = {alpha.node: ("127.0.0.1", node.port), beta.node: ("127.0.0.1", 1)}
        ours = links_of(beta, addresses)
        ours.startService()
        try:
            await until(lambda: bool(ours.connected()))
            addresses.clear()
            ours.look()
            await until(lambda: len(ours._connections) == 0)
            assert not ours.connected()
        finally:
            await ours.stopService()

    @pytest_twisted.ensureDeferred
    async def test_renewed_certificate_is_shown_without_a_restart(
        self, node: PeerLinks, alpha: Identity, beta: Identity
    ) -> None:
        """A certificate is renewed while the node runs: the next connection sees the new one."""
        renewed = alpha.renewed("192.0.2.7", time.time())
        assert renewed is not None
        node.renew(renewed)
        raw = await dial(node, alpha, beta, tls.CONTROL, hello(beta))
        await raw.hear(1)
        assert tls.verified(raw.transport)[0] == renewed.certificate
        raw.abort("done")

    @pytest_twisted.ensureDeferred
    async def test_taken_port_is_told(self, node: PeerLinks, beta: Identity) -> None:
        """A second node on one machine hears what is wrong."""
        with pytest.raises(PeerError, match="is another node running"):
            links_of(beta, {}, node.port).startService()


class TestRemoved:
    """A node that was removed is a member by its certificate, and kept out."""

    @pytest_twisted.ensureDeferred
    async def test_open_links_are_cut_and_the_node_is_told_why(self, alpha: Identity, beta: Identity) -> None:
        """At the removal its link ends; when it calls again its own log says what happened, once."""
        removals = Removals()
        ours = links_of(alpha, {}, refuses=removals.why_not)
        ours.startService()
        kept_out: list[str] = []
        theirs = links_of(beta, {alpha.node: ("127.0.0.1", ours.port)}, on_refused=kept_out.append)
        theirs.startService()
        try:
            await until(lambda: theirs.connected() == {alpha.node})
            note = Removal(name="beta", by="admin at alpha", at_s=0, spared=())
            removals.take([(REMOVED + beta.node, dumps(note))])
            with capturedLogs() as logged:
                ours.cut(beta.node, note.text)
                await until(lambda: any("keeps this node out" in str(event["log_format"]) for event in logged))
                await deferLater(reactor, 0.2)
            told = [event for event in logged if "keeps this node out" in str(event["log_format"])]
            assert len(told) == 1 and "beta was removed from this cluster by admin at alpha" in str(told[0]["why"])
            assert not theirs.connected() and len(kept_out) == 1
            with pytest.raises(PeerError, match="was removed from this cluster"):
                await theirs.request(alpha.node, wire.Done())
        finally:
            await theirs.stopService()
            await ours.stopService()

    @pytest_twisted.ensureDeferred
    async def test_stream_of_a_removed_node_is_answered_with_the_reason(self, alpha: Identity, beta: Identity) -> None:
        """Not a byte of it reaches a handler."""
        ours = links_of(alpha, {}, refuses=lambda line: "removed" if line[0] == beta.node else "")
        offers: list[NodeId] = []

        async def take(sender: NodeId, offer: msgspec.Struct, stream: IncomingStream) -> msgspec.Struct:
            offers.append(sender)
            return wire.Done()

        ours.handle_streams(take)
        ours.startService()
        try:
            raw = await dial(ours, alpha, beta, tls.STREAM, wire.pack(1, OFFER))
            _, answer = wire.unpack((await raw.hear(1))[0])
            assert isinstance(answer, wire.Failed) and answer.why == "removed"
            assert offers == []
            raw.abort("done")
        finally:
            await ours.stopService()

    @pytest_twisted.ensureDeferred
    async def test_removed_node_is_not_called_either(self, node: PeerLinks, alpha: Identity, beta: Identity) -> None:
        """The side that calls checks as well."""
        addresses = {alpha.node: ("127.0.0.1", node.port)}
        ours = links_of(beta, addresses, refuses=lambda line: "removed" if line[0] == alpha.node else "")
        ours.startService()
        try:
            await until(lambda: any("certificate verify failed" in reason for reason in ours.ends()))
            assert not ours.connected()
        finally:
            await ours.stopService()


class Ends:
    """Both ends of a control link in memory, on a clock, with a wire that can be cut."""

    def __init__(self, alpha: Identity, beta: Identity) -> None:
        self.clock, self.answers = Clock(), Answers()
        self.ours_open, self.theirs_open = Connections(), Connections()
        timing = LinkTiming()
        self.ours = OutgoingLink(self.clock, timing, self.ours_open, beta, alpha.node)
        self.theirs = AcceptedLink(self.clock, timing, self.theirs_open, alpha, beta.node, self.answers)
        self.cut = False
        self._server = alpha.server_options([tls.CONTROL, tls.STREAM])
        self._client = beta.client_options(alpha.node, [tls.CONTROL])
        self._pumps = [self._connect(self.theirs, self.ours)]
        self.ready = Deferred.fromCoroutine(self.ours.ready())
        self.pass_time(0.0)

    def _connect(self, theirs: Framed, ours: Framed) -> IOPump:
        _, _, pump = connectedServerAndClient(
            lambda: TLSMemoryBIOFactory(self._server, False, _Only(theirs), self.clock).buildProtocol(None),
            lambda: TLSMemoryBIOFactory(self._client, True, _Only(ours), self.clock).buildProtocol(None),
        )
        return pump

    def stream(self) -> OutgoingStream:
        """A stream beside the link, on a connection of its own; its offer has arrived."""
        node, peer = self.ours.node, self.theirs.node
        assert node is not None and peer is not None
        outgoing = OutgoingStream(self.clock, LinkTiming(), self.ours_open, node, OFFER)
        accepted = AcceptedStream(self.clock, LinkTiming(), self.theirs_open, peer, self.answers)
        self._pumps.append(self._connect(accepted, outgoing))
        self.pass_time(0.0)
        return outgoing

    def pass_time(self, seconds: float, step_s: float = 0.5) -> None:
        """Let time pass in steps, carrying what is sent unless the wire is cut."""
        for _ in range(max(1, round(seconds / step_s))):
            self.clock.advance(step_s if seconds else 0.0)
            for _ in range(8):
                self.clock.advance(0.0)
                if not self.cut:
                    for pump in self._pumps:
                        pump.pump()


class Endless:
    """A source that gives something once and then nothing for ever."""

    def __init__(self) -> None:
        self._first = True

    async def read(self) -> bytes:
        """See `hybrid.ports.ByteSource`."""
        if not self._first:
            await Deferred[None]()
        self._first = False
        return b"first"

    async def abort(self) -> None:
        """See `hybrid.ports.ByteSource`."""


class _Only(Factory):
    """A factory of one protocol made before."""

    def __init__(self, protocol: Framed) -> None:
        self._protocol = protocol

    def buildProtocol(self, addr: object) -> Framed:
        """That one."""
        return self._protocol


@pytest.fixture
def ends(alpha: Identity, beta: Identity) -> Ends:
    """A link that is up."""
    both = Ends(alpha, beta)
    assert both.ready.called
    return both


class TestSilence:
    """A dead wire says nothing, not even that it is dead."""

    def test_quiet_link_stays_up(self, ends: Ends) -> None:
        """A link over which nobody asks anything for an hour is still a link."""
        ends.pass_time(3600.0, step_s=1.0)
        assert not ends.ours.over and not ends.theirs.over

    def test_dead_wire_is_noticed_on_both_sides(self, ends: Ends) -> None:
        """Within five seconds and a ping, requests fail and both sides let the link go."""
        waiting = Deferred.fromCoroutine(ends.ours.request(wire.Done(), 60.0))
        ends.cut = True
        ends.pass_time(4.0)
        assert not ends.ours.reason
        ends.pass_time(3.0)
        assert "nothing heard" in ends.ours.reason and "nothing heard" in ends.theirs.reason
        ends.cut = False  # for what iosim does in the name of the kernel
        ends.pass_time(0.0)
        with pytest.raises(PeerError, match="nothing heard"):
            _result(waiting)
        assert len(ends.ours_open) == len(ends.theirs_open) == 0

    def test_dead_wire_ends_streams_as_soon_as_the_link(self, ends: Ends) -> None:
        """A send over a dead wire is not waited for a minute: the next one starts when the wire is back."""
        read: list[object] = []

        async def take(sender: NodeId, offer: msgspec.Struct, stream: IncomingStream) -> msgspec.Struct:
            await stream.accept()
            try:
                while data := await stream.read():
                    read.append(data)
            except PeerError as error:
                read.append(error)
                raise
            return wire.Done()

        ends.answers.handle_streams(take)
        sending = Deferred.fromCoroutine(ends.stream().carry(Endless()))
        ends.pass_time(1.0)
        assert read == [b"first"]
        ends.cut = True
        ends.pass_time(7.0)
        ends.cut = False  # for what iosim does in the name of the kernel
        ends.pass_time(0.0)
        with pytest.raises(PeerError, match="nothing heard"):
            _result(sending)
        assert isinstance(read[1], PeerError)

    def test_process_that_stood_still_blames_nobody(self, ends: Ends) -> None:
        """After SIGSTOP and SIGCONT links are not dropped for one's own silence."""
        ends.clock.advance(30.0)
        ends.pass_time(10.0)
        assert not ends.ours.over and not ends.theirs.over

    def test_peer_that_takes_nothing_is_not_fed_for_ever(self, ends: Ends) -> None:
        """Gossip to a peer that does not read is dropped, requests are refused at a bound, memory stays."""
        ends.ours.pauseProducing()
        assert not ends.ours.tell(wire.Gossip())
        big = wire.ApiCall(method="PUT", path="/", body=bytes(6 * 1024 * 1024))
        outcomes = [Deferred.fromCoroutine(ends.ours.request(big, 60.0)) for _ in range(3)]
        with pytest.raises(PeerError, match="does not read"):
            _result(outcomes[2])
        assert not outcomes[0].called
        ends.ours.resumeProducing()
        assert ends.ours.tell(wire.Gossip())
        ends.ours.abort("end of test")
        ends.pass_time(1.0)
        for outcome in outcomes[:2]:
            with pytest.raises(PeerError):
                _result(outcome)

    def test_message_too_large_is_refused_before_it_is_sent(self, ends: Ends) -> None:
        """A request over the limit fails alone; the link stays."""
        huge = wire.ApiCall(method="PUT", path="/", body=bytes(wire.MAX_FRAME))
        with pytest.raises(PeerError, match="is the most"):
            _result(Deferred.fromCoroutine(ends.ours.request(huge, 60.0)))
        assert not ends.ours.over

    def test_answer_too_large_is_an_error_of_that_request(self, ends: Ends) -> None:
        """An answer over the limit fails alone; the link stays."""

        async def huge(sender: NodeId, request: msgspec.Struct) -> msgspec.Struct:
            return wire.ApiAnswer(status=200, body=bytes(wire.MAX_FRAME))

        ends.answers.handle(wire.ApiCall, huge)
        asking = Deferred.fromCoroutine(ends.ours.request(wire.ApiCall(method="GET", path="/"), 60.0))
        ends.pass_time(1.0)
        with pytest.raises(PeerError, match="too large"):
            _result(asking)
        assert not ends.ours.over

    def test_cancelled_request_is_forgotten(self, ends: Ends) -> None:
        """Who stops waiting leaves nothing behind, and a late answer goes nowhere."""
        asking = Deferred.fromCoroutine(ends.ours.request(wire.SeesOwner(SiteId("s-1")), 60.0))
        asking.cancel()
        asking.addErrback(lambda failure: None)
        ends.pass_time(1.0)
        assert not ends.ours.over
        assert ends.ours._asked == {}


def _result(outcome: Deferred[msgspec.Struct]) -> msgspec.Struct:
    """The result of a Deferred that has fired; raises its error."""
    results: list[msgspec.Struct | Failure] = []
    outcome.addBoth(results.append)
    assert results, "it still waits"
    if isinstance(results[0], Failure):
        results[0].raiseException()
    assert isinstance(results[0], msgspec.Struct)
    return results[0]
