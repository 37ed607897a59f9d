"""
The view, fed to the proxy and DNS processes over a Unix socket: whole first, then changes. Facts come back. Shell.

Frames are a 4-byte length and msgpack. A reader that does not keep up is cut off at a bounded buffer and begins anew
with a whole view; the reader keeps its last view while the node process is away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar, cast

import msgspec
from twisted.application.internet import ClientService
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.interfaces import (
    IConsumer,
    IDelayedCall,
    IPushProducer,
    IReactorTime,
    IReactorUNIX,
    ITransport,
)
from zope.interface import implementer

from hybrid.frames import FrameProtocol, frame
from hybrid.leaves import Leaves
from hybrid.localsocket import Frames, LocalListener
from hybrid.model import Fact
from hybrid.view import Change, View, apply, difference

MAX_FRAME = 256 * 1024 * 1024
"""A whole view of a large cluster fits; anything longer is garbage."""
MAX_BEHIND = 64 * 1024 * 1024
"""Bytes a reader may leave unread."""
COALESCE_S = 0.02
T = TypeVar("T")

_encode = msgspec.msgpack.Encoder(enc_hook=dict).encode  # the one type it does not know is the mapping of sites


class Reactor(IReactorUNIX, IReactorTime):
    """What the feed needs of the reactor."""


class Whole(msgspec.Struct, frozen=True, tag=True):
    """The first frame."""

    view: View


class Changed(msgspec.Struct, frozen=True, tag=True):
    """Every later frame."""

    change: Change


class Secrets(msgspec.Struct, frozen=True, tag=True):
    """What only readers that asked get, first whole, then what differs: keys to show, answers to give."""

    entries: dict[str, str]
    gone: tuple[str, ...] = ()


class Wants(msgspec.Struct, frozen=True, tag=True):
    """A reader's first word, where it asks for more than the view."""

    secrets: bool


_decode = msgspec.msgpack.Decoder(Whole | Changed | Secrets).decode


_decode_word = msgspec.msgpack.Decoder(Fact | Wants).decode


def _understood(decode: Callable[[bytes], T], body: bytes) -> T:
    """What `decode` makes of `body`. Raises `ValueError` for garbage."""
    try:
        return decode(body)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from error


def _frame(message: msgspec.Struct) -> bytes:
    return frame(_encode(message))


@implementer(IPushProducer)
class _Reader(FrameProtocol):
    """The server's end of one connection."""

    def __init__(self, server: FeedServer) -> None:
        super().__init__()
        self._server = server
        self._behind = 0
        self.wants_secrets = False

    def connectionMade(self) -> None:
        cast(IConsumer, self.transport).registerProducer(self, True)  # only to learn when it does not keep up
        self._server.joined(self)

    def connectionLost(self, reason: object = None) -> None:
        self._server.left(self)

    def tell(self, data: bytes) -> None:
        """Send, unless the reader has too much unread already."""
        if self._behind:
            self._behind += len(data)
            if self._behind > MAX_BEHIND:
                self.cut()
                return
        cast(ITransport, self.transport).write(data)

    def pauseProducing(self) -> None:
        """The reader does not keep up: count what it leaves unread. Said again at each write until it does."""
        self._behind = max(self._behind, 1)

    def resumeProducing(self) -> None:
        """It has read everything."""
        self._behind = 0

    def stopProducing(self) -> None:
        """The connection ends."""

    def frame_received(self, body: bytes) -> None:
        word = _understood(_decode_word, body)
        if not isinstance(word, Wants):
            self._server.report(word)
        elif word.secrets:
            self.wants_secrets = True
            self._server.ask_secrets(self)


class FeedServer(LocalListener):
    """Feeds whoever may open the socket: root and its group."""

    def __init__(self, reactor: Reactor, path: str, report: Callable[[Fact], None]) -> None:
        """`report` gets the facts of the readers."""
        super().__init__(reactor, path, lambda: _Reader(self))
        self._clock, self._report = reactor, report
        self._readers: list[_Reader] = []
        self._sent: View | None = None
        self._newest: View | None = None
        self._secrets: dict[str, str] | None = None
        self._pending: IDelayedCall | None = None

    def stopService(self) -> Deferred[None]:
        """Close everything."""
        stopped = super().stopService()
        if self._pending is not None and self._pending.active():
            self._pending.cancel()
        for reader in list(self._readers):
            reader.cut()
        return stopped

    def follow(self, view: View) -> None:
        """Feed `view` soon; several at once become one change."""
        self._newest = view
        if self._pending is None or not self._pending.active():
            self._pending = self._clock.callLater(COALESCE_S, self._spread)

    def _spread(self) -> None:
        new = self._newest
        if new is None or new is self._sent:
            return
        if self._sent is not None and self._readers:
            data = _frame(Changed(difference(self._sent, new)))
            for reader in list(self._readers):
                reader.tell(data)
        elif self._sent is None:
            for reader in list(self._readers):
                reader.tell(_frame(Whole(new)))
        self._sent = new

    def joined(self, reader: _Reader) -> None:
        """A reader came: give it what the others have."""
        self._readers.append(reader)
        if self._sent is not None:
            reader.tell(_frame(Whole(self._sent)))

    def left(self, reader: _Reader) -> None:
        """A reader is gone."""
        if reader in self._readers:
            self._readers.remove(reader)

    def report(self, fact: Fact) -> None:
        """A reader observed something."""
        self._report(fact)

    def follow_secrets(self, secrets: Mapping[str, str]) -> None:
        """Feed these, all there are, to those who asked."""
        old, self._secrets = self._secrets or {}, dict(secrets)
        changed = {key: value for key, value in secrets.items() if old.get(key) != value}
        data = _frame(Secrets(changed, tuple(old.keys() - secrets.keys())))
        for reader in list(self._readers):
            if reader.wants_secrets:
                reader.tell(data)

    def ask_secrets(self, reader: _Reader) -> None:
        """A reader asks for them, and for each later change; it keeps what it has until they are known here."""
        if self._secrets is not None:
            reader.tell(_frame(Secrets(self._secrets)))


@implementer(IPushProducer)
class _Follower(FrameProtocol):
    """The client's end."""

    max_frame = MAX_FRAME

    def __init__(self, follow: Callable[[View], None], secrets: Callable[[Mapping[str, str]], None] | None) -> None:
        super().__init__()
        self._follow, self._follow_secrets = follow, secrets
        self._view: View | None = None
        self._secrets: dict[str, str] = {}
        self._paused = False

    def connectionMade(self) -> None:
        cast(IConsumer, self.transport).registerProducer(self, True)  # only to learn when it does not keep up
        if self._follow_secrets is not None:
            cast(ITransport, self.transport).write(_frame(Wants(True)))

    def frame_received(self, body: bytes) -> None:
        match _understood(_decode, body):
            case Secrets(entries, gone) if self._follow_secrets is not None:
                kept = {key: value for key, value in self._secrets.items() if key not in gone}
                self._secrets = kept | entries
                self._follow_secrets(self._secrets)
                return
            case Whole(view):
                self._view = msgspec.structs.replace(view, sites=Leaves(view.sites))
            case Changed(change) if self._view is not None:
                self._view = apply(self._view, change)
            case _:
                raise ValueError("a change came before the whole view")
        self._follow(self._view)

    @property
    def hears(self) -> bool:
        """Whether the node process is there, and reads."""
        return self._view is not None and not self._paused

    def connectionLost(self, reason: object = None) -> None:
        self._view = None

    def tell(self, fact: Fact) -> None:
        """Send a fact up, unless the node process stands still: then it is dropped."""
        if not self._paused:
            cast(ITransport, self.transport).write(_frame(fact))

    def pauseProducing(self) -> None:
        """The node process does not keep up."""
        self._paused = True

    def resumeProducing(self) -> None:
        """It does again."""
        self._paused = False

    def stopProducing(self) -> None:
        """The connection ends."""


class FeedClient(ClientService):
    """Follows the feed for ever, reconnecting."""

    def __init__(
        self,
        reactor: Reactor,
        path: str,
        follow: Callable[[View], None],
        secrets: Callable[[Mapping[str, str]], None] | None = None,
    ) -> None:
        """
        `follow(view)` is called with each new view; never with an empty one because the node process is away.

        `secrets` likewise, with all there are; who does not give it is not told any.
        """
        self._connected: _Follower | None = None

        def build() -> _Follower:
            self._connected = _Follower(follow, secrets)
            return self._connected

        def patience_s(attempts: int) -> float:
            return min(2.0, 0.1 * attempts)

        super().__init__(UNIXClientEndpoint(reactor, path), Frames(build), retryPolicy=patience_s, clock=reactor)

    @property
    def is_heard(self) -> bool:
        """Whether the node process takes what is reported now."""
        follower = self._connected
        return follower is not None and follower.hears

    def report(self, fact: Fact) -> None:
        """Send a fact to the node process; dropped while it is away."""
        follower = self._connected
        if follower is not None and follower.transport is not None and follower.connected:
            follower.tell(fact)
