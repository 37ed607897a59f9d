"""TLS at shared ports: the certificate of the host that a client asks for, where it does. Shell."""

from __future__ import annotations

from collections.abc import Callable

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from hybrid.model import SiteId
from hybrid_proxy.showing import CIPHERS, Certificates


@implementer(IOpenSSLServerConnectionCreator)
class SharedTLS:
    """
    Many programs for mail and databases name no host, or that of the server: those see the certificate of `default`.

    Args:
        certificates: Those there are.
        site: The site that a host belongs to.
        default: The host that is meant by who names none, or one that is no site's.
    """

    def __init__(
        self, certificates: Certificates, site: Callable[[str], SiteId | None], default: Callable[[], str]
    ) -> None:
        self._certificates, self._site, self._default = certificates, site, default
        context = self._context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION | SSL.OP_CIPHER_SERVER_PREFERENCE)
        context.set_cipher_list(CIPHERS)
        context.set_session_id(b"shared ports")
        context.set_tlsext_servername_callback(self._choose)  # called also for who names no host

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:  # noqa: N802 (Twisted's name)
        """See `IOpenSSLServerConnectionCreator`."""
        return SSL.Connection(self._context, None)

    def _choose(self, connection: SSL.Connection) -> None:
        host = (connection.get_servername() or b"").decode("ascii", "replace").lower()
        site = self._site(host)
        shown = self._certificates.context(host if site is not None else self._default(), site)
        connection.set_context(shown)
