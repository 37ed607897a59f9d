"""
The cluster's certificates: who may call itself a node of it. Makes and reads them; no files, no sockets, no clock.

ECDSA P-256 throughout (RFC 5280 certificates). The root signs the first node's key and is then put away. Every node's
key is also an issuer: with it the node lets others in by signing their keys (`vouch`), and makes its own certificate
for TLS (`issue`), each month anew. A certificate is followed by its *line*: the issuers that vouched, up to the root.

A node's id is the digest of its key: no issuer can make a certificate for somebody else's id.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import (
    CertificateIssuerPublicKeyTypes,
    CertificatePublicKeyTypes,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hybrid.errors import BadRequest, HybridError
from hybrid.model import NodeId

ROOT_LIFE = timedelta(days=7300)
"""Of the root, and of every issuer: no line outlives its first link, so a shorter life would need the root again."""
NODE_LIFE = timedelta(days=30)
RENEW_BEFORE = NODE_LIFE / 3
"""A certificate with less left than this is made again by its node."""
_SKEW = timedelta(days=1)
"""Certificates count from a day ago: a node with a wrong clock still joins."""
MAX_LINE = 40
"""Issuers from a node up to the root: handshakes stay below 25 kB. A node at the end of such a line lets nobody in."""
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")


class NotAMember(HybridError):
    """A certificate does not prove membership of this cluster."""


class BadName(BadRequest):
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


def cluster_id(root: x509.Certificate) -> str:
    """The id of the cluster whose root this is: `c-` and 16 base32 characters."""
    return _id("c-", root.public_key())


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


def new_root(key: ec.EllipticCurvePrivateKey, name: str, now_s: float) -> x509.Certificate:
    """The self-signed certificate of a new cluster called `name`."""
    subject = _common_name(f"Hybrid cluster {name}"[:64])
    return (
        _builder(subject, subject, key.public_key(), key.public_key(), _when(now_s), _when(now_s) + ROOT_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )


def vouch(
    root: x509.Certificate,
    voucher: x509.Certificate,
    voucher_key: ec.EllipticCurvePrivateKey,
    key: CertificatePublicKeyTypes,
    now_s: float,
) -> x509.Certificate:
    """
    The issuer's certificate of the node with public `key`: with it that node is a member.

    Args:
        root: The cluster's.
        voucher: The issuer that lets the node in, or `root` itself for the first node.
        voucher_key: Its private key.
        key: The new member's.
        now_s: Seconds since the epoch.
    """
    node = node_id(key)
    return (
        _builder(
            _issuer_name(node), voucher.subject, key, voucher_key.public_key(), _when(now_s), root.not_valid_after_utc
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectAlternativeName([_uri(root, "issuer", node)]), critical=False)
        .sign(voucher_key, hashes.SHA256())
    )


def issue(
    root: x509.Certificate, key: ec.EllipticCurvePrivateKey, name: str, address: str, now_s: float
) -> x509.Certificate:
    """
    The certificate that the node with `key` makes for itself, of the issuer that it is.

    Its alternative names: DNS `name` and the node's id, the IP `address`, and `hybrid://<cluster>/node/<id>`.

    Raises:
        BadName: `name` or `address` cannot be a node's.
    """
    check_name(name)
    check_address(address)
    node = node_id(key.public_key())
    names = x509.SubjectAlternativeName(
        [
            x509.DNSName(name),
            x509.DNSName(node),
            x509.IPAddress(ipaddress.ip_address(address)),
            _uri(root, "node", node),
        ]
    )
    both_sides = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    public, now = key.public_key(), _when(now_s)
    return (
        _builder(_common_name(name), _issuer_name(node), public, public, now, now + NODE_LIFE)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(both_sides, critical=False)
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )


def named(root: x509.Certificate, certificate: x509.Certificate, kind: str = "node") -> NodeId:
    """
    The node that `certificate` names, from its URI and its key; who signed it is not looked at.

    Raises:
        NotAMember: Of another cluster, or the id is not that of the key.
    """
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    except (ValueError, x509.ExtensionNotFound) as error:
        raise NotAMember("certificate refused", f"it names no node ({type(error).__name__})") from error
    node = node_id(certificate.public_key())
    if uris != [_uri(root, kind, node).value]:
        raise NotAMember("certificate refused", f"it says {uris}, its key says {node}")
    return node


def line(root: x509.Certificate, chain: Sequence[x509.Certificate]) -> tuple[NodeId, ...]:
    """
    Who `chain` belongs to and who vouched: the node itself, the one that let it in, and so on up to the first node.

    Times are TLS's to check, and `valid_at`'s.

    Args:
        root: The cluster's.
        chain: A node's certificate, then its issuers, its own first; with or without the root at the end.

    Raises:
        NotAMember: A link of it is missing, of another cluster, or does not fit its key.
    """
    certificates = [one for one in chain if one != root]
    if not 2 <= len(certificates) <= MAX_LINE + 1:
        raise NotAMember("certificate refused", f"{len(certificates)} certificates do not make a member")
    node = named(root, certificates[0])
    issuers = [named(root, issuer, "issuer") for issuer in certificates[1:]]
    if issuers[0] != node:
        raise NotAMember("certificate refused", f"{issuers[0]} made it for {node}")
    for below, above in zip(certificates, [*certificates[1:], root], strict=True):
        try:
            below.verify_directly_issued_by(above)
        except (InvalidSignature, ValueError, TypeError) as error:
            raise NotAMember("certificate refused", f"not of this cluster ({type(error).__name__})") from error
    return tuple(issuers)


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


def _uri(root: x509.Certificate, kind: str, node: NodeId) -> x509.UniformResourceIdentifier:
    return x509.UniformResourceIdentifier(f"hybrid://{cluster_id(root)}/{kind}/{node}")


def _common_name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _issuer_name(node: NodeId) -> x509.Name:
    return _common_name(f"Hybrid node {node}")


def _when(now_s: float) -> datetime:
    return datetime.fromtimestamp(now_s, UTC)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: CertificatePublicKeyTypes,
    issuer_key: CertificateIssuerPublicKeyTypes,
    now: datetime,
    until: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
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
