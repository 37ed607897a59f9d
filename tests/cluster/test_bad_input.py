"""
What may arrive at the cluster port that should not, row by row, each with its expected answer.

The door: nothing is heard by who is not let in, and the log of the node has a line. Messages: what breaks the protocol
ends the connection and is counted; what only a newer release knows is `unsupported`, and the link lives. Streams:
refused before a byte is read where that can be told, and never a snapshot that is not whole. Elsewhere: the join desk
(`test_join.py`), epochs and forged words (`decisions/`), datagrams (`tests/membership`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import msgspec
import pytest
import pytest_twisted
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.logger import capturedLogs

from hybrid import wire
from hybrid.cluster import tls
from hybrid.cluster.certificates import issue, new_key
from hybrid.cluster.identity import Identity
from hybrid.cluster.peers import PeerLinks
from hybrid.errors import PeerError
from hybrid.hosting.holdings import dataset_of
from hybrid.model import Claim, Guid, NodeId, SiteId, SiteRegister, Version
from hybrid.ports import ByteSource
from tests.cluster.raw import Raw, connect, dial, hello, links_of, number_of, showing, until
from tests.node.cluster import Cluster

DAY_S = 86_400.0
SITE = SiteId("s-1")
LetIn = Callable[[Identity, str], Identity]
Forge = Callable[[Identity, Identity], tuple[ec.EllipticCurvePrivateKey, x509.Certificate]]


async def no_owner(sender: NodeId, request: msgspec.Struct) -> msgspec.Struct:
    """No owner is seen."""
    return wire.OwnerSeen(None)


@pytest_twisted.async_yield_fixture
async def node(alpha: Identity) -> AsyncIterator[PeerLinks]:
    """Alpha, listening; it answers `SeesOwner`."""
    links = links_of(alpha, {})
    links.handle(wire.SeesOwner, no_owner)
    links.startService()
    yield links
    await links.stopService()


async def answers(raw: Raw) -> bool:
    """Whether the node at the other end of a greeted link still answers there."""
    heard = len(raw.heard)
    raw.put(wire.pack(77, wire.SeesOwner(SITE)))
    frames = await raw.hear(heard + 1)
    return not raw.over and wire.unpack(frames[heard]) == (77, wire.OwnerSeen(None))


class TestDoor:
    """Who is not let in."""

    @pytest.mark.parametrize("protocol", [tls.CONTROL, tls.STREAM])
    @pytest.mark.parametrize("who", ["nobody", "other cluster", "expired", "not yet", "forged id", "not vouched for"])
    @pytest_twisted.ensureDeferred
    async def test_strangers_hear_nothing(
        self,
        node: PeerLinks,
        alpha: Identity,
        beta: Identity,
        stranger: Identity,
        forge: Forge,
        now_s: float,
        who: str,
        protocol: bytes,
    ) -> None:
        """No certificate, a wrong one, or one that names another: closed unheard, with a line in the log."""
        mine = new_key()
        forged_key, forged = forge(alpha, beta)
        old = issue(alpha.root, beta.key, "beta", "127.0.0.1", now_s - 40 * DAY_S)
        early = issue(alpha.root, beta.key, "beta", "127.0.0.1", now_s + 5 * DAY_S)
        key, chain = {
            "nobody": (None, ()),
            "other cluster": (stranger.key, stranger.chain),
            "expired": (beta.key, (old, *beta.chain[1:])),
            "not yet": (beta.key, (early, *beta.chain[1:])),
            "forged id": (forged_key, (forged, *alpha.chain[1:])),
            "not vouched for": (mine, (issue(alpha.root, mine, "beta", "127.0.0.1", now_s), *beta.chain[1:])),
        }[who]
        with capturedLogs() as logged:
            raw = await connect(node.port, showing(alpha.root, key, chain, protocol), hello(beta))
            await raw.closed()
            await until(lambda: any("127.0.0.1" == event.get("source") for event in logged))
        if who in ("expired", "not yet"):
            assert any("do the clocks agree?" in str(event.get("error")) for event in logged)
        assert raw.heard == []
        assert await self._member_is_served(node, alpha, beta)

    async def _member_is_served(self, node: PeerLinks, alpha: Identity, beta: Identity) -> bool:
        raw = await dial(node, alpha, beta, tls.CONTROL, hello(beta))
        await raw.hear(1)
        served = await answers(raw)
        raw.abort("done")
        return served

    @pytest_twisted.ensureDeferred
    async def test_removed_node_hears_why_and_nothing_else(self, alpha: Identity, beta: Identity) -> None:
        """It has a certificate of the cluster; it is told, the log has a line, and it is closed."""
        links = links_of(alpha, {}, refuses=lambda line: "n2 was removed" if line[0] == beta.node else "")
        links.startService()
        try:
            with capturedLogs() as logged:
                raw = await dial(links, alpha, beta, tls.CONTROL, hello(beta), wire.pack(1, wire.SeesOwner(SITE)))
                await raw.closed()
            told = [wire.unpack(frame)[1] for frame in raw.heard]
            assert [type(message) for message in told] == [wire.Failed]
            assert any(event.get("why") == "n2 was removed" for event in logged)
        finally:
            await links.stopService()

    @pytest_twisted.ensureDeferred
    async def test_whom_a_removed_node_let_in_later(self, alpha: Identity, beta: Identity, let_in: LetIn) -> None:
        """The whole line counts, not only its end."""
        gamma = let_in(beta, "gamma")
        links = links_of(alpha, {}, refuses=lambda line: "vouched for by n2" if beta.node in line[1:] else "")
        links.startService()
        try:
            raw = await dial(links, alpha, gamma, tls.CONTROL, hello(gamma))
            await raw.closed()
            assert isinstance(wire.unpack(raw.heard[0])[1], wire.Failed) and len(raw.heard) == 1
        finally:
            await links.stopService()

    @pytest_twisted.ensureDeferred
    async def test_ones_own_key_from_elsewhere(self, alpha: Identity) -> None:
        """A cloned node is not spoken with, and the alarm is raised."""
        sources: list[str] = []
        links = links_of(alpha, {}, on_twin=sources.append)
        links.startService()
        try:
            raw = await dial(links, alpha, alpha, tls.CONTROL, hello(alpha))
            await raw.closed()
            assert raw.heard == [] and sources == ["127.0.0.1"]
        finally:
            await links.stopService()

    @pytest.mark.parametrize("claimed", ["n-someoneelse00000", "alpha", "", "another cluster"])
    @pytest_twisted.ensureDeferred
    async def test_other_sender_than_in_the_certificate(
        self, node: PeerLinks, alpha: Identity, beta: Identity, claimed: str
    ) -> None:
        """A member that greets as another is closed and counted."""
        changes = {"cluster": "c-x"} if claimed == "another cluster" else {"node": claimed}
        if claimed == "alpha":
            changes = {"node": alpha.node}
        raw = await dial(node, alpha, beta, tls.CONTROL, hello(beta, **changes), wire.pack(1, wire.SeesOwner(SITE)))
        await raw.closed()
        assert raw.heard == [] and number_of(node, "greets as") == 1


class TestNewerRelease:
    """What only a newer release knows."""

    @pytest_twisted.ensureDeferred
    async def test_unknown_message(self, node: PeerLinks, alpha: Identity, beta: Identity) -> None:
        """`unsupported`, by name, and the link lives."""
        raw = await dial(node, alpha, beta, tls.CONTROL, hello(beta))
        await raw.hear(1)
        raw.put(msgspec.msgpack.encode((7, {"type": "Telepathy", "strength": 9})))
        number, answer = wire.unpack((await raw.hear(2))[1])
        assert number == 7 and isinstance(answer, wire.Failed) and answer.what == "unsupported"
        assert await answers(raw)
        raw.abort("done")

    @pytest_twisted.ensureDeferred
    async def test_next_version_of_the_protocol(self, node: PeerLinks, alpha: Identity, beta: Identity) -> None:
        """A node that greets with the next version is linked with; fields it adds are passed over."""
        greeting = msgspec.to_builtins(wire.Hello(cluster=beta.cluster.id, node=beta.node, protocol=wire.PROTOCOL + 1))
        raw = await dial(node, alpha, beta, tls.CONTROL, msgspec.msgpack.encode((0, {**greeting, "new": [1, {}]})))
        assert isinstance(wire.unpack((await raw.hear(1))[0])[1], wire.Hello)
        raw.put(msgspec.msgpack.encode((8, {"type": "SeesOwner", "site": SITE, "new": {"a": [None]}})))
        assert wire.unpack((await raw.hear(2))[1]) == (8, wire.OwnerSeen(None))
        assert await answers(raw)
        raw.abort("done")

    @pytest_twisted.ensureDeferred
    async def test_unknown_offer(self, node: PeerLinks, alpha: Identity, beta: Identity) -> None:
        """A stream of a kind not known here is answered the same way."""
        raw = await dial(node, alpha, beta, tls.STREAM, msgspec.msgpack.encode((1, {"type": "Parcel", "kg": 2})))
        _, answer = wire.unpack((await raw.hear(1))[0])
        assert isinstance(answer, wire.Failed) and answer.what == "unsupported"
        raw.abort("done")


SEES_OWNER = b"\x92\x01\x82\xa4type\xa9SeesOwner\xa4site"
UNKNOWN = b"\x92\x01\x82\xa4type\xa9Telepathy\xa1x"
EXTRA = b"\x92\x01\x82\xa4type\xa4Ping\xa1x"
BROKEN = {
    "nothing": b"",
    "not msgpack": b"\xc1",
    "http": b"GET / HTTP/1.1\r\n\r\n",
    "cut short": wire.pack(1, wire.Done())[:-1],
    "something after it": wire.pack(1, wire.Done()) + b"\x00",
    "a field missing": msgspec.msgpack.encode((1, {"type": "SeesOwner"})),
    "a field of another kind": SEES_OWNER + b"\x05",
    "not utf-8": SEES_OWNER + b"\xa2\xff\xff",
    "not utf-8 in an unknown field": EXTRA + b"\xa2\xff\xff",
    "33 deep": EXTRA + b"\x91" * 33 + b"\xc0",
    "33 deep in an unknown message": UNKNOWN + b"\x91" * 33 + b"\xc0",
    "100,000 deep": EXTRA + b"\x91" * 100_000 + b"\xc0",
    "a map of four thousand million": EXTRA + b"\xdf\xff\xff\xff\xff",
    "an array of four thousand million": b"\xdd\xff\xff\xff\xff",
    "a float that is no number": EXTRA + b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00",
    "a load that is no number": msgspec.msgpack.encode(
        (
            0,
            {
                "type": "Gossip",
                "nodes": {"n-x": {"id": "n-x", "name": "x", "dc": "x", "address": "10.0.0.1", "load": float("nan")}},
            },
        )
    ),
    "an integer longer than it must be": EXTRA + b"\xcf" + b"\x00" * 7 + b"\x05",
    "an integer too large": SEES_OWNER[:1] + b"\xcf" + b"\xff" * 8 + SEES_OWNER[2:] + b"\xff",
    "an extension": EXTRA + b"\xd4\x01\x00",
}


class TestMessages:
    """What no release sends."""

    @pytest.mark.parametrize("noise", BROKEN.values(), ids=BROKEN.keys())
    @pytest_twisted.ensureDeferred
    async def test_what_breaks_the_protocol(
        self, node: PeerLinks, alpha: Identity, beta: Identity, noise: bytes
    ) -> None:
        """The link is closed and counted, nothing is answered, and no other link is disturbed."""
        other = await dial(node, alpha, beta, tls.CONTROL, hello(beta))
        await other.hear(1)
        raw = await dial(node, alpha, beta, tls.CONTROL, hello(beta), noise)
        await raw.closed()
        assert len(raw.heard) <= 1 and number_of(node, "protocol broken") == 1
        assert await answers(other)
        other.abort("done")

    @pytest.mark.parametrize("length", [wire.MAX_FRAME + 1, 2**31, 2**32 - 1])
    @pytest_twisted.ensureDeferred
    async def test_frame_over_eight_mebibytes(
        self, node: PeerLinks, alpha: Identity, beta: Identity, length: int
    ) -> None:
        """It is cut at its length, before anything of it is kept."""
        raw = await dial(node, alpha, beta, tls.CONTROL, hello(beta))
        await raw.hear(1)
        raw._tls.write(length.to_bytes(4, "big"))
        await raw.closed()
        assert number_of(node, "is the most") == 1

    @pytest.mark.parametrize("noise", [b"", b"\xc1", EXTRA + b"\x91" * 33 + b"\xc0"])
    @pytest_twisted.ensureDeferred
    async def test_broken_offer(self, node: PeerLinks, alpha: Identity, beta: Identity, noise: bytes) -> None:
        """The same for what begins a stream."""
        raw = await dial(node, alpha, beta, tls.STREAM, noise)
        await raw.closed()
        assert raw.heard == [] and number_of(node, "protocol broken") == 1


class Source:
    """Bytes to send, which count how often they were asked for."""

    def __init__(self, source: ByteSource | None = None, keep: float = 1.0, more: int = 0) -> None:
        """Of what `source` gives the part `keep`, and `more` bytes of zeros after it."""
        self._source, self._keep, self._more = source, keep, more
        self.reads = 0

    async def read(self) -> bytes:
        """See `hybrid.ports.ByteSource`."""
        self.reads += 1
        data = await self._source.read() if self._source is not None else b""
        if data:
            return data[: max(1, int(len(data) * self._keep))]
        piece, self._more = bytes(min(self._more, 1 << 20)), self._more - min(self._more, 1 << 20)
        return piece

    async def abort(self) -> None:
        """See `hybrid.ports.ByteSource`."""
        if self._source is not None:
            await self._source.abort()


class TestStreams:
    """Replication streams that are not what they should be, between whole nodes."""

    def _offer(self, cluster: Cluster) -> tuple[SiteId, wire.Offer]:
        """A site on a with copies on b and c, and an offer of its next snapshot that is in order."""
        spec = cluster.create(on="a")
        cluster.wait(15)
        a = cluster.members["a"]
        base = a.core.hosting.history(spec.id)[-1].guid
        a.write(spec.id, "index.html", b"next")
        to = cluster.run(a.pool.snapshot(dataset_of(spec.id), "hyb-000001-next"))
        claim = a.site(spec).claim
        assert claim is not None
        return spec.id, wire.Offer(
            dataset=dataset_of(spec.id), claim=claim, base=base, to=to, size_bytes=1000, spec=spec
        )

    def _send(self, cluster: Cluster, offer: wire.Offer, source: Source) -> msgspec.Struct:
        a, b = cluster.members["a"], cluster.members["b"]
        return cluster.run(a.links.offer(b.id, offer, source))

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"claim": Claim(0, NodeId("n-aaaaaaaaaaaaaaaa"))}, "stale"),
            ({"base": Guid(99)}, "base"),
            ({"claim": Claim(9, NodeId("n-cccccccccccccccc"))}, "broken"),
            ({"claim": Claim(2**63, NodeId("n-aaaaaaaaaaaaaaaa"))}, "broken"),
            ({"claim": Claim(3_000_000, NodeId("n-aaaaaaaaaaaaaaaa"))}, "broken"),
            ({"dataset": "sites/../../etc"}, "broken"),
            ({"size_bytes": 1 << 62}, "space"),
        ],
        ids=["lower epoch", "wrong base", "claim of another", "2^63", "leap", "path", "no room"],
    )
    def test_refused_before_a_byte_is_read(self, cluster: Cluster, change: dict[str, object], reason: str) -> None:
        """What can be told from the offer is told before anything is sent, and nothing changes here."""
        site, offer = self._offer(cluster)
        b = cluster.members["b"]
        before = b.core.hosting.history(site)
        source = Source()
        answer = self._send(cluster, msgspec.structs.replace(offer, **change), source)
        assert isinstance(answer, wire.Refused) and answer.reason == reason, answer
        assert source.reads == 0
        assert b.core.hosting.history(site) == before

    def test_shorter_than_it_should_be(self, cluster: Cluster) -> None:
        """A stream that ends early, however politely, leaves no snapshot."""
        site, offer = self._offer(cluster)
        a, b = cluster.members["a"], cluster.members["b"]
        before = b.core.hosting.history(site)
        sent = cluster.run(a.pool.send(offer.dataset, offer.to.guid, offer.base))
        answer = self._send(cluster, offer, Source(sent, keep=0.5))
        assert isinstance(answer, wire.Refused), answer
        assert b.core.hosting.history(site) == before

    def test_longer_than_announced(self, cluster: Cluster) -> None:
        """A stream that does not end is cut, and leaves no snapshot."""
        site, offer = self._offer(cluster)
        a, b = cluster.members["a"], cluster.members["b"]
        before = b.core.hosting.history(site)
        sent = cluster.run(a.pool.send(offer.dataset, offer.to.guid, offer.base))
        source = Source(sent, more=64 << 20)
        answer = self._send(cluster, offer, source)
        assert isinstance(answer, wire.Refused), answer
        assert source._more > 0, "it was cut, not read to its end"
        assert b.core.hosting.history(site) == before

    def test_in_order(self, cluster: Cluster) -> None:
        """The same offer as it should be is taken: what was refused above was refused for its fault alone."""
        site, offer = self._offer(cluster)
        a, b = cluster.members["a"], cluster.members["b"]
        sent = cluster.run(a.pool.send(offer.dataset, offer.to.guid, offer.base))
        assert self._send(cluster, offer, Source(sent)) == wire.Taken(offer.to.guid)
        assert b.core.hosting.history(site)[-1].guid == offer.to.guid


@pytest.fixture
def cluster() -> Cluster:
    """Three whole nodes in memory."""
    cluster = Cluster()
    cluster.start()
    return cluster


class TestHandOver:
    """`TakeOver` from somebody who may not ask for it."""

    def test_only_the_owner_hands_over(self, cluster: Cluster) -> None:
        """A node cannot make another one the owner in the name of a third, nor leap ahead while doing so."""
        spec = cluster.create(on="a")
        cluster.wait(15)
        a, b, c = (cluster.members[name] for name in "abc")
        claim = a.site(spec).claim
        assert claim is not None
        head = b.core.hosting.history(spec.id)[-1].guid
        for sender, said in ((c, claim), (c, Claim(2**62, c.id)), (a, Claim(2_000_000, a.id))):
            with pytest.raises(PeerError):
                cluster.run(sender.links.request(b.id, wire.TakeOver(spec.id, said, head)))
        assert set(cluster.owners(spec).values()) == {"a"}


class TestWords:
    """What a node says in another's name."""

    def test_forged_registers_are_ignored(self, cluster: Cluster) -> None:
        """A member that passes on what the writer did not sign changes nothing; what it says of itself still counts."""
        spec = cluster.create(on="a")
        cluster.wait(15)
        a, b, c = (cluster.members[name] for name in "abc")
        before = b.core.known.nodes()[a.id]
        word = SiteRegister(role="none", version=Version(10**9, 0))
        itself = msgspec.structs.replace(before, address="10.6.6.6", version=Version(10**9, 0))
        assert c.links.send(b.id, wire.Gossip(sites={a.id: {spec.id: word}}, nodes={a.id: itself}))
        cluster.wait(3)
        assert b.site(spec).owner == a.id and b.site(spec).state == "serving"
        assert b.core.known.nodes()[a.id].address == before.address
        assert c.id in b.site(spec).holders
