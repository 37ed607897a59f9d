"""Joining a cluster over loopback: who is let in, who is not, and what each of them learns."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
import pytest_twisted
from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol, wrapClientTLS
from twisted.logger import capturedLogs
from twisted.python.failure import Failure

from hybrid.cluster import join as joining
from hybrid.cluster import tls
from hybrid.cluster.admission import NEUTRAL, Admission, JoinAsk, JoinLetter, Unwelcome, Welcome
from hybrid.cluster.certificates import BadName, line, new_key
from hybrid.cluster.framed import Connections, Framed
from hybrid.cluster.identity import Identity
from hybrid.cluster.join import JoinDesk, Joined, JoinRefused, join
from hybrid.cluster.link import LinkTiming
from hybrid.cluster.peers import PeerLinks, Reactor
from hybrid.cluster.store import Store
from hybrid.cluster.token import Attempts, TokenError, parse
from hybrid.errors import PeerError
from hybrid.model import NodeId, NodeRegister, Shared
from hybrid.settings import Settings
from hybrid.wire import Ping, pack

NODES = {NodeId("n-x"): NodeRegister(id=NodeId("n-x"), name="taken", dc="paris", address="10.0.0.9")}
SHARED = {"token/1": Shared(stamp=(1, 0, NodeId("n-x")), value="{}")}


class Hour:
    """A wall clock that can be set."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        """Now."""
        return time.time() + self.ahead_s


@dataclass
class Issuer:
    """A node that lets others in."""

    identity: Identity
    links: PeerLinks
    admission: Admission
    store: Store
    hour: Hour

    def token(self, ttl_s: float = 60.0, dc: str = "", name: str = "") -> str:
        """A fresh one, for where this node really listens."""
        text, _ = self.admission.issue(ttl_s, dc, name)
        return msgspec.structs.replace(parse(text), places=(("127.0.0.1", self.links.port),)).text


@pytest_twisted.async_yield_fixture
async def issuer(alpha: Identity, tmp_path: Path) -> AsyncIterator[Issuer]:
    """The first node of a cluster, on a port of its own."""
    store, hour = Store(tmp_path / "issuer.db"), Hour()
    place = ("127.0.0.1", 7946)
    admission = Admission(alpha, place, store, lambda: NODES, lambda: SHARED, hour, os.urandom, Attempts(most=6))
    desk = JoinDesk(cast(Reactor, reactor), admission, refuse_after_s=0.05)
    settings = Settings(name="alpha", address="127.0.0.1", cluster_port=0)
    timing = LinkTiming(connect_s=1.0)
    links = PeerLinks(cast(Reactor, reactor), alpha, settings, dict, lambda: 0.5, timing, desk)
    links.startService()
    yield Issuer(alpha, links, admission, store, hour)
    await links.stopService()
    store.close()


async def joined(token: str, name: str = "beta", dc: str = "paris") -> Joined:
    """What `join` gives a newcomer."""
    return await join(cast(joining.Reactor, reactor), token, name, dc, "127.0.0.1", time.time())


class Raw(Framed):
    """A newcomer that says what it likes."""

    def __init__(self, *frames: bytes) -> None:
        super().__init__(1_000_000, Connections(), None)
        self._frames_out = frames
        self.answer: Deferred[bytes] = Deferred()

    def shaken(self) -> None:
        """Say it."""
        for frame in self._frames_out:
            self.put(frame)

    def frame_received(self, data: bytes) -> None:
        """Keep the first answer."""
        if not self.answer.called:
            self.answer.callback(data)

    def ended(self, error: PeerError) -> None:
        """No answer."""
        if not self.answer.called:
            self.answer.errback(Failure(error))


async def say(issuer: Issuer, *frames: bytes, protocol: bytes = tls.JOIN) -> bytes:
    """The first frame that comes back to a connection without a certificate. Raises `PeerError` when it is closed."""
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_alpn_protos([protocol])
    raw = Raw(*frames)
    plain = TCP4ClientEndpoint(reactor, "127.0.0.1", issuer.links.port)
    await connectProtocol(wrapClientTLS(tls.ClientTLS(context), plain), raw)
    try:
        return await raw.answer.addTimeout(5, reactor)
    finally:
        raw.abort("done")


def reasons(logged: Sequence[dict[str, Any]]) -> str:
    """The reasons of refusals in the issuer's log."""
    return " ".join(str(event.get("reason", "")) for event in logged)


@pytest_twisted.ensureDeferred
async def test_invited_node_becomes_a_member(issuer: Issuer, tmp_path: Path) -> None:
    """One command and one token make a machine a full member that can let in others itself."""
    new = await joined(issuer.token())
    new.identity.save(tmp_path / "beta")
    beta = Identity.load(tmp_path / "beta")
    assert (beta.name, beta.cluster) == ("beta", issuer.identity.cluster)
    assert line(issuer.identity.root, beta.chain) == (beta.node, issuer.identity.node)
    assert beta.node != issuer.identity.node
    assert (new.nodes, new.shared) == (NODES, SHARED)


def test_welcome_begins_with_what_matters_most(alpha: Identity, tmp_path: Path) -> None:
    """However much is shared, a newcomer knows who was removed and the key of the datagrams before anything else."""
    first = Shared(stamp=(1, 0, NodeId("n-x")), value="{}")
    shared = {f"token/{number}": first for number in range(2000)} | {"removed/n-y": first, "keyring": first}
    store = Store(tmp_path / "db")
    admission = Admission(alpha, ("127.0.0.1", 1), store, lambda: NODES, lambda: shared, time.time, os.urandom)
    text, _ = admission.issue(60)
    ask = JoinAsk(request=joining._request(new_key()), name="n2", dc="paris", address="10.0.0.1")
    answer = admission.judge(joining._letter(parse(text), new_key(), ask), "10.0.0.1")
    store.close()
    assert isinstance(answer, Welcome)
    assert {"removed/n-y", "keyring"} <= answer.shared.keys() and len(answer.shared) == 1000


@pytest_twisted.ensureDeferred
async def test_token_counts_once(issuer: Issuer) -> None:
    """A token found in a shell's history lets nobody in; the joiner hears the neutral answer, the log the reason."""
    token = issuer.token()
    await joined(token)
    with capturedLogs() as logged, pytest.raises(JoinRefused) as caught:
        await joined(token, "gamma")
    assert caught.value.what == NEUTRAL.what
    assert "used already" in reasons(logged)


@pytest_twisted.ensureDeferred
async def test_wrong_secret_and_expired_token_get_the_same_answer(issuer: Issuer) -> None:
    """Whoever guesses learns nothing from the answers."""
    wrong = msgspec.structs.replace(parse(issuer.token()), secret=b"x" * 16).text
    expired = issuer.token(ttl_s=30.0)
    answers = []
    with capturedLogs() as logged:
        for token, ahead_s in ((wrong, 0.0), (expired, 3600.0)):
            issuer.hour.ahead_s = ahead_s
            with pytest.raises(JoinRefused) as caught:
                await joined(token)
            answers.append(str(caught.value))
    assert answers[0] == answers[1]
    assert "proof is wrong" in reasons(logged) and "expired" in reasons(logged)


@pytest_twisted.ensureDeferred
async def test_expired_token_is_not_even_sent(issuer: Issuer) -> None:
    """The newcomer says so itself, and mentions the clock."""
    with pytest.raises(TokenError, match="clock"):
        await joined(issuer.token(ttl_s=-5.0))


@pytest_twisted.ensureDeferred
async def test_newcomer_speaks_only_to_the_cluster_of_its_token(issuer: Issuer) -> None:
    """Somebody else at that address learns nothing, not even the token's number."""
    token = msgspec.structs.replace(parse(issuer.token()), root_sha256=bytes(32)).text
    with capturedLogs() as logged, pytest.raises(PeerError, match="not the cluster of the token"):
        await joined(token)
    assert reasons(logged) == ""


@pytest_twisted.ensureDeferred
async def test_seventh_attempt_in_a_minute_is_refused_unseen(issuer: Issuer) -> None:
    """Even the right token waits when its source has tried too often."""
    wrong = msgspec.structs.replace(parse(issuer.token()), secret=b"x" * 16).text
    for _ in range(6):
        with pytest.raises(JoinRefused):
            await joined(wrong)
    with capturedLogs() as logged, pytest.raises(JoinRefused):
        await joined(issuer.token())
    assert "too many attempts" in reasons(logged)


@pytest_twisted.ensureDeferred
async def test_taken_name_is_told_and_the_token_stays_good(issuer: Issuer) -> None:
    """Two nodes never share a name, and a slip costs no second token."""
    token = issuer.token()
    with pytest.raises(JoinRefused, match="taken"):
        await joined(token, "taken")
    assert (await joined(token, "free")).identity.name == "free"


@pytest_twisted.ensureDeferred
async def test_bad_names_are_refused_on_both_sides(issuer: Issuer) -> None:
    """A newcomer that skips its own checks does not get past the issuer's."""
    with pytest.raises(BadName):
        await joined(issuer.token(), "../x")
    token = parse(issuer.token())
    ask = JoinAsk(request=joining._request(new_key()), name="../x", dc="paris", address="10.0.0.1")
    answer = decode(await say(issuer, joining._letter(token, new_key(), ask)))
    assert isinstance(answer, Unwelcome) and "cannot be a node's name" in answer.what


def decode(data: bytes) -> Welcome | Unwelcome:
    """An answer."""
    answer: Welcome | Unwelcome = msgspec.msgpack.decode(data, type=Welcome | Unwelcome)
    return answer


@pytest_twisted.ensureDeferred
async def test_garbage_gets_the_neutral_answer(issuer: Issuer) -> None:
    """Noise at the door crashes nothing."""
    for noise in (b"", b"\x00" * 1000, msgspec.msgpack.encode({"token_id": 5}), b"\x91" * 15_000):
        assert decode(await say(issuer, noise)) == NEUTRAL
    assert await issuer_is_well(issuer)


async def issuer_is_well(issuer: Issuer) -> bool:
    """Whether the next honest newcomer gets in."""
    return (await joined(issuer.token(), "honest")).identity.name == "honest"


@pytest_twisted.ensureDeferred
async def test_ten_megabytes_are_refused_unread_like_a_wrong_token(issuer: Issuer) -> None:
    """A message that announces itself too long is not read, and its sender learns no more than others."""
    with capturedLogs() as logged:
        assert decode(await say(issuer, b"x" * 10_000_000)) == NEUTRAL
    assert "frame of 10000000 bytes" in reasons(logged)
    assert await issuer_is_well(issuer)


@pytest_twisted.ensureDeferred
async def test_token_for_one_data_centre_and_one_name(issuer: Issuer) -> None:
    """A token made for one server lets in no other; the slip is told, and costs no second token."""
    token = issuer.token(dc="london", name="n7")
    with pytest.raises(JoinRefused, match="data centre london, not paris"):
        await joined(token, "n7")
    with pytest.raises(JoinRefused, match="name n7, not n8"):
        await joined(token, "n8", "london")
    assert (await joined(token, "n7", "london")).identity.name == "n7"


@pytest_twisted.ensureDeferred
async def test_what_a_token_is_for_cannot_be_rewritten(issuer: Issuer) -> None:
    """The text says it for convenience; what counts stands in the issuer's notes."""
    token = msgspec.structs.replace(parse(issuer.token(dc="london")), dc="paris").text
    with pytest.raises(JoinRefused, match="data centre london"):
        await joined(token)


@pytest_twisted.ensureDeferred
async def test_token_of_another_cluster_gets_the_same_answer(issuer: Issuer) -> None:
    """A number that was never issued here is refused like a wrong secret."""
    foreign = msgspec.structs.replace(parse(issuer.token()), id="0123456789abcdef").text
    with capturedLogs() as logged, pytest.raises(JoinRefused) as caught:
        await joined(foreign)
    assert caught.value.what == NEUTRAL.what
    assert "never issued here" in reasons(logged)


@pytest_twisted.ensureDeferred
async def test_tampered_request_is_not_what_was_proven(issuer: Issuer) -> None:
    """The proof covers name, address and key: nothing of it can be changed on the way."""
    token = parse(issuer.token())
    ask = JoinAsk(request=joining._request(new_key()), name="beta", dc="paris", address="10.0.0.1")
    letter = msgspec.msgpack.decode(joining._letter(token, new_key(), ask), type=JoinLetter)
    changed = msgspec.msgpack.encode(msgspec.structs.replace(ask, address="10.6.6.6"))
    assert decode(await say(issuer, msgspec.msgpack.encode(msgspec.structs.replace(letter, ask=changed)))) == NEUTRAL


@pytest_twisted.ensureDeferred
async def test_without_a_certificate_one_can_only_join(issuer: Issuer) -> None:
    """Asking for a link or a stream, or speaking a link's language to the join desk, leads nowhere."""
    for protocol in (tls.CONTROL, tls.STREAM, b"h2"):
        with pytest.raises(PeerError):
            await say(issuer, pack(1, Ping()), protocol=protocol)
    assert decode(await say(issuer, pack(1, Ping()))) == NEUTRAL


@pytest_twisted.ensureDeferred
async def test_node_that_is_not_there_is_named(issuer: Issuer) -> None:
    """A closed port is told as such, with what to look at."""
    token = parse(issuer.token())
    gone = msgspec.structs.replace(token, places=(("127.0.0.1", 1),)).text
    with pytest.raises(PeerError, match="port 1 cannot be reached"):
        await joined(gone)
    second = msgspec.structs.replace(token, places=(("127.0.0.1", 1), *token.places)).text
    assert (await joined(second)).identity.name == "beta"


@pytest_twisted.ensureDeferred
async def test_new_member_gets_links_at_once(issuer: Issuer) -> None:
    """What joining gives is enough for mutual TLS with the other nodes."""
    identity = (await joined(issuer.token())).identity
    up: Deferred[NodeId] = Deferred()
    where = {issuer.identity.node: ("127.0.0.1", issuer.links.port)}
    settings = Settings(name="beta", address="127.0.0.1", cluster_port=0)
    links = PeerLinks(cast(Reactor, reactor), identity, settings, lambda: where, lambda: 0.5)
    links.on_connected(up.callback)
    links.startService()
    try:
        assert await up.addTimeout(5, reactor) == issuer.identity.node
    finally:
        await links.stopService()
