"""Streams between this process and a blocking call in a thread, through a pipe; for libzfs_core. Shell."""

from __future__ import annotations

import os
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as WaitedTooLong
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from hybrid.errors import StorageError, StorageSick
from hybrid.ports import SourcePipe
from hybrid.storage.children import Reactor
from hybrid.storage.streams import COMMIT_S, IDLE_S, PIECE_BYTES, TIDY_S, unhindered

Call = Callable[[int], None]
"""A blocking call that reads from or writes to a descriptor until it is done."""
Done = Callable[[], None]
"""Called once when the call has ended."""


class _Flow:
    """One call in a thread with its end of a pipe, and our end."""

    def __init__(self, reactor: Reactor, threads: ThreadPool, call: Call, ours: int, theirs: int, done: Done) -> None:
        self._reactor, self._threads = reactor, threads
        self._ours: int | None = ours
        self.error: Failure | None = None
        self.is_over = False
        self._waiting: list[Deferred[None]] = []
        self._done = done
        deferToThreadPool(reactor, threads, self._run, call, theirs).addBoth(self._ended)

    async def transfer(self, action: Callable[[int], bytes], deadline_s: float) -> bytes:
        """`action` on our end, in a thread."""
        assert self._ours is not None
        moved: Deferred[bytes] = deferToThreadPool(self._reactor, self._threads, action, self._ours)
        return await moved.addTimeout(deadline_s, self._reactor)

    async def ended(self, deadline_s: float) -> None:
        """Wait for the call's end."""
        if not self.is_over:
            waiting: Deferred[None] = Deferred()
            self._waiting.append(waiting)
            await waiting.addTimeout(deadline_s, self._reactor)

    def close(self) -> None:
        """Our end; the call then meets a broken pipe or the end of its input."""
        if self._ours is not None:
            ours, self._ours = self._ours, None
            os.close(ours)

    @property
    def closed(self) -> bool:
        """Whether our end is closed."""
        return self._ours is None

    @property
    def descriptor(self) -> int | None:
        """Our end, as long as it is open."""
        return self._ours

    @staticmethod
    def _run(call: Call, theirs: int) -> None:
        try:
            call(theirs)
        finally:
            os.close(theirs)

    def _ended(self, result: object) -> None:
        self.error = result if isinstance(result, Failure) else None
        self.is_over = True
        self._done()
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.callback(None)


class PipeSource:
    """See `hybrid.ports.ByteSource`."""

    def __init__(self, reactor: Reactor, threads: ThreadPool, call: Call, done: Done) -> None:
        ours, theirs = os.pipe()
        self._flow = _Flow(reactor, threads, call, ours, theirs, done)

    async def read(self) -> bytes:
        """See `hybrid.ports.ByteSource`."""
        if self._flow.closed:
            raise StorageError("a stream was cut", "it was aborted")
        try:
            piece = await self._flow.transfer(lambda fd: os.read(fd, PIECE_BYTES), IDLE_S)
            if not piece:
                await self._flow.ended(IDLE_S)
        except WaitedTooLong:
            raise StorageSick("a stream was cut", f"no byte came for {IDLE_S:g} s") from None
        if not piece and self._flow.error is not None:
            self._flow.error.raiseException()
        return piece

    async def source_pipe(self) -> SourcePipe | None:
        """See `hybrid.ports.PipedSource`."""
        descriptor = self._flow.descriptor
        return None if descriptor is None else SourcePipe(descriptor, b"", unhindered)

    async def abort(self) -> None:
        """See `hybrid.ports.ByteSource`."""
        if not self._flow.closed and not self._flow.is_over:
            self._flow.close()
            try:
                await self._flow.ended(TIDY_S)
            except WaitedTooLong:
                raise StorageSick("a stream does not end", f"after {TIDY_S:g} s") from None


class PipeSink:
    """A call that takes a stream. Not yet a `hybrid.ports.ByteSink`: see `receiving`."""

    def __init__(self, reactor: Reactor, threads: ThreadPool, call: Call, done: Done) -> None:
        theirs, ours = os.pipe()
        self._flow = _Flow(reactor, threads, call, ours, theirs, done)

    async def write(self, data: bytes) -> None:
        """Give `data` to the call; returns when it is in the pipe."""
        try:
            await self._flow.transfer(lambda fd: _write_all(fd, data), IDLE_S)
        except BrokenPipeError:
            raise await self.broken() from None
        except WaitedTooLong:
            raise StorageSick("a stream was cut", f"no byte was taken for {IDLE_S:g} s") from None

    @property
    def descriptor(self) -> int | None:
        """See `hybrid.storage.receiving.Taker`."""
        return self._flow.descriptor

    async def broken(self) -> Exception:
        """See `hybrid.storage.receiving.Taker`."""
        try:
            await self._end(TIDY_S)
        except Exception as error:
            return error
        return StorageError("the stream was not taken", "its reader went away")

    async def finish(self) -> None:
        """End of stream; returns when it is on disk."""
        await self._end(COMMIT_S)

    async def abort(self) -> None:
        """Close the pipe; what was not finished is refused by the call."""
        try:
            await self._end(TIDY_S)
        except StorageSick:
            raise
        except Exception:
            return  # refused, as it should be

    async def _end(self, deadline_s: float) -> None:
        self._flow.close()
        try:
            await self._flow.ended(deadline_s)
        except WaitedTooLong:
            raise StorageSick("the pool does not answer", f"a stream took {deadline_s:g} s to end") from None
        if self._flow.error is not None:
            self._flow.error.raiseException()


def _write_all(fd: int, data: bytes) -> bytes:
    """All of `data`, however little the pipe takes at a time."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]
    return b""
