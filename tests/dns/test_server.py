"""The sockets' side: datagrams and streams, on Twisted's fakes and a clock."""

from __future__ import annotations

import dns.message
import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from hybrid_dns.answer import Answers
from hybrid_dns.limits import Limits
from hybrid_dns.lookup import Zones
from hybrid_dns.server import IDLE_S, MAX_CONNECTIONS, DnsDatagrams, DnsStream, DnsStreams
from hybrid_dns.zone import Contents, Hosts

ANSWERS = Answers(Zones(Contents(("t",), {"t": ()}, {"a.t": Hosts(30, ("10.0.0.1",))}), 1))
QUERY = dns.message.make_query("a.t", "A", id=1).to_wire()


def respond(query: bytes, source: str, stream: bool) -> tuple[bytes, bool] | None:
    """Answers of a zone with one name."""
    reply = ANSWERS.answer(query, stream)
    return None if reply is None else (reply, False)


class Datagrams:
    """A UDP transport that keeps what was written."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, tuple[str, int]]] = []

    def write(self, data: bytes, addr: tuple[str, int]) -> None:
        """Keep it."""
        self.sent.append((data, addr))


def framed(query: bytes) -> bytes:
    """With its length before it."""
    return len(query).to_bytes(2, "big") + query


def connect(factory: DnsStreams) -> tuple[DnsStream, StringTransport]:
    """A connected client."""
    protocol = factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
    transport = StringTransport()
    protocol.makeConnection(transport)
    return protocol, transport


@pytest.mark.parametrize(("port", "count"), [(5353, 1), (0, 0), (7, 0), (19, 0), (123, 0), (53, 1)])
def test_services_that_echo_are_not_answered(port: int, count: int) -> None:
    """A forged packet from an echo port cannot start a loop; a name server's own port may ask."""
    transport, protocol = Datagrams(), DnsDatagrams(respond, Limits(), Clock().seconds)
    protocol.transport = transport  # type: ignore[assignment]  # a fake
    protocol.datagramReceived(QUERY, ("192.0.2.1", port))
    protocol.datagramReceived(b"garbage", ("192.0.2.1", port))
    assert len(transport.sent) == count


def test_pipelined_queries_in_pieces_are_answered_in_order() -> None:
    """TCP may cut and join queries anywhere."""
    protocol, transport = connect(DnsStreams(respond, Clock()))
    queries = [dns.message.make_query("a.t", "A", id=number).to_wire() for number in (1, 2, 3)]
    for byte in b"".join(map(framed, queries)):
        protocol.dataReceived(bytes([byte]))
    sent, ids = transport.value(), []
    while sent:
        length = int.from_bytes(sent[:2], "big")
        ids.append(dns.message.from_wire(sent[2 : 2 + length]).id)
        sent = sent[2 + length :]
    assert ids == [1, 2, 3]


@pytest.mark.parametrize("length", [0, 11, 4097, 65535])
def test_a_length_no_query_has_ends_the_connection(length: int) -> None:
    """65,535 bytes are not waited for."""
    protocol, transport = connect(DnsStreams(respond, Clock()))
    protocol.dataReceived(length.to_bytes(2, "big"))
    assert transport.disconnecting or transport.disconnected


def test_dribbling_bytes_do_not_keep_a_connection() -> None:
    """Ten seconds from one whole query to the next, however many bytes arrive between them."""
    clock = Clock()
    protocol, transport = connect(DnsStreams(respond, clock))
    protocol.dataReceived(framed(QUERY))
    for byte in framed(QUERY)[:12]:
        clock.advance(IDLE_S / 11)
        protocol.dataReceived(bytes([byte]))
    assert transport.disconnected


def test_at_most_a_hundred_connections() -> None:
    """The hundred and first is closed; when one ends, there is room again. No timer is left behind."""
    clock = Clock()
    factory = DnsStreams(respond, clock)
    clients = [connect(factory) for _ in range(MAX_CONNECTIONS)]
    over, transport = connect(factory)
    assert transport.disconnected
    over.connectionLost()
    clients[0][0].connectionLost()
    assert not connect(factory)[1].disconnected
    for protocol, _ in clients[1:]:
        protocol.connectionLost()
    assert factory.connections == 1 and len(clock.getDelayedCalls()) == 1


def test_a_failure_in_answering_costs_one_reply() -> None:
    """A bug shows in the log and in nothing else."""

    def broken(query: bytes, source: str, stream: bool) -> tuple[bytes, bool] | None:
        raise RuntimeError("broken")

    protocol = DnsDatagrams(broken, Limits(), Clock().seconds)
    protocol.datagramReceived(QUERY, ("192.0.2.1", 5353))
    stream, transport = connect(DnsStreams(broken, Clock()))
    stream.dataReceived(framed(QUERY))
    assert transport.disconnected
