"""
Where the front doors of this node ask for sessions in containers: a local socket that speaks `hybrid.sessions`. Shell.

Only the opening is read here. Then the connection is given to a process of the session's own and forgotten, so that no
byte of it goes through this process.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime, IReactorUNIX
from twisted.internet.protocol import Protocol
from twisted.internet.unix import Server
from twisted.logger import Logger

from hybrid import sessions
from hybrid.errors import HybridError, NotHere
from hybrid.localsocket import LocalListener
from hybrid.ports import Sitting
from hybrid.sessions import BadMessage, Messages, Opening

PER_SITE = 32
IN_ALL = 400
OPENING_S = 10.0
"""From the connection to what is wanted of it."""
Begin = Callable[[Opening, int], Sitting]
"""See `hybrid.ports.Containers.begin_session`; raises `HybridError` in words for the user; `NotHere`: elsewhere."""


class Reactor(IReactorUNIX, IReactorTime):
    """What is needed of the reactor."""


class SessionDesk(LocalListener):
    """See the module. `begin`: begins a session on a connection."""

    log = Logger()

    def __init__(self, reactor: Reactor, path: str, begin: Begin) -> None:
        super().__init__(reactor, path, lambda: _Asking(self))
        self.clock: IReactorTime = reactor
        self._begin = begin
        self._sitting: Counter[str] = Counter()

    def begin(self, opening: Opening, connection: int) -> str | None:
        """
        Begin a session on a connection.

        Returns:
            Why not, in words for the user; empty: look elsewhere; `None`: it began.
        """
        if self._sitting[opening.site] >= PER_SITE or self._sitting.total() >= IN_ALL:
            return "too many sessions are open, close one of them"
        try:
            sitting = self._begin(opening, connection)
        except NotHere:
            return ""
        except HybridError as error:
            return str(error)
        self._sitting[opening.site] += 1
        self.log.info(
            "{user} has a session in {site}", user=opening.user, site=opening.site, kind=opening.kind, of=opening.source
        )
        Deferred.fromCoroutine(self._see_off(opening.site, sitting))
        return None

    async def _see_off(self, site: str, sitting: Sitting) -> None:
        try:
            await sitting.ended()
        finally:
            self._sitting[site] -= 1
            self._sitting += Counter()  # drops what is 0


class _Asking(Protocol):
    """A connection until its opening was heard."""

    log = Logger()

    def __init__(self, desk: SessionDesk) -> None:
        self._desk = desk
        self._messages = Messages()
        self._late: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """See `Protocol`."""
        self._late = self._desk.clock.callLater(OPENING_S, self._give_up)

    def dataReceived(self, data: bytes) -> None:
        """See `Protocol`."""
        try:
            found = self._messages.feed(data)
            if not found:
                return
            [(kind, body)] = found
            if kind != sessions.OPEN or self._messages.pending:
                raise BadMessage("more, or something else, than an opening")
            self._open(sessions.decode(body))
        except ValueError as error:
            self.log.warn("a front door breaks the protocol: {error}", error=str(error))
            self._give_up()

    def _open(self, opening: Opening) -> None:
        transport = cast(Server, self.transport)
        transport.pauseProducing()
        connection = os.dup(transport.getHandle().fileno())
        try:
            refused = self._desk.begin(opening, connection)
        finally:
            os.close(connection)
        if refused:
            transport.write(sessions.message(sessions.REFUSED, refused.encode()[: sessions.MAX_MESSAGE]))
            transport.loseConnection()
        else:
            self._give_up()

    def _give_up(self) -> None:
        cast(Server, self.transport).abortConnection()  # closes this end's copy, which says nothing to the other

    def connectionLost(self, reason: object = None) -> None:
        """See `Protocol`."""
        if self._late is not None and self._late.active():
            self._late.cancel()
