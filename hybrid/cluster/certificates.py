"""
The cluster's certificates: who may call itself a node of it. Makes and reads them; no files, no sockets, no clock.

ECDSA P-256 throughout (RFC 5280 certificates). A node's id is the digest of its key, so that even a member that holds
the authority's key cannot make a certificate for somebody else's id.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import re
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hybrid.errors import HybridError
from hybrid.model import NodeId

AUTHORITY_LIFE = timedelta(days=3650)
NODE_LIFE = timedelta(days=365)
RENEW_BEFORE = NODE_LIFE / 3
"""A certificate with less left than this is made again by its node."""
_SKEW = timedelta(days=1)
"""Certificates count from a day ago: a node with a wrong clock still joins."""
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")


class NotAMember(HybridError):
    """A certificate does not prove membership of this cluster."""


class BadName(HybridError):
    """A node's name or address cannot be put into a certificate."""


def new_key() -> ec.EllipticCurvePrivateKey:
    """A fresh private key."""
    return ec.generate_private_key(ec.SECP256R1())


def spki_sha256(key: CertificatePublicKeyTypes) -> bytes:
    """The digest of a public key as it stands in certificates (RFC 7469 calls it a pin): 32 bytes."""
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).digest()


def _id(prefix: str, key: CertificatePublicKeyTypes) -> str:
    return prefix + base64.b32encode(spki_sha256(key)).decode().lower()[:16]


def node_id(key: CertificatePublicKeyTypes) -> NodeId:
    """The id of the node that has the private part of `key`."""
    return NodeId(_id("n-", key))


def cluster_id(authority: x509.Certificate) -> str:
    """The id of the cluster whose authority this is: `c-` and 16 base32 characters."""
    return _id("c-", authority.public_key())


def check_name(name: str) -> None:
    """Raises `BadName` unless `name` can be a node's: `[a-z0-9-]`, at most 32, a letter or digit at both ends."""
    if not _NAME.fullmatch(name):
        raise BadName(f"{name[:40]!r} cannot be a node's name", "only a-z, 0-9 and - (not at the ends), at most 32")


def check_address(address: str) -> None:
    """Raises `BadName` unless `address` is an IP address that a node can have."""
    try:
        usable = not ipaddress.ip_address(address).is_unspecified
    except ValueError:
        usable = False
    if not usable:
        raise BadName(f"{address[:40]!r} cannot be a node's address", "it must be an IP address others reach it at")


def new_authority(key: ec.EllipticCurvePrivateKey, name: str, now_s: float) -> x509.Certificate:
    """The self-signed certificate of a new cluster called `name`."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Hybrid cluster {name}"[:64])])
    usage = _usage(signs_certificates=True)
    return (
        _builder(subject, subject, key.public_key(), now_s, AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )


def issue(
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
    key: CertificatePublicKeyTypes,
    name: str,
    address: str,
    now_s: float,
) -> x509.Certificate:
    """
    The certificate of the node with public `key`.

    Its alternative names: DNS `name` and the node's id, the IP `address`, and `hybrid://<cluster>/node/<id>`.

    Raises:
        BadName: `name` or `address` cannot be a node's.
    """
    check_name(name)
    check_address(address)
    node = node_id(key)
    names = x509.SubjectAlternativeName(
        [
            x509.DNSName(name),
            x509.DNSName(node),
            x509.IPAddress(ipaddress.ip_address(address)),
            x509.UniformResourceIdentifier(_uri(authority, node)),
        ]
    )
    both_sides = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return (
        _builder(subject, authority.subject, key, now_s, NODE_LIFE)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(both_sides, critical=False)
        .add_extension(names, critical=False)
        .sign(authority_key, hashes.SHA256())
    )


def member(authority: x509.Certificate, certificate: x509.Certificate) -> NodeId:
    """
    The node that `certificate` names, from its URI and its key. Times are TLS's to check, and `valid_at`'s.

    Raises:
        NotAMember: Not signed by `authority`, of another cluster, or the id is not that of the key.
    """
    try:
        certificate.verify_directly_issued_by(authority)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    except (InvalidSignature, ValueError, TypeError, x509.ExtensionNotFound) as error:
        raise NotAMember("certificate refused", f"not issued by this cluster ({type(error).__name__})") from error
    node = node_id(certificate.public_key())
    if uris != [_uri(authority, node)]:
        raise NotAMember("certificate refused", f"it says {uris}, its key says {node}")
    return node


def valid_at(certificate: x509.Certificate, now_s: float) -> bool:
    """Whether `now_s` (seconds since the epoch) lies in the certificate's time."""
    now = _when(now_s)
    return certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc


def due_for_renewal(certificate: x509.Certificate, now_s: float) -> bool:
    """Whether its node should make it again."""
    return certificate.not_valid_after_utc - _when(now_s) < RENEW_BEFORE


def names_address(certificate: x509.Certificate, address: str) -> bool:
    """Whether a node's certificate names the IP `address`."""
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return ipaddress.ip_address(address) in names.get_values_for_type(x509.IPAddress)


def _uri(authority: x509.Certificate, node: NodeId) -> str:
    return f"hybrid://{cluster_id(authority)}/node/{node}"


def _when(now_s: float) -> datetime:
    return datetime.fromtimestamp(now_s, UTC)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: CertificatePublicKeyTypes, now_s: float, life: timedelta
) -> x509.CertificateBuilder:
    now = _when(now_s)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + life)
    )


def _usage(signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
