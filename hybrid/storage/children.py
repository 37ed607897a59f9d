"""
Children of this process: how `zfs` and `zpool` are run. Shell.

Every child has a deadline, is reaped, and is killed by the kernel when this process dies (`setpriv --pdeathsig`), so
that none ever outlives the node. At most `limit` commands run at once; more wait their turn, within the same deadline.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.internet.defer import TimeoutError as WaitedTooLong
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import (
    IProcessTransport,
    IReactorCore,
    IReactorFromThreads,
    IReactorProcess,
    IReactorTime,
)
from twisted.internet.process import Process
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from hybrid.errors import StorageSick

COMMAND_S = 30.0
"""What an ordinary command may take."""
GRACE_S = 2.0
"""From TERM to KILL, and from KILL to giving up on a child that the kernel does not let go."""
MAX_OUTPUT_BYTES = 64 * 1024 * 1024
MAX_ERROR_BYTES = 16 * 1024
MAX_WAITING = 512

_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
_DIES_WITH_US = ("setpriv", "--pdeathsig", "KILL", "--")


class Reactor(IReactorProcess, IReactorTime, IReactorFromThreads, IReactorCore):
    """What storage needs of the reactor."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended; `status` is negative for a signal."""

    status: int
    stdout: bytes
    stderr: str


class Child(ProcessProtocol):
    """One child: collects what it writes, and tells when it has ended and is reaped."""

    log = Logger()

    def __init__(self, reactor: IReactorTime, argv: Sequence[str]) -> None:
        self.argv = tuple(argv)
        self._reactor = reactor
        self._output: list[bytes] = []
        self._output_bytes = 0
        self._errors = b""
        self._waiting: list[Deferred[Ended]] = []
        self.ended: Ended | None = None

    @property
    def process(self) -> Process:
        """The transport, with its pipes."""
        return cast(Process, self.transport)

    def outReceived(self, data: bytes) -> None:
        """Collect; a child that floods is killed."""
        self._output.append(data)
        self._output_bytes += len(data)
        if self._output_bytes > MAX_OUTPUT_BYTES:
            self.signal("KILL")

    def errReceived(self, data: bytes) -> None:
        """Keep the beginning, which says why."""
        self._errors = (self._errors + data)[:MAX_ERROR_BYTES]

    def processEnded(self, reason: Failure) -> None:
        """Reaped, and all it wrote was read."""
        value = reason.value
        status = getattr(value, "exitCode", None)
        status = -(getattr(value, "signal", None) or 1) if status is None else status
        self.ended = Ended(status, b"".join(self._output), self._errors.decode(errors="replace").strip())
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.callback(self.ended)

    def when_ended(self) -> Deferred[Ended]:
        """Fires once it has ended; may be asked for many times, and cancelled."""
        waiting: Deferred[Ended] = Deferred()
        if self.ended is not None:
            waiting.callback(self.ended)
        else:
            self._waiting.append(waiting)
        return waiting

    def signal(self, name: str) -> None:
        """Send `TERM`, `KILL`, …; ended already: fine."""
        transport: IProcessTransport | None = self.transport
        try:
            if transport is not None and self.ended is None:
                transport.signalProcess(name)
        except ProcessExitedAlready:
            pass

    async def outcome(self, deadline_s: float) -> Ended:
        """Wait for its end. Raises `StorageSick` at the deadline, when it has been killed and reaped."""
        try:
            return await self.when_ended().addTimeout(deadline_s, self._reactor)
        except WaitedTooLong:
            raise StorageSick(f"`{' '.join(self.argv)}` did not end", f"after {deadline_s:g} s it was killed") from None
        finally:
            await self.end()

    async def end(self, signals: Sequence[str] = ("TERM", "KILL")) -> None:
        """Make it end: each signal, then a wait of `GRACE_S`. Returns when it is reaped, or cannot be killed."""
        for name in signals:
            if self.ended is not None:
                return
            self.signal(name)
            if self.transport is not None:
                self.transport.loseConnection()  # a pipe nobody reads must not keep it
            try:
                await self.when_ended().addTimeout(GRACE_S, self._reactor)
            except WaitedTooLong:
                continue
        if self.ended is None:
            self.log.error(
                "child {pid} ({argv}) does not die", pid=getattr(self.transport, "pid", None), argv=self.argv
            )


class Slots:
    """Bounds how many children run at once, and how many callers wait for one to end."""

    def __init__(self, reactor: IReactorTime, limit: int) -> None:
        self._reactor = reactor
        self._free = DeferredSemaphore(limit)

    async def take(self, deadline_s: float) -> None:
        """Wait for a slot. Raises `StorageSick` when none gets free in time, or too many wait."""
        if len(self._free.waiting) >= MAX_WAITING:
            raise StorageSick("too many storage calls are waiting", f"{MAX_WAITING} of them")
        try:
            await self._free.acquire().addTimeout(deadline_s, self._reactor)
        except WaitedTooLong:
            raise StorageSick("a storage call was not begun", f"others were busy for {deadline_s:g} s") from None

    def give_back_after(self, child: Child) -> None:
        """The slot is free again once `child` has really ended."""
        child.when_ended().addCallback(lambda _: self._free.release())

    def give_back(self) -> None:
        """The slot was not used."""
        self._free.release()


class Children:
    """
    Starts children.

    Args:
        prefix: Put before every command line, as `("nsenter", "-t", "123", "-m", "--")` for another mount namespace.
        limit: Commands at once.
    """

    def __init__(self, reactor: Reactor, prefix: Sequence[str] = (), limit: int = 4) -> None:
        self.reactor = reactor
        self._prefix = tuple(prefix)
        self._slots = Slots(reactor, limit)

    def start(self, child: Child) -> None:
        """Start `child` at once, its three standard descriptors as pipes. Raises `StorageSick` if it cannot."""
        argv = [*_DIES_WITH_US, *self._prefix, *child.argv]
        try:
            self.reactor.spawnProcess(child, argv[0], argv, env=_ENVIRONMENT)
        except OSError as error:
            raise StorageSick(f"`{argv[0]}` could not be started", str(error)) from error

    async def run(self, argv: Sequence[str], deadline_s: float = COMMAND_S) -> Ended:
        """
        Run a command to its end, whatever its status.

        Raises:
            StorageSick: It did not begin or end within `deadline_s`.
        """
        begun_s = self.reactor.seconds()
        await self._slots.take(deadline_s)
        child = Child(self.reactor, argv)
        try:
            self.start(child)
        except BaseException:
            self._slots.give_back()
            raise
        self._slots.give_back_after(child)
        self.close_input(child)
        return await child.outcome(max(0.1, deadline_s - (self.reactor.seconds() - begun_s)))

    async def has(self, command: str) -> bool:
        """Whether `command` is installed."""
        return (await self.run(("sh", "-c", 'command -v "$0"', command))).status == 0

    @staticmethod
    def close_input(child: Child) -> None:
        """Nothing will be written to it."""
        child.process.closeStdin()
