"""A TLS client without a socket, at the other end of a `Wire`."""

from __future__ import annotations

import ssl
import warnings
from typing import Any

from cryptography import x509


class TlsClient:
    """
    Speaks TLS over `wire`, trusting nobody in particular: what it was shown is for the test to look at.

    Args:
        wire: See `tests.proxy.conftest.Wire`.
        host: Asked for (SNI); `None` asks for none.
        protocols: ALPN.
        newest: The newest version of TLS it speaks.
    """

    def __init__(
        self, wire: Any, host: str | None, protocols: tuple[str, ...] = (), newest: ssl.TLSVersion | None = None
    ) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if protocols:
            context.set_alpn_protocols(list(protocols))
        if newest is not None:
            context.set_ciphers("ALL:@SECLEVEL=0")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # old versions are what is tried
                context.minimum_version = ssl.TLSVersion.TLSv1
                context.maximum_version = newest
        self.wire = wire
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_hostname=host)

    def hello(self) -> bytes:
        """The first message, not sent yet."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            pass
        return self._out.read()

    def shake(self) -> TlsClient:
        """The handshake. Raises `ssl.SSLError` when the server does not want it."""
        for _ in range(5):
            try:
                self._tls.do_handshake()
                self._flush()
                return self
            except ssl.SSLWantReadError:
                self._flush()
                self._in.write(self.wire.taken())
        raise AssertionError("the handshake does not end")

    def send(self, data: bytes) -> None:
        """Send within TLS."""
        self._tls.write(data)
        self._flush()

    def taken(self) -> bytes:
        """What came within TLS since the last call."""
        self._in.write(self.wire.taken())
        found = []
        while True:
            try:
                data = self._tls.read(65536)
            except (ssl.SSLWantReadError, ssl.SSLZeroReturnError):
                break
            if not data:
                break
            found.append(data)
        return b"".join(found)

    def _flush(self) -> None:
        data = self._out.read()
        if data:
            self.wire.send(data)

    @property
    def protocol(self) -> str | None:
        """What was agreed on (ALPN)."""
        return self._tls.selected_alpn_protocol()

    @property
    def version(self) -> str | None:
        """Of TLS."""
        return self._tls.version()

    def shown(self) -> tuple[str, ...]:
        """The host names in the certificate that was shown."""
        der = self._tls.getpeercert(True)
        assert der is not None
        extension = x509.load_der_x509_certificate(der).extensions.get_extension_for_class(x509.SubjectAlternativeName)
        return tuple(extension.value.get_values_for_type(x509.DNSName))
