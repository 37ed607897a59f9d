"""A stream between two nodes of one process, for `hybrid.cluster.memory_peers`. Shell, but touches no socket."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from hybrid.cluster.pipe import Pipe
from hybrid.errors import PeerError
from hybrid.model import NodeId
from hybrid.ports import ByteSink, ByteSource, Moved

_PIPE_BYTES = 256 * 1024


class Wires(Protocol):
    """What a stream needs of the network."""

    stall_s: float

    def deliver(self, sender: NodeId, receiver: NodeId, call: Callable[[object], None]) -> None:
        """Run `call` at the receiver after the delay, unless it is lost."""

    async def wait(self, node: NodeId, peer: NodeId, event: Deferred[None], deadline_s: float) -> None:
        """Wait for `event`. Raises `PeerError` at the deadline or when the link goes down."""


class MemoryStream:
    """
    One offered stream: `carry` on the sender's side, `accept`, `read` and `abort` on the receiver's.

    Whatever one side does reaches the other as a message of the network, so that neither ever runs the other's code.
    """

    def __init__(self, wires: Wires, sender: NodeId, receiver: NodeId) -> None:
        self.sender, self.receiver = sender, receiver
        self._wires = wires
        self._moved: Deferred[None] = Deferred()
        self._accepted = False
        self._replies: list[bytes] = []
        self._room = True
        self._pipe = Pipe(_PIPE_BYTES, self._emptied)

    # ----------------------------------------------------------------------------------------- the sender's side

    async def carry(self, source: ByteSource) -> bytes:
        """Send `source` once accepted; the encoded reply. Raises `PeerError` when cut or without progress."""
        try:
            while not (self._accepted or self._replies):
                await self._progress()
            while not self._replies and (data := await self._read(source)):
                self._push(data)
                while not (self._room or self._replies):
                    await self._progress()
            if not self._replies:
                self._push(b"")
            while not self._replies:
                await self._progress()
            return self._replies[0]
        except BaseException:
            self._wires.deliver(self.sender, self.receiver, lambda peers: self.cut())
            raise

    def _push(self, data: bytes) -> None:
        """Pass `data` on, `b""` for the end. There is room again when the receiver says so."""
        self._room = False
        self._wires.deliver(self.sender, self.receiver, lambda peers: self._arrived(data))

    async def _read(self, source: ByteSource) -> bytes:
        """The next bytes of `source`, or `b""` when the reply came before them. Raises when the link goes down."""
        outcomes: list[bytes | Failure] = []

        def ended(outcome: bytes | Failure) -> None:
            outcomes.append(outcome)
            self._move()

        Deferred.fromCoroutine(source.read()).addBoth(ended)
        while not (outcomes or self._replies):
            await self._progress()  # that there is room may be told twice, and is no end of the source
        if not outcomes:
            return b""
        if isinstance(outcomes[0], Failure):
            outcomes[0].raiseException()
        return outcomes[0]

    async def _progress(self) -> None:
        self._moved = Deferred()
        await self._wires.wait(self.sender, self.receiver, self._moved, self._wires.stall_s)

    def _move(self) -> None:
        fire(self._moved)

    # --------------------------------------------------------------------------------------- the receiver's side

    async def accept(self) -> None:
        """See `hybrid.ports.IncomingStream`."""

        def accepted(peers: object) -> None:
            self._accepted = True
            self._move()

        self._wires.deliver(self.receiver, self.sender, accepted)

    def lead_into(self, sink: ByteSink, moved: Moved) -> None:
        """See `hybrid.ports.IncomingStream`. There is only one process."""

    async def read(self) -> bytes:
        """See `hybrid.ports.ByteSource`."""
        return await self._pipe.read()

    async def abort(self) -> None:
        """See `hybrid.ports.ByteSource`."""
        self._pipe.fail(PeerError("stream was aborted here"))

    def cut(self) -> None:
        """The link went down, or the sender gave up."""
        self._pipe.fail(PeerError(f"stream of {self.sender} was cut"))

    def answered(self, reply: bytes) -> None:
        """The receiver's last word."""

        def arrive(peers: object) -> None:
            self._replies.append(reply)
            self._move()

        self._wires.deliver(self.receiver, self.sender, arrive)

    def _arrived(self, data: bytes) -> None:
        if data:
            self._pipe.push(data)
        else:
            self._pipe.end()
        if not self._pipe.full:
            self._emptied()

    def _emptied(self) -> None:
        """There is room in the pipe: the sender may go on."""

        def room(peers: object) -> None:
            self._room = True
            self._move()

        self._wires.deliver(self.receiver, self.sender, room)


def fire(event: Deferred[None]) -> None:
    """Let `event` have happened."""
    if not event.called:
        event.callback(None)


def fail(event: Deferred[None], error: Exception) -> None:
    """Let whoever waits for `event` hear of `error` instead."""
    if not event.called:
        event.errback(Failure(error))
