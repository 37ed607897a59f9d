"""twisted.web made safe for the open internet: bounded bodies, requests that must arrive in time. Shell."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from io import BytesIO
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.resource import IResource
from twisted.web.server import NOT_DONE_YET, Request, Site

from hybrid.api.jsonbody import MAX_BYTES

DRAIN_BYTES = 8 * MAX_BYTES
"""A body up to this size is read to its end (and dropped), so that its sender sees the 413; a larger one is cut off."""
ARRIVE_S = 30.0
IDLE_S = 75.0
MAX_CONNECTIONS = 1000
_CUT_OFF = b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class BoundedRequest(Request):
    """A request whose body is kept only up to `MAX_BYTES`, and which has `ARRIVE_S` to arrive."""

    too_large = False
    _received = 0
    _late: IDelayedCall | None = None

    def __init__(self, channel: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(channel, *args, **kwargs)
        self._body = BytesIO()
        self._late = channel.callLater(ARRIVE_S, self._cut_off, b"")

    def gotLength(self, length: int | None) -> None:  # noqa: N802  # Twisted's hook
        """The head is complete: `length` bytes of body follow, `None` for chunks."""
        self.content = self._body
        if length is not None and length > DRAIN_BYTES:
            self._cut_off(_CUT_OFF)

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802  # Twisted's hook
        """More of the body."""
        self._received += len(data)
        if self._received <= MAX_BYTES:
            self._body.write(data)
            return
        self.too_large = True
        if self._received > DRAIN_BYTES:
            self._cut_off(_CUT_OFF)

    @property
    def body(self) -> bytes:
        """What came after the head, cut at `MAX_BYTES` (see `too_large`)."""
        return self._body.getvalue()

    def process(self) -> None:
        """All of it is here."""
        self._arrived()
        super().process()

    def connectionLost(self, reason: Failure) -> None:
        """The client went away."""
        self._arrived()
        super().connectionLost(reason)

    def _arrived(self) -> None:
        if self._late is not None and self._late.active():
            self._late.cancel()

    def _cut_off(self, last_words: bytes) -> None:
        """Say why, and close."""
        self._arrived()
        channel = self.channel
        if channel is not None and channel.transport is not None:
            channel.transport.write(last_words)
            channel.loseConnection()


class BoundedConnections(WrappingFactory):
    """A bounded number of connections; further ones are closed at once."""

    def buildProtocol(self, addr: IAddress) -> ProtocolWrapper | None:  # type: ignore[override]  # None closes it
        """A protocol for one more connection, or `None`."""
        return super().buildProtocol(addr) if len(self.protocols) < MAX_CONNECTIONS else None

    def close(self) -> None:
        """End those that are open, each after what is written already."""
        for protocol in list(self.protocols):
            protocol.loseConnection()


def bounded_site(resource: IResource, reactor: IReactorTime) -> Site:
    """A site of `BoundedRequest`s."""
    return Site(resource, requestFactory=BoundedRequest, timeout=IDLE_S, reactor=reactor, parsePOSTFormSubmission=False)


def answer_later(
    request: Request, respond: Callable[[BoundedRequest, list[Failure | None]], Coroutine[Any, Any, None]], log: Logger
) -> int:
    """
    What `Resource.render` returns whose answer `respond(request, gone)` writes; `gone` is empty while its client waits.

    Where `respond` fails not even an answer could be written: that is logged, and the connection closed.
    """
    gone: list[Failure | None] = []

    def failed(failure: Failure) -> None:
        log.failure("answering {path} failed", failure, path=request.path.decode("latin-1"))
        if not gone and request.channel is not None:
            request.loseConnection()

    request.notifyFinish().addBoth(gone.append)
    Deferred.fromCoroutine(respond(cast(BoundedRequest, request), gone)).addErrback(failed)
    return NOT_DONE_YET
