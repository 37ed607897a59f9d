"""
Public keys of people who log in by SSH: read from what ssh-keygen writes, checked, and used to check a signature. Pure.

Blobs are those of RFC 4253 §6.6, RFC 5656 §3.1, RFC 8709 and OpenSSH's PROTOCOL.u2f. Nothing here trusts its input: it
comes from whoever connects.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from hybrid.errors import BadRequest

MAX_KEYS = 50
"""Of one site: all of them travel with its word to every node."""
MAX_LINE = 4096
MAX_COMMENT = 100
_CURVES: dict[bytes, tuple[type[ec.EllipticCurve], hashes.HashAlgorithm]] = {
    b"nistp256": (ec.SECP256R1, hashes.SHA256()),
    b"nistp384": (ec.SECP384R1, hashes.SHA384()),
    b"nistp521": (ec.SECP521R1, hashes.SHA512()),
}
_RSA: dict[bytes, hashes.HashAlgorithm] = {b"rsa-sha2-256": hashes.SHA256(), b"rsa-sha2-512": hashes.SHA512()}
_TOKENS = (b"sk-ssh-ed25519@openssh.com", b"sk-ecdsa-sha2-nistp256@openssh.com")
"""Keys in a piece of hardware."""
_PRESENT = 0x01
"""Somebody touched it."""
KINDS = ("ssh-ed25519", *(f"ecdsa-sha2-{name.decode()}" for name in _CURVES), "ssh-rsa", *(t.decode() for t in _TOKENS))
ALGORITHMS = (*KINDS[:4], *(name.decode() for name in reversed(_RSA)), *KINDS[5:])
"""What signatures may be made by."""


class BadKey(ValueError):
    """These bytes are no key, or no signature, that can be used."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """One that may log in."""

    kind: str
    blob: bytes
    comment: str

    @property
    def line(self) -> str:
        """As in an `authorized_keys` file."""
        return f"{self.kind} {base64.b64encode(self.blob).decode()} {self.comment}".rstrip()

    @property
    def fingerprint(self) -> str:
        """As `ssh-keygen -l` shows it."""
        return fingerprint(self.blob)


def fingerprint(blob: bytes) -> str:
    """As `ssh-keygen -l` shows it: `SHA256:…`."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def read_line(text: str) -> PublicKey:
    """
    The key in the line of a `.pub` file.

    Raises:
        BadRequest: It is none, a private one, of a kind that is not taken, or too weak; says which.
    """
    text = text.strip()
    if "PRIVATE KEY" in text:
        raise BadRequest("this is a private key", "it must stay with its owner", "give the file that ends in .pub")
    words = text.split(None, 2)
    if len(text) > MAX_LINE or "\n" in text or len(words) < 2:
        raise BadRequest("this is no public key", "one line of kind, key and comment", "ssh-keygen -t ed25519")
    kind, coded, *rest = words
    if kind not in KINDS:
        raise BadRequest(f"keys of kind {kind[:40]!r} are not taken", "one of " + ", ".join(KINDS))
    comment = "".join(c for c in (rest[0] if rest else "") if c.isprintable())[:MAX_COMMENT]
    try:
        key = PublicKey(kind, base64.b64decode(coded, validate=True), comment.strip())
        if _check(key.blob) != kind:
            raise BadKey("it is of another kind than it says")
    except ValueError as error:
        raise BadRequest("this is no public key", str(error), "give the whole line of the file") from error
    return key


def is_allowed(lines: tuple[str, ...], blob: bytes) -> str | None:
    """The comment of the key among `lines` that is `blob`; `None` when it is none of them."""
    coded = base64.b64encode(blob).decode()
    for line in lines:
        words = line.split(" ", 2)
        if len(words) > 1 and words[1] == coded:
            return words[2] if len(words) > 2 else ""
    return None


def verifies(blob: bytes, algorithm: bytes, signature: bytes, data: bytes) -> bool:
    """Whether `signature` (RFC 4253 §6.6, with the algorithm's name) was made by the key `blob` over `data`."""
    try:
        made_by, value, *rest = _strings(signature, 2)
        kind = _strings(blob, 1)[0]
        if made_by != algorithm or (made_by not in _RSA if kind == b"ssh-rsa" else made_by != kind):
            return False
        _verify(blob, kind, made_by, value, rest[0], data)
    except (BadKey, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _verify(blob: bytes, kind: bytes, made_by: bytes, value: bytes, rest: bytes, data: bytes) -> None:
    """Raises `InvalidSignature`, `BadKey`."""
    if kind in _TOKENS:
        if len(rest) != 5 or not rest[0] & _PRESENT:
            raise BadKey("nobody touched the key")
        application = _strings(blob, 3 if kind == _TOKENS[0] else 4)
        data = hashlib.sha256(application[-2]).digest() + rest + hashlib.sha256(data).digest()
    elif rest:
        raise BadKey("bytes after the signature")
    key = _loaded(blob)
    if isinstance(key, ed25519.Ed25519PublicKey):
        key.verify(value, data)
    elif isinstance(key, rsa.RSAPublicKey):
        key.verify(value, data, padding.PKCS1v15(), _RSA[made_by])
    else:
        r, s, left = _strings(value, 2)
        if left or len(r) > 67 or len(s) > 67:
            raise BadKey("no signature of ECDSA")
        both = encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big"))
        key.verify(both, data, ec.ECDSA(_CURVES[kind.removesuffix(b"@openssh.com")[-8:]][1]))


def _check(blob: bytes) -> str:
    """The kind of a key that can be used. Raises `BadKey`."""
    _loaded(blob)
    return _strings(blob, 1)[0].decode("ascii", "replace")


def _loaded(blob: bytes) -> ed25519.Ed25519PublicKey | rsa.RSAPublicKey | ec.EllipticCurvePublicKey:
    """Raises `BadKey`."""
    kind, rest = _strings(blob, 1)
    try:
        if kind == b"ssh-rsa":
            exponent, modulus, left = _strings(rest, 2)
            return _rsa(exponent, modulus, left)
        if kind == b"ssh-ed25519" or kind == _TOKENS[0]:
            point, left = _strings(rest, 1)
            _end(left, kind)
            return ed25519.Ed25519PublicKey.from_public_bytes(point)
        name, point, left = _strings(rest, 2)
        if name not in _CURVES or kind not in (b"ecdsa-sha2-" + name, b"sk-ecdsa-sha2-" + name + b"@openssh.com"):
            raise BadKey("no kind of key that is taken")
        _end(left, kind)
        return ec.EllipticCurvePublicKey.from_encoded_point(_CURVES[name][0](), point)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadKey(str(error)) from error


def _rsa(exponent: bytes, modulus: bytes, left: bytes) -> rsa.RSAPublicKey:
    e, n = int.from_bytes(exponent, "big"), int.from_bytes(modulus, "big")
    if left or len(exponent) > 5 or not 2048 <= n.bit_length() <= 8192:
        raise BadKey("an RSA key must have from 2048 to 8192 bits")
    return rsa.RSAPublicNumbers(e, n).public_key()


def _end(left: bytes, kind: bytes) -> None:
    """What follows the key: the application of one in hardware, nothing else. Raises `BadKey`."""
    if kind in _TOKENS:
        _, left = _strings(left, 1)
    if left:
        raise BadKey("bytes after the key")


def _strings(data: bytes, count: int) -> list[bytes]:
    """So many strings (RFC 4251 §5), and what follows them. Raises `BadKey`."""
    found, at = [], 0
    for _ in range(count):
        if len(data) - at < 4:
            raise BadKey("it is cut off")
        (length,) = struct.unpack_from("!I", data, at)
        at += 4
        if len(data) - at < length:
            raise BadKey("it is cut off")
        found.append(data[at : at + length])
        at += length
    return [*found, data[at:]]
