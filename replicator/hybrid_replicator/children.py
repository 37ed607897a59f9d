"""File work in a child process, with a deadline: `hybrid_replicator.ports.Files`. Shell."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IProcessTransport, IReactorProcess, IReactorTime
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from hybrid.deeds import MAX_FILE_READ, Entry
from hybrid.errors import HybridError, NoSuchPath, OutOfSpace, QuotaReached, StorageError, StorageSick, TooLarge
from hybrid_replicator.filework import (
    Answer,
    Content,
    Copied,
    CopyTree,
    Listed,
    ListEntries,
    NotDone,
    ReadContent,
    Trouble,
    United,
    UniteMail,
    Work,
    decode_answer,
    encode,
)

LOOK_S = 30.0
COPY_S = 1800.0
MAX_ANSWER = MAX_FILE_READ + 64 * 1024 * 1024

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
        reactor: IReactorProcess,
        clock: IReactorTime,
        look_s: float = LOOK_S,
        copy_s: float = COPY_S,
        command: Sequence[str] = (sys.executable, "-I", "-m", "hybrid_replicator.files"),
    ) -> None:
        """`look_s` and `copy_s` are the deadlines of looks and of restores; `command` is the child's, by full path."""
        self._reactor, self._clock = reactor, clock
        self._look_s, self._copy_s, self._command = look_s, copy_s, command

    async def entries(self, root: str, path: str) -> list[Entry]:
        """See `hybrid_replicator.ports.Files`."""
        answer = await self._do(ListEntries(root, path), self._look_s)
        assert isinstance(answer, Listed)  # the child answers what it was asked
        return answer.entries

    async def content(self, root: str, path: str) -> bytes:
        """See `hybrid_replicator.ports.Files`."""
        answer = await self._do(ReadContent(root, path, MAX_FILE_READ), self._look_s)
        assert isinstance(answer, Content)  # see above
        return answer.data

    async def copy(self, root: str, live_root: str, path: str) -> int:
        """See `hybrid_replicator.ports.Files`."""
        answer = await self._do(CopyTree(root, live_root, path), self._copy_s)
        assert isinstance(answer, Copied)  # see above
        return answer.files

    async def unite(self, base: str | None, root: str, live_root: str, path: str, tag: str) -> int:
        """See `hybrid_replicator.ports.Files`."""
        answer = await self._do(UniteMail(base, root, live_root, path, tag), self._copy_s)
        assert isinstance(answer, United)  # see above
        return answer.steps

    async def _do(self, work: Work, deadline_s: float) -> Answer:
        child = _Child(encode(work))
        self._reactor.spawnProcess(child, self._command[0], self._command, env={"PATH": "/usr/bin:/bin"})
        late = self._clock.callLater(deadline_s, child.too_late, deadline_s)
        try:
            answer = decode_answer(await child.answered)
        except msgspec.MsgspecError as error:
            raise StorageError("the file worker broke off", child.complaint(), "see the log") from error
        finally:
            if late.active():
                late.cancel()
        if isinstance(answer, NotDone):
            raise _ERRORS[answer.trouble](f"{work.path!r} could not be had", answer.why)
        return answer


class _Child(ProcessProtocol):
    """Feeds the request, collects the answer."""

    log = Logger()

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._out, self._errors = bytearray(), bytearray()
        self.answered: Deferred[bytes] = Deferred()

    def connectionMade(self) -> None:
        transport = self._process()
        transport.writeToChild(0, self._request)
        transport.closeChildFD(0)

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
