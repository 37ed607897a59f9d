"""
A replication stream between two nodes, on a connection of its own: offer, acceptance, data, end, answer. Shell.

Sender's frames: the offer, then data, then one empty frame: complete. A connection that ends without it was cut.
Receiver's frames: `Done` for "send", then the answer; or the answer alone, which refuses. In between, the bulk of a
large stream may be moved by others: `Pumped`, its mark among the data, `PumpNow`, then what `pump` says, then frames.
"""

from __future__ import annotations

import os
from typing import Literal

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from hybrid import wire
from hybrid.cluster import squeezing
from hybrid.cluster.answering import UNSUPPORTED, Answers, peer_answer
from hybrid.cluster.framed import Connections, Framed
from hybrid.cluster.lending import Lending
from hybrid.cluster.link import LinkTiming
from hybrid.cluster.pipe import Pipe
from hybrid.cluster.pumping import PipeBroken, Pumps
from hybrid.errors import PeerError
from hybrid.model import NodeId
from hybrid.ports import ByteSink, ByteSource, Moved, PipedSink, PipedSource

MAX_DATA = 1024 * 1024
"""Bytes in one frame of data; sources give at most a quarter of that."""
_PIPE_BYTES = 1024 * 1024
_MARK_BYTES = 16
"""So long that no data is like it."""


class Stalled:
    """Calls `give_up` when nothing moved for `stall_s`; until `stop`."""

    def __init__(self, reactor: IReactorTime, stall_s: float, connection: Framed) -> None:
        self._stall_s = stall_s
        self._late: IDelayedCall = reactor.callLater(stall_s, connection.abort, f"nothing moved for {stall_s} s")

    def moved(self) -> None:
        """Something did."""
        if self._late.active():
            self._late.reset(self._stall_s)

    def stop(self) -> None:
        """Watch no longer."""
        if self._late.active():
            self._late.cancel()


class OutgoingStream(Lending):
    """The sender's end."""

    def __init__(
        self,
        reactor: IReactorTime,
        timing: LinkTiming,
        connections: Connections,
        node: NodeId,
        offer: msgspec.Struct,
        pumps: Pumps | None = None,
    ) -> None:
        super().__init__(connections, node, "send", pumps)
        self._reactor, self._timing, self._peer, self._offer = reactor, timing, node, offer
        self._accepted = False
        self._mark = b""
        self._peer_unpacks = False
        self._pump_now = False
        self._answer: wire.Message | None = None
        self._event: Deferred[None] = Deferred()
        self._stalled: Stalled | None = None

    def connectionMade(self) -> None:
        """The deadline counts from here."""
        super().connectionMade()
        self._stalled = Stalled(self._reactor, self._timing.stall_s, self)

    def shaken(self) -> None:
        """Offer."""
        self.put(wire.pack(1, self._offer))

    def frame_received(self, data: bytes) -> None:
        """`Done` once, to begin; what pumps need; anything else is the answer."""
        _, message = wire.unpack(data)
        self._move()
        if message == wire.Done() and not self._accepted:
            self._accepted = True
        elif isinstance(message, wire.Pumped) and len(message.mark) >= _MARK_BYTES:
            self._mark = message.mark
            self._peer_unpacks = squeezing.NAME in message.takes
        elif isinstance(message, wire.PumpNow):
            self._pump_now = True
        elif self._answer is None:
            self._answer = UNSUPPORTED if message is None else message
        self._wake()

    def resumeProducing(self) -> None:
        """The peer took something."""
        self._move()
        super().resumeProducing()
        self._wake()

    def ended(self, error: PeerError) -> None:
        """Wake who waits."""
        if self._stalled is not None:
            self._stalled.stop()
        self.cut_pump()
        self._wake()

    async def carry(self, source: ByteSource) -> msgspec.Struct:
        """
        Send `source` once the peer accepts; its answer, which may come before the end.

        Raises:
            PeerError: Cut, stalled, or the peer's own error.
        """
        try:
            while not self._accepted and self._answer is None:
                await self._change()
            while self._answer is None and (data := await self._next(source)):
                self._send(data)
                if isinstance(source, PipedSource):
                    self.passed(len(data))
                while self.paused and self._answer is None:
                    await self._change()
                if isinstance(source, PipedSource) and self._mark and self.pump_is_ready:
                    await self._have_pumped(source)
            if self._answer is None:
                self._send(b"")
            while self._answer is None:
                await self._change()
        finally:
            self.abort("done")
            await self.reap_pump()
        return peer_answer(self._peer, self._answer)

    async def _have_pumped(self, source: PipedSource) -> None:
        """The rest of `source`, unless the answer comes first."""
        pipe = await source.source_pipe()
        if pipe is None:
            return
        if pipe.held:
            await pipe.moved(len(pipe.held))
            self._send(pipe.held)
        mark, self._mark = self._mark, b""
        self._send(mark)
        while not self._pump_now and self._answer is None:
            await self._change()
        if self._answer is None:
            squeeze = self._may_squeeze and self._peer_unpacks
            lent = self.lend(pipe.descriptor, self._noticing(pipe.moved), squeeze=squeeze)
            await self._unless_answered(Deferred.fromCoroutine(lent))

    def _noticing(self, moved: Moved) -> Moved:
        async def noticed(size_bytes: int, saved_bytes: int = 0) -> None:
            self._move()
            await moved(size_bytes, saved_bytes)
            self._move()

        return noticed

    def _send(self, data: bytes) -> None:
        self._move()
        if not self.put(data):
            raise self.error()

    async def _next(self, source: ByteSource) -> bytes:
        """What `source` gives next; `b""` at its end, and when the answer came first."""
        return await self._unless_answered(Deferred.fromCoroutine(source.read()))

    async def _unless_answered(self, giving: Deferred[bytes]) -> bytes:
        """What `giving` gives; `b""` when the answer came first, which nobody waits for then."""
        outcomes: list[bytes | Failure] = []

        def ended(outcome: bytes | Failure) -> None:
            outcomes.append(outcome)
            self._wake()

        giving.addBoth(ended)
        while not outcomes and self._answer is None:
            await self._change()
        if not outcomes:
            return b""
        if isinstance(outcomes[0], Failure):
            outcomes[0].raiseException()
        return outcomes[0]

    async def _change(self) -> None:
        """Wait until anything happened. Raises `PeerError` when the connection is gone."""
        if not self.over:
            self._event = Deferred()
            await self._event
        if self.over and self._answer is None:
            raise PeerError(f"stream to {self._peer} was cut", self.reason, "it is sent again by itself")

    def _wake(self) -> None:
        if not self._event.called:
            self._event.callback(None)

    def _move(self) -> None:
        if self._stalled is not None:
            self._stalled.moved()


class AcceptedStream(Lending):
    """The receiver's end; what `hybrid.ports.IncomingStream` handlers read from."""

    def __init__(
        self,
        reactor: IReactorTime,
        timing: LinkTiming,
        connections: Connections,
        node: NodeId,
        answers: Answers,
        pumps: Pumps | None = None,
    ) -> None:
        """`node` is who the certificate names."""
        super().__init__(connections, node, "receive", pumps)
        self._reactor, self._timing, self._peer, self._answers = reactor, timing, node, answers
        self._stage: Literal["new", "offered", "accepted", "marked", "complete"] = "new"
        self._mark = b""
        self._into: tuple[PipedSink, Moved] | None = None
        self._pipe = Pipe(_PIPE_BYTES, self._room_again)
        self._stalled = Stalled(reactor, timing.stall_s, self)

    def frame_received(self, data: bytes) -> None:
        """The offer first, then data if it was accepted."""
        self._stalled.moved()
        if self._stage == "new":
            self._stage = "offered"
            _, offer = wire.unpack(data)
            Deferred.fromCoroutine(self._serve(offer))
        elif self._stage != "accepted" or len(data) > MAX_DATA:
            raise ValueError("data that was not asked for")
        elif self._mark and data == self._mark:
            self._stage = "marked"
            self._pipe.end()
        elif data:
            self._pipe.push(data)
            if self._pipe.full:
                self._tls.pauseProducing()
        else:
            self._stage = "complete"
            self._stalled.stop()
            self._pipe.end()

    async def accept(self) -> None:
        """See `hybrid.ports.IncomingStream`."""
        if self._stage == "offered":
            self._stage = "accepted"
            self.put(wire.pack(1, wire.Done()))

    def lead_into(self, sink: ByteSink, moved: Moved) -> None:
        """See `hybrid.ports.IncomingStream`."""
        if isinstance(sink, PipedSink):
            self._into = sink, moved

    async def read(self) -> bytes:
        """See `hybrid.ports.ByteSource`."""
        if self._into is not None and self.pump_is_ready and not self._mark:
            self._mark = os.urandom(_MARK_BYTES)
            self.put(wire.pack(1, wire.Pumped(self._mark, squeezing.taken())))
        data = await self._pipe.read()
        if not data and self._stage == "marked":
            await self._have_pumped()
            data = await self._pipe.read()
        if data:
            self._stalled.moved()
            if self._into is not None:
                self.passed(len(data))
        return data

    async def _have_pumped(self) -> None:
        """What comes up to the end of the sender's source, into the sink. Raises also what the sink raises."""
        pipe = await self._into[0].sink_pipe() if self._into is not None else None
        if self._into is None or pipe is None or self.over:
            raise PeerError(f"stream of {self._peer} was cut", self.reason)
        moved, self._pipe = self._into[1], Pipe(_PIPE_BYTES, self._room_again)

        async def noticed(size_bytes: int, saved_bytes: int = 0) -> None:
            self._stalled.moved()
            await moved(size_bytes, saved_bytes)

        lent = Deferred.fromCoroutine(self.lend(pipe.descriptor, noticed, pipe.held))
        self.put(wire.pack(1, wire.PumpNow()))
        try:
            pipe.kept(await lent)
        except PipeBroken:
            raise await pipe.broken() from None
        self._stage = "accepted"

    async def abort_reading(self) -> None:
        """Take no more: what still comes is dropped."""
        self._into = None
        self._pipe.fail(PeerError("stream was aborted here"))
        self.cut_pump()
        self._room_again()

    def ended(self, error: PeerError) -> None:
        """A reader learns that it was cut, unless the stream was complete."""
        self._stalled.stop()
        self.cut_pump()
        self._pipe.fail(PeerError(f"stream of {self._peer} was cut", self.reason))

    async def _serve(self, offer: wire.Message | None) -> None:
        if offer is None:
            answer: msgspec.Struct = UNSUPPORTED
        else:
            answer = await self._answers.answer_stream(self._peer, offer, Incoming(self))
            await self.reap_pump()
        self._stalled.stop()
        self.put(wire.pack(1, answer))
        if not self.over:  # the sender closes: closing first might destroy the answer on its way (RFC 1122 §4.2.2.13)
            self._stalled = Stalled(self._reactor, self._timing.linger_s, self)

    def _room_again(self) -> None:
        if not self.over and not self._is_lent:
            self._tls.resumeProducing()


class Incoming:
    """`hybrid.ports.IncomingStream` of an accepted stream."""

    def __init__(self, stream: AcceptedStream) -> None:
        self._stream = stream

    async def accept(self) -> None:
        """See `hybrid.ports.IncomingStream`."""
        await self._stream.accept()

    def lead_into(self, sink: ByteSink, moved: Moved) -> None:
        """See `hybrid.ports.IncomingStream`."""
        self._stream.lead_into(sink, moved)

    async def read(self) -> bytes:
        """See `hybrid.ports.ByteSource`."""
        return await self._stream.read()

    async def abort(self) -> None:
        """See `hybrid.ports.ByteSource`."""
        await self._stream.abort_reading()
