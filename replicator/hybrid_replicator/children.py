"""File work in a child process, with a deadline: `hybrid_replicator.ports.Files`. Shell."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IProcessTransport, IReactorTime
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from hybrid.deeds import Differences, Folder, Form
from hybrid.errors import HybridError, NoSuchPath, OutOfSpace, QuotaReached, StorageError, StorageSick, TooLarge
from hybrid.ports import ByteSource
from hybrid.storage.children import Children, Ended, Reactor, Slots
from hybrid.storage.streams import ChildSource
from hybrid_replicator.filework import (
    PROGRESS,
    Answer,
    Compare,
    Compared,
    Copied,
    CopyTree,
    Counted,
    Listed,
    ListFolder,
    NotDone,
    ReadOut,
    Tidy,
    Trouble,
    UniteMail,
    Work,
    complained,
    decode_answer,
    encode,
)
from hybrid_replicator.ports import Told, untold

LOOK_S = 30.0
COPY_S = 1800.0
MAX_ANSWER = 64 * 1024 * 1024
READ_AT_ONCE = 16
"""Downloads; others wait for one to end, for two minutes."""

_ERRORS: dict[Trouble, type[HybridError]] = {
    "no such path": NoSuchPath,
    "too large": TooLarge,
    "out of space": OutOfSpace,
    "quota": QuotaReached,
    "failed": StorageError,
}


class ChildFiles:
    """See `hybrid_replicator.ports.Files`. One child per call."""

    def __init__(
        self,
        reactor: Reactor,
        clock: IReactorTime,
        look_s: float = LOOK_S,
        copy_s: float = COPY_S,
        command: Sequence[str] = (sys.executable, "-I", "-m", "hybrid_replicator.files"),
    ) -> None:
        """`look_s` and `copy_s` are the deadlines of looks and of restores; `command` is the child's, by full path."""
        self._reactor, self._clock = reactor, clock
        self._look_s, self._copy_s, self._command = look_s, copy_s, command
        self._children, self._downloads = Children(reactor), Slots(reactor, READ_AT_ONCE)

    async def folder(self, root: str, path: str, after: str, limit: int) -> Folder:
        """See `hybrid_replicator.ports.Files`."""
        answer = await self._do(ListFolder(root, path, after, limit), self._look_s)
        assert isinstance(answer, Listed)  # the child answers what it was asked
        return answer.folder

    async def read(self, root: str, path: str, form: Form) -> ByteSource:
        """See `hybrid_replicator.ports.Files`."""
        work = ReadOut(root, path, form)

        def failing(ended: Ended) -> HybridError:
            return _error(work, complained(ended.stderr))

        source = await ChildSource.start(self._children, self._downloads, self._command, failing, encode(work))
        try:
            return _Begun(source, await source.read())
        except BaseException:
            await source.abort()
            raise

    async def compare(
        self, old_root: str, root: str, path: str, settled_s: int, touched: tuple[bytes, ...] | None = None
    ) -> Differences:
        """See `hybrid_replicator.ports.Files`."""
        answer = await self._do(Compare(old_root, root, path, settled_s, touched), self._copy_s)
        assert isinstance(answer, Compared)  # see above
        return answer.differences

    async def copy(self, root: str, live_root: str, path: str, copy: str, told: Told = untold) -> tuple[int, str]:
        """See `hybrid_replicator.ports.Files`."""
        answer = await self._do(CopyTree(root, live_root, path, copy), self._copy_s, told)
        assert isinstance(answer, Copied)  # see above
        return answer.files, answer.path

    async def tidy(self, live_root: str) -> int:
        """See `hybrid_replicator.ports.Files`."""
        answer = await self._do(Tidy(live_root), self._copy_s)
        assert isinstance(answer, Counted)  # see above
        return answer.steps

    async def unite(self, base: str | None, root: str, live_root: str, path: str, tag: str) -> int:
        """See `hybrid_replicator.ports.Files`."""
        answer = await self._do(UniteMail(base, root, live_root, path, tag), self._copy_s)
        assert isinstance(answer, Counted)  # see above
        return answer.steps

    async def _do(self, work: Work, deadline_s: float, told: Told = untold) -> Answer:
        child = _Child(encode(work), told)
        environment = {"PATH": "/usr/bin:/bin"}
        descriptors: dict[int, int | str] = {0: "w", 1: "r", 2: "r", PROGRESS: "r"}
        self._reactor.spawnProcess(child, self._command[0], self._command, environment, childFDs=descriptors)
        late = self._clock.callLater(deadline_s, child.too_late, deadline_s)
        try:
            answer = decode_answer(await child.answered)
        except msgspec.MsgspecError as error:
            raise StorageError("the file worker broke off", child.complaint(), "see the log") from error
        finally:
            if late.active():
                late.cancel()
        if isinstance(answer, NotDone):
            raise _error(work, answer)
        return answer


def _error(work: Work, refused: NotDone) -> HybridError:
    return _ERRORS[refused.trouble](f"{work.path!r} could not be had", refused.why)


class _Begun:
    """A `ByteSource` whose first bytes came already: what cannot be read at all was refused before."""

    def __init__(self, source: ByteSource, first: bytes) -> None:
        self._source, self._first = source, first

    async def read(self) -> bytes:
        """See `hybrid.ports.ByteSource`."""
        first, self._first = self._first, b""
        return first or await self._source.read()

    async def abort(self) -> None:
        """See `hybrid.ports.ByteSource`."""
        await self._source.abort()


class _Child(ProcessProtocol):
    """Feeds the request, collects the answer."""

    log = Logger()

    def __init__(self, request: bytes, told: Told) -> None:
        self._request, self._told = request, told
        self._progress = b""
        self._out, self._errors = bytearray(), bytearray()
        self.answered: Deferred[bytes] = Deferred()

    def connectionMade(self) -> None:
        transport = self._process()
        transport.writeToChild(0, self._request)
        transport.closeChildFD(0)

    def childDataReceived(self, childFD: int, data: bytes) -> None:  # noqa: N802, N803 (Twisted's names)
        if childFD != PROGRESS:
            super().childDataReceived(childFD, data)
            return
        *lines, self._progress = (self._progress + data).split(b"\n")
        if lines:
            copied_bytes, _, size_bytes = lines[-1].partition(b" ")
            self._told(int(copied_bytes), int(size_bytes) if size_bytes else None)

    def outReceived(self, data: bytes) -> None:
        self._out += data
        if len(self._out) > MAX_ANSWER:
            self._kill()

    def errReceived(self, data: bytes) -> None:
        self._errors = (self._errors + data)[-4096:]

    def processEnded(self, reason: Failure) -> None:
        if not self.answered.called:
            self.answered.callback(bytes(self._out))

    def too_late(self, deadline_s: float) -> None:
        """The deadline passed: the caller goes on, the child is killed and reaped whenever the kernel lets go of it."""
        self._kill()
        if not self.answered.called:
            self.answered.errback(StorageSick("the files do not answer", f"waited {deadline_s:.0f} s"))

    def complaint(self) -> str:
        """The last line of what the child wrote to stderr."""
        return bytes(self._errors).decode("utf-8", "replace").strip().rpartition("\n")[2]

    def _kill(self) -> None:
        try:
            self._process().signalProcess("KILL")
        except ProcessExitedAlready:
            self.log.debug("the file worker had ended")

    def _process(self) -> IProcessTransport:
        transport = self.transport
        assert transport is not None  # set before connectionMade
        return transport
