"""A request on its way to a site: its bytes as they are sent, and those kept in case they must be sent again. Pure."""

from __future__ import annotations

from hybrid_proxy.body import LAST_CHUNK, chunk
from hybrid_proxy.head import RequestHead
from hybrid_proxy.message import request_bytes


class Outgoing:
    """
    The request.

    Args:
        head: As the client sent it.
        came_from: Field lines on its origin, see `hybrid_proxy.message`.
        limit: Bytes of the body that are kept once a site has them.
    """

    __slots__ = ("_came_from", "_kept", "_kept_bytes", "_limit", "head", "whole")

    def __init__(self, head: RequestHead, came_from: bytes, limit: int) -> None:
        self.head = head
        self._came_from, self._limit = came_from, limit
        self._kept: list[bytes] | None = []
        self._kept_bytes = 0
        self.whole = not (head.chunked or head.length)
        """All of it was read."""

    @property
    def repeatable(self) -> bool:
        """Whether all that was read so far is still here."""
        return self._kept is not None

    @property
    def overfull(self) -> bool:
        """Whether more was read than is kept once a site has it."""
        return self._kept_bytes > self._limit

    def so_far(self) -> bytes:
        """Head and all of the body that was read; wants `repeatable`."""
        if not self._kept and self.whole and not self.head.chunked:
            return request_bytes(self.head, self._came_from)
        end = LAST_CHUNK if self.whole and self.head.chunked else b""
        return b"".join([request_bytes(self.head, self._came_from), *map(self._framed, self._kept or ()), end])

    def add(self, piece: bytes) -> bytes:
        """More of the body was read; gives it as it is sent."""
        if self._kept is not None:
            self._kept.append(piece)
            self._kept_bytes += len(piece)
        return self._framed(piece)

    def finish(self) -> bytes:
        """The body is complete; gives what is still to be sent."""
        self.whole = True
        return LAST_CHUNK if self.head.chunked else b""

    def trim(self) -> None:
        """A site has all that was read: keep no more than the limit."""
        if self.overfull:
            self._kept = None

    def forget(self) -> None:
        """It will not be sent again."""
        self._kept = None

    def _framed(self, piece: bytes) -> bytes:
        return chunk(piece) if self.head.chunked else piece
