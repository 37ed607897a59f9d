"""A real UDP server behind the front doors, used through both nodes."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.defer import succeed
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.threads import deferToThread

from hybrid.model import Port
from tests.proxy.nodes import Nodes, free_port, reactor


class Echo(DatagramProtocol):
    """Says everything back, in upper case."""

    noisy = False

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """See `DatagramProtocol`."""
        self.transport.write(datagram.upper(), addr)  # type: ignore[union-attr]  # it is listening


def asked(address: str, port: int, datagram: bytes) -> bytes:
    """What comes back from there, and nowhere else; asked again where it was lost."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect((address, port))
        client.settimeout(3)
        for _ in range(5):
            client.send(datagram)
            try:
                return client.recv(65535)
            except TimeoutError:
                continue
    raise AssertionError("no answer")


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.2"], ids=["owner", "another node"])
@pytest_twisted.ensureDeferred
async def test_datagrams_through_each_node(tmp_path: Path, address: str) -> None:
    """Small ones and large ones, each answered to who asked."""
    listening = reactor.listenUDP(0, Echo(), "127.0.0.1", 65535)
    public = free_port()
    own = listening.getHost().port  # type: ignore[attr-defined]  # IPv4Address
    nodes = Nodes(tmp_path / "state", (Port("echo", own, "udp", public),), {})
    try:
        for datagram in (b"hello", b"", b"x" * 9000, b"bye"):
            assert await deferToThread(asked, address, public, datagram) == datagram.upper()
    finally:
        await nodes.close()
        await (listening.stopListening() or succeed(None))
