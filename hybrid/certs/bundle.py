"""
A chain and its key, as people upload them: read, put in order and checked, or refused with what to do. Pure.

The chain is the leaf first, each certificate issued by the next; a root at the end is left out, since clients have
their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from hybrid.certs.names import is_name
from hybrid.certs.records import Key
from hybrid.errors import BadRequest

MAX_PEM = 64 * 1024
MAX_CHAIN = 8
LEAST_RSA_BITS = 2048
_CURVES = (ec.SECP256R1, ec.SECP384R1)


@dataclass(frozen=True, slots=True)
class Bundle:
    """What can be shown to clients."""

    names: tuple[str, ...]
    """Lower case, sorted; wildcards as `*.example.org`."""
    chain: str
    """PEM, the leaf first."""
    key: str
    """PEM (PKCS #8), not encrypted."""
    not_before_s: int
    not_after_s: int
    issuer: str
    """For people."""


def read(chain_pem: str, key_pem: str, now_s: float) -> Bundle:
    """
    Check what was uploaded at `now_s`.

    Raises:
        BadRequest: It does not fit, is not valid at this time, or is of a kind that clients do not take.
    """
    key = _key(key_pem)
    chain = _ordered(certificates(chain_pem), key)
    leaf = chain[0]
    begins_s, ends_s = leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp()
    if ends_s <= now_s:
        raise BadRequest(f"the certificate ended on {leaf.not_valid_after_utc:%Y-%m-%d}", "", "get a new one first")
    if begins_s > now_s:
        why = f"it begins on {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
        raise BadRequest("the certificate is not valid yet", why, "upload it then, or look at this server's clock")
    return Bundle(
        names=_names(leaf),
        chain="".join(certificate.public_bytes(Encoding.PEM).decode() for certificate in chain),
        key=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        not_before_s=int(begins_s),
        not_after_s=int(ends_s),
        issuer=leaf.issuer.rfc4514_string()[:200],
    )


def _key(pem: str) -> Key:
    if len(pem) > MAX_PEM:
        raise BadRequest("the key is too long", f"more than {MAX_PEM} characters", "upload the PEM file of one key")
    try:
        key = load_pem_private_key(pem.encode(), None)
    except TypeError:
        hint = "openssl pkey -in key.pem -out plain.pem"
        raise BadRequest("the key is encrypted", "there is nobody to ask for its passphrase", hint) from None
    except (ValueError, UnsupportedAlgorithm):
        hint = "-----BEGIN PRIVATE KEY-----, as `openssl pkey` writes it"
        raise BadRequest("this is no private key", "it is not one key as PEM", hint) from None
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= LEAST_RSA_BITS:
        return key
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, _CURVES):
        return key
    raise BadRequest(
        "browsers do not take such a key", "", f"ECDSA on P-256 or P-384, or RSA of {LEAST_RSA_BITS} bits at least"
    )


def certificates(pem: str) -> list[x509.Certificate]:
    """Those in a PEM text. Raises `BadRequest`."""
    if len(pem) > MAX_PEM:
        raise BadRequest("the chain is too long", f"more than {MAX_PEM} characters", "the certificate and its issuers")
    try:
        found = x509.load_pem_x509_certificates(pem.encode())
    except ValueError:
        hint = "-----BEGIN CERTIFICATE-----, the site's own and those of its issuers"
        raise BadRequest("these are no certificates", "they are not PEM", hint) from None
    if len(found) > MAX_CHAIN:
        raise BadRequest(f"{len(found)} certificates are too many", f"a chain has at most {MAX_CHAIN}")
    return found


def _ordered(found: Sequence[x509.Certificate], key: Key) -> list[x509.Certificate]:
    """The chain that begins with the certificate of `key`. Raises `BadRequest`."""
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    leaf = next((one for one in found if _spki(one) == public), None)
    if leaf is None:
        hint = "the key that the certificate was asked for with"
        raise BadRequest("key and certificate do not belong together", "no certificate is of this key", hint)
    chain, rest = [leaf], [one for one in found if one != leaf]
    while (issuer := next((one for one in rest if _issued(chain[-1], one)), None)) is not None:
        rest.remove(issuer)
        chain.append(issuer)
    if rest:
        subject = rest[0].subject.rfc4514_string()[:100]
        hint = "upload the site's certificate and its issuers, nothing else"
        raise BadRequest("the chain is broken", f"{subject} did not issue what is before it", hint)
    return chain[:-1] if len(chain) > 1 and _issued(chain[-1], chain[-1]) else chain


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _spki(certificate: x509.Certificate) -> bytes:
    try:
        return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, UnsupportedAlgorithm):
        return b""


def _names(leaf: x509.Certificate) -> tuple[str, ...]:
    try:
        extension = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        found = {name.lower().removesuffix(".") for name in extension.value.get_values_for_type(x509.DNSName)}
    except (x509.ExtensionNotFound, ValueError):
        found = set()
    names = tuple(sorted(name for name in found if is_name(name)))
    if not names:
        why = "it has no DNS name as subject alternative name, which is all that clients look at"
        raise BadRequest("the certificate is for no host name", why)
    return names
