"""
TLS between nodes: TLS 1.3 only, this cluster's certificates on both sides, the expected node and no other. Shell.

Built on `SSL.Context` rather than `CertificateOptions` because the check is not of a host name but of the node's URI
and key (`hybrid.cluster.certificates.line`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator, ITransport
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from hybrid.cluster.certificates import MAX_LINE, NotAMember, line
from hybrid.model import NodeId

CONTROL = b"hybrid-ctl/1"
STREAM = b"hybrid-stream/1"
PUMPED_STREAM = b"hybrid-stream/2"
"""A stream whose bulk may be moved by processes of their own; a node of an older release does not offer it."""
JOIN = b"hybrid-join/1"
"""What a connection to the cluster port is for (ALPN, RFC 7301). Only `JOIN` may come without a certificate."""

Check = Callable[[Sequence[x509.Certificate]], bool]
"""Whether a verified chain, the peer's own certificate first and the root last, is good enough."""
Refuses = Callable[[Sequence[NodeId]], str]
"""Why a member with this line (`hybrid.cluster.certificates.line`) is kept out; empty when it is not."""


_WHY = {9: "not valid yet: do the clocks agree?", 10: "not valid any more: do the clocks agree?"}
"""By OpenSSL's `X509_V_ERR_…`: what people can do something about."""


def nobody(line: Sequence[NodeId]) -> str:
    """`Refuses` that keeps no member out."""
    return ""


@implementer(IOpenSSLServerConnectionCreator)
class ServerTLS:
    """The accepting side; what `SSL4ServerEndpoint` and `TLSMemoryBIOFactory` take."""

    def __init__(self, context: SSL.Context) -> None:
        self._context = context

    def become(self, other: ServerTLS) -> None:
        """From the next connection on be as `other`: a certificate was renewed."""
        self._context = other._context

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:  # noqa: N802 (Twisted's name)
        """See `IOpenSSLServerConnectionCreator`."""
        return SSL.Connection(self._context, None)


@implementer(IOpenSSLClientConnectionCreator)
class ClientTLS:
    """The connecting side; what `wrapClientTLS` takes."""

    def __init__(self, context: SSL.Context) -> None:
        self._context = context

    def clientConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:  # noqa: N802 (Twisted's name)
        """See `IOpenSSLClientConnectionCreator`."""
        return SSL.Connection(self._context, None)


def present(context: SSL.Context, key: ec.EllipticCurvePrivateKey, chain: Sequence[x509.Certificate]) -> None:
    """Show `chain`: the node's own certificate first, the root last, which a newcomer compares with its token."""
    context.use_privatekey(key)
    context.use_certificate(chain[0])
    for certificate in chain[1:]:
        context.add_extra_chain_cert(certificate)


def inside(root: x509.Certificate) -> SSL.Context:
    """A context for links between nodes: TLS 1.3, no resumption, trusts `root` alone."""
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    context.set_options(SSL.OP_NO_TICKET)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    store = context.get_cert_store()
    assert store is not None
    store.add_cert(crypto.X509.from_cryptography(root))
    context.set_verify_depth(MAX_LINE + 1)
    return context


def require(context: SSL.Context, check: Check, mandatory: bool = True) -> None:
    """Let a handshake end only if the other side's chain is valid and passes `check`."""
    above: list[x509.Certificate] = []  # OpenSSL calls for one chain without a break, the root first

    def verify(connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, ok: int) -> bool:
        if not ok:
            above.clear()
            connection.set_app_data(_WHY.get(error))
            return False
        above.append(certificate.to_cryptography())
        if depth > 0:
            return True
        chain = above[::-1]
        above.clear()
        if not check(chain):
            connection.set_app_data("of no node that is let in")
            return False
        return True

    context.set_verify(SSL.VERIFY_PEER | (SSL.VERIFY_FAIL_IF_NO_PEER_CERT if mandatory else 0), verify)


def is_member(root: x509.Certificate, expected: NodeId | None = None, refuses: Refuses = nobody) -> Check:
    """A check for `require`: any member of the cluster, or exactly `expected`, unless it is kept out."""

    def check(chain: Sequence[x509.Certificate]) -> bool:
        try:
            nodes = line(root, chain)
        except NotAMember:
            return False
        return expected in (None, nodes[0]) and not refuses(nodes)

    return check


def accept_protocols(context: SSL.Context, protocols: Sequence[bytes]) -> None:
    """Choose the first of `protocols` that the client offers; a client that offers none of them gets none."""

    def select(connection: SSL.Connection, offered: list[bytes]) -> bytes | object:
        return next((protocol for protocol in protocols if protocol in offered), SSL.NO_OVERLAPPING_PROTOCOLS)

    context.set_alpn_select_callback(select)  # type: ignore[arg-type] # pyOpenSSL's private sentinel type


def why_not(transport: ITransport | None) -> str:
    """What this side had against the other one's certificate, as far as that is worth telling; else empty."""
    connection = transport.getHandle() if isinstance(transport, TLSMemoryBIOProtocol) else None
    why = connection.get_app_data() if connection is not None else None
    return f"the certificate is {why}" if isinstance(why, str) else ""


def verified(transport: ITransport | None) -> list[x509.Certificate]:
    """What the other side of a TLS transport showed and OpenSSL verified, its own first; empty when it showed none."""
    assert isinstance(transport, TLSMemoryBIOProtocol)
    return [certificate.to_cryptography() for certificate in transport.getHandle().get_verified_chain() or ()]


def shown(transport: ITransport | None) -> list[x509.Certificate]:
    """What a server showed, its own first, verified or not."""
    assert isinstance(transport, TLSMemoryBIOProtocol)
    return [certificate.to_cryptography() for certificate in transport.getHandle().get_peer_cert_chain() or ()]
