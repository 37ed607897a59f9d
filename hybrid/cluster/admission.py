"""
Who is let into the cluster: issues join tokens and judges who comes with one. No socket; the store is given.

A wrong, a used and an expired token get one and the same answer; only this node's log knows which it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice
from typing import Protocol

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.logger import Logger

from hybrid.cluster.certificates import issue, node_id, spki_sha256
from hybrid.cluster.identity import ClusterDocument, Identity
from hybrid.cluster.keyfiles import key_pem
from hybrid.cluster.token import SECRET_BYTES, Attempts, JoinToken, proof_key, proven
from hybrid.errors import HybridError
from hybrid.model import NodeId, NodeRegister, Shared

TOLD_AT_ONCE = 1000
"""Nodes, and shared values, in a welcome; gossip brings the rest."""


class JoinAsk(msgspec.Struct, frozen=True, kw_only=True):
    """What a newcomer wants to be."""

    request: bytes
    """PKCS #10 certificate request, DER; only its key counts."""
    name: str
    dc: str
    address: str


class JoinLetter(msgspec.Struct, frozen=True, kw_only=True):
    """The newcomer's one message."""

    token_id: str
    ask: bytes
    """An encoded `JoinAsk`."""
    proof: bytes


class Welcome(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """All that makes a member. PEM."""

    certificate: bytes
    authority: bytes
    authority_key: bytes
    cluster: ClusterDocument
    nodes: dict[NodeId, NodeRegister]
    shared: dict[str, Shared]


class Unwelcome(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The refusal."""

    what: str
    why: str = ""
    try_: str = ""


NEUTRAL = Unwelcome(
    what="the join token was not accepted",
    why="it is wrong, used already, or expired; the log of the node that issued it says which",
    try_="make a new one with `hybrid token create-join`, and use it once, at once",
)


class Tokens(Protocol):
    """Where issued tokens are kept. See `hybrid.cluster.store.Store`."""

    def keep_join_token(self, token_id: str, secret_sha256: bytes, expires_at_s: float) -> None:
        """Remember one."""

    def join_token(self, token_id: str) -> tuple[bytes, float] | None:
        """`(proof key, end)` of one, or `None`."""

    def drop_join_token(self, token_id: str) -> bool:
        """Consume one; whether it was there."""


class _No(Exception):
    """The newcomer is refused: the reason for the log, and the answer."""

    def __init__(self, reason: str, answer: Unwelcome = NEUTRAL) -> None:
        super().__init__(reason)
        self.answer = answer


class Admission:
    """The judge, one per node."""

    log = Logger()

    def __init__(
        self,
        identity: Identity,
        place: tuple[str, int],
        tokens: Tokens,
        nodes: Callable[[], Mapping[NodeId, NodeRegister]],
        shared: Callable[[], Mapping[str, Shared]],
        wall_s: Callable[[], float],
        random: Callable[[int], bytes],
        attempts: Attempts | None = None,
    ) -> None:
        """
        A judge that knows nobody yet.

        Args:
            identity: Of this node, whose authority's key signs.
            place: IP address and cluster port at which this node lets newcomers in.
            tokens: Issued ones.
            nodes: Known nodes; a newcomer begins with them.
            shared: The shared map; a newcomer begins with it.
            wall_s: Seconds since the epoch.
            random: So many random bytes: `os.urandom`.
            attempts: How often one may try; default: five times a minute from each source.
        """
        self._identity, self._place, self._tokens, self._nodes, self._shared = identity, place, tokens, nodes, shared
        self._wall_s, self._random = wall_s, random
        self._attempts = attempts or Attempts()

    def issue(self, ttl_s: float) -> tuple[str, float]:
        """A token for one node, redeemable at this node: `(text, seconds since the epoch of its end)`."""
        expires_at_s = self._wall_s() + ttl_s
        token = JoinToken(
            authority_sha256=spki_sha256(self._identity.authority.public_key()),
            places=(self._place,),
            id=self._random(8).hex(),
            secret=self._random(SECRET_BYTES),
            expires_at_s=int(expires_at_s),
        )
        self._tokens.keep_join_token(token.id, proof_key(token.secret), expires_at_s)
        self.log.info("join token {token} issued for {ttl_s} s", token=token.id, ttl_s=ttl_s)
        return token.text, expires_at_s

    def judge(self, data: bytes, source: str) -> Welcome | Unwelcome:
        """
        Answer a newcomer's message.

        Args:
            data: An encoded `JoinLetter`, or anything else.
            source: The address it came from.
        """
        try:
            welcome, node, ask = self._judge(data, source)
        except _No as no:
            self.log.warn("join from {source} refused: {reason}", source=source, reason=str(no))
            return no.answer
        self.log.info("{name} ({node}) of {dc} joins from {source}", name=ask.name, node=node, dc=ask.dc, source=source)
        return welcome

    def _judge(self, data: bytes, source: str) -> tuple[Welcome, NodeId, JoinAsk]:
        if not self._attempts.allow(source, self._wall_s()):
            raise _No("too many attempts")
        try:
            letter = msgspec.msgpack.decode(data, type=JoinLetter)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise _No(f"no such message: {error}") from error
        self._check_token(letter)
        ask, key = _understood(letter.ask)
        self._check_name(ask.name, node_id(key))
        try:
            certificate = self._certificate(ask, key)
        except HybridError as error:
            raise _No(str(error), Unwelcome(what=error.what, why=error.why, try_=error.try_)) from error
        if not self._tokens.drop_join_token(letter.token_id):
            raise _No(f"token {letter.token_id} was used a moment ago")
        return self._welcome(certificate), node_id(key), ask

    def _check_token(self, letter: JoinLetter) -> None:
        kept = self._tokens.join_token(letter.token_id)
        if not proven(kept[0] if kept else None, letter.ask, letter.proof):
            why = "its proof is wrong" if kept else "is not known here: never issued here, or used already"
            raise _No(f"token {letter.token_id[:16]!r} {why}")
        if kept is not None and kept[1] < self._wall_s():
            raise _No(f"token {letter.token_id} expired {self._wall_s() - kept[1]:.0f} s ago")

    def _check_name(self, name: str, node: NodeId) -> None:
        """Two nodes of one name would be told apart by nobody. The newcomer is invited, so it may know."""
        for other, register in self._nodes().items():
            if register.name == name and other != node:
                told = Unwelcome(
                    what=f"the name {name} is taken", why=f"by {other}", try_="choose another; the token is still good"
                )
                raise _No(f"the name {name} is taken by {other}", told)

    def _certificate(self, ask: JoinAsk, key: ec.EllipticCurvePublicKey) -> x509.Certificate:
        return issue(self._identity.authority, self._identity.authority_key, key, ask.name, ask.address, self._wall_s())

    def _welcome(self, certificate: x509.Certificate) -> Welcome:
        return Welcome(
            certificate=certificate.public_bytes(Encoding.PEM),
            authority=self._identity.authority.public_bytes(Encoding.PEM),
            authority_key=key_pem(self._identity.authority_key),
            cluster=self._identity.cluster,
            nodes=dict(islice(self._nodes().items(), TOLD_AT_ONCE)),
            shared=dict(islice(self._shared().items(), TOLD_AT_ONCE)),
        )


def _understood(data: bytes) -> tuple[JoinAsk, ec.EllipticCurvePublicKey]:
    """What an invited newcomer asks, with its key. Raises `_No`."""
    try:
        ask = msgspec.msgpack.decode(data, type=JoinAsk)
        request = x509.load_der_x509_csr(ask.request)
        key = request.public_key()
        if not request.is_signature_valid or not isinstance(key, ec.EllipticCurvePublicKey):
            raise ValueError("its key or signature")
    except (
        msgspec.MsgspecError,
        RecursionError,
        ValueError,
        TypeError,
        InvalidSignature,
        UnsupportedAlgorithm,
    ) as error:
        told = Unwelcome(
            what="the certificate request is not valid", why=str(error), try_="upgrade Hybrid on this machine"
        )
        raise _No(f"certificate request: {error}", told) from error
    if not isinstance(key.curve, ec.SECP256R1):
        raise _No(f"a key on {key.curve.name}")
    return ask, key
