"""
Signatures of nodes: what a node said is known as its word, whoever passes it on. Pure.

A node's id is the digest of its key, so a key that is told along with a message proves by itself whose it is. What
comes from its writer over TLS needs no signature check; what somebody else passes on does.
"""

from __future__ import annotations

import hashlib
import hmac
from functools import lru_cache
from typing import Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from hybrid.cluster.certificates import node_id
from hybrid.model import NodeId

_ECDSA = ec.ECDSA(hashes.SHA256())
_KEYS = 4096
"""Keys of nodes that are kept ready to verify with."""
MAX_KEY = 200
"""Bytes of an encoded key that are looked at: a P-256 key has 91."""


class Seals(Protocol):
    """A node's signature, and the check of others'."""

    @property
    def key(self) -> bytes:
        """This node's public key (SubjectPublicKeyInfo, DER), for its register."""

    def sign(self, payload: bytes) -> bytes:
        """This node's signature of `payload`."""

    def valid(self, key_der: bytes, payload: bytes, signature: bytes) -> bool:
        """Whether `signature` is that of `payload` by the node with `key_der`. Anything odd is `False`."""

    def belongs(self, key_der: bytes, node: NodeId) -> bool:
        """Whether `key_der` is the key of `node`. Anything odd is `False`."""


class KeySeals:
    """The real one: ECDSA P-256 with SHA-256 (FIPS 186-5) by the key of the node's certificate."""

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key
        self._public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    @property
    def key(self) -> bytes:
        """See `Seals`."""
        return self._public

    def sign(self, payload: bytes) -> bytes:
        """See `Seals`."""
        return self._key.sign(payload, _ECDSA)

    def valid(self, key_der: bytes, payload: bytes, signature: bytes) -> bool:
        """See `Seals`."""
        try:
            _loaded(key_der).verify(signature, payload, _ECDSA)
        except (InvalidSignature, ValueError):
            return False
        return True

    def belongs(self, key_der: bytes, node: NodeId) -> bool:
        """See `Seals`."""
        try:
            return node_id(_loaded(key_der)) == node
        except ValueError:
            return False


class MemorySeals:
    """For simulations, whose nodes have ids of their own choice: quick, and it tells good from forged all the same."""

    def __init__(self, node: NodeId) -> None:
        self._node = node

    @property
    def key(self) -> bytes:
        """See `Seals`."""
        return self._node.encode()

    def sign(self, payload: bytes) -> bytes:
        """See `Seals`."""
        return _digest(self.key, payload)

    def valid(self, key_der: bytes, payload: bytes, signature: bytes) -> bool:
        """See `Seals`."""
        return len(key_der) <= MAX_KEY and hmac.compare_digest(_digest(key_der, payload), signature)

    def belongs(self, key_der: bytes, node: NodeId) -> bool:
        """See `Seals`."""
        return key_der == node.encode()


@lru_cache(_KEYS)
def _loaded(key_der: bytes) -> ec.EllipticCurvePublicKey:
    """The P-256 key in `key_der`. Raises `ValueError`."""
    if len(key_der) > MAX_KEY:
        raise ValueError("too long for a key")
    try:
        key = load_der_public_key(key_der)
    except (UnsupportedAlgorithm, TypeError) as error:
        raise ValueError(str(error)) from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("not a P-256 key")
    return key


def _digest(key: bytes, payload: bytes) -> bytes:
    return hashlib.blake2b(payload, key=hashlib.sha256(b"sealed by " + key).digest(), digest_size=16).digest()
