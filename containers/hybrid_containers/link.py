"""The node process's end of the LXC worker: starts it when needed, again when it died, and matches replies to calls."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

import msgspec
from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore
from twisted.internet.interfaces import IProcessTransport
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from hybrid.errors import ContainerError
from hybrid_containers.calls import Call, Frames, Reply, frame
from hybrid_containers.child import CLEAN, Reactor

AT_ONCE = 16
"""Calls under way in the worker; more wait their turn."""
SLACK_S = 5.0
"""How long beyond its own deadline a call may stay unanswered before the worker itself is taken for hung."""


class WorkerGone(ContainerError):
    """The worker ended before it answered. Calls may be repeated."""

    temporary = True


class WorkerLink:
    """Calls to the worker process. One at most runs; when it dies, the next call starts another."""

    log = Logger()

    def __init__(self, reactor: Reactor, command: tuple[str, ...] = (), slack_s: float = SLACK_S) -> None:
        self._slack_s = slack_s
        self._reactor = reactor
        self._command = command or (sys.executable, "-m", "hybrid_containers.worker")
        self._worker: _Worker | None = None
        self._turns = DeferredSemaphore(AT_ONCE)
        self._last = 0

    async def call(
        self,
        verb: Literal["start", "shutdown", "freeze", "thaw"],
        home: Path,
        name: str,
        *,
        deadline_s: float,
        root: str = "",
        id_base: int = 0,
        init: tuple[str, ...] = (),
        grace_s: float = 0.0,
    ) -> None:
        """
        Have it done; once more when the worker died over it.

        Raises:
            ContainerError: It could not be done, or not in time; `why` says more.
        """
        self._last += 1
        call = Call(
            id=self._last,
            verb=verb,
            home=str(home),
            name=name,
            deadline_s=deadline_s,
            root=root,
            id_base=id_base,
            init=init,
            grace_s=grace_s,
        )
        await self._turns.acquire()
        try:
            try:
                error = await self._ask(call)
            except WorkerGone:
                self.log.warn("the LXC worker died during {verb} of {name}", verb=verb, name=name)
                error = await self._ask(call)
        finally:
            self._turns.release()
        if error:
            raise ContainerError(f"cannot {verb} {name}", error)

    async def close(self) -> None:
        """End the worker; containers go on."""
        worker, self._worker = self._worker, None
        if worker is not None and worker.transport is not None:
            worker.transport.closeStdin()
            worker.ended.addTimeout(2.0, self._reactor, onTimeoutCancel=lambda _, __: worker.kill())
            await worker.ended

    async def _ask(self, call: Call) -> str:
        if self._worker is None or self._worker.ended.called:
            self._worker = _Worker(self.log)
            self._reactor.spawnProcess(self._worker, self._command[0], list(self._command), env=CLEAN, childFDs=_FDS)
        worker = self._worker
        answer = worker.ask(call)
        late = self._reactor.callLater(call.deadline_s + self._slack_s, worker.kill)
        try:
            return await answer
        except CancelledError:
            worker.kill()
            raise
        finally:
            if late.active():
                late.cancel()


_FDS: dict[int, Literal["r", "w"] | int] = {0: "w", 1: "r", 2: 2}


class _Worker(ProcessProtocol):
    """One run of the worker process."""

    transport: IProcessTransport | None

    def __init__(self, log: Logger) -> None:
        self.ended: Deferred[None] = Deferred()
        self._log = log
        self._frames = Frames()
        self._waiting: dict[int, Deferred[str]] = {}

    def ask(self, call: Call) -> Deferred[str]:
        """Send it; fires with the error in words, empty when all is well."""
        assert self.transport is not None
        answer: Deferred[str] = Deferred()
        self._waiting[call.id] = answer
        self.transport.write(frame(call))
        return answer

    def kill(self) -> None:
        """For a worker that does not answer any more."""
        if self.transport is not None and self.transport.pid:
            self.transport.signalProcess("KILL")
            self.transport.loseConnection()  # whatever else holds its pipes open is not waited for

    def outReceived(self, data: bytes) -> None:
        try:
            for message in self._frames.feed(data):
                reply = msgspec.msgpack.decode(message, type=Reply)
                if answer := self._waiting.pop(reply.id, None):
                    answer.callback(reply.error)
        except ValueError:
            self._log.failure("the LXC worker talks nonsense")
            self.kill()

    def processEnded(self, reason: Failure) -> None:
        waiting, self._waiting = self._waiting, {}
        if not self.ended.called:
            self.ended.callback(None)
        for answer in waiting.values():
            answer.errback(WorkerGone("the LXC worker ended", reason.getErrorMessage()))
