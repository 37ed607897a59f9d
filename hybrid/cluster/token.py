"""
Join tokens: what a newcomer is given to find the cluster, recognise it, and prove that it was invited. Pure.

`hyb1.` and base64url of a CRC-32 and the fields. The newcomer compares the root's digest before it says anything, and
then sends an HMAC made with the secret, never the secret.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import zlib
from collections import OrderedDict, deque

import msgspec

from hybrid.errors import HybridError

MAX_TEXT = 1000
"""Characters in a token; a longer text is not even decoded."""
MAX_PLACES = 3
SECRET_BYTES = 16
LIFE_S = 1800.0
_PREFIX = "hyb1."
_TRY = "copy the whole line that `hybrid token create-join` printed, without spaces"


class TokenError(HybridError):
    """A text is not a join token, or one that cannot be used any more."""


class JoinToken(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a token says."""

    root_sha256: bytes
    """Digest of the key of the cluster's root, see `hybrid.cluster.certificates.spki_sha256`."""
    places: tuple[tuple[str, int], ...]
    """IP address and cluster port of the node that issued it, the only one at which it counts. At most three."""
    id: str
    secret: bytes
    expires_at_s: int
    dc: str = ""
    """The data centre it is for, for the newcomer's convenience: what counts is in the issuer's notes. Empty: any."""
    name: str = ""
    """The name the newcomer must take, likewise."""

    def __repr__(self) -> str:
        return f"<JoinToken {self.id}>"

    @property
    def text(self) -> str:
        """As it is given to people."""
        body = msgspec.msgpack.encode(self)
        checked = zlib.crc32(body).to_bytes(4, "big") + body
        return _PREFIX + base64.urlsafe_b64encode(checked).rstrip(b"=").decode("ascii")


def parse(text: str) -> JoinToken:
    """
    Read a token.

    Raises:
        TokenError: It is none; says whether it was cut short or mistyped.
    """
    text = text.strip() if len(text) <= 2 * MAX_TEXT else text
    if len(text) > MAX_TEXT:
        raise TokenError("this is not a join token", f"it has {len(text)} characters", _TRY)
    if not text.startswith(_PREFIX):
        raise TokenError("this is not a join token", f"it does not begin with {_PREFIX}", _TRY)
    body = text.removeprefix(_PREFIX)
    try:
        checked = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
        if zlib.crc32(checked[4:]) != int.from_bytes(checked[:4], "big"):
            raise TokenError("this join token is damaged", "a character is wrong or missing", _TRY)
        token = msgspec.msgpack.decode(checked[4:], type=JoinToken)
    except (ValueError, msgspec.MsgspecError, RecursionError) as error:
        raise TokenError("this join token is damaged", "it cannot be decoded", _TRY) from error
    if not 0 < len(token.places) <= MAX_PLACES or len(token.secret) != SECRET_BYTES:
        raise TokenError("this join token is damaged", "its contents make no sense", _TRY)
    return token


class Invitation(msgspec.Struct, frozen=True, kw_only=True):
    """What the issuer of a token keeps of it."""

    proof_key: bytes
    """See `proof_key`: enough to check a proof, not the secret itself."""
    expires_at_s: float
    """Seconds since the epoch."""
    dc: str = ""
    """The data centre it is for; empty: any."""
    name: str = ""
    """The name the newcomer must take; empty: any that is free."""


def proof_key(secret: bytes) -> bytes:
    """What the issuer keeps of a secret."""
    return hashlib.sha256(secret).digest()


def proof(key: bytes, asked: bytes) -> bytes:
    """Proof that who asks `asked` was given the secret of `proof_key`."""
    return hmac.new(key, asked, hashlib.sha256).digest()


def proven(key: bytes | None, asked: bytes, offered: bytes) -> bool:
    """Whether `offered` is the proof; takes as long when there is no key to compare with."""
    same = hmac.compare_digest(proof(key or bytes(32), asked), offered)
    return same and key is not None


class Attempts:
    """At most so many attempts in a while from each source; remembers a bounded number of sources."""

    def __init__(self, most: int = 5, within_s: float = 60.0, sources: int = 1000) -> None:
        self._most, self._within_s, self._sources = most, within_s, sources
        self._made: OrderedDict[str, deque[float]] = OrderedDict()

    def allow(self, source: str, now_s: float) -> bool:
        """Whether one more attempt of `source` may be looked at; counts it if so."""
        made = self._made.setdefault(source, deque(maxlen=self._most))
        self._made.move_to_end(source)
        if len(self._made) > self._sources:
            self._made.popitem(last=False)
        if len(made) == self._most and 0 <= now_s - made[0] < self._within_s:
            return False
        made.append(now_s)
        return True
