"""A stream between two nodes of one process, for `hybrid.cluster.memory_peers`. Shell, but touches no socket."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from hybrid.cluster.pipe import Pipe
from hybrid.errors import PeerError
from hybrid.model import NodeId
from hybrid.ports import ByteSource

_PIPE_BYTES = 256 * 1024


class Wires(Protocol):
    """What a stream needs of the network."""

    stall_s: float

    def reaches(self, sender: NodeId, receiver: NodeId) -> bool:
        """Whether what is sent now arrives."""

    def deliver(self, sender: NodeId, receiver: NodeId, call: Callable[[object], None]) -> None:
        """Run `call` at the receiver after the delay, unless it is lost."""

    async def wait(self, node: NodeId, peer: NodeId, event: Deferred[None], deadline_s: float) -> None:
        """Wait for `event`. Raises `PeerError` at the deadline or when the link goes down."""


class MemoryStream:
    """One offered stream: `carry` on the sender's side, `accept`, `read` and `abort` on the receiver's."""

    def __init__(self, wires: Wires, sender: NodeId, receiver: NodeId) -> None:
        self.sender = sender
        self._wires = wires
        self._receiver = receiver
        self._moved: Deferred[None] = Deferred()
        self._accepted = False
        self._replies: list[bytes] = []
        self._pipe = Pipe(_PIPE_BYTES, self._move)

    async def carry(self, source: ByteSource) -> bytes:
        """Send `source` once accepted; the encoded reply. Raises `PeerError` when cut or without progress."""
        try:
            while not (self._accepted or self._replies):
                await self._progress()
            while not self._replies and (data := await self._read(source)):
                self._push(data)
                while self._pipe.full and not self._replies:
                    await self._progress()
            if not self._replies:
                self._push(b"")
            while not self._replies:
                await self._progress()
            return self._replies[0]
        except BaseException:
            self._pipe.fail(PeerError(f"stream of {self.sender} was cut"))
            raise

    def _push(self, data: bytes) -> None:
        """Pass `data` on, `b""` for the end; a stream does not outlive a cut, however short."""
        if not self._wires.reaches(self.sender, self._receiver):
            raise PeerError(f"stream to {self._receiver} was cut", "", "it is sent again by itself")
        if data:
            self._pipe.push(data)
        else:
            self._pipe.end()

    async def accept(self) -> None:
        """See `hybrid.ports.IncomingStream`."""
        self._accepted = True
        self._wires.deliver(self._receiver, self.sender, lambda peers: self._move())

    async def read(self) -> bytes:
        """See `hybrid.ports.ByteSource`."""
        if not self._wires.reaches(self.sender, self._receiver):
            self._pipe.fail(PeerError(f"stream of {self.sender} was cut"))
        return await self._pipe.read()

    async def abort(self) -> None:
        """See `hybrid.ports.ByteSource`."""
        self._pipe.fail(PeerError("stream was aborted here"))

    def answered(self, reply: bytes) -> None:
        """The receiver's last word."""

        def arrive(peers: object) -> None:
            self._replies.append(reply)
            self._move()

        self._wires.deliver(self._receiver, self.sender, arrive)

    async def _read(self, source: ByteSource) -> bytes:
        """The next bytes of `source`, or `b""` when the reply came before them. Raises when the link goes down."""
        reading = Deferred.fromCoroutine(source.read())
        either: Deferred[None] = Deferred()
        self._moved = either
        reading.addBoth(_note, either)
        try:
            await self._wires.wait(self.sender, self._receiver, either, self._wires.stall_s)
        finally:
            if not reading.called:
                reading.addErrback(_forget)
        return await reading if reading.called else b""

    async def _progress(self) -> None:
        self._moved = Deferred()
        await self._wires.wait(self.sender, self._receiver, self._moved, self._wires.stall_s)

    def _move(self) -> None:
        fire(self._moved)


def fire(event: Deferred[None]) -> None:
    """Let `event` have happened."""
    if not event.called:
        event.callback(None)


def fail(event: Deferred[None], error: Exception) -> None:
    """Let whoever waits for `event` hear of `error` instead."""
    if not event.called:
        event.errback(Failure(error))


def _note(result: bytes | Failure, event: Deferred[None]) -> bytes | Failure:
    fire(event)
    return result


def _forget(failure: Failure) -> None:
    """The end of a read that nobody waits for any more."""
