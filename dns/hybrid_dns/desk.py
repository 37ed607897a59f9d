"""
Between the node process and its name servers: what people keep goes down, over a Unix socket. Shell.

Frames are a 4-byte length and msgpack: first all there is, then what changed. A name server keeps the last it was told
while the node process is away.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import cast

import msgspec
from twisted.application.internet import ClientService
from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import UNIXClientEndpoint, UNIXServerEndpoint
from twisted.internet.interfaces import IAddress, IDelayedCall, IListeningPort, IReactorTime, IReactorUNIX, ITransport
from twisted.internet.protocol import Factory
from twisted.logger import Logger

from hybrid.frames import FrameProtocol, frame

MAX_FRAME = 256 * 1024 * 1024
COALESCE_S = 0.02


class Reactor(IReactorUNIX, IReactorTime):
    """What both ends need of the reactor."""


class Kept(msgspec.Struct, frozen=True, tag=True):
    """Entries for name servers: all of them, or what differs from before."""

    entries: dict[str, str]
    gone: tuple[str, ...] = ()
    whole: bool = False


_encode = msgspec.msgpack.Encoder().encode
_decode_kept = msgspec.msgpack.Decoder(Kept).decode


class _Factory(Factory[FrameProtocol]):
    noisy = False

    def __init__(self, build: Callable[[], FrameProtocol]) -> None:
        self._build = build

    def buildProtocol(self, addr: IAddress | None) -> FrameProtocol:
        """One more connection."""
        return self._build()


class _NameServer(FrameProtocol):
    """The node's end of one connection."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk

    def connectionMade(self) -> None:
        self._desk.joined(self)

    def connectionLost(self, reason: object = None) -> None:
        self._desk.left(self)

    def tell(self, message: Kept) -> None:
        """Send; a name server reads all it is sent, or is dead."""
        cast(ITransport, self.transport).write(frame(_encode(message)))


class Desk(Service):
    """Tells the name servers of this node; whoever may open the socket (root and its group) is one."""

    log = Logger()

    def __init__(self, reactor: Reactor, path: str, entries: Callable[[], Mapping[str, str]]) -> None:
        """`entries()`: all that name servers are to know."""
        self._reactor, self._path, self._entries = reactor, path, entries
        self._servers: list[_NameServer] = []
        self._told: dict[str, str] = {}
        self._pending: IDelayedCall | None = None
        self._listening: IListeningPort | None = None

    def startService(self) -> None:
        """Listen; a socket left by an earlier process is replaced."""
        super().startService()
        os.makedirs(os.path.dirname(self._path), mode=0o755, exist_ok=True)
        if os.path.exists(self._path):
            os.unlink(self._path)
        Deferred.fromCoroutine(self._listen())

    async def _listen(self) -> None:
        endpoint = UNIXServerEndpoint(self._reactor, self._path, mode=0o660, wantPID=False)
        try:
            self._listening = await endpoint.listen(_Factory(lambda: _NameServer(self)))
        except Exception:
            self.log.failure("cannot listen on {path}", path=self._path)

    def stopService(self) -> Deferred[None]:
        """Close everything."""
        super().stopService()
        if self._pending is not None and self._pending.active():
            self._pending.cancel()
        for server in list(self._servers):
            server.cut()
        return Deferred.fromCoroutine(self._close())

    async def _close(self) -> None:
        if self._listening is not None:
            await maybeDeferred(self._listening.stopListening)

    def changed(self) -> None:
        """There are other entries than before; several changes at once are told as one."""
        if self._pending is None or not self._pending.active():
            self._pending = self._reactor.callLater(COALESCE_S, self._spread)

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

    def left(self, server: _NameServer) -> None:
        """It is gone."""
        if server in self._servers:
            self._servers.remove(server)


class _Counter(FrameProtocol):
    """The name server's end."""

    max_frame = MAX_FRAME

    def __init__(self, follow: Callable[[Mapping[str, str]], None]) -> None:
        super().__init__()
        self._follow = follow
        self._entries: dict[str, str] = {}

    def frame_received(self, body: bytes) -> None:
        try:
            kept = _decode_kept(body)
        except msgspec.MsgspecError as error:
            raise ValueError(str(error)) from error
        before = {} if kept.whole else {key: one for key, one in self._entries.items() if key not in kept.gone}
        self._entries = before | kept.entries
        self._follow(self._entries)


class Counter(ClientService):
    """Follows the desk for ever, reconnecting. `follow(entries)` is called with all there are, at each change."""

    def __init__(self, reactor: Reactor, path: str, follow: Callable[[Mapping[str, str]], None]) -> None:
        def patience_s(attempts: int) -> float:
            return min(2.0, 0.1 * attempts)

        endpoint = UNIXClientEndpoint(reactor, path)
        super().__init__(endpoint, _Factory(lambda: _Counter(follow)), retryPolicy=patience_s, clock=reactor)
