"""A certificate authority of the tests' own."""

from __future__ import annotations

import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

NOW = datetime.datetime(2026, 11, 28, tzinfo=datetime.UTC)
NOW_S = NOW.timestamp()
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey


def new_key() -> ec.EllipticCurvePrivateKey:
    """A key as most certificates have it."""
    return ec.generate_private_key(ec.SECP256R1())


def pem(key: Key) -> str:
    """A key as people upload it."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


class Authority:
    """Issues; has an issuer of its own where `above` is given."""

    def __init__(self, name: str = "root", above: Authority | None = None, now: datetime.datetime = NOW) -> None:
        self.key, self.above, self._now = new_key(), above, now
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer = above or self
        self.certificate = self._builder(self.key, self.name, issuer.name).sign(issuer.key, hashes.SHA256())

    def _builder(self, key: Key, subject: x509.Name, issuer: x509.Name) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._now - datetime.timedelta(days=365))
            .not_valid_after(self._now + datetime.timedelta(days=3650))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        )

    def issue(self, key: Key | PublicKey, *names: str, days: float = 90, begun_days: float = 1) -> x509.Certificate:
        """A certificate for host names, valid from `begun_days` ago for `days` from now."""
        common = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a site")])
        builder = (
            x509.CertificateBuilder()
            .subject_name(common)
            .issuer_name(self.name)
            .public_key(key if isinstance(key, PublicKey) else key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._now - datetime.timedelta(days=begun_days))
            .not_valid_after(self._now + datetime.timedelta(days=days))
        )
        if names:
            alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
            builder = builder.add_extension(alternatives, critical=False)
        return builder.sign(self.key, hashes.SHA256())

    @property
    def pem(self) -> str:
        """Its own certificate."""
        return text(self.certificate)


def text(certificate: x509.Certificate) -> str:
    """A certificate as people upload it."""
    return certificate.public_bytes(Encoding.PEM).decode()
