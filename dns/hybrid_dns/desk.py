"""
Between the node process and its name servers: what people keep goes down, what needs the node goes up. Shell.

Over a Unix socket; frames are a 4-byte length and msgpack: first all there is, then what changed. A name server keeps
the last it was told while the node process is away, and says SERVFAIL to what only that can answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar, cast

import msgspec
from twisted.application.internet import ClientService
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.interfaces import IDelayedCall, IReactorTime, IReactorUNIX, ITransport
from twisted.internet.task import Cooperator

from hybrid.frames import FrameProtocol, frame
from hybrid.localsocket import Frames, LocalListener

MAX_FRAME = 256 * 1024 * 1024
COALESCE_S = 0.02
PATIENCE_S = 15.0
"""From one reply to the next."""
MAX_WAITING = 200
"""Messages that one name server has passed on at a time."""
MAX_PER_S = 100
"""Forged ones cost the node process no more."""
Answer = Callable[[bytes, str, bool], Iterable[bytes]]
Tell = Callable[[bytes | None], None]


class Reactor(IReactorUNIX, IReactorTime):
    """What both ends need of the reactor."""


class Kept(msgspec.Struct, frozen=True, tag=True):
    """Entries for name servers: all of them, or what differs from before."""

    entries: dict[str, str]
    gone: tuple[str, ...] = ()
    whole: bool = False


class Passed(msgspec.Struct, frozen=True, tag=True):
    """A message for the node process."""

    number: int
    message: bytes
    source: str
    """The client's address."""
    stream: bool


class Replied(msgspec.Struct, frozen=True, tag=True):
    """One reply to it, or that there are no more."""

    number: int
    message: bytes = b""


_encode = msgspec.msgpack.Encoder().encode
_decode_down = msgspec.msgpack.Decoder(Kept | Replied).decode
_decode_up = msgspec.msgpack.Decoder(Passed).decode
T = TypeVar("T")


def _understood(decode: Callable[[bytes], T], body: bytes) -> T:
    try:
        return decode(body)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from error


class _NameServer(FrameProtocol):
    """The node's end of one connection."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk

    def connectionMade(self) -> None:
        self._desk.joined(self)

    def connectionLost(self, reason: object = None) -> None:
        self._desk.left(self)

    def frame_received(self, body: bytes) -> None:
        self._desk.passed(self, _understood(_decode_up, body))

    def tell(self, message: Kept | Replied) -> None:
        """Send; a name server reads all it is sent, or is dead."""
        cast(ITransport, self.transport).write(frame(_encode(message)))


class Desk(LocalListener):
    """Tells the name servers of this node; whoever may open the socket (root and its group) is one."""

    def __init__(self, reactor: Reactor, path: str, entries: Callable[[], Mapping[str, str]], answer: Answer) -> None:
        """
        `entries()`: all that name servers are to know.

        `answer(message, source, stream)`: the replies to what they pass on, one after the other.
        """
        super().__init__(reactor, path, lambda: _NameServer(self))
        self._clock, self._entries, self._answer = reactor, entries, answer
        self._cooperator = Cooperator(scheduler=lambda call: reactor.callLater(0, call))
        self._servers: list[_NameServer] = []
        self._told: dict[str, str] = {}
        self._pending: IDelayedCall | None = None

    def stopService(self) -> Deferred[None]:
        """Close everything."""
        stopped = super().stopService()
        if self._pending is not None and self._pending.active():
            self._pending.cancel()
        for server in list(self._servers):
            server.cut()
        self._cooperator.stop()
        return stopped

    def changed(self) -> None:
        """There are other entries than before; several changes at once are told as one."""
        if self._pending is None or not self._pending.active():
            self._pending = self._clock.callLater(COALESCE_S, self._spread)

    def _spread(self) -> None:
        old, self._told = self._told, dict(self._entries())
        new = {key: value for key, value in self._told.items() if old.get(key) != value}
        gone = tuple(old.keys() - self._told.keys())
        if new or gone:
            for server in list(self._servers):
                server.tell(Kept(new, gone))

    def joined(self, server: _NameServer) -> None:
        """A name server came."""
        self._spread()
        self._servers.append(server)
        server.tell(Kept(self._told, whole=True))

    def passed(self, server: _NameServer, passed: Passed) -> None:
        """Answer, in small steps: a transfer can be long."""
        work = self._cooperator.coiterate(self._replies(server, passed))
        work.addErrback(lambda failure: None)  # it was told by the log, or everything ends

    def _replies(self, server: _NameServer, passed: Passed) -> Iterator[None]:
        try:
            for message in self._answer(passed.message, passed.source, passed.stream):
                if server.cut_off:
                    return
                server.tell(Replied(passed.number, message))
                yield
        except Exception:
            self.log.failure("a message of {source} failed", source=passed.source)
        server.tell(Replied(passed.number))

    def left(self, server: _NameServer) -> None:
        """It is gone."""
        if server in self._servers:
            self._servers.remove(server)


class _Counter(FrameProtocol):
    """The name server's end."""

    max_frame = MAX_FRAME

    def __init__(self, reactor: IReactorTime, follow: Callable[[Mapping[str, str]], None]) -> None:
        super().__init__()
        self._reactor, self._follow = reactor, follow
        self._entries: dict[str, str] = {}
        self._number = self._second = self._count = 0
        self._waiting: dict[int, tuple[Tell, IDelayedCall]] = {}

    def connectionLost(self, reason: object = None) -> None:
        for number in list(self._waiting):
            self._end(number)

    def pass_on(self, message: bytes, source: str, stream: bool, tell: Tell) -> None:
        """See `Counter.pass_on`."""
        self._number += 1
        number = self._number
        self._waiting[number] = tell, self._reactor.callLater(PATIENCE_S, self._end, number)
        cast(ITransport, self.transport).write(frame(_encode(Passed(number, message, source, stream))))

    @property
    def is_busy(self) -> bool:
        """Whether no more is to be passed on now; counts the one that is asked for."""
        second = int(self._reactor.seconds())
        self._second, self._count = second, self._count + 1 if second == self._second else 1
        return len(self._waiting) >= MAX_WAITING or self._count > MAX_PER_S

    def _end(self, number: int) -> None:
        tell, call = self._waiting.pop(number)
        if call.active():
            call.cancel()
        tell(None)

    def frame_received(self, body: bytes) -> None:
        kept = _understood(_decode_down, body)
        if isinstance(kept, Replied):
            if kept.number in self._waiting:
                self._replied(kept)
            return
        before = {} if kept.whole else {key: one for key, one in self._entries.items() if key not in kept.gone}
        self._entries = before | kept.entries
        self._follow(self._entries)

    def _replied(self, reply: Replied) -> None:
        if not reply.message:
            self._end(reply.number)
            return
        tell, call = self._waiting[reply.number]
        call.reset(PATIENCE_S)
        tell(reply.message)


class Counter(ClientService):
    """Follows the desk for ever, reconnecting. `follow(entries)` is called with all there are, at each change."""

    def __init__(self, reactor: Reactor, path: str, follow: Callable[[Mapping[str, str]], None]) -> None:
        self._connected: _Counter | None = None

        def build() -> _Counter:
            self._connected = _Counter(reactor, follow)
            return self._connected

        def patience_s(attempts: int) -> float:
            return min(2.0, 0.1 * attempts)

        endpoint = UNIXClientEndpoint(reactor, path)
        super().__init__(endpoint, Frames(build), retryPolicy=patience_s, clock=reactor)

    def pass_on(self, message: bytes, source: str, stream: bool, tell: Tell) -> bool:
        """
        Have the node process answer: `tell(reply)` for each reply, then `tell(None)`.

        Returns:
            False when it is away, or has too much to do: nothing is told then.
        """
        counter = self._connected
        if counter is None or counter.transport is None or not counter.connected or counter.is_busy:
            return False
        counter.pass_on(message, source, stream, tell)
        return True
