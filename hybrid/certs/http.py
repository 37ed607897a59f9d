"""Asking a certificate authority by HTTPS. Shell."""

from __future__ import annotations

from typing import Any, cast

import treq
from treq.client import HTTPClient
from twisted.internet import ssl
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.web.client import Agent, BrowserLikePolicyForHTTPS

from hybrid.certs.acme import AcmeError, Reply
from hybrid.release import __version__

CALL_S = 30.0
MAX_ANSWER = 1024 * 1024


class TreqHttp:
    """
    See `hybrid.certs.acme.Http`.

    Args:
        reactor: Where sockets live.
        ca_pem: The root that the authority's own server is trusted by; empty: those the machine trusts.
    """

    def __init__(self, reactor: Any, ca_pem: str = "") -> None:
        self._reactor = reactor
        roots = ssl.trustRootFromCertificates([ssl.Certificate.loadPEM(ca_pem.encode())]) if ca_pem else None
        policy = BrowserLikePolicyForHTTPS(trustRoot=roots)
        self._http = HTTPClient(Agent(reactor, contextFactory=policy, connectTimeout=10.0))

    async def ask(self, method: str, url: str, body: bytes = b"") -> Reply:
        """See `Http`."""
        if not url.startswith("https://"):
            raise AcmeError(f"{url[:100]!r} is not asked", "an authority is asked by HTTPS only", "check the URL")
        asking = Deferred.fromCoroutine(self._ask(method, url, body))
        asking.addTimeout(CALL_S, self._reactor)
        try:
            return await asking
        except (DeferredTimeout, CancelledError) as error:
            raise AcmeError(f"{url} does not answer", f"not in {CALL_S:.0f} s", "it is tried again") from error
        except Exception as error:  # whatever a connection can die of
            raise AcmeError(f"{url} cannot be reached", (str(error) or type(error).__name__)[:300]) from error

    async def _ask(self, method: str, url: str, body: bytes) -> Reply:
        headers = {"User-Agent": f"hybrid/{__version__}", "Content-Type": "application/jose+json"}
        response = await self._http.request(method, url, headers=headers, data=body or None, allow_redirects=False)
        content = bytearray()

        def collect(data: bytes) -> None:
            if len(content) + len(data) > MAX_ANSWER:
                raise ValueError(f"an answer of more than {MAX_ANSWER} bytes")
            content.extend(data)

        await treq.collect(response, collect)
        found = response.headers.getAllRawHeaders()
        told = {name.decode("latin-1").lower(): values[0].decode("latin-1") for name, values in found}
        return Reply(cast(int, response.code), told, bytes(content))
