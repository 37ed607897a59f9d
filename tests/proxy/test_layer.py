"""TLS as the front doors speak it: whatever is said comes through, however it is cut, and ends in order."""

from __future__ import annotations

import random
import ssl
from typing import Any

import pytest
from OpenSSL import SSL
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from hybrid_proxy.lean.tls import Layer, Records
from hybrid_proxy.showing import Certificates
from tests.proxy.conftest import Wire, plug

LARGE = bytes(range(256)) * 1024


class Echo(Protocol):
    """Says back what it hears."""

    transport: Any

    def __init__(self) -> None:
        self.heard = bytearray()
        self.lost: Failure | None = None

    def dataReceived(self, data: bytes) -> None:
        """Keep it, and say it."""
        self.heard += data
        self.transport.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Keep why."""
        self.lost = reason


class Talk:
    """A client of Python's own TLS, and our end."""

    def __init__(self, pieces: random.Random | None = None) -> None:
        self.echo = Echo()
        context = Certificates().context("shop.test", None)
        self.wire: Wire = plug(Layer(SSL.Connection(context, None), self.echo))
        self._in, self._out, self._pieces = ssl.MemoryBIO(), ssl.MemoryBIO(), pieces
        trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        self.client = trusting.wrap_bio(self._in, self._out, server_hostname="shop.test")

    def carry(self) -> None:
        """What each has said goes to the other, perhaps in pieces."""
        data = self._out.read()
        while data and not self.wire.closed:
            size = len(data) if self._pieces is None else self._pieces.choice((1, 2, 5, 6, 100, 16401, 40000))
            self.wire.send(data[:size])
            data = data[size:]
        self._in.write(self.wire.taken())

    def shake(self) -> Talk:
        """The handshake."""
        for _ in range(4):
            try:
                self.client.do_handshake()
            except ssl.SSLWantReadError:
                self.carry()
        self.carry()
        return self

    def say(self, data: bytes) -> bytes:
        """Say it; what comes back."""
        for at in range(0, len(data), 1 << 16):
            self.client.write(data[at : at + (1 << 16)])
        self.carry()
        return self.heard()

    def heard(self) -> bytes:
        """What the client has not read yet."""
        data = b""
        while True:
            try:
                data += self.client.read(1 << 16)
            except ssl.SSLWantReadError:
                return data


@pytest.mark.parametrize("seed", [None, 1, 2, 3])
def test_it_comes_through(seed: int | None) -> None:
    """Little and much, both ways, in whatever pieces the network makes of it."""
    talk = Talk(None if seed is None else random.Random(seed)).shake()
    for data in (b"a", b"hello", LARGE, b"x" * 16384, b"y" * 16385, b"z"):
        assert talk.say(data) == data
    assert len(talk.echo.heard) == 1 + 5 + len(LARGE) + 16384 + 16385 + 1


def test_the_client_says_good_bye() -> None:
    """It is answered, and that is a clean end."""
    talk = Talk().shake()
    assert talk.say(b"first") == b"first"
    with pytest.raises(ssl.SSLWantReadError):
        talk.client.unwrap()
    talk.carry()
    talk.client.unwrap()
    assert talk.wire.closed and talk.echo.lost is not None and talk.echo.lost.check(ConnectionDone)


def test_this_end_says_good_bye() -> None:
    """What was written before goes first; what comes after is not heard; the transport waits for the client's own."""
    talk = Talk().shake()
    talk.echo.transport.write(b"last words")
    talk.echo.transport.loseConnection()
    talk.echo.transport.write(b"too late")
    talk.carry()
    assert talk.client.read(100) == b"last words"
    assert talk.client.read(100) == b"", "the end, properly said"
    assert not talk.wire.closed
    talk.client.unwrap()
    talk.carry()
    assert talk.wire.closed and talk.echo.heard == b""


@pytest.mark.parametrize("where", [0, 1])
def test_what_is_no_tls_ends_it(where: int) -> None:
    """Before or after the handshake: an alert, and the end; nothing of it is heard."""
    talk = Talk()
    if where:
        talk.shake()
    talk.wire.send(b"\x17\x03\x03\x00\x20" + b"?" * 32)
    assert talk.wire.closed and talk.echo.heard == b""
    assert talk.echo.lost is not None and talk.echo.lost.check(SSL.Error)


def test_it_is_told_to_wait() -> None:
    """Its producer is the transport's, so that back-pressure goes through."""
    talk = Talk().shake()
    talk.echo.transport.registerProducer(talk, True)
    assert talk.wire.producer is talk
    talk.echo.transport.pauseProducing()
    assert talk.wire.producerState == "paused"
    talk.echo.transport.resumeProducing()
    talk.echo.transport.unregisterProducer()
    assert talk.wire.producer is None
    talk.echo.transport.abortConnection()
    assert talk.wire.aborted


def test_records_are_counted() -> None:
    """A torn record counts when it is whole; a torn header, never again."""
    one = b"\x17\x03\x03\x00\x03abc"
    records = Records()
    assert [records.whole(data) for data in (one, one + one, one[:6], one[6:], one[6:], one)] == [1, 2, 0, 1, 0, 0]
    records = Records()
    assert [records.whole(data) for data in (one[:3], one[3:], one)] == [0, 0, 0]
