"""
The joining conversation, on the cluster port (ALPN `hybrid-join/1`): one message each way. Shell.

The newcomer has no certificate; it checks that the other side has one of the cluster its token names before it sends
a byte. Its key is vouched for, and it hears what the cluster knows of its nodes; its certificate it then makes itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IDelayedCall, IReactorTCP, IReactorTime
from twisted.python.failure import Failure

from hybrid.cluster import tls
from hybrid.cluster.admission import Admission, JoinAsk, JoinLetter, Unwelcome, Welcome
from hybrid.cluster.certificates import (
    NotAMember,
    check_address,
    check_name,
    line,
    new_key,
    spki_sha256,
    valid_at,
)
from hybrid.cluster.framed import Connections, Framed
from hybrid.cluster.identity import Identity, IdentityError
from hybrid.cluster.token import JoinToken, TokenError, parse, proof, proof_key
from hybrid.errors import HybridError, PeerError
from hybrid.model import NodeId, NodeRegister, Shared
from hybrid.wire import MAX_FRAME

MAX_LETTER = 16 * 1024
MAX_CONVERSATIONS = 50
CONVERSATION_S = 10.0
REFUSE_AFTER_S = 1.0
"""Every refusal takes this long."""


class Reactor(IReactorTCP, IReactorTime):
    """What joining needs of the reactor."""


class JoinRefused(HybridError):
    """The cluster did not let this node in."""


@dataclass(frozen=True, slots=True)
class Joined:
    """A new member, not saved yet."""

    identity: Identity
    nodes: Mapping[NodeId, NodeRegister]
    shared: Mapping[str, Shared]


# ------------------------------------------------------------------------------------------------ the cluster


class JoinDesk:
    """Where newcomers are received: what `PeerLinks` takes as `newcomer`."""

    def __init__(self, reactor: IReactorTime, admission: Admission, refuse_after_s: float = REFUSE_AFTER_S) -> None:
        self._reactor, self._admission, self._refuse_after_s = reactor, admission, refuse_after_s
        self._conversations = 0

    def __call__(self, connections: Connections, source: str) -> Framed:
        """A conversation with one. Raises `PeerError` when too many are under way."""
        if self._conversations >= MAX_CONVERSATIONS:
            raise PeerError("too many join at once")
        self._conversations += 1
        return _Reception(self._reactor, connections, self._admission, source, self._refuse_after_s, self._over)

    def _over(self) -> None:
        self._conversations -= 1


class _Reception(Framed):
    """The cluster's side."""

    def __init__(
        self,
        reactor: IReactorTime,
        connections: Connections,
        admission: Admission,
        source: str,
        refuse_after_s: float,
        over: Callable[[], None],
    ) -> None:
        super().__init__(MAX_LETTER, connections, None)
        self._reactor, self._admission, self._source = reactor, admission, source
        self._refuse_after_s, self._on_over = refuse_after_s, over
        self._timers: list[IDelayedCall] = []
        self._judged = self._deaf = False

    def connectionMade(self) -> None:
        """It must be over soon."""
        super().connectionMade()
        self._timers.append(self._reactor.callLater(CONVERSATION_S, self.abort, "joining took too long"))

    def dataReceived(self, data: bytes) -> None:
        """Nothing more is taken in after what broke the protocol."""
        if not self._deaf:
            super().dataReceived(data)

    def frame_received(self, data: bytes) -> None:
        """The newcomer's message: judged once, answered; a refusal takes its time."""
        if self._judged:
            raise ValueError("a second message")
        self._answer(self._admission.judge(data, self._source))

    def broken(self, why: str) -> None:
        """Too long a message, or a second one: no more is read; before an answer it gets the one for all strangers."""
        if self._judged:
            self.abort(f"protocol broken: {why}")
            return
        self._deaf = True
        self._tls.pauseProducing()
        self._answer(self._admission.refuse(why, self._source))

    def _answer(self, answer: Welcome | Unwelcome) -> None:
        self._judged = True
        delay_s = self._refuse_after_s if isinstance(answer, Unwelcome) else 0.0
        self._timers.append(self._reactor.callLater(delay_s, self.put, msgspec.msgpack.encode(answer)))

    def ended(self, error: PeerError) -> None:
        """Nothing is left to do."""
        for timer in self._timers:
            if timer.active():
                timer.cancel()
        self._on_over()


# ----------------------------------------------------------------------------------------------- the newcomer


async def join(
    reactor: Reactor, token: str, name: str, dc: str, address: str, now_s: float, bind_address: str = ""
) -> Joined:
    """
    Ask to be let into the cluster that `token` names.

    Args:
        reactor: Of this process.
        token: As printed by `hybrid token create-join`.
        name: What this node will be called.
        dc: Its data centre.
        address: The IP address others will reach it at.
        now_s: Seconds since the epoch.
        bind_address: Connect from this address; empty: whichever leads there.

    Returns:
        The new member; nothing is written yet.

    Raises:
        TokenError: `token` is none, or expired.
        BadName: `name` or `address` cannot be a node's.
        JoinRefused: The cluster said no.
        PeerError: No node of the cluster could be reached at the places in the token.
    """
    check_name(name)
    check_address(address)
    parsed = parse(token)
    if parsed.expires_at_s < now_s:
        why = f"{now_s - parsed.expires_at_s:.0f} s ago by this machine's clock"
        raise TokenError("this join token has expired", why, "make a new one, and check the clock")
    key = new_key()
    letter = _letter(parsed, key, JoinAsk(request=_request(key), name=name, dc=dc, address=address))
    answer = await _ask(reactor, parsed, letter, now_s, bind_address)
    if isinstance(answer, Unwelcome):
        raise JoinRefused(answer.what, answer.why, answer.try_)
    issuers, root = _vouched(parsed, answer)
    try:
        identity = Identity.begin(answer.cluster, key, issuers, root, name, address, now_s)
    except IdentityError as error:
        raise JoinRefused("the cluster's answer makes no sense", error.why) from error
    return Joined(identity, answer.nodes, answer.shared)


def _request(key: ec.EllipticCurvePrivateKey) -> bytes:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hybrid")])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return request.public_bytes(Encoding.DER)


def _letter(token: JoinToken, key: ec.EllipticCurvePrivateKey, ask: JoinAsk) -> bytes:
    asked = msgspec.msgpack.encode(ask)
    return msgspec.msgpack.encode(JoinLetter(token_id=token.id, ask=asked, proof=proof(proof_key(token.secret), asked)))


def _vouched(token: JoinToken, welcome: Welcome) -> tuple[list[x509.Certificate], x509.Certificate]:
    """The issuers of the new member, its own first, and the root that its token named."""
    try:
        root = x509.load_der_x509_certificate(welcome.root)
        issuers = [x509.load_der_x509_certificate(issuer) for issuer in welcome.issuers]
    except ValueError as error:
        raise JoinRefused("the cluster's answer makes no sense", str(error)) from error
    if spki_sha256(root.public_key()) != token.root_sha256:
        raise JoinRefused("the cluster's answer makes no sense", "it names another root than the token")
    return issuers, root


async def _ask(
    reactor: Reactor, token: JoinToken, letter: bytes, now_s: float, bind_address: str
) -> Welcome | Unwelcome:
    """Ask at each place of the token until one answers. Raises the last place's `PeerError`."""
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    context.set_alpn_protos([tls.JOIN])
    bind = (bind_address, 0) if bind_address else None
    failed = PeerError("no place in the token")
    for host, port in token.places:
        newcomer = _Newcomer(reactor, token, letter, now_s)
        plain = TCP4ClientEndpoint(reactor, host, port, int(CONVERSATION_S), bind)
        try:
            await connectProtocol(wrapClientTLS(tls.ClientTLS(context), plain), newcomer)
            return await newcomer.answered()
        except (ConnectError, OSError) as error:
            hint = "is the node up, and its cluster port open?"
            failed = PeerError(f"{host} port {port} cannot be reached", str(error), hint)
        except PeerError as error:
            failed = error
    raise failed


class _Newcomer(Framed):
    """The newcomer's side."""

    def __init__(self, reactor: IReactorTime, token: JoinToken, letter: bytes, now_s: float) -> None:
        super().__init__(MAX_FRAME, Connections(), None)
        self._reactor, self._token, self._letter, self._now_s = reactor, token, letter, now_s
        self._answer: Deferred[Welcome | Unwelcome] = Deferred()

    def shaken(self) -> None:
        """Speak only to the cluster that the token names. TLS has proved that the peer has its certificate's key."""
        try:
            self._check()
        except NotAMember as error:
            self.abort(f"{error.what}: {error.why}")
            return
        self.put(self._letter)

    def _check(self) -> None:
        certificates = tls.shown(self._tls)
        digest = self._token.root_sha256
        root = next((one for one in certificates if spki_sha256(one.public_key()) == digest), None)
        if root is None:
            raise NotAMember("this is not the cluster of the token", "its root is another one")
        line(root, certificates)
        if not valid_at(certificates[0], self._now_s):
            raise NotAMember("its certificate is not valid now", "is this machine's clock right?")

    def frame_received(self, data: bytes) -> None:
        """The answer."""
        try:
            answer: Welcome | Unwelcome = msgspec.msgpack.decode(data, type=Welcome | Unwelcome)
        except msgspec.MsgspecError as error:
            raise ValueError(f"no answer to a join: {error}") from error
        if not self._answer.called:
            self._answer.callback(answer)

    def ended(self, error: PeerError) -> None:
        """Without an answer that is one too."""
        if not self._answer.called:
            self._answer.errback(Failure(PeerError("joining failed", self.reason, "look at the other node's log")))

    async def answered(self) -> Welcome | Unwelcome:
        """The answer. Raises `PeerError`."""
        late = self._reactor.callLater(CONVERSATION_S, self.abort, f"no answer within {CONVERSATION_S} s")
        try:
            return await self._answer
        finally:
            if late.active():
                late.cancel()
            self.abort("done")
