"""
What ACME signs with (RFC 8555 §6.2): JSON Web Signatures by an ECDSA key on P-256 (RFC 7515, RFC 7518). Pure.
"""

from __future__ import annotations

import base64
import hashlib
import json

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

_SIZE = 32


def b64(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def unb64(text: str) -> bytes:
    """Undo `b64`. Raises `ValueError`."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def jwk(key: ec.EllipticCurvePublicKey) -> dict[str, str]:
    """The public key (RFC 7517)."""
    numbers = key.public_numbers()
    return {"crv": "P-256", "kty": "EC", "x": b64(numbers.x.to_bytes(_SIZE)), "y": b64(numbers.y.to_bytes(_SIZE))}


def thumbprint(key: ec.EllipticCurvePublicKey) -> str:
    """Of the key (RFC 7638)."""
    return b64(hashlib.sha256(json.dumps(jwk(key), sort_keys=True, separators=(",", ":")).encode()).digest())


def signed(key: ec.EllipticCurvePrivateKey, url: str, nonce: str, payload: object | None, account: str | None) -> bytes:
    """
    The body of a request.

    Args:
        key: Of the account.
        url: Asked.
        nonce: Of the server.
        payload: JSON to be; `None` for "POST-as-GET".
        account: Its URL; `None` while there is none: then the key itself is told.
    """
    who: dict[str, object] = {"kid": account} if account else {"jwk": jwk(key.public_key())}
    protected = b64(json.dumps({"alg": "ES256", "nonce": nonce, "url": url, **who}).encode())
    body = "" if payload is None else b64(json.dumps(payload).encode())
    r, s = decode_dss_signature(key.sign(f"{protected}.{body}".encode(), ec.ECDSA(hashes.SHA256())))
    signature = b64(r.to_bytes(_SIZE) + s.to_bytes(_SIZE))
    return json.dumps({"protected": protected, "payload": body, "signature": signature}).encode()


def verify(key: ec.EllipticCurvePublicKey, body: bytes) -> tuple[dict[str, object], object | None]:
    """
    The protected header and payload of what `signed` made.

    Raises:
        InvalidSignature, ValueError, KeyError: It was not, or by another key.
    """
    parts = json.loads(body)
    signature = unb64(parts["signature"])
    der = encode_dss_signature(int.from_bytes(signature[:_SIZE]), int.from_bytes(signature[_SIZE:]))
    key.verify(der, f"{parts['protected']}.{parts['payload']}".encode(), ec.ECDSA(hashes.SHA256()))
    payload = json.loads(unb64(parts["payload"])) if parts["payload"] else None
    return json.loads(unb64(parts["protected"])), payload
