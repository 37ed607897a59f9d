"""Takes an offered stream into the pool: its head is checked first, its length all the time. Shell."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from hybrid.errors import OutOfSpace
from hybrid.ports import ByteSink, IncomingStream
from hybrid.wire import Offer
from hybrid_replicator.header import SIZE, BadStream, check, read

SLACK_BYTES = 16 * 1024 * 1024
"""A stream may be a tenth and this much longer than was announced."""


def limit_bytes(offer: Offer, free_bytes: int) -> int:
    """How long the stream may be: as announced and a little, or all that is free where nothing was announced."""
    return free_bytes if offer.size_bytes is None else offer.size_bytes * 11 // 10 + SLACK_BYTES


async def take_in(
    offer: Offer, stream: IncomingStream, open_sink: Callable[[], Awaitable[ByteSink]], limit: int
) -> int:
    """
    Accept the stream and receive it whole, or not at all.

    Args:
        open_sink: Called once the stream's head is found to be the one announced.
        limit: Bytes after which it is cut.

    Returns:
        Its length, when it is on disk.

    Raises:
        BadStream: It is not what was announced, or longer.
        HybridError: The peer or the pool failed; the old head stands.
    """
    await stream.accept()
    data = await _first(stream)
    check(read(data), offer)
    sink = await open_sink()
    total = 0

    async def moved(size_bytes: int, saved_bytes: int = 0) -> None:
        nonlocal total
        total += size_bytes
        if total > limit:
            raise _too_long(offer, limit)

    stream.lead_into(sink, moved)
    try:
        while data:
            await moved(len(data))
            await sink.write(data)
            data = await stream.read()
        await sink.finish()
    except BaseException:
        await sink.abort()
        raise
    return total


def _too_long(offer: Offer, limit: int) -> Exception:
    if offer.size_bytes is None:
        return OutOfSpace(f"no room for {offer.dataset}", f"the stream is longer than the {limit} bytes left")
    return BadStream(f"the stream is longer than the {offer.size_bytes} bytes announced")


async def _first(stream: IncomingStream) -> bytes:
    """Enough bytes for the first record, or all there are."""
    data = b""
    while len(data) < SIZE:
        more = await stream.read()
        if not more:
            break
        data += more
    return data
