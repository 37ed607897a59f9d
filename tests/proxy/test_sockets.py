"""Two nodes' front doors on real sockets, with mutual TLS between them and a website and a database behind one."""

from __future__ import annotations

import datetime
import hashlib
import os
import re
import resource
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
import pytest_twisted
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.interfaces import IHalfCloseableProtocol, IListeningPort, IPushProducer, ITCPTransport
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.internet.utils import getProcessOutputAndValue
from twisted.python.failure import Failure
from zope.interface import implementer

from hybrid.certs.records import Shown
from hybrid.cluster.certificates import new_key
from hybrid.cluster.founding import create_cluster
from hybrid.cluster.identity import Identity
from hybrid.model import Claim, Fact, NodeId, Port, Served, SiteId, SiteSpec, Version
from hybrid.settings import Settings
from hybrid.view import NodeView, SiteState, SiteView, View
from hybrid_proxy.limits import Limits
from hybrid_proxy.service import FrontDoors, Reactor
from tests.certs.authority import Authority, pem
from tests.certs.authority import new_key as site_key
from tests.certs.authority import text as pem_of

reactor = cast(Reactor, global_reactor)
SHOP = SiteId("s-shop")
MEGABYTE = 1024 * 1024


@implementer(IPushProducer)
class Website(Protocol):
    """A website: `/big/<n>` gives n MB, `/sum` the digest of what it is sent, `/ws` says everything back."""

    transport: ITCPTransport

    def __init__(self) -> None:
        self._buffer = b""
        self._left = 0
        self._digest: hashlib._Hash | None = None
        self._paused = False
        self._echo = False

    def dataReceived(self, data: bytes) -> None:
        """See `Protocol`."""
        if self._echo:
            self.transport.write(data)
        elif self._digest is not None:
            self._take(data)
        else:
            self._buffer += data
            head, blank, rest = self._buffer.partition(b"\r\n\r\n")
            if blank:
                self._buffer = b""
                self._serve(head, rest)

    def _serve(self, head: bytes, rest: bytes) -> None:
        path = head.split()[1].decode()
        if path.startswith("/big/"):
            self._left = int(path.removeprefix("/big/")) * MEGABYTE
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % self._left)
            self.transport.registerProducer(self, True)  # type: ignore[attr-defined]  # a TCP transport is an IConsumer
            self.resumeProducing()
        elif path == "/sum":
            length = re.search(rb"Content-Length: (\d+)", head)
            assert length is not None
            self._digest, self._left = hashlib.sha256(), int(length[1])
            self._take(rest)
        elif path == "/ws":
            self._echo = True
            self.transport.write(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
            )
        else:
            body = head + b"\r\n"
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    def _take(self, data: bytes) -> None:
        assert self._digest is not None
        self._digest.update(data)
        self._left -= len(data)
        if self._left == 0:
            body = self._digest.hexdigest().encode()
            self._digest = None
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    def resumeProducing(self) -> None:
        """See `IPushProducer`."""
        self._paused = False
        while self._left and not self._paused:
            self._left -= 65536
            self.transport.write(bytes(65536))
        if not self._left:
            self.transport.unregisterProducer()  # type: ignore[attr-defined]  # an IConsumer

    def pauseProducing(self) -> None:
        """See `IPushProducer`."""
        self._paused = True

    def stopProducing(self) -> None:
        """See `IPushProducer`."""
        self._paused = True


@implementer(IHalfCloseableProtocol)
class Database(Protocol):
    """Greets, then says back what it was sent once the client has ended its side."""

    transport: ITCPTransport

    def connectionMade(self) -> None:
        """See `Protocol`."""
        self._heard = b""
        self.transport.write(b"welcome ")

    def dataReceived(self, data: bytes) -> None:
        """See `Protocol`."""
        self._heard += data

    def readConnectionLost(self) -> None:
        """See `IHalfCloseableProtocol`."""
        self.transport.write(self._heard)
        self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """See `IHalfCloseableProtocol`."""


@implementer(IHalfCloseableProtocol)
class Talker(Protocol):
    """A client that keeps what it hears, and can be asked to wait for some of it."""

    transport: ITCPTransport

    def __init__(self) -> None:
        self.heard = b""
        self.ended = False
        self._awaited: tuple[bytes, Deferred[bytes]] | None = None

    def until(self, text: bytes) -> Deferred[bytes]:
        """All that was heard, once `text` is in it, or the connection has ended."""
        done: Deferred[bytes] = Deferred()
        done.addTimeout(20, reactor)
        self._awaited = (text, done)
        self._look()
        return done

    def _look(self) -> None:
        if self._awaited is not None and (self._awaited[0] in self.heard or self.ended):
            (_, done), self._awaited = self._awaited, None
            done.callback(self.heard)

    def dataReceived(self, data: bytes) -> None:
        """See `Protocol`."""
        self.heard += data
        self._look()

    def readConnectionLost(self) -> None:
        """See `IHalfCloseableProtocol`."""
        self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """See `IHalfCloseableProtocol`."""

    def connectionLost(self, reason: Failure = Failure(Exception())) -> None:  # noqa: B008  (one for all will do)
        """See `Protocol`."""
        self.ended = True
        self._awaited = (b"", self._awaited[1]) if self._awaited else None
        self._look()


NEVER_HEARD = b"\x00never\x00"
"""Wait for this to wait for the end."""


class Pair:
    """Two nodes; the site runs on the first, or is on its way."""

    def __init__(self, where: Path) -> None:
        self.where = where
        first = create_cluster(where, "one", "127.0.0.1", time.time())
        key = new_key()
        issuers = first.admit(key.public_key(), time.time())
        second = Identity.begin(first.cluster, key, issuers, first.root, "two", "127.0.0.1", time.time())
        self.identities = (first, second)
        self.served: list[Fact] = []
        self.listening: list[IListeningPort] = [self._listen(Website), self._listen(Database)]
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.database_port: int = probe.getsockname()[1]
        self.doors = [
            FrontDoors(reactor, self._settings(identity.name), identity, self.served.append, "127.0.0.1", LIMITS)
            for identity in self.identities
        ]
        for doors in self.doors:
            doors.startService()
        self.follow()

    def _listen(self, protocol: type[Protocol]) -> IListeningPort:
        factory = cast("ServerFactory[Any]", ServerFactory.forProtocol(protocol))
        return reactor.listenTCP(0, factory, interface="127.0.0.1")

    @staticmethod
    def _settings(name: str) -> Settings:
        return Settings(name=name, address="127.0.0.1", http_port=0, https_port=0, interior_port=0)

    @property
    def entry(self) -> int:
        """The HTTP port of the node that does not own the site."""
        return self.doors[1].http_port

    def follow(
        self,
        state: SiteState = "serving",
        owner: int = 0,
        epoch: int = 1,
        both: bool = True,
        unknown: NodeId | None = None,
    ) -> None:
        """Tell the nodes (or the entry node alone) of a view, in which one node may be unknown to the others."""
        web, database = (port.getHost().port for port in self.listening)  # type: ignore[attr-defined]  # IPv4Address
        ports = (Port("http", web), Port("db", database, "tcp", self.database_port))
        spec = SiteSpec(
            id=SHOP, version=Version(1, 1), name="x", domains=("shop.test",), image="x@1", number=1, ports=ports
        )
        nodes = {identity.node: self._node(number) for number, identity in enumerate(self.identities)}
        holder = self.identities[owner].node
        for number in (0, 1) if both else (1,):
            me = self.identities[number].node
            here = "127.0.0.1" if me == holder and state == "serving" else None
            site = SiteView(spec=spec, state=state, owner=holder, claim=Claim(epoch, holder), upstream=here)
            known = {node: seen for node, seen in nodes.items() if node in (me, holder) or node != unknown}
            self.doors[number].follow(View(me=me, serial=1, zones=("test",), nodes=known, sites={SHOP: site}))

    def _node(self, number: int) -> NodeView:
        node: NodeId = self.identities[number].node
        port = self.doors[number].interior_port
        return NodeView(
            id=node, name=node, dc="a", address="127.0.0.1", cluster_port=1, interior_port=port, api_port=2, live=True
        )

    async def talk(self, data: bytes, port: int | None = None) -> Talker:
        """A client that connects to the entry node and says `data`."""
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port or self.entry)
        talker: Talker = await connectProtocol(endpoint, Talker())
        talker.transport.write(data)
        return talker

    async def curl(self, *arguments: str, port: int | None = None) -> bytes:
        """Run curl against the entry node; its output."""
        argv = ["-sS", "--max-time", "60", "-H", "Host: shop.test", *arguments[:-1]]
        argv.append(f"http://127.0.0.1:{port or self.entry}{arguments[-1]}")
        out, error, status = await getProcessOutputAndValue("curl", argv, dict(os.environ), reactor=global_reactor)
        assert status == 0, error
        return cast(bytes, out)

    async def https(self, *arguments: str, node: int = 1) -> bytes:
        """Run curl against a node's HTTPS port, trusting the tests' own authority alone; its output."""
        authority, key = Authority(now=datetime.datetime.now(datetime.UTC)), site_key()
        chain = pem_of(authority.issue(key, "shop.test"))
        shown = Shown(names=("shop.test",), chain=chain, key=pem(key), not_after_s=9, source="issued")
        self.doors[node].follow_secrets({"cert/shop.test": msgspec.json.encode(shown).decode()})
        (self.where / "authority.pem").write_text(authority.pem)
        port = self.doors[node].https_port
        argv = ["-sS", "--max-time", "60", "--cacert", str(self.where / "authority.pem")]
        argv += ["--resolve", f"shop.test:{port}:127.0.0.1", *arguments[:-1]]
        argv += [f"https://shop.test:{port}{path}" for path in arguments[-1].split()]
        out, error, status = await getProcessOutputAndValue("curl", argv, dict(os.environ), reactor=global_reactor)
        assert status == 0, error
        return cast(bytes, out)

    async def close(self) -> None:
        """End everything."""
        for doors in self.doors:
            await doors.stopService()
        for port in self.listening:
            await (port.stopListening() or Deferred())


LIMITS = Limits(hold_s=5.0, drain_s=0.2)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    """Two nodes."""
    pair = Pair(tmp_path / "state")
    yield pair
    pytest_twisted.blockon(Deferred.fromCoroutine(pair.close()))


@pytest.mark.parametrize("node", [0, 1], ids=["owner", "another node"])
@pytest_twisted.ensureDeferred
async def test_every_node_answers(pair: Pair, node: int) -> None:
    """curl gets the page from the owner and from another node; the site sees the client's address."""
    page = await pair.curl("/hello", port=pair.doors[node].http_port)
    assert page.startswith(b"GET /hello HTTP/1.1\r\nHost: shop.test\r\n")
    assert b"x-forwarded-for: 127.0.0.1\r\n" in page.lower()
    assert page.lower().count(b"via: ") == 1


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
@pytest_twisted.ensureDeferred
async def test_https_through_both_nodes(pair: Pair, version: str, tmp_path: Path) -> None:
    """curl verifies the site's certificate; a page, downloads side by side and an upload arrive whole."""
    page = await pair.https(version, "/hello")
    assert (
        page.startswith(b"GET /hello HTTP/1.1\r\nHost: shop.test:") and b"x-forwarded-proto: https\r\n" in page.lower()
    )
    outputs = [word for _ in range(3) for word in ("-o", "/dev/null")]
    said = await pair.https(version, "-Z", *outputs, "-w", "%{http_version} %{size_download}\n", "/big/3 /big/3 /big/3")
    told = {"--http2": b"2", "--http1.1": b"1.1"}[version]
    assert said.split(b"\n")[:3] == [told + b" 3145728"] * 3
    data = os.urandom(MEGABYTE) * 5
    (tmp_path / "upload").write_bytes(data)
    digest = await pair.https(version, "--data-binary", f"@{tmp_path}/upload", "/sum")
    assert digest == hashlib.sha256(data).hexdigest().encode()


@pytest_twisted.ensureDeferred
async def test_a_large_download_does_not_pile_up(pair: Pair) -> None:
    """100 MB through both nodes and TLS, while memory stays flat."""
    await pair.curl("/hello")
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    size = await pair.curl("-o", "/dev/null", "-w", "%{size_download}", "/big/100")
    assert int(size) == 100 * MEGABYTE
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 32 * 1024


@pytest_twisted.ensureDeferred
async def test_connections_go_on_after_large_responses(pair: Pair) -> None:
    """Several downloads one after the other, on the same connections all the way."""
    url = f"http://127.0.0.1:{pair.entry}/big/5"
    outputs = ["-o", "/dev/null", "-o", "/dev/null", "-o", "/dev/null", "-w", "%{size_download} %{num_connects}\n"]
    said = await pair.curl(*outputs, url, url, "/big/5")
    assert said.split(b"\n")[:3] == [b"5242880 1", b"5242880 0", b"5242880 0"]


@pytest_twisted.ensureDeferred
async def test_a_large_upload_arrives_whole(pair: Pair, tmp_path: Path) -> None:
    """30 MB with Expect: 100-continue through both nodes: every byte, and memory stays flat."""
    data = os.urandom(MEGABYTE) * 30
    digest = hashlib.sha256(data).hexdigest()
    (tmp_path / "upload").write_bytes(data)
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert await pair.curl("--data-binary", f"@{tmp_path}/upload", "/sum") == digest.encode()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 32 * 1024


@pytest_twisted.ensureDeferred
async def test_a_websocket_through_both_nodes(pair: Pair) -> None:
    """Bytes come back as they were sent, and the end of one side ends the other."""
    talker = await pair.talk(
        b"GET /ws HTTP/1.1\r\nHost: shop.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    assert (await talker.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    talker.transport.write(b"\x81\x05hello")
    assert (await talker.until(b"hello")).endswith(b"\x81\x05hello")
    talker.transport.loseConnection()
    await talker.until(NEVER_HEARD)


@pytest_twisted.ensureDeferred
async def test_held_requests_are_completed_by_the_new_owner(pair: Pair) -> None:
    """Twenty requests arrive while there is no owner: all are answered when there is one."""
    pair.follow("changing")
    request = b"GET /%d HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n"
    talkers = [await pair.talk(request % number) for number in range(20)]
    while pair.doors[1].house.room.held < 20:
        await _turn()
    pair.follow(owner=1, epoch=2)
    for number, talker in enumerate(talkers):
        assert b"GET /%d HTTP" % number in await talker.until(NEVER_HEARD)


@pytest_twisted.ensureDeferred
async def test_nodes_that_disagree_on_the_owner_find_together(pair: Pair) -> None:
    """The entry node's view is old: the former owner says so, and the request goes on when the view is new."""
    pair.follow(owner=1, epoch=2)
    pair.follow(owner=0, epoch=1, both=False)
    talker = await pair.talk(b"GET /x HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n")
    while pair.doors[1].house.room.held < 1:
        await _turn()
    pair.follow(owner=1, epoch=2)
    assert b"GET /x HTTP" in await talker.until(NEVER_HEARD)


@pytest_twisted.ensureDeferred
async def test_pipelined_and_slow_requests_on_a_real_socket(pair: Pair) -> None:
    """Two requests in one packet are answered in order; one that comes in pieces is answered too."""
    request = b"GET /%d HTTP/1.1\r\nHost: shop.test\r\n\r\n"
    talker = await pair.talk(request % 1 + request % 2)
    heard = await talker.until(b"GET /2 ")
    assert heard.index(b"GET /1 ") < heard.index(b"GET /2 ")
    for byte in request % 3:
        talker.transport.write(bytes((byte,)))
        await _turn()
    await talker.until(b"GET /3 ")
    talker.transport.loseConnection()
    await talker.until(NEVER_HEARD)


@pytest_twisted.ensureDeferred
async def test_a_refusal_reaches_a_client_that_goes_on_sending(pair: Pair) -> None:
    """The answer is not lost in a reset."""
    talker = await pair.talk(b"POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: x\r\n\r\n" + bytes(2 * MEGABYTE))
    assert (await talker.until(b"</html>")).startswith(b"HTTP/1.1 400 ")
    talker.transport.abortConnection()
    await talker.until(NEVER_HEARD)


@pytest.mark.parametrize("owner", [0, 1], ids=["through the owner", "on the owner"])
@pytest_twisted.ensureDeferred
async def test_a_tcp_port_with_half_close(pair: Pair, owner: int) -> None:
    """The database greets, hears all the client said until it ended its side, and answers; also through two nodes."""
    pair.follow(owner=owner, epoch=2)
    assert pair.doors[1].public_ports.port(pair.database_port) == pair.database_port
    pair.doors[0].public_ports.close()
    talker = await pair.talk(b"select ", pair.database_port)
    await talker.until(b"welcome ")
    talker.transport.write(b"everything")
    talker.transport.loseWriteConnection()
    assert await talker.until(NEVER_HEARD) == b"welcome select everything"


@pytest_twisted.ensureDeferred
async def test_a_stranger_does_not_get_in_from_inside(pair: Pair, tmp_path: Path) -> None:
    """The interior port speaks TLS with members of the cluster only."""
    stranger = create_cluster(tmp_path / "other", "evil", "127.0.0.1", time.time())
    (tmp_path / "crt").write_bytes((tmp_path / "other" / "node.crt").read_bytes())
    argv = ["-sk", "--max-time", "5", "--cert", f"{tmp_path}/crt", "--key", f"{tmp_path}/other/node.key"]
    argv.append(f"https://127.0.0.1:{pair.doors[0].interior_port}/")
    out, _, status = await getProcessOutputAndValue("curl", argv, dict(os.environ), reactor=global_reactor)
    assert stranger.node not in {identity.node for identity in pair.identities}
    assert status != 0 and out == b""
    plain = await pair.talk(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n", pair.doors[0].interior_port)
    assert b"HTTP" not in await plain.until(NEVER_HEARD)


@pytest_twisted.ensureDeferred
async def test_a_node_that_is_not_known_passes_nothing_on(pair: Pair) -> None:
    """A removed node, or whom its key let in, has a certificate of the cluster; the owner's doors stay shut."""
    pair.follow(unknown=pair.identities[1].node)
    status = await pair.curl("-o", "/dev/null", "-w", "%{http_code}", "/hello")
    assert status in (b"502", b"503")
    pair.follow(epoch=3)
    assert (await pair.curl("/hello")).startswith(b"GET /hello")


@pytest_twisted.ensureDeferred
async def test_a_renewed_certificate_is_taken_up_while_requests_run(pair: Pair) -> None:
    """Neither side restarts, no connection breaks, and new ones show the new certificate."""
    talker = await pair.talk(b"GET /hello HTTP/1.1\r\nHost: shop.test\r\n\r\n")
    await talker.until(b"GET /hello")
    for doors, identity in zip(pair.doors, pair.identities, strict=True):
        renewed = identity.renewed("192.0.2.1", time.time())
        assert renewed is not None
        doors.renew(renewed)
    talker.transport.write(b"GET /again HTTP/1.1\r\nHost: shop.test\r\n\r\n")
    await talker.until(b"GET /again")
    assert b"Verify return code: 0 (ok)" in await _shown(pair, "192.0.2.1")


async def _shown(pair: Pair, address: str) -> bytes:
    """What OpenSSL's own client says of the owner's interior port."""
    ca, mine = Path(pair.where) / "ca.crt", Path(pair.where) / "chain.crt"
    first = pair.identities[0]
    mine.write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in first.chain[:-1]))
    argv = ["s_client", "-connect", f"127.0.0.1:{pair.doors[0].interior_port}", "-CAfile", str(ca)]
    argv += ["-cert", str(mine), "-key", f"{pair.where}/node.key", "-verify_ip", address]
    out, _, _ = await getProcessOutputAndValue("openssl", argv, dict(os.environ), reactor=global_reactor)
    return cast(bytes, out)


@pytest_twisted.ensureDeferred
async def test_a_graceful_end(pair: Pair) -> None:
    """A stop closes idle connections at once and accepts no more; traffic is reported."""
    await pair.curl("/hello")
    talker = await pair.talk(b"")
    port = pair.entry
    await pair.doors[0].stopService()
    await pair.doors[1].stopService()
    await talker.until(NEVER_HEARD)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
    told = [(one.site, one.requests) for one in pair.served if isinstance(one, Served)]
    assert told == [(SHOP, 1)]


def _turn() -> Deferred[None]:
    """Let the reactor turn once."""
    turned: Deferred[None] = Deferred()
    reactor.callLater(0, turned.callback, None)
    return turned
