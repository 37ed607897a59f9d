"""
Who is let into the cluster: issues join tokens and judges who comes with one. No socket; the store is given.

A wrong, a used and an expired token get one and the same answer; only this node's log knows which it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Protocol

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.logger import Logger

from hybrid.cluster.certificates import check_address, check_name, node_id, spki_sha256
from hybrid.cluster.identity import ClusterDocument, Identity
from hybrid.cluster.keyring import KEYRING
from hybrid.cluster.removal import REMOVED
from hybrid.cluster.token import SECRET_BYTES, Attempts, Invitation, JoinToken, proof_key, proven
from hybrid.errors import HybridError
from hybrid.model import NodeId, NodeRegister, Shared

TOLD_AT_ONCE = 1000
"""Nodes, and shared values, in a welcome; gossip brings the rest."""
KEPT_S = 86400.0
"""How long after its end a token is remembered, so that the log can say that it expired."""


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
    """All that makes a member: with these issuers behind it, what its key signs counts."""

    issuers: tuple[bytes, ...]
    """Certificates, DER: the newcomer's own, that of the node which lets it in, and so on up to the first node's."""
    root: bytes
    """DER."""
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

    def keep_invitation(self, token_id: str, invitation: Invitation) -> None:
        """Remember what one is good for."""

    def invitation(self, token_id: str) -> Invitation | None:
        """That of one, or `None`."""

    def drop_invitation(self, token_id: str) -> bool:
        """Consume one; whether it was there."""

    def drop_invitations(self, before_s: float) -> None:
        """Forget those that ended before `before_s` (seconds since the epoch)."""


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
            identity: Of this node, whose key signs.
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

    def issue(self, ttl_s: float, dc: str = "", name: str = "") -> tuple[str, float]:
        """
        A token for one node, redeemable at this node.

        Args:
            ttl_s: How long it counts.
            dc: Only for a node of this data centre; empty: of any.
            name: Only for a node of this name; empty: of any that is free.

        Returns:
            `(text, seconds since the epoch of its end)`.

        Raises:
            BadName: `name` cannot be a node's.
            Conflict: This node can let nobody in.
        """
        self._identity.check_may_admit()
        if name:
            check_name(name)
        now_s = self._wall_s()
        expires_at_s = now_s + ttl_s
        token = JoinToken(
            root_sha256=spki_sha256(self._identity.root.public_key()),
            places=(self._place,),
            id=self._random(8).hex(),
            secret=self._random(SECRET_BYTES),
            expires_at_s=int(expires_at_s),
            dc=dc,
            name=name,
        )
        invitation = Invitation(proof_key=proof_key(token.secret), expires_at_s=expires_at_s, dc=dc, name=name)
        self._tokens.drop_invitations(now_s - KEPT_S)
        self._tokens.keep_invitation(token.id, invitation)
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
            return self.refuse(str(no), source, no.answer)
        self.log.info("{name} ({node}) of {dc} joins from {source}", name=ask.name, node=node, dc=ask.dc, source=source)
        return welcome

    def refuse(self, reason: str, source: str, answer: Unwelcome = NEUTRAL) -> Unwelcome:
        """The refusal of somebody at `source`; `reason` is for the log alone."""
        self.log.warn("join from {source} refused: {reason}", source=source, reason=reason)
        return answer

    def _judge(self, data: bytes, source: str) -> tuple[Welcome, NodeId, JoinAsk]:
        if not self._attempts.allow(source, self._wall_s()):
            raise _No("too many attempts")
        try:
            letter = msgspec.msgpack.decode(data, type=JoinLetter)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise _No(f"no such message: {error}") from error
        invitation = self._invitation(letter)
        ask, key = _understood(letter.ask)
        _check_invited(ask, invitation)
        self._check_name(ask.name, node_id(key))
        try:
            check_name(ask.name)
            check_address(ask.address)
            issuers = self._identity.admit(key, self._wall_s())
        except HybridError as error:
            raise _No(str(error), Unwelcome(what=error.what, why=error.why, try_=error.try_)) from error
        if not self._tokens.drop_invitation(letter.token_id):
            raise _No(f"token {letter.token_id} was used a moment ago")
        return self._welcome(issuers), node_id(key), ask

    def _invitation(self, letter: JoinLetter) -> Invitation:
        kept = self._tokens.invitation(letter.token_id)
        if not proven(kept.proof_key if kept else None, letter.ask, letter.proof) or kept is None:
            why = "its proof is wrong" if kept else "is not known here: never issued here, or used already"
            raise _No(f"token {letter.token_id[:16]!r} {why}")
        if kept.expires_at_s < self._wall_s():
            raise _No(f"token {letter.token_id} expired {self._wall_s() - kept.expires_at_s:.0f} s ago")
        return kept

    def _check_name(self, name: str, node: NodeId) -> None:
        """Two nodes of one name would be told apart by nobody. The newcomer is invited, so it may know."""
        for other, register in self._nodes().items():
            if register.name == name and other != node:
                told = Unwelcome(
                    what=f"the name {name} is taken", why=f"by {other}", try_="choose another; the token is still good"
                )
                raise _No(f"the name {name} is taken by {other}", told)

    def _welcome(self, issuers: Sequence[x509.Certificate]) -> Welcome:
        return Welcome(
            issuers=tuple(issuer.public_bytes(Encoding.DER) for issuer in issuers),
            root=self._identity.root.public_bytes(Encoding.DER),
            cluster=self._identity.cluster,
            nodes=dict(islice(self._nodes().items(), TOLD_AT_ONCE)),
            shared=self._told(),
        )

    def _told(self) -> dict[str, Shared]:
        """The shared values a newcomer begins with: first those without which it neither hears nor is wary."""
        shared = self._shared()
        keys = sorted(shared, key=lambda key: not key.startswith((REMOVED, KEYRING)))
        return {key: shared[key] for key in keys[:TOLD_AT_ONCE]}


def _check_invited(ask: JoinAsk, invitation: Invitation) -> None:
    """The token must be for such a node. Its holder may know for which; it stays good. Raises `_No`."""
    for what, asked, invited in (("data centre", ask.dc, invitation.dc), ("name", ask.name, invitation.name)):
        if invited and asked != invited:
            why = f"the {what} {invited}, not {asked[:40]}"
            told = Unwelcome(what="this join token is for another node", why=why, try_="make one for this node")
            raise _No(f"its token is for {why}", told)


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
