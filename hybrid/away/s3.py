"""`hybrid.away.ports.Objects` on an S3-compatible store: its REST API through treq, buckets in the path. Shell."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast
from urllib.parse import urlsplit
from xml.etree import ElementTree

import treq
from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.task import deferLater
from twisted.web.client import Agent, HTTPConnectionPool

from hybrid.away import sigv4
from hybrid.away.stores import AwayStore
from hybrid.errors import AwayError, NoSuchObject, StoreRefused, StoreUnreachable

CALL_S = 120.0
CONNECT_S = 10.0
RESTS_S = (1.0, 4.0)
MAX_ANSWER = 16 * 1024 * 1024
_XMLNS = "{http://s3.amazonaws.com/doc/2006-03-01/}"

Reactor = Any
"""`IReactorTime`, `IReactorTCP` and what `Agent` asks for beyond."""


class S3Objects:
    """A bucket, or a folder of it."""

    def __init__(
        self, reactor: Reactor, store: AwayStore, wall_s: Callable[[], float], rests_s: tuple[float, ...] = RESTS_S
    ) -> None:
        """
        Args:
            wall_s: Seconds since the epoch; stores refuse clocks that are wrong by more than some minutes.
            rests_s: Before the second, third … try of a call that failed for a reason that passes.
        """
        self._reactor, self._store, self._wall_s, self._rests_s = reactor, store, wall_s, rests_s
        self._host = urlsplit(store.endpoint).netloc
        self._connections = HTTPConnectionPool(reactor)
        self._connections.retryAutomatically = False
        self._http = HTTPClient(Agent(reactor, connectTimeout=CONNECT_S, pool=self._connections))

    async def close(self) -> None:
        """Close what connections are kept."""
        await self._connections.closeCachedConnections()

    async def put(self, name: str, data: bytes) -> None:
        """See `Objects`."""
        await self._call("PUT", self._store.folder + name, body=data)

    async def get(self, name: str) -> bytes:
        """See `Objects`."""
        return await self._call("GET", self._store.folder + name)

    async def remove(self, name: str) -> None:
        """See `Objects`."""
        try:
            await self._call("DELETE", self._store.folder + name)
        except NoSuchObject:
            return

    async def names(self, prefix: str) -> dict[str, int]:
        """See `Objects`."""
        found: dict[str, int] = {}
        for page in await self._pages(prefix, {}):
            for entry in page.iter(f"{_XMLNS}Contents"):
                name = entry.findtext(f"{_XMLNS}Key", "").removeprefix(self._store.folder)
                found[name] = int(entry.findtext(f"{_XMLNS}Size", "0"))
        return dict(sorted(found.items()))

    async def folders(self, prefix: str) -> list[str]:
        """See `Objects`."""
        start = len(self._store.folder + prefix)
        return sorted(
            entry.findtext(f"{_XMLNS}Prefix", "")[start:].rstrip("/")
            for page in await self._pages(prefix, {"delimiter": "/"})
            for entry in page.iter(f"{_XMLNS}CommonPrefixes")
        )

    async def _pages(self, prefix: str, more: Mapping[str, str]) -> list[ElementTree.Element]:
        """ListObjectsV2, all pages of at most a thousand names."""
        pages: list[ElementTree.Element] = []
        token: str | None = ""
        while token is not None:
            arguments = {"list-type": "2", "prefix": self._store.folder + prefix, **more}
            content = await self._call("GET", "", {**arguments, "continuation-token": token} if token else arguments)
            try:
                pages.append(ElementTree.fromstring(content))
            except ElementTree.ParseError as error:
                raise AwayError(
                    f"{self._store.endpoint} does not speak S3", str(error), "check the endpoint"
                ) from error
            token = pages[-1].findtext(f"{_XMLNS}NextContinuationToken") or None
        return pages

    async def _call(
        self, method: str, name: str, arguments: Mapping[str, str] | None = None, body: bytes = b""
    ) -> bytes:
        """The content of the answer, after some tries."""
        for rest_s in (*self._rests_s, None):
            try:
                return await self._try(method, name, arguments or {}, body)
            except StoreUnreachable:
                if rest_s is None:
                    raise
                await deferLater(self._reactor, rest_s, lambda: None)
        raise AssertionError("unreachable: the last try returns or raises")

    async def _try(self, method: str, name: str, arguments: Mapping[str, str], body: bytes) -> bytes:
        deferred = Deferred.fromCoroutine(self._send(method, name, arguments, body))
        deferred.addTimeout(CALL_S, self._reactor)
        where = f"{self._store.endpoint}/{self._store.bucket}"
        try:
            status, content = await deferred
        except (DeferredTimeout, CancelledError) as error:
            raise StoreUnreachable(f"{where} does not answer", f"not in {CALL_S:.0f} s", "see that it runs") from error
        except Exception as error:  # whatever a connection can die of
            why = str(error) or type(error).__name__
            raise StoreUnreachable(f"{where} cannot be reached", why[:300], "check the endpoint") from error
        if 200 <= status < 300:
            return content
        raise self._failure(status, content, name, where)

    def _failure(self, status: int, content: bytes, name: str, where: str) -> AwayError:
        code, why = _said(content)
        why = f"{status} {code} {why}".strip()[:300]
        if status == 404 and code != "NoSuchBucket":
            return NoSuchObject(f"there is no object {name}", why)
        if status >= 500 or status in (408, 429):
            return StoreUnreachable(f"{where} cannot now", why, "try again later")
        return StoreRefused(f"{where} refuses", why, "check keys, bucket, region and the clock of this machine")

    async def _send(self, method: str, name: str, arguments: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        store = self._store
        path = sigv4.path_of(store.bucket, name) if name else sigv4.path_of(store.bucket)
        query = sigv4.query_of(arguments)
        headers = sigv4.signed(
            method, self._host, path, query, body, store.region, store.access_key, store.secret_key, self._wall_s()
        )
        url = store.endpoint + path + (f"?{query}" if query else "")
        response = await self._http.request(method, url, headers=headers, data=body or None)
        content = bytearray()

        def collect(data: bytes) -> None:
            if len(content) + len(data) > MAX_ANSWER:
                raise ValueError(f"an answer of more than {MAX_ANSWER} bytes")
            content.extend(data)

        await treq.collect(response, collect)
        return cast(int, response.code), bytes(content)


def _said(content: bytes) -> tuple[str, str]:
    """Code and message of an error answer, where it has them."""
    try:
        root = ElementTree.fromstring(content)
    except ElementTree.ParseError:
        return "", ""
    return root.findtext("Code", "") or "", root.findtext("Message", "") or ""
