"""
Send streams out of children and into them, pulled and with back-pressure. Shell.

A source pauses its child when nobody reads; a sink's `write` returns when the child has room. Neither trusts a child
that ended badly: a source raises where the bytes would only be the beginning of a stream.
"""

from __future__ import annotations

import fcntl
import os
from collections import deque
from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as WaitedTooLong
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IPushProducer, IReactorTime
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.python.failure import Failure
from zope.interface import implementer

from hybrid.errors import HybridError, StorageError, StorageSick
from hybrid.ports import SourcePipe
from hybrid.storage.children import Child, Children, Ended, Slots

PIECE_BYTES = 256 * 1024
PIPE_BYTES = 1024 * 1024
"""Of the pipe to or from a child: as much as Linux gives to anybody, so that neither end waits for the other's turn."""
IDLE_S = 120.0
"""A child that neither gives nor takes a byte for so long is taken for hung."""
TIDY_S = 10.0
"""What a child gets to tidy up after a stream that was cut."""
COMMIT_S = 300.0
"""From the last byte of a stream to its being on disk."""

Failing = Callable[[Ended], HybridError]
"""What the bad end of a child means."""


class _Sending(Child):
    """A child whose output is pulled."""

    def __init__(self, reactor: IReactorTime, argv: Sequence[str]) -> None:
        super().__init__(reactor, argv)
        self._ready: deque[bytes] = deque()
        self._ready_bytes = 0
        self._reader: Deferred[None] | None = None
        self._closed = False

    def connectionMade(self) -> None:
        """Read much at a time: by itself Twisted takes 8 KiB a turn from a child."""
        pipe = self.process.pipes[1]
        widen(pipe.fileno())
        pipe.doRead = lambda: _read(pipe.fileno(), pipe.dataReceived)  # type: ignore[method-assign]  # of this one

    def outReceived(self, data: bytes) -> None:
        """Keep it for the reader; enough for one read and the child is paused."""
        if self._closed:
            return
        self._ready.append(data)
        self._ready_bytes += len(data)
        if self._ready_bytes >= PIECE_BYTES:
            self.process.pauseProducing()
        self._wake()

    def processEnded(self, reason: Failure) -> None:
        """All it wrote has come."""
        super().processEnded(reason)
        self._wake()

    async def pull(self) -> bytes:
        """What has come, at most `PIECE_BYTES`, waiting for some; empty when the child has ended."""
        while not self._ready and self.ended is None:
            self._reader = Deferred()
            self.process.resumeProducing()
            await self._reader.addTimeout(IDLE_S, self._reactor)
        piece = self._ready.popleft() if self._ready else b""
        self._ready_bytes -= len(piece)
        return piece

    def rest(self) -> bytes:
        """What has come; the pipe is left alone until the next `pull`."""
        if self.ended is None:
            self.process.pauseProducing()
        ready = b"".join(self._ready)
        self._ready.clear()
        self._ready_bytes = 0
        return ready

    def discard(self) -> None:
        """Nobody will read on."""
        self._closed = True
        self._ready.clear()
        self._ready_bytes = 0
        self._wake()

    def _wake(self) -> None:
        if self._reader is not None:
            reader, self._reader = self._reader, None
            reader.callback(None)


class ChildSource:
    """See `hybrid.ports.ByteSource`: the output of a child such as `zfs send`."""

    def __init__(self, child: _Sending, failing: Failing) -> None:
        self._child = child
        self._failing = failing
        self._cut = False

    @classmethod
    async def start(
        cls, children: Children, slots: Slots, argv: Sequence[str], failing: Failing, stdin: bytes = b""
    ) -> ChildSource:
        """Start the child when a slot is free, and give it `stdin`. Raises `StorageSick`."""
        child = _Sending(children.reactor, argv)
        await start_in_slot(children, slots, child)
        child.process.write(stdin)
        children.close_input(child)
        return cls(child, failing)

    async def read(self) -> bytes:
        """See `hybrid.ports.ByteSource`."""
        try:
            piece = await self._child.pull()
        except WaitedTooLong:
            await self.abort()
            raise StorageSick("a stream was cut", f"no byte came for {IDLE_S:g} s") from None
        if self._cut:
            raise StorageError("a stream was cut", "it was aborted")
        if not piece and self._child.ended is not None and self._child.ended.status != 0:
            raise self._failing(self._child.ended)
        return piece

    async def source_pipe(self) -> SourcePipe | None:
        """See `hybrid.ports.PipedSource`."""
        pipe = self._child.process.pipes.get(1)
        if self._cut or pipe is None:
            return None
        return SourcePipe(pipe.fileno(), self._child.rest(), unhindered)

    async def abort(self) -> None:
        """See `hybrid.ports.ByteSource`."""
        if self._child.ended is None:
            self._cut = True
            self._child.discard()
            await self._child.end(("KILL",))


@implementer(IPushProducer)
class ChildSink:
    """A child such as `zfs receive` that is fed. Not yet a `hybrid.ports.ByteSink`: see `receiving`."""

    def __init__(self, reactor: IReactorTime, child: Child, failing: Failing) -> None:
        self._reactor = reactor
        self._child = child
        self._failing = failing
        self._room: Deferred[None] | None = None
        pipe = child.process.pipes[0]
        widen(pipe.fileno())
        pipe.bufferSize = 0  # "paused" as long as anything waits here instead of in the pipe
        child.process.registerProducer(self, True)
        child.when_ended().addCallback(lambda _: self.resumeProducing())

    @classmethod
    async def start(cls, children: Children, slots: Slots, argv: Sequence[str], failing: Failing) -> ChildSink:
        """Start the child when a slot is free. Raises `StorageSick`."""
        child = Child(children.reactor, argv)
        await start_in_slot(children, slots, child)
        return cls(children.reactor, child, failing)

    async def write(self, data: bytes) -> None:
        """Give `data` to the child; returns when it has room for more. Raises what its end means, or `StorageSick`."""
        for at in range(0, len(data), PIECE_BYTES):
            await self._has_room()
            self._child.process.write(data[at : at + PIECE_BYTES])
        await self._has_room()

    @property
    def descriptor(self) -> int | None:
        """See `hybrid.storage.receiving.Taker`."""
        pipe = self._child.process.pipes.get(0)
        return None if pipe is None else pipe.fileno()

    async def broken(self) -> Exception:
        """See `hybrid.storage.receiving.Taker`."""
        try:
            return self._failing(await self._child.outcome(TIDY_S))
        except StorageSick as error:
            return error

    async def finish(self) -> None:
        """Close its input and wait for a good end. Raises what a bad one means, or `StorageSick`."""
        self._child.process.unregisterProducer()
        self._child.process.closeStdin()
        ended = await self._child.outcome(COMMIT_S)
        if ended.status != 0:
            raise self._failing(ended)

    async def abort(self) -> None:
        """
        Let it end on the cut stream, then kill it.

        A killed `zfs receive` leaves the daemon at work on the dataset, "busy" for the next one; at the end of its
        input it tidies up first.
        """
        if self._child.ended is None:
            self._child.process.unregisterProducer()
            self._child.process.closeStdin()
            try:
                await self._child.when_ended().addTimeout(TIDY_S, self._reactor)
            except WaitedTooLong:
                await self._child.end(("KILL",))

    def pauseProducing(self) -> None:
        """The pipe is full."""
        self._room = self._room or Deferred()

    def resumeProducing(self) -> None:
        """The pipe is drained, or the child has ended."""
        if self._room is not None:
            room, self._room = self._room, None
            room.callback(None)

    def stopProducing(self) -> None:
        """The child reads no more; its end says why."""
        self.resumeProducing()

    async def _has_room(self) -> None:
        if self._room is not None:
            try:
                await self._room.addTimeout(IDLE_S, self._reactor)
            except WaitedTooLong:
                self._room = None
                await self.abort()
                raise StorageSick("a stream was cut", f"no byte was taken for {IDLE_S:g} s") from None
        if self._child.ended is not None:
            raise self._failing(self._child.ended)


async def unhindered(size_bytes: int, saved_bytes: int = 0) -> None:
    """See `hybrid.ports.Moved`: nothing has to wait."""


def widen(fd: int) -> None:
    """Give a pipe room for `PIPE_BYTES`, if it may be; a small one works too."""
    try:
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    except OSError:
        return


def _read(fd: int, deliver: Callable[[bytes], object]) -> ConnectionDone | ConnectionLost | None:
    """What a reactor calls when there is something in a pipe."""
    try:
        data = os.read(fd, PIECE_BYTES)
    except BlockingIOError:
        return None
    except OSError:
        return CONNECTION_LOST
    if not data:
        return CONNECTION_DONE
    deliver(data)
    return None


async def start_in_slot(children: Children, slots: Slots, child: Child) -> None:
    """Start `child` when a slot is free; the slot is free again when it has ended."""
    await slots.take(IDLE_S)
    try:
        children.start(child)
    except BaseException:
        slots.give_back()
        raise
    slots.give_back_after(child)
