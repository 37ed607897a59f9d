"""
Sealing private keys in the shared map, so that neither a copy of it nor of a node's database gives them away. Pure.

Secrets are AES-256-GCM under a cluster key. A cluster key lies in the map once per node, for that node alone: ECIES by
an ephemeral P-256 key, HKDF-SHA256 (RFC 5869) and AES-256-GCM. What opens it is the node's own key file. Two nodes that
make a cluster key at once make two, under two ids; both open, and the smaller id seals.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from hybrid.model import NodeId

KEY = "certkey/"
"""Shared keys: `certkey/<key id>/<node>`."""
ROOT = NodeId("root")
"""The cluster's root gets the cluster keys as if it were a node: with it, and only with it, they outlive all nodes."""
SECRET_BYTES = 32
_NONCE = 12
_POINT = 65
_INFO = b"hybrid certificate key 1"


class Sealed(msgspec.Struct, frozen=True):
    """A secret under the cluster key `key_id`."""

    key_id: str
    data: bytes


class Vault:
    """
    A node's access to the cluster keys.

    Args:
        node: Whose.
        key: Its private key.
        entropy: So many bytes by chance.
    """

    def __init__(self, node: NodeId, key: ec.EllipticCurvePrivateKey, entropy: Callable[[int], bytes]) -> None:
        self._node, self._key, self._entropy = node, key, entropy
        self._secrets: dict[str, bytes] = {}

    def learn(self, entries: Mapping[str, str]) -> bool:
        """Take the cluster keys that `entries` (under `KEY`) hold for this node; whether one is new."""
        before = len(self._secrets)
        for place, value in entries.items():
            key_id, _, node = place.removeprefix(KEY).partition("/")
            if node == self._node and key_id not in self._secrets:
                secret = self._unwrapped(value)
                if secret is not None and _id(secret) == key_id:
                    self._secrets[key_id] = secret
        return len(self._secrets) > before

    def make(self) -> None:
        """Make a cluster key, unless there is one."""
        if not self._secrets:
            secret = self._entropy(SECRET_BYTES)
            self._secrets[_id(secret)] = secret

    def missing(self, entries: Mapping[str, str], nodes: Mapping[NodeId, bytes]) -> dict[str, str]:
        """
        What to add to the map so that every one of `nodes` (to its public key, DER) can open what this node can.

        A key that is none, or a node without one yet, is left out.
        """
        wanted = {}
        for key_id, secret in self._secrets.items():
            for node, public_der in nodes.items():
                place = f"{KEY}{key_id}/{node}"
                wrapped = None if place in entries else self._wrapped(secret, public_der)
                if wrapped is not None:
                    wanted[place] = wrapped
        return wanted

    def seal(self, secret: bytes, about: str) -> Sealed:
        """Seal `secret`, bound to the name `about`. Wants a cluster key."""
        key_id = min(self._secrets)
        nonce = self._entropy(_NONCE)
        return Sealed(key_id, nonce + AESGCM(self._secrets[key_id]).encrypt(nonce, secret, about.encode()))

    def open(self, sealed: Sealed, about: str) -> bytes | None:
        """What was sealed; `None` while its cluster key is unknown here, or when it was tampered with."""
        secret = self._secrets.get(sealed.key_id)
        if secret is None:
            return None
        try:
            return AESGCM(secret).decrypt(sealed.data[:_NONCE], sealed.data[_NONCE:], about.encode())
        except (InvalidTag, ValueError):
            return None

    def _wrapped(self, secret: bytes, public_der: bytes) -> str | None:
        try:
            public = load_der_public_key(public_der)
        except ValueError:
            return None
        if not isinstance(public, ec.EllipticCurvePublicKey) or not isinstance(public.curve, ec.SECP256R1):
            return None
        ephemeral = ec.generate_private_key(ec.SECP256R1())
        point = ephemeral.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        cipher = _cipher(ephemeral.exchange(ec.ECDH(), public), point)
        return base64.b64encode(point + cipher.encrypt(bytes(_NONCE), secret, None)).decode()  # each key is used once

    def _unwrapped(self, text: str) -> bytes | None:
        try:
            data = base64.b64decode(text, validate=True)
            point = data[:_POINT]
            public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
            return _cipher(self._key.exchange(ec.ECDH(), public), point).decrypt(bytes(_NONCE), data[_POINT:], None)
        except (ValueError, InvalidTag):
            return None


def _id(secret: bytes) -> str:
    return hashlib.blake2b(secret, digest_size=8, person=b"hybrid certkey").hexdigest()


def _cipher(shared: bytes, point: bytes) -> AESGCM:
    return AESGCM(HKDF(hashes.SHA256(), SECRET_BYTES, point, _INFO).derive(shared))
