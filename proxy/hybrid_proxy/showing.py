"""Which certificate a client is shown: that of the host it names, or one of our own making, never another's. Shell."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from twisted.logger import Logger

from hybrid.certs import records
from hybrid.certs.records import Shown
from hybrid.model import SiteId

H2, HTTP11 = b"h2", b"http/1.1"
MADE_FOR_DAYS = 90
MAX_CONTEXTS = 4096
CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2: forward secret and authenticated, none else; TLS 1.3 has no other."""


class Certificates:
    """
    What the node process fed, ready to be shown.

    Contexts are made when a client first asks for them, and dropped when their certificate changes or too many others
    were asked for since.
    """

    log = Logger()

    def __init__(self, protocols: tuple[bytes, ...] = (H2, HTTP11)) -> None:
        """`protocols`: what is spoken, the best first."""
        self._protocols = protocols
        self._text: dict[str, str] = {}
        self._by_name: dict[str, list[Shown]] = {}
        self._contexts: dict[Shown | str, SSL.Context] = {}

    def follow(self, secrets: Mapping[str, str]) -> None:
        """Show these from now on; what of `secrets` is no certificate is not looked at."""
        text = {key: value for key, value in secrets.items() if key.startswith(records.KEY)}
        if text == self._text:
            return
        self._text, self._by_name = text, {}
        known = set()
        for value in text.values():
            try:
                shown = msgspec.json.decode(value, type=Shown)
            except msgspec.MsgspecError:
                continue
            known.add(shown)
            for name in shown.names:
                self._by_name.setdefault(name, []).append(shown)
        self._contexts = {key: made for key, made in self._contexts.items() if isinstance(key, str) or key in known}

    def of(self, host: str, site: SiteId | None) -> Shown | None:
        """The certificate for `host`, a domain of `site`."""
        wildcard = "*." + host.partition(".")[2]
        return records.best(host, site, [*self._by_name.get(host, ()), *self._by_name.get(wildcard, ())])

    def context(self, host: str, site: SiteId | None) -> SSL.Context:
        """What to speak TLS with to a client that asks for `host`: with its certificate, or one we made for it."""
        shown = self.of(host, site)
        if shown is not None:
            try:
                return self._kept(shown) or self._keep(shown, self._made(shown.chain.encode(), shown.key.encode()))
            except (ValueError, TypeError, SSL.Error):
                self.log.failure("the certificate for {host} cannot be shown", host=host)
        return self._kept(host) or self._keep(host, self._self_signed(host))

    def _kept(self, key: Shown | str) -> SSL.Context | None:
        context = self._contexts.pop(key, None)
        if context is not None:
            self._contexts[key] = context
        return context

    def _keep(self, key: Shown | str, context: SSL.Context) -> SSL.Context:
        self._contexts[key] = context
        while len(self._contexts) > MAX_CONTEXTS:
            del self._contexts[next(iter(self._contexts))]
        return context

    def _made(self, chain: bytes, key: bytes) -> SSL.Context:
        private = load_pem_private_key(key, None)
        assert isinstance(private, records.Key)
        return _context(x509.load_pem_x509_certificates(chain), private, self._protocols)

    def _self_signed(self, host: str) -> SSL.Context:
        """Clients warn of it, and whoever goes on sees the site of that name."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.now(datetime.UTC)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "no certificate yet")])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=MADE_FOR_DAYS))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
            .sign(key, hashes.SHA256())
        )
        return _context([certificate], key, self._protocols)


def _context(chain: Iterable[x509.Certificate], key: records.Key, protocols: tuple[bytes, ...]) -> SSL.Context:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION | SSL.OP_CIPHER_SERVER_PREFERENCE)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.set_cipher_list(CIPHERS)
    own, *issuers = chain
    context.use_certificate(own)
    context.use_privatekey(key)
    for issuer in issuers:
        context.add_extra_chain_cert(issuer)
    context.set_session_id(own.fingerprint(hashes.SHA256()))

    def select(connection: SSL.Connection, offered: list[bytes]) -> bytes | object:
        return next((protocol for protocol in protocols if protocol in offered), SSL.NO_OVERLAPPING_PROTOCOLS)

    context.set_alpn_select_callback(select)  # type: ignore[arg-type] # pyOpenSSL's private sentinel type
    return context
