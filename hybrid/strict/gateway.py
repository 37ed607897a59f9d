"""
`hybrid.strict.ports.Etcd` on a real etcd: its JSON gateway through treq, its members tried in turn. Shell.

The member that answered last is asked first. Each is asked once per call and has its even share of `CALL_S`; what one
does not use, those after it have. A call ends after `CALL_S` whatever happens. A change whose answer was lost may be
done: the next member then says that the conditions do not hold, so callers look at what stands there (`Entry.lease`
tells whose).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec
import treq
from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import (
    Certificate,
    PrivateCertificate,
    optionsForClientTLS,
    platformTrust,
    trustRootFromCertificates,
)
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer

from hybrid.settings import Strict
from hybrid.strict import messages
from hybrid.strict.ports import EtcdUnreachable, NoSuchLease, Reading

CALL_S = 2.4
MAX_ANSWER = 1024 * 1024
MAX_KEYS = 100
"""etcd takes at most 128 operations in a transaction."""

Reactor = Any
"""`IReactorTime`, `IReactorTCP` and what `Agent` asks for beyond."""
T = TypeVar("T")


class EtcdGateway:
    """See `hybrid.strict.ports.Etcd`."""

    def __init__(self, reactor: Reactor, settings: Strict) -> None:
        """
        Args:
            reactor: The process's.
            settings: With at least one endpoint.

        Raises:
            OSError: A certificate or key of `settings` cannot be read.
        """
        self._reactor = reactor
        self._endpoints = [endpoint.rstrip("/") for endpoint in settings.endpoints]
        self._connections = HTTPConnectionPool(reactor)
        self._connections.retryAutomatically = False
        agent = Agent(reactor, _Policy(settings), connectTimeout=CALL_S, pool=self._connections)
        self._http = HTTPClient(agent)

    async def close(self) -> None:
        """Close what connections are kept."""
        await self._connections.closeCachedConnections()

    async def read(self, keys: Collection[str]) -> Reading:
        """See `hybrid.strict.ports.Etcd`."""
        if len(keys) > MAX_KEYS:
            raise ValueError(f"{len(keys)} keys at once, {MAX_KEYS} are the most")
        return await self._call(
            "kv/txn", messages.read_body(keys), lambda content: messages.reading(content, len(keys))
        )

    async def put_if(self, compares: Mapping[str, int], key: str, value: str, lease: int = 0) -> int | None:
        """See `hybrid.strict.ports.Etcd`."""
        return await self._call("kv/txn", messages.put_body(compares, key, value, lease), messages.written)

    async def remove_if(self, compares: Mapping[str, int], key: str) -> bool:
        """See `hybrid.strict.ports.Etcd`."""
        return await self._call("kv/txn", messages.remove_body(compares, key), messages.written) is not None

    async def grant(self, ttl_s: float) -> int:
        """See `hybrid.strict.ports.Etcd`. etcd counts in whole seconds: rounded up."""
        return await self._call("lease/grant", {"TTL": str(-int(-ttl_s // 1))}, messages.granted)

    async def keep_alive(self, lease: int) -> bool:
        """See `hybrid.strict.ports.Etcd`."""
        return await self._call("lease/keepalive", {"ID": str(lease)}, messages.kept)

    async def revoke(self, lease: int) -> None:
        """See `hybrid.strict.ports.Etcd`."""
        try:
            await self._call("lease/revoke", {"ID": str(lease)}, lambda content: None)
        except NoSuchLease:
            return

    async def _call(self, path: str, body: messages.Json, meaning: Callable[[bytes], T]) -> T:
        """Ask the members in turn, the one that answered last first."""
        end_s = self._reactor.seconds() + CALL_S
        failed: list[str] = []
        for asked, endpoint in enumerate(list(self._endpoints)):
            share_s = (end_s - self._reactor.seconds()) / (len(self._endpoints) - asked)
            if share_s <= 0:
                break
            try:
                answer = meaning(await self._ask(f"{endpoint}/v3/{path}", body, share_s))
            except EtcdUnreachable as error:
                failed.append(f"{endpoint}: {error.why or error.what}")
                continue
            self._endpoints.remove(endpoint)
            self._endpoints.insert(0, endpoint)
            return answer
        raise EtcdUnreachable("etcd cannot be reached", "; ".join(failed), "see that a majority of its members runs")

    async def _ask(self, url: str, body: messages.Json, deadline_s: float) -> bytes:
        """The content of one member's answer. Raises what `hybrid.strict.messages.failure` makes of any other."""
        deferred = Deferred.fromCoroutine(self._post(url, msgspec.json.encode(body)))
        deferred.addTimeout(deadline_s, self._reactor)
        try:
            status, content = await deferred
        except (DeferredTimeout, CancelledError) as error:
            raise EtcdUnreachable("no answer", f"no answer in {deadline_s:.1f} s") from error
        except Exception as error:  # whatever a connection can die of
            raise EtcdUnreachable("no answer", str(error) or type(error).__name__) from error
        if status != 200:
            raise messages.failure(status, content)
        return content

    async def _post(self, url: str, body: bytes) -> tuple[int, bytes]:
        response = await self._http.post(url, data=body, headers={"Content-Type": "application/json"})
        content = bytearray()

        def collect(data: bytes) -> None:
            if len(content) + len(data) > MAX_ANSWER:
                raise ValueError(f"an answer of more than {MAX_ANSWER} bytes")
            content.extend(data)

        await treq.collect(response, collect)
        return cast(int, response.code), bytes(content)


@implementer(IPolicyForHTTPS)
class _Policy:
    """Trusts the authority named in the settings (else the machine's), and shows our certificate where there is one."""

    def __init__(self, settings: Strict) -> None:
        self._trust = (
            trustRootFromCertificates([Certificate.loadPEM(Path(settings.ca).read_bytes())])
            if settings.ca
            else platformTrust()
        )
        self._ours = (
            PrivateCertificate.loadPEM(Path(settings.key).read_bytes() + Path(settings.cert).read_bytes())
            if settings.cert
            else None
        )

    def creatorForNetloc(self, hostname: bytes, port: int) -> IOpenSSLClientConnectionCreator:  # noqa: N802
        """See `twisted.web.iweb.IPolicyForHTTPS`."""
        name = hostname.decode("ascii")
        return optionsForClientTLS(name, trustRoot=self._trust, clientCertificate=self._ours)
