"""A node on loopback, and somebody at its cluster port who says what they like."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.task import deferLater

from hybrid import wire
from hybrid.cluster import tls
from hybrid.cluster.framed import Connections, Framed
from hybrid.cluster.identity import Identity
from hybrid.cluster.link import LinkTiming
from hybrid.cluster.peers import PeerLinks, Reactor
from hybrid.errors import PeerError
from hybrid.model import NodeId
from hybrid.settings import Settings

TIMING = LinkTiming(ping_s=0.1, dead_s=1.0, connect_s=0.5, stall_s=1.0, retry_s=0.02, retry_max_s=0.05, idle_s=0.2)
Addresses = dict[NodeId, tuple[str, int]]


def links_of(identity: Identity, addresses: Addresses, port: int = 0, **more: Any) -> PeerLinks:
    """Links of a node on loopback; `more` as `PeerLinks` takes it."""
    settings = Settings(name=identity.name, address="127.0.0.1", cluster_port=port)
    return PeerLinks(cast(Reactor, reactor), identity, settings, lambda: addresses, lambda: 0.5, TIMING, **more)


class Raw(Framed):
    """Says what it likes, and keeps what it hears."""

    def __init__(self, *first: bytes) -> None:
        super().__init__(wire.MAX_FRAME, Connections(), None)
        self._first = first
        self.heard: list[bytes] = []
        self._more: Deferred[None] = Deferred()

    def shaken(self) -> None:
        """Say it."""
        for frame in self._first:
            self.put(frame)

    def frame_received(self, data: bytes) -> None:
        """Keep it."""
        self.heard.append(data)
        self._wake()

    def ended(self, error: PeerError) -> None:
        """Over."""
        self._wake()

    def _wake(self) -> None:
        more, self._more = self._more, Deferred()
        more.callback(None)

    async def hear(self, count: int) -> list[bytes]:
        """Wait for so many frames, or the end."""
        while len(self.heard) < count and not self.over:
            await self._more.addTimeout(5, reactor)
        return self.heard

    async def closed(self) -> None:
        """Wait for the end."""
        await self.hear(1_000_000)


def showing(
    root: x509.Certificate, key: ec.EllipticCurvePrivateKey | None, chain: Sequence[x509.Certificate], protocol: bytes
) -> tls.ClientTLS:
    """A client's side of TLS that checks nothing but the root, and shows `chain`."""
    context = tls.inside(root)
    if key is not None:
        tls.present(context, key, chain)
    context.set_verify(SSL.VERIFY_NONE, lambda *_: True)
    context.set_alpn_protos([protocol])
    return tls.ClientTLS(context)


async def connect(port: int, client: tls.ClientTLS, *first: bytes) -> Raw:
    """A connection to a cluster port."""
    raw = Raw(*first)
    plain = TCP4ClientEndpoint(reactor, "127.0.0.1", port)
    await connectProtocol(wrapClientTLS(client, plain), raw)
    return raw


async def dial(links: PeerLinks, target: Identity, me: Identity, protocol: bytes, *first: bytes) -> Raw:
    """A connection to a node as member `me`."""
    return await connect(links.port, me.client_options(target.node, [protocol]), *first)


def hello(identity: Identity, **changes: object) -> bytes:
    """A greeting."""
    greeting = wire.Hello(cluster=identity.cluster.id, node=identity.node)
    return wire.pack(0, msgspec.structs.replace(greeting, **changes))


def number_of(links: PeerLinks, part: str) -> int:
    """How many connections ended for a reason that contains `part`."""
    return sum(count for reason, count in links.ends().items() if part in reason)


async def until(true: Callable[[], bool]) -> None:
    """Let the reactor turn until `true()`; at most ten seconds."""
    for _ in range(1000):
        if true():
            return
        await deferLater(reactor, 0.01)
    raise AssertionError("it did not happen")
