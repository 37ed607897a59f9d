"""
The checks around every receive, whatever the driver: before the first byte, and up to the last. Shell.

`zfs receive` of an increment whose target is missing looks for *any* dataset that has the base and extends that one
(measured with zfs-fuse), so the first record is read here and compared with the target before a byte is passed on.
And the last record, which makes a stream whole, is passed on by `finish` only: an aborted stream can never take
effect, even if every byte of it had come.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from hybrid.errors import StorageError, StreamRefused
from hybrid.history import History
from hybrid.model import Guid
from hybrid.ports import Partial, SinkPipe
from hybrid.storage.begin import LENGTH, Begin, NotAStream, parse


class Taker(Protocol):
    """What takes the bytes of an approved stream, by a pipe."""

    @property
    def descriptor(self) -> int | None:
        """Of the pipe, in which is all that was written; `None` when it is broken."""

    async def broken(self) -> Exception:
        """Why the pipe takes no more, when it does not."""

    async def write(self, data: bytes) -> None:
        """Take `data`; returns when there is room for more."""

    async def finish(self) -> None:
        """End of stream; returns when it is on disk."""

    async def abort(self) -> None:
        """Stop; what came is without effect."""


class ReceivingSink:
    """
    See `hybrid.ports.ByteSink`.

    Args:
        approve: Called once with the stream's first record; starts what takes the stream, or raises `StreamRefused`.
    """

    def __init__(self, approve: Callable[[Begin], Awaitable[Taker]]) -> None:
        self._approve = approve
        self._taker: Taker | None = None
        self._kept = bytearray()
        self._over: str = ""

    async def write(self, data: bytes) -> None:
        """See `hybrid.ports.ByteSink`."""
        self._refuse_after_end()
        self._kept += data
        if self._taker is None and len(self._kept) >= LENGTH:
            self._taker = await self._begun()
        if self._taker is not None and len(self._kept) > LENGTH:
            passed_on = bytes(self._kept[:-LENGTH])
            del self._kept[:-LENGTH]
            await self._taker.write(passed_on)

    async def sink_pipe(self) -> SinkPipe | None:
        """See `hybrid.ports.PipedSink`."""
        if self._taker is None or self._over:
            return None
        descriptor = self._taker.descriptor
        if descriptor is None:
            raise await self._taker.broken()
        return SinkPipe(descriptor, bytes(self._kept), self._keep, self._taker.broken)

    async def finish(self) -> None:
        """See `hybrid.ports.ByteSink`."""
        self._refuse_after_end()
        self._over = "it has ended"
        if self._taker is None:
            raise StreamRefused("the stream was not taken", f"it ended after {len(self._kept)} bytes")
        await self._taker.write(bytes(self._kept))
        await self._taker.finish()

    async def abort(self) -> None:
        """See `hybrid.ports.ByteSink`."""
        self._over = self._over or "it was aborted"
        self._kept.clear()
        if self._taker is not None:
            await self._taker.abort()

    async def _begun(self) -> Taker:
        try:
            begin = parse(bytes(self._kept[:LENGTH]))
        except NotAStream as error:
            raise StreamRefused("the stream was not taken", str(error)) from error
        return await self._approve(begin)

    def _keep(self, data: bytes) -> None:
        self._kept[:] = data

    def _refuse_after_end(self) -> None:
        if self._over:
            raise StorageError("nothing was received", self._over)


def refuse_misfit(name: str, begin: Begin, history: History | None, base_is_here: bool) -> None:
    """
    Check a stream against where it is to go.

    Args:
        name: For messages.
        begin: Its first record.
        history: Of the target; `None` when there is no such dataset.
        base_is_here: For a clone's stream: a dataset here has the snapshot that it begins at.

    Raises:
        StreamRefused: It does not fit.
    """
    why = _misfit(begin, history, base_is_here)
    if why:
        raise StreamRefused(f"{name} did not take the stream", why)


def refuse_other(name: str, begin: Begin, there: Partial | None) -> None:
    """Check a stream that goes on with another one against what is `there` of that. Raises `StreamRefused`."""
    if there is None or (there.to, there.base) != (begin.to_guid, begin.from_guid):
        raise StreamRefused(f"{name} did not take the stream", "it goes on with one of which nothing is here")


def _misfit(begin: Begin, history: History | None, base_is_here: bool) -> str:
    if begin.compound:
        return "it holds several datasets"
    if history is None:
        if begin.from_guid is None or (begin.clone and base_is_here):
            return ""
        return f"snapshot {begin.from_guid}, where it begins, is not here"
    head: Guid | None = history[-1].guid if history else None
    if begin.from_guid is None or head is None:
        return "the dataset exists, and the stream begins from nothing"
    return "" if head == begin.from_guid else "it does not begin at the dataset's newest snapshot"
