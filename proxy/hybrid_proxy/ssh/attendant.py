"""
Finds the node that runs a site for somebody who logged in, and speaks there for one session. Shell.

It is found, waited for and connected like for any TCP port (`tcp.Caller`); in place of a container's port it is the
node process that answers, on a local socket (`hybrid.sessions`). A site's web server may be broken and its shell not,
so neither's silence says anything of the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import cast

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure

from hybrid import sessions
from hybrid.sessions import BadMessage, Kind, Messages, Opening, Size
from hybrid_proxy import pages
from hybrid_proxy.deadlines import NEVER
from hybrid_proxy.house import House
from hybrid_proxy.pages import Page
from hybrid_proxy.pool import Connect
from hybrid_proxy.relay import IStream
from hybrid_proxy.route import Here, Route, Stopped, There, Wait
from hybrid_proxy.services import SSH
from hybrid_proxy.ssh.channels import FAILED, SessionChannel
from hybrid_proxy.ssh.userauth import Login
from hybrid_proxy.tcp import Callee, Caller

AGAIN_S = 0.5
_TEXTS = {
    pages.STOPPED: "this site is switched off",
    pages.SUSPENDED: "this site is suspended: ask who hosts it",
    pages.CROWDED: "too many wait for this site, try again in a moment",
    pages.WAITED: "this site is moving to another server, try again in a moment",
}
_UNAVAILABLE = "this site cannot be reached just now, try again in a little while"
MOVED = "this session has ended: the site moves to another server, or its server failed. Log in again."
SWITCHED_OFF = "this session has ended: the site was switched off"


def at_sessions(route: Route, path: str) -> Route:
    """`route`, but where the site runs on this node it leads to the node process's socket at `path`."""
    return replace(route, address=path, port=0) if isinstance(route, Here) else route


class SessionPassage(Caller):
    """A session that another front door passes on: it is that one which tries again."""

    def _is_doubted(self) -> bool:
        return False

    def _answers(self) -> None:
        pass

    def try_later(self) -> None:
        """See `Caller`."""
        self._callee = None
        if not self._gone:
            self._refuse(pages.UNAVAILABLE)


class _ChannelStream:
    """A channel, as what a `Caller` takes for the connection of its client."""

    def __init__(self, attendant: Attendant, channel: SessionChannel) -> None:
        self._attendant, self._channel = attendant, channel

    def write(self, data: bytes) -> None:
        """The session says so."""
        self._attendant.heard(data)

    def pauseProducing(self) -> None:
        """The session takes no more."""
        self._attendant.full = True
        self._attendant.flow()

    def resumeProducing(self) -> None:
        """It does again."""
        self._attendant.full = False
        self._attendant.flow()

    def registerProducer(self, producer: IPushProducer, streaming: bool) -> None:
        """What the session says comes from there."""
        self._channel.feed_from(producer)

    def unregisterProducer(self) -> None:
        """Nothing more does."""
        self._channel.feed_from(None)

    def setTcpNoDelay(self, enabled: bool) -> None:
        """It delays nothing."""

    def loseConnection(self) -> None:
        """The session's stream has ended."""
        self._attendant.lost()

    abortConnection = loseConnection


class Attendant(Caller):
    """
    One session.

    Args:
        house: Shared.
        dial: Opens connections to nodes.
        path: Of this node's socket for sessions.
        channel: Whose session it is.
        login: Who it is.
        source: Address and port of the client.
        opening: Makes what to say to who owns the site by then, under that claim.
        attendants: All there are.
    """

    def __init__(
        self,
        house: House,
        dial: Connect,
        path: str,
        channel: SessionChannel,
        login: Login,
        source: tuple[str, int],
        opening: Callable[[str, int, str], Opening],
        attendants: set[Attendant],
    ) -> None:
        super().__init__(house, dial, self._where, source)
        self._path, self._channel, self._login, self._opening = path, channel, login, opening
        self._attendants = attendants
        self._messages = Messages()
        self._pending = bytearray()
        """For the session, which has not said yet that it is there; at most a window."""
        self._started = False
        self._ended = False
        self._found_by_s = NEVER
        self._again = False
        self.full = False
        self.transport = cast(IStream, _ChannelStream(self, channel))

    def _where(self) -> Route:
        route, login = self._now(), self._login
        if login.moment and isinstance(route, Wait):
            self._house.wish(login.site, login.moment)
        return route

    def _now(self) -> Route:
        """Where the routes lead, without a wish for what is not there."""
        login, routes = self._login, self._house.routes
        if login.moment:
            return at_sessions(routes.route_past(SSH, login.site, login.moment), self._path)
        return at_sessions(routes.route_site(login.site, service=SSH), self._path)

    def connectionMade(self) -> None:
        """See `twisted.internet.protocol.Protocol`."""
        self._attendants.add(self)
        self._found_by_s = self._house.deadlines.now_s + self._house.limits.hold_s
        super().connectionMade()

    # ----------------------------------------------------------------------------------------- finding who runs it

    def _is_doubted(self) -> bool:
        return False

    def _answers(self) -> None:
        pass

    def try_later(self) -> None:
        """See `Caller`: the node does not answer yet, or is not the owner any more."""
        self._callee = None
        if not self._gone and not self._ended:
            self._again, self.due_s = True, self._house.deadlines.now_s + AGAIN_S

    def overdue(self) -> None:
        """See `hybrid_proxy.deadlines.Watched`."""
        if self._started:
            self.due_s = NEVER  # who is silent for too long is noticed by the connection as a whole
        elif self._again and self._house.deadlines.now_s < self._found_by_s:
            self._again, self.due_s = False, self._found_by_s
            self._begin()
        else:
            self._house.room.leave(self)
            self._stop_connecting()
            self._refuse(pages.WAITED)

    def _refuse(self, page: Page) -> None:
        self._say_and_end(_TEXTS.get(page, _UNAVAILABLE))

    def join(self, callee: Callee, framed: bool, early: bytes) -> None:
        """See `Caller`: too late for who was sent away meanwhile."""
        if self._ended:
            callee.transport.abortConnection()
        else:
            super().join(callee, framed, early)

    def _joined(self) -> None:
        self.due_s = self._found_by_s
        destination = self.destination
        assert isinstance(destination, Here | There) and self._splice is not None
        claim = destination.claim
        opening = self._opening(destination.site, claim.epoch, claim.node)
        self._splice.from_near(sessions.message(sessions.OPEN, sessions.encode(opening)))

    # ------------------------------------------------------------------------------------------------ what is said

    def tell(self, kind: bytes, body: bytes) -> None:
        """The client says so."""
        data = sessions.pieces(kind, body) if kind == sessions.INPUT else sessions.message(kind, body)
        if not self._started:
            self._pending += data
        elif self._splice is not None:
            self._splice.from_near(data)

    def heard(self, data: bytes) -> None:
        """The session says so."""
        try:
            for kind, body in self._messages.feed(data):
                self._act(kind, body)
        except BadMessage:
            self.log.warn("the session of {site} breaks the protocol", site=self.site)
            self.cut()

    def _act(self, kind: bytes, body: bytes) -> None:
        channel = self._channel
        if kind == sessions.STARTED and not self._started:
            self._started, self.due_s = True, NEVER
            pending, self._pending = bytes(self._pending), bytearray()
            if pending and self._splice is not None:
                self._splice.from_near(pending)
            self.flow()
        elif kind == sessions.OUTPUT:
            channel.say(body)
        elif kind == sessions.ERRORS:
            channel.say(body, is_error=True)
        elif kind in (sessions.STATUS, sessions.KILLED) and not isinstance(self._now(), Here | There):
            self._say_and_end(MOVED)  # the container was stopped under it
        elif kind == sessions.STATUS and len(body) == 4:
            self._end(b"exit-status", body)
        elif kind == sessions.KILLED:
            self._end(b"exit-signal", _string(body) + b"\0" + _string(b"") + _string(b""))
        elif kind == sessions.REFUSED:
            self._say_and_end(body.decode("utf-8", "replace"))
        else:
            raise BadMessage("not said by sessions")

    def flow(self) -> None:
        """Take more of the client, or not."""
        self._channel.take_input(self.full or not self._started)

    # -------------------------------------------------------------------------------------------------- the end

    def _say_and_end(self, text: str) -> None:
        if not self._ended:
            self._channel.tell_user(f"hybrid: {text}")
            self._end(b"exit-status", FAILED.to_bytes(4, "big"))

    def _end(self, request: bytes, data: bytes) -> None:
        self._ended = True
        self._channel.end(request, data)

    def lost(self) -> None:
        """The session's stream has ended; if it said nothing of that, its container or its node went."""
        if self._started or self._ended:
            self._say_and_end(MOVED)
        else:
            self._splice, self._messages = None, Messages()
            self.try_later()

    def cut(self) -> None:
        """See `Caller`."""
        self._say_and_end(MOVED)

    def follow(self) -> None:
        """
        The routes changed: a session ends where its site is off, or somebody else's.

        While its owner is not serving, it may only be that its node process starts anew; what stops, stops the session.
        """
        now = self.destination
        if self._splice is None or self._ended or now is None:
            return
        if isinstance(self._now(), Stopped):
            self._say_and_end(SWITCHED_OFF)
        elif self._house.routes.claim(now.site) > now.claim:
            self._say_and_end(MOVED)

    def client_gone(self) -> None:
        """The channel is closed, by whomever."""
        self._ended = True
        self._attendants.discard(self)
        self.connectionLost(Failure(ConnectionDone()))


def _string(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def opening_of(
    login: Login, source: tuple[str, int], kind: Kind, command: str, terminal: str, size: Size, words: Mapping[str, str]
) -> Callable[[str, int, str], Opening]:
    """Makes the opening of a session, once it is known who owns its site."""

    def opening(site: str, epoch: int, node: str) -> Opening:
        where = f"{source[0]} {source[1]}"
        return Opening(site, epoch, node, kind, command, terminal, size, dict(words), where, login.key)

    return opening
