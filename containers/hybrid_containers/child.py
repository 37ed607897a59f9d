"""Run a command as a child of the reactor: bounded in time and output, always reaped."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.interfaces import IDelayedCall, IProcessTransport, IReactorProcess, IReactorTime
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from hybrid.ports import Executed

MAX_OUTPUT = 1024 * 1024
LINGER_S = 0.5
"""How long after a child's end its output may still be held open by what it left running."""
CLEAN = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "LANG": "C.UTF-8"}


class TooLate(Exception):
    """The child was killed at its deadline; `so_far` is what it had written."""

    def __init__(self, so_far: Executed) -> None:
        super().__init__(so_far)
        self.so_far = so_far


class Reactor(IReactorProcess, IReactorTime):
    """What is needed of a reactor here."""


async def run(
    reactor: Reactor,
    argv: Sequence[str],
    *,
    stdin: bytes = b"",
    timeout_s: float,
    max_output: int = MAX_OUTPUT,
    environment: Mapping[str, str] | None = None,
) -> Executed:
    """
    Run `argv` in a session of its own (`setsid(1)`); its status is 128 + n when signal n
    ended it, and 127 when there is no such program.

    Output beyond `max_output` bytes, of either stream, is read and thrown away.

    Raises:
        TooLate: It took longer than `timeout_s`; the whole group has been killed and the child reaped.
    """
    child = _Child(reactor, stdin, max_output)
    transport = reactor.spawnProcess(child, "setsid", ["setsid", *argv], env={**CLEAN, **(environment or {})})
    timer = reactor.callLater(timeout_s, child.kill, transport)
    try:
        ended = await child.ended
    finally:
        if timer.active():
            timer.cancel()
    if child.killed:
        raise TooLate(ended)
    return ended


class _Child(ProcessProtocol):
    """Collects what a child writes and how it ends."""

    def __init__(self, clock: IReactorTime, stdin: bytes, max_output: int) -> None:
        self._clock = clock
        self._linger: IDelayedCall | None = None
        self.ended: Deferred[Executed] = Deferred(lambda _: self.kill(self.transport))
        self.killed = False
        self._stdin = stdin
        self._left = {1: max_output, 2: max_output}
        self._parts: dict[int, list[bytes]] = {1: [], 2: []}

    def connectionMade(self) -> None:
        assert self.transport is not None
        if self._stdin:
            self.transport.write(self._stdin)
        self.transport.closeStdin()

    def childDataReceived(self, childFD: int, data: bytes) -> None:  # noqa: N802, N803 - Twisted's names
        kept = data[: self._left[childFD]]
        self._left[childFD] -= len(kept)
        if kept:
            self._parts[childFD].append(kept)

    def kill(self, transport: IProcessTransport | None) -> None:
        """End the child and what it started. When something else holds its output open, do not wait for that."""
        self.killed = True
        if transport is None or transport.pid is None:
            return
        try:
            os.killpg(transport.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
        transport.loseConnection()

    def processExited(self, reason: Failure) -> None:
        """What it left behind may hold its output open: that is not waited for."""
        if self.transport is not None:
            self._linger = self._clock.callLater(LINGER_S, self.transport.loseConnection)

    def processEnded(self, reason: Failure) -> None:
        if self._linger is not None and self._linger.active():
            self._linger.cancel()
        stdout, stderr = (b"".join(self._parts[fd]) for fd in (1, 2))
        if not self.ended.called:
            self.ended.callback(Executed(_status(reason), stdout, stderr))


def _status(reason: Failure) -> int:
    if reason.check(ProcessDone):
        return 0
    if reason.check(ProcessTerminated):
        ended = reason.value
        assert isinstance(ended, ProcessTerminated)
        return 128 + ended.signal if ended.signal else int(ended.exitCode or 0)
    return 255
