"""What a node answers to its peers' requests and offers: the handlers by message type, errors as values. Shell."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
from twisted.logger import Logger

from hybrid.errors import HybridError, PeerError
from hybrid.model import NodeId
from hybrid.ports import IncomingStream
from hybrid.wire import Failed

RequestHandler = Callable[[NodeId, msgspec.Struct], Awaitable[msgspec.Struct]]
StreamHandler = Callable[[NodeId, msgspec.Struct, IncomingStream], Awaitable[msgspec.Struct]]

UNSUPPORTED = Failed("unsupported", "this node does not know that message", "upgrade the older of the two nodes")
"""The answer to a message of a newer release."""


class Answers:
    """The table of handlers that every driver of `hybrid.ports.Peers` keeps."""

    log = Logger()

    def __init__(self) -> None:
        self._requests: dict[type[msgspec.Struct], RequestHandler] = {}
        self._streams: StreamHandler | None = None

    def handle(self, kind: type[msgspec.Struct], handler: RequestHandler) -> None:
        """See `hybrid.ports.Peers`."""
        self._requests[kind] = handler

    def handle_streams(self, handler: StreamHandler) -> None:
        """See `hybrid.ports.Peers`."""
        self._streams = handler

    async def answer(self, sender: NodeId, message: msgspec.Struct) -> msgspec.Struct:
        """The reply to `message`; `Failed` when its handler raised or there is none. Never raises."""
        handler = self._requests.get(type(message))
        if handler is None:
            return UNSUPPORTED
        try:
            return await handler(sender, message)
        except HybridError as error:
            return Failed(error.what, error.why, error.try_)
        except Exception as error:
            self.log.failure("{kind} of {sender} failed", kind=type(message).__name__, sender=sender)
            return Failed("internal error", type(error).__name__, "see the log of that node")

    async def answer_stream(self, sender: NodeId, offer: msgspec.Struct, stream: IncomingStream) -> msgspec.Struct:
        """The reply to an offered stream, as `answer`. Whatever happened, `stream` is at rest afterwards."""
        if self._streams is None:
            return UNSUPPORTED
        try:
            return await self._streams(sender, offer, stream)
        except HybridError as error:
            return Failed(error.what, error.why, error.try_)
        except Exception as error:
            self.log.failure("stream of {sender} failed", sender=sender)
            return Failed("internal error", type(error).__name__, "see the log of that node")
        finally:
            await stream.abort()


def peer_answer(node: NodeId, reply: msgspec.Struct) -> msgspec.Struct:
    """`reply`, unless it is the peer's error: then raises `PeerError` that carries it."""
    if isinstance(reply, Failed):
        why = ": ".join(part for part in (reply.what, reply.why) if part)
        raise PeerError(f"{node} could not do it", why, reply.try_)
    return reply
