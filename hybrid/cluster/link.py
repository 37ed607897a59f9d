"""
The control link between two nodes: greeting, requests and their answers, signs of life. Shell.

Each node opens one link to every other and asks over that; over the ones it accepted it only answers. So two nodes
that connect at the same moment need not agree which connection to keep.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from hybrid import wire
from hybrid.cluster.answering import UNSUPPORTED, Answers, peer_answer
from hybrid.cluster.framed import Connections, Framed
from hybrid.cluster.identity import Identity
from hybrid.detach import detach
from hybrid.errors import PeerError
from hybrid.model import NodeId

MAX_SERVED = 500
"""Requests of one peer under way at once; more are refused as busy."""
BUSY = wire.Failed("busy", f"{MAX_SERVED} requests of yours are under way", "try again in a second")


@dataclass(frozen=True, slots=True)
class LinkTiming:
    """How long links wait, in seconds."""

    ping_s: float = 1.5
    dead_s: float = 5.0
    """A link over which nothing arrived for so long is given up."""
    connect_s: float = 5.0
    """To connect, and again to greet."""
    stall_s: float = 60.0
    """A stream in which nothing moved for so long is given up."""
    retry_s: float = 0.5
    retry_max_s: float = 2.0
    idle_s: float = 60.0
    """A link that is not to be kept is closed when nobody used it for so long."""
    linger_s: float = 5.0
    """How long the receiver of a stream waits, after its answer, for the sender to close."""


class ControlLink(Framed):
    """What both ends share: watching whether the other one still speaks."""

    def __init__(self, reactor: IReactorTime, timing: LinkTiming, connections: Connections, node: NodeId) -> None:
        super().__init__(wire.MAX_FRAME, connections, node)
        self._peer = node
        self._reactor, self._timing = reactor, timing
        self._heard_s = self._looked_s = reactor.seconds()
        self._watch = LoopingCall(self._look)
        self._watch.clock = reactor

    def connectionMade(self) -> None:
        """Begin to watch."""
        super().connectionMade()
        self._heard_s = self._looked_s = self._reactor.seconds()
        self._watch.start(self._timing.ping_s, now=False)

    def dataReceived(self, data: bytes) -> None:
        """Any byte is a sign of life."""
        self._heard_s = self._reactor.seconds()
        super().dataReceived(data)

    def ended(self, error: PeerError) -> None:
        """Stop watching."""
        if self._watch.running:
            self._watch.stop()

    def ping(self) -> None:
        """Ask for a sign of life, on the side that does."""

    def _look(self) -> None:
        now_s = self._reactor.seconds()
        slept = now_s - self._looked_s > self._timing.dead_s / 2
        self._looked_s = now_s
        if slept:
            self._heard_s = now_s  # it was this process that stood still: give the peer its time
        elif now_s - self._heard_s >= self._timing.dead_s:
            self._connections.abort_all_with(self._peer, f"nothing heard for {self._timing.dead_s} s")
        else:
            self.ping()


class OutgoingLink(ControlLink):
    """The link this node opened: it asks."""

    def __init__(
        self, reactor: IReactorTime, timing: LinkTiming, connections: Connections, identity: Identity, node: NodeId
    ) -> None:
        super().__init__(reactor, timing, connections, node)
        self.refused = ""
        """Why the other side keeps this node out, when it does."""
        self._identity = identity
        self._greeted = False
        self._ready: Deferred[None] = Deferred()
        self._gone: Deferred[None] = Deferred()
        self._number = 0
        self._asked: dict[int, Deferred[msgspec.Struct]] = {}

    async def ready(self) -> None:
        """Wait for the peer's greeting: only then this is a link. Raises `PeerError`."""
        late = self._reactor.callLater(self._timing.connect_s, self.abort, "no greeting in time")
        try:
            await self._ready
        finally:
            if late.active():
                late.cancel()

    async def gone(self) -> None:
        """Wait until it is over."""
        await self._gone

    def shaken(self) -> None:
        """Greet."""
        self.put(wire.pack(0, wire.Hello(cluster=self._identity.cluster.id, node=self._identity.node)))

    def frame_received(self, data: bytes) -> None:
        """A greeting, a sign of life, or an answer."""
        number, message = wire.unpack(data)
        if not self._greeted:
            if isinstance(message, wire.Failed):
                self.refused = f"{message.what}: {message.why}"
                self.abort(f"refused by the other side: {self.refused}")
                return
            if not isinstance(message, wire.Hello) or message.node != self._peer:
                raise ValueError("no greeting of the node that was called")
            self._greeted = True
            self._ready.callback(None)
        elif waiting := self._asked.pop(number, None):
            waiting.callback(UNSUPPORTED if message is None else message)

    async def request(self, message: msgspec.Struct, deadline_s: float) -> msgspec.Struct:
        """See `hybrid.ports.Peers.request`."""
        self._number += 1
        number = self._number
        try:
            data = wire.pack(number, message)
        except ValueError as error:
            raise PeerError("request not sent", str(error)) from error
        if not self.put(data):
            raise PeerError(f"{self._peer} cannot be reached", self.reason or "it does not read what it is sent")
        answer: Deferred[msgspec.Struct] = Deferred()
        self._asked[number] = answer
        answer.addTimeout(deadline_s, self._reactor)
        try:
            return peer_answer(self._peer, await answer)
        except DeferredTimeout as error:
            raise PeerError(f"{self._peer} did not answer", f"in {deadline_s} s") from error
        finally:
            self._asked.pop(number, None)

    @property
    def asking(self) -> bool:
        """Whether somebody waits for an answer."""
        return bool(self._asked)

    def tell(self, message: msgspec.Struct) -> bool:
        """Send what wants no answer; `False` when it was dropped because the peer does not keep up."""
        return not self.paused and self.put(wire.pack(0, message))

    def ping(self) -> None:
        """See `ControlLink`."""
        if self._greeted:
            self.put(wire.pack(0, wire.Ping()))

    def ended(self, error: PeerError) -> None:
        """Everybody who waits for an answer hears of it."""
        super().ended(error)
        asked, self._asked = self._asked, {}
        for waiting in asked.values():
            waiting.errback(Failure(error))
        for event, happened in ((self._ready, Failure(error)), (self._gone, None)):
            if not event.called:
                event.callback(happened)


class AcceptedLink(ControlLink):
    """The link a peer opened: this node answers."""

    def __init__(
        self,
        reactor: IReactorTime,
        timing: LinkTiming,
        connections: Connections,
        identity: Identity,
        node: NodeId,
        answers: Answers,
    ) -> None:
        """`node` is who the certificate names."""
        super().__init__(reactor, timing, connections, node)
        self._identity, self._answers = identity, answers
        self._greeted = False
        self._serving = 0

    def frame_received(self, data: bytes) -> None:
        """The greeting first, then signs of life and requests."""
        number, message = wire.unpack(data)
        if not self._greeted:
            self._greet(message)
        elif isinstance(message, wire.Ping):
            self._reply(number, wire.Done())
        elif message is None:
            self._reply(number, UNSUPPORTED)
        elif self._serving >= MAX_SERVED:
            self._reply(number, BUSY)
        else:
            detach(self._serve(number, message))

    def _greet(self, message: wire.Message | None) -> None:
        if not isinstance(message, wire.Hello):
            raise ValueError("no greeting")
        if message.cluster != self._identity.cluster.id or message.node != self._peer:
            raise ValueError(f"{self._peer} greets as {message.node} of {message.cluster}")
        self._greeted = True
        self._reply(0, wire.Hello(cluster=self._identity.cluster.id, node=self._identity.node))

    async def _serve(self, number: int, message: wire.Message) -> None:
        self._serving += 1
        try:
            answer = await self._answers.answer(self._peer, message)
        finally:
            self._serving -= 1
        if number:
            self._reply(number, answer)

    def _reply(self, number: int, answer: msgspec.Struct) -> None:
        try:
            data = wire.pack(number, answer)
        except ValueError as error:
            data = wire.pack(number, wire.Failed("answer too large", str(error)))
        if not self.put(data):
            self.abort("it does not read its answers")


class RefusedLink(Framed):
    """A connection of a node that is kept out: it is told why, as a link and as a stream would hear it, and closed."""

    def __init__(
        self, reactor: IReactorTime, timing: LinkTiming, connections: Connections, node: NodeId, why: str
    ) -> None:
        super().__init__(wire.MAX_FRAME, connections, node)
        self._reactor, self._timing, self._why = reactor, timing, why
        self._late: IDelayedCall | None = None

    def shaken(self) -> None:
        """Tell it."""
        self._late = self._reactor.callLater(self._timing.connect_s, self.abort, "kept out")
        hint = "it joins anew with a token: `hybrid token create-join` on a member"
        self.put(wire.pack(1, wire.Failed("this node is not let in", self._why, hint)))

    def frame_received(self, data: bytes) -> None:
        """Whatever it says is not read; once it has spoken it has had the time to hear."""
        self._tls.unregisterProducer()  # else its end would wait for this one to have said all
        self._tls.loseConnection()

    def ended(self, error: PeerError) -> None:
        """Nothing is left to do."""
        if self._late is not None and self._late.active():
            self._late.cancel()
