"""The contract of a TCP transport: protocols cannot tell the lean one from Twisted's own. Real sockets on loopback."""

from __future__ import annotations

import resource
import socket
import struct
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionRefusedError, UserError
from twisted.internet.interfaces import IHalfCloseableProtocol, ISSLTransport
from twisted.internet.protocol import ClientFactory, Factory, Protocol, connectionDone
from twisted.logger import capturedLogs
from twisted.python.failure import Failure
from zope.interface import implementer

from hybrid.cluster.founding import create_cluster
from hybrid.process import MonotonicReactor
from hybrid_proxy.lean.reactor import LeanReactor
from hybrid_proxy.relay import Side, Splice

TURNS = 2_000
LARGE = bytes(range(256)) * 4 * 1024 * 8
"""8 MB: more than the kernel takes at once."""


class Heard(Protocol):
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.lost: Any = None

    def dataReceived(self, data: bytes) -> None:
        """Keep it."""
        self.data += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Keep the reason."""
        self.lost = reason


@implementer(IHalfCloseableProtocol)
class HalfHeard(Heard):
    """Goes on when the other end says no more."""

    ended = False
    said = False

    def readConnectionLost(self) -> None:
        """The other end says no more."""
        self.ended = True

    def writeConnectionLost(self) -> None:
        """What this end said has gone out, and that it was all."""
        self.said = True


class Stage:
    """A reactor that is turned by hand, a port on it, and a plain socket that calls."""

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor
        self.made: list[Any] = []
        self.build: Callable[[], Protocol | None] = HalfHeard
        factory = Factory()
        factory.noisy = False
        factory.buildProtocol = self._build  # type: ignore[method-assign, assignment]
        listening = socket.socket()
        listening.bind(("127.0.0.1", 0))
        listening.listen(16)
        listening.setblocking(False)
        self.port = reactor.adoptStreamPort(listening.fileno(), socket.AF_INET, factory)
        listening.close()
        self.sockets: list[socket.socket] = []

    def _build(self, where: object) -> Any:
        protocol = self.build()
        self.made.append(protocol)
        return protocol

    @property
    def at(self) -> int:
        """The port."""
        return cast(int, self.port.getHost().port)

    def until(self, holds: Callable[[], object]) -> None:
        """Turn the reactor until `holds()`."""
        for _ in range(TURNS):
            if holds():
                return
            self.reactor.iterate(0.01)
        raise AssertionError("it never came to be")

    def call(self) -> tuple[socket.socket, Any]:
        """A client, and the protocol it got."""
        client = socket.create_connection(("127.0.0.1", self.at), 5)
        self.sockets.append(client)
        before = len(self.made)
        self.until(lambda: len(self.made) > before)
        client.setblocking(False)
        return client, self.made[-1]

    def read(self, client: socket.socket, count: int) -> bytes:
        """What the client receives, at least so many bytes or all there are before the end."""
        data = bytearray()

        def enough() -> bool:
            try:
                piece = client.recv(1 << 20)
            except BlockingIOError:
                return False
            data.extend(piece)
            return len(data) >= count or not piece

        self.until(enough)
        return bytes(data)

    def close(self) -> None:
        """Close everything."""
        for client in self.sockets:
            client.close()
        self.port.stopListening()
        for _ in range(3):
            self.reactor.iterate(0)
        for reader in self.reactor.removeAll():
            reader.connectionLost(Failure(ConnectionDone()))
        for reader in list(self.reactor._internalReaders):
            reader.connectionLost(Failure(ConnectionDone()))
        self.reactor._poller.close()


@pytest.fixture(params=[MonotonicReactor, LeanReactor])
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    """A port on Twisted's reactor, and on the lean one."""
    stage = Stage(request.param())
    yield stage
    stage.close()


def test_what_is_written_arrives(stage: Stage) -> None:
    """Both ways, whole and in order, whatever its size."""
    client, server = stage.call()
    server.transport.write(b"hello ")
    server.transport.writeSequence([b"to", b" you"])
    assert stage.read(client, 12) == b"hello to you"
    server.transport.write(LARGE)
    server.transport.write(b"end")
    assert stage.read(client, len(LARGE) + 3) == LARGE + b"end"
    client.sendall(b"x" * 50_000)
    stage.until(lambda: len(server.data) == 50_000)
    assert server.data == b"x" * 50_000


def test_it_knows_the_ends(stage: Stage) -> None:
    """Its addresses are those of the socket."""
    client, server = stage.call()
    assert server.transport.getPeer() == IPv4Address("TCP", *client.getsockname())
    assert server.transport.getHost() == IPv4Address("TCP", *client.getpeername())
    server.transport.setTcpNoDelay(True)
    assert server.transport.getTcpNoDelay()
    server.transport.setTcpKeepAlive(True)
    assert server.transport.getTcpKeepAlive()


def test_closing_sends_all_first(stage: Stage) -> None:
    """Nothing written before the end is lost, and the protocol hears of the end after its call has returned."""
    client, server = stage.call()
    server.transport.write(LARGE)
    server.transport.loseConnection()
    assert not server.lost
    assert stage.read(client, len(LARGE) + 1) == LARGE
    stage.until(lambda: server.lost)
    assert server.lost.check(ConnectionDone)
    server.transport.write(b"too late")
    server.transport.loseConnection()
    server.transport.abortConnection()


def test_closing_with_nothing_to_send(stage: Stage) -> None:
    """The same when there is nothing left: not inside the call, but soon; what comes meanwhile is not heard."""
    client, server = stage.call()
    server.transport.loseConnection()
    server.transport.loseConnection()
    assert not server.lost
    stage.until(lambda: server.lost)
    assert server.lost.check(ConnectionDone)
    assert stage.read(client, 1) == b""


def test_the_last_words_are_sent(stage: Stage) -> None:
    """What is written between the wish to close and the closing still goes out."""
    client, server = stage.call()
    server.transport.loseConnection()
    server.transport.write(b"bye")
    assert stage.read(client, 4) == b"bye"
    stage.until(lambda: server.lost)


def test_aborting(stage: Stage) -> None:
    """The other end sees a reset; what was not sent is dropped; the protocol hears of it once, later."""
    client, server = stage.call()
    server.transport.write(LARGE)
    server.transport.abortConnection()
    server.transport.abortConnection()
    assert not server.lost
    stage.until(lambda: server.lost)
    assert server.lost.check(ConnectionAborted)
    with pytest.raises(ConnectionResetError):
        while stage.read(client, 1):
            pass


def test_the_other_end_closes(stage: Stage) -> None:
    """A protocol that knows nothing of half-closed connections loses the whole one."""
    stage.build = Heard
    client, server = stage.call()
    client.sendall(b"last")
    client.close()
    stage.until(lambda: server.lost)
    assert server.lost.check(ConnectionDone)
    assert server.data == b"last"


def test_the_other_end_is_gone(stage: Stage) -> None:
    """A reset ends the connection, whether it reads or writes at that time."""
    for busy in (False, True):
        client, server = stage.call()
        if busy:
            server.transport.write(LARGE)
            server.transport.pauseProducing()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        stage.until(partial(getattr, server, "lost"))
        assert not server.lost.check(ConnectionDone)


def test_half_closing(stage: Stage) -> None:
    """Each direction ends by itself, and everything said before is heard."""
    client, server = stage.call()
    client.sendall(b"question")
    client.shutdown(socket.SHUT_WR)
    stage.until(lambda: server.ended)
    assert (server.data, server.lost) == (b"question", None)
    server.transport.write(LARGE)
    server.transport.loseWriteConnection()
    assert stage.read(client, len(LARGE) + 1) == LARGE
    stage.until(lambda: server.said)
    server.transport.loseConnection()
    stage.until(lambda: server.lost)
    assert server.lost.check(ConnectionDone)


def test_half_closing_first(stage: Stage) -> None:
    """This end says no more, and hears the other out."""
    client, server = stage.call()
    server.transport.write(b"all")
    server.transport.loseWriteConnection()
    assert stage.read(client, 4) == b"all"
    client.sendall(b"answer")
    stage.until(lambda: server.data == b"answer")
    assert not server.lost


def test_pausing(stage: Stage) -> None:
    """Nothing is heard while paused; nothing is lost by it."""
    client, server = stage.call()
    server.transport.pauseProducing()
    client.sendall(b"wait")
    for _ in range(5):
        stage.reactor.iterate(0.01)
    assert server.data == b""
    server.transport.resumeProducing()
    stage.until(lambda: server.data == b"wait")


class Tap:
    """A push producer that counts what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def pauseProducing(self) -> None:
        """Enough for now."""
        self.told.append("pause")

    def resumeProducing(self) -> None:
        """More."""
        self.told.append("resume")

    def stopProducing(self) -> None:
        """No more."""
        self.told.append("stop")


def test_back_pressure(stage: Stage) -> None:
    """A producer is paused when the other end does not read, resumed when it has, and stopped when it is gone."""
    client, server = stage.call()
    tap = Tap()
    server.transport.registerProducer(tap, True)
    with pytest.raises(RuntimeError):
        server.transport.registerProducer(Tap(), True)
    server.transport.write(b"little")
    assert tap.told == []
    server.transport.write(LARGE)
    assert tap.told == ["pause"]
    stage.read(client, len(LARGE) + 6)
    stage.until(lambda: tap.told == ["pause", "resume"])
    server.transport.abortConnection()
    stage.until(lambda: server.lost)
    assert tap.told == ["pause", "resume", "stop"]
    late = Tap()
    server.transport.registerProducer(late, True)
    assert late.told == ["stop"]


def test_closing_under_a_producer(stage: Stage) -> None:
    """A producer that was paused says the rest before the connection is closed; one that was not had its time."""
    client, server = stage.call()
    tap = Tap()
    server.transport.registerProducer(tap, True)
    server.transport.write(LARGE)
    server.transport.loseConnection()
    stage.read(client, len(LARGE))
    stage.until(lambda: tap.told == ["pause", "resume"])
    assert not server.lost
    server.transport.write(b"rest")
    server.transport.unregisterProducer()
    assert stage.read(client, 5) == b"rest"
    stage.until(lambda: server.lost)
    _, other = stage.call()
    other.transport.registerProducer(Tap(), True)
    other.transport.loseConnection()
    stage.until(lambda: other.lost)


class Spring:
    """A pull producer of some pieces."""

    def __init__(self, transport: Any, pieces: int) -> None:
        self.transport, self.left = transport, pieces

    def resumeProducing(self) -> None:
        """One more piece, or the end."""
        self.transport.write(b"%d " % self.left)
        self.left -= 1
        if not self.left:
            self.transport.unregisterProducer()
            self.transport.loseConnection()

    def stopProducing(self) -> None:
        """Gone."""


def test_a_producer_that_is_asked(stage: Stage) -> None:
    """A pull producer is asked for each piece once the one before has gone out."""
    client, server = stage.call()
    server.transport.registerProducer(Spring(server.transport, 5), False)
    assert stage.read(client, 100) == b"5 4 3 2 1 "


class Failing(Heard):
    """Cannot bear data."""

    def dataReceived(self, data: bytes) -> None:
        """Fail."""
        raise ValueError("cannot bear that")


def test_a_failing_protocol(stage: Stage) -> None:
    """Loses its connection, says so in the log, and harms nobody else."""
    stage.build = Failing
    client, server = stage.call()
    stage.build = HalfHeard
    other, other_server = stage.call()
    with capturedLogs() as logged:
        client.sendall(b"x")
        stage.until(lambda: server.lost)
    assert server.lost.check(ValueError)
    assert any("cannot bear" in str(value) for event in logged for value in event.values())
    other.sendall(b"on")
    stage.until(lambda: other_server.data == b"on")


class Joined(HalfHeard):
    """One end of a splice."""

    splice: Splice
    near = False

    def dataReceived(self, data: bytes) -> None:
        """Pass it on."""
        if self.near:
            self.splice.from_near(data)
        else:
            self.splice.from_far(data)

    def readConnectionLost(self) -> None:
        """Pass that on."""
        if self.near:
            self.splice.near_ended()
        else:
            self.splice.far_ended()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """And that."""
        super().connectionLost(reason)
        self.splice.gone()


def joined(stage: Stage) -> tuple[socket.socket, socket.socket, Splice, list[bool]]:
    """Two clients whose connections are joined, and whether that is over."""
    stage.build = Joined
    (near, first), (far, second) = stage.call(), stage.call()
    over: list[bool] = []
    splice = first.splice = second.splice = Splice(
        Side(first.transport), Side(second.transport), lambda: over.append(True)
    )
    first.near = True
    splice.begin()
    return near, far, splice, over


def test_two_connections_joined(stage: Stage) -> None:
    """What one says the other hears, small and large, in order; each may end its side; all of it is counted."""
    near, far, splice, over = joined(stage)
    for number in range(100):
        near.sendall(b"%03d" % number)
        assert stage.read(far, 3) == b"%03d" % number
        far.sendall(b"<%03d>" % number)
        assert stage.read(near, 5) == b"<%03d>" % number
    assert splice.moved_bytes == 800
    near.shutdown(socket.SHUT_WR)
    stage.until(lambda: stage.read(far, 1) == b"")
    far.sendall(b"and goodbye")
    assert stage.read(near, 11) == b"and goodbye" and not over
    far.close()
    stage.until(lambda: over)
    assert stage.read(near, 1) == b"" and splice.moved_bytes == 811


def test_a_slow_end_of_two(stage: Stage) -> None:
    """Who reads nothing makes the other one wait, and gets everything in the end, also when that one has hung up."""
    near, far, splice, over = joined(stage)
    for end in (near, far, *(protocol.transport.getHandle() for protocol in stage.made)):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
    sent = 0

    def stuck() -> bool:
        nonlocal sent
        before, piece = sent, LARGE[sent : sent + 5000]
        try:
            sent += near.send(piece) if piece else 0
        except BlockingIOError:
            pass
        return sent == before

    for _ in range(3):  # what is on its way may still make room
        stage.until(stuck)
    assert 0 < sent < len(LARGE) and splice.moved_bytes <= sent
    near.close()
    received = bytearray()

    def all_there() -> bool:
        received.extend(stage.read(far, 1))
        return len(received) >= sent

    stage.until(all_there)
    assert received == LARGE[:sent]
    far.close()
    stage.until(lambda: over)
    assert splice.moved_bytes == sent


def test_a_joined_end_is_gone(stage: Stage) -> None:
    """The other one is closed, and what it still says goes nowhere."""
    near, far, _, over = joined(stage)
    far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    far.close()
    near.sendall(b"is anybody there")
    stage.until(lambda: over)
    stage.until(lambda: stage.made[-2].lost is not None)


def test_nobody_wants_it(stage: Stage) -> None:
    """A connection for which the factory has no protocol is closed."""
    stage.build = lambda: None
    client, _ = stage.call()
    assert stage.read(client, 1) == b""


def test_a_paused_port(stage: Stage) -> None:
    """Connections wait in the kernel's queue, and are served afterwards."""
    stage.port.stopReading()
    client = socket.create_connection(("127.0.0.1", stage.at), 5)
    stage.sockets.append(client)
    for _ in range(5):
        stage.reactor.iterate(0.01)
    assert stage.made == []
    stage.port.startReading()
    stage.until(lambda: stage.made)


class Opening(ClientFactory):
    """Keeps what became of a connection."""

    noisy = False

    def __init__(self) -> None:
        self.protocol_made: Any = HalfHeard()
        self.failed: Failure | None = None
        self.lost: Failure | None = None

    def buildProtocol(self, addr: object) -> Any:
        """The one."""
        return self.protocol_made

    def clientConnectionFailed(self, connector: object, reason: Failure) -> None:
        """Keep why."""
        self.failed = reason

    def clientConnectionLost(self, connector: object, reason: Failure) -> None:
        """Keep why."""
        self.lost = reason


def test_connecting(stage: Stage) -> None:
    """A connection that this end opens is like any other; its factory hears of its end."""
    opening = Opening()
    connector = stage.reactor.connectTCP("127.0.0.1", stage.at, opening, 5)
    stage.until(lambda: stage.made and opening.protocol_made.connected)
    ours, theirs = opening.protocol_made, stage.made[0]
    assert ours.transport.getPeer() == connector.getDestination() == IPv4Address("TCP", "127.0.0.1", stage.at)
    ours.transport.write(b"ping")
    stage.until(lambda: theirs.data == b"ping")
    theirs.transport.write(b"pong")
    stage.until(lambda: ours.data == b"pong")
    connector.disconnect()
    stage.until(lambda: opening.lost and ours.lost)
    assert opening.failed is None


def test_nobody_listens(stage: Stage) -> None:
    """A refused connection is told as such, after the call."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        opening = Opening()
        stage.reactor.connectTCP("127.0.0.1", probe.getsockname()[1], opening, 5)
        assert opening.failed is None
        stage.until(lambda: opening.failed)
    assert opening.failed is not None and opening.failed.check(ConnectionRefusedError)


def test_giving_up(stage: Stage) -> None:
    """An attempt that is called off fails once, and is never heard of again."""
    opening = Opening()
    connector = stage.reactor.connectTCP("127.0.0.1", stage.at, opening, 5)
    connector.stopConnecting()
    assert opening.failed is not None and opening.failed.check(UserError)
    opening.failed = None
    for _ in range(10):
        stage.reactor.iterate(0.01)
    assert (opening.failed, opening.protocol_made.connected) == (None, 0)
    assert not stage.reactor.getDelayedCalls()


def test_tls_on_the_way(stage: Stage, tmp_path: Path) -> None:
    """STARTTLS: both ends turn to TLS in mid-conversation, with much to say, and close in order."""
    identity = create_cluster(tmp_path / "state", "one", "127.0.0.1", time.time())
    opening = Opening()
    stage.reactor.connectTCP("127.0.0.1", stage.at, opening, 5)
    stage.until(lambda: stage.made and opening.protocol_made.connected)
    ours, theirs = opening.protocol_made, stage.made[0]
    theirs.transport.startTLS(identity.server_options(refuses=lambda line: ""))
    ours.transport.startTLS(identity.client_options(identity.node))
    assert ISSLTransport.providedBy(ours.transport)
    ours.transport.write(LARGE)
    stage.until(lambda: theirs.data == LARGE)
    theirs.transport.write(LARGE)
    theirs.transport.loseConnection()
    stage.until(lambda: len(ours.data) == len(LARGE) and ours.lost and theirs.lost)
    assert ours.data == LARGE
    assert ours.transport.getPeer().port == stage.at


def test_the_reactor_stops(stage: Stage) -> None:
    """What is open is told when the reactor stops."""
    _, server = stage.call()
    for reader in stage.reactor.removeAll():
        reader.connectionLost(Failure(ConnectionDone()))
    assert server.lost is not None


def test_no_descriptors_left() -> None:
    """The front doors rest while the process has no descriptor for another connection, and then take it."""
    stage = Stage(LeanReactor())
    try:
        client = socket.create_connection(("127.0.0.1", stage.at), 5)
        stage.sockets.append(client)
        _, most = limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        with capturedLogs() as logged:
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, most))  # no new one, whichever are free
            try:
                stage.until(lambda: logged)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            assert stage.made == []
        stage.until(lambda: stage.made)
    finally:
        stage.close()
