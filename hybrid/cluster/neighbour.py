"""
One other node: the link to it, kept for as long as this node runs, or opened when something is to be said. Shell.

In a large cluster a link to everybody would be thousands of connections that carry nothing. There a link is opened for
the first message or request, which wait for it, and closed when it was idle for a while.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.endpoints import connectProtocol
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.task import deferLater
from twisted.logger import Logger

from hybrid.cluster.framed import Connections
from hybrid.cluster.identity import Identity
from hybrid.cluster.link import LinkTiming, OutgoingLink
from hybrid.errors import PeerError
from hybrid.model import NodeId

MAX_TOLD = 64
"""Messages that wait for a link to come up; gossip makes few and larger ones."""
IDLE = "idle"


class Neighbour:
    """The way to `node`; `link` is the link to it while there is one."""

    log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        timing: LinkTiming,
        jitter: Callable[[], float],
        connections: Connections,
        identity: Identity,
        node: NodeId,
        endpoint: Callable[[], IStreamClientEndpoint],
        on_up: Callable[[NodeId], None],
        on_lost: Callable[[NodeId], None],
        on_refused: Callable[[str], None],
        keep: Callable[[], bool],
    ) -> None:
        """
        Args:
            endpoint: Asked for at each attempt: addresses change.
            on_up: There is a link.
            on_lost: What was told may not have arrived.
            on_refused: The other side keeps this node out; with its reason.
            keep: Whether there is to be a link also while nothing is said.
        """
        self.link: OutgoingLink | None = None
        self.why_not = "not connected yet"
        """Why there is no link, for people."""
        self._reactor, self._timing, self._jitter, self._connections = reactor, timing, jitter, connections
        self._identity, self._node, self._endpoint, self._on_up = identity, node, endpoint, on_up
        self._on_lost, self._on_refused, self._keep_open = on_lost, on_refused, keep
        self._keeping: Deferred[None] | None = None
        self._asleep: Deferred[None] | None = None
        self._wanted = False
        self._used_s = 0.0
        self._waiting: list[Deferred[None]] = []
        self._told: list[msgspec.Struct] = []

    def start(self) -> None:
        """Begin to connect."""
        self._keeping = Deferred.fromCoroutine(self._keep())
        self._keeping.addErrback(lambda failure: failure.trap(CancelledError))

    def stop(self) -> None:
        """Connect no more; an open link is ended."""
        if self._keeping is not None:
            self._keeping.cancel()
        if self.link is not None:
            self.link.abort("no longer a neighbour")
        self._wake()

    # ---------------------------------------------------------------------------------------------- to be used

    def tell(self, message: msgspec.Struct) -> bool:
        """Send what wants no answer, once there is a link; `False` when it was dropped."""
        self._used_s = self._reactor.seconds()
        if self.link is not None:
            return self.link.tell(message)
        if self._keep_open() or len(self._told) >= MAX_TOLD:
            return False
        self._told.append(message)
        self.want()
        return True

    async def linked(self, deadline_s: float) -> OutgoingLink:
        """
        The link; where it is only opened when wanted, once it is open.

        Raises:
            PeerError: There is none, or not within `deadline_s`.
        """
        self._used_s = self._reactor.seconds()
        if self.link is None and not self._keep_open():
            event: Deferred[None] = Deferred()
            self._waiting.append(event)
            self.want()
            try:
                await event.addTimeout(deadline_s, self._reactor)
            except DeferredTimeout:
                self._waiting = [waiting for waiting in self._waiting if waiting is not event]
        if self.link is None:
            raise PeerError(f"{self._node} cannot be reached", self.why_not, "it is tried again by itself")
        return self.link

    def want(self) -> None:
        """There is to be a link, soon."""
        self._wanted = True
        asleep, self._asleep = self._asleep, None
        if asleep is not None:
            asleep.callback(None)

    # ------------------------------------------------------------------------------------------------ to be kept

    async def _keep(self) -> None:
        attempt = 0
        while True:
            while not (self._wanted or self._keep_open()):
                self._asleep = Deferred()
                await self._asleep
            lived = await self._live_once()
            attempt = 0 if lived else attempt + 1
            self._give_up_waiting()
            await deferLater(self._reactor, self._delay(attempt))

    def _give_up_waiting(self) -> None:
        """There is no link: who waits for one learns why, and what was to be told is lost."""
        self._wanted = False
        self._told.clear()
        if self.why_not != IDLE:
            self._tell(self._on_lost)
        self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for event in waiting:
            if not event.called:
                event.callback(None)

    async def _close_when_idle(self, link: OutgoingLink) -> None:
        """Returns when `link` was of no use for a while and was ended, or is gone."""
        while not link.over:
            await deferLater(self._reactor, self._timing.idle_s / 4)
            if self._keep_open() or link.asking or self._connections.carry_streams(self._node):
                self._used_s = self._reactor.seconds()
            elif self._reactor.seconds() - self._used_s >= self._timing.idle_s:
                link.abort(IDLE)

    def _delay(self, attempt: int) -> float:
        longest_s = min(self._timing.retry_max_s, self._timing.retry_s * 1.5 ** min(attempt, 20))
        return longest_s * (0.5 + 0.5 * self._jitter())

    async def _live_once(self) -> bool:
        """One link from its beginning to its end; whether there was one."""
        link = OutgoingLink(self._reactor, self._timing, self._connections, self._identity, self._node)
        try:
            await connectProtocol(self._endpoint(), link)
            await link.ready()
        except CancelledError:
            link.abort("this node stops")
            raise
        except Exception as error:
            if link.refused and link.refused not in self.why_not:
                self.log.error("{node} keeps this node out: {why}", node=self._node, why=link.refused)
                self._on_refused(link.refused)
            self._down("cannot be reached", str(error) or type(error).__name__)
            return False
        self.link, self.why_not = link, ""
        self.log.debug("link to {node} is up", node=self._node)
        for message in self._told:
            link.tell(message)
        self._told.clear()
        self._wake()
        self._tell(self._on_up)
        watching = Deferred.fromCoroutine(self._close_when_idle(link))
        watching.addErrback(lambda failure: failure.trap(CancelledError))
        try:
            await link.gone()
        finally:
            watching.cancel()
        self.link = None
        self._down("is lost", link.reason)
        return True

    def _down(self, what: str, why: str) -> None:
        if why not in (self.why_not, IDLE):
            self.log.info("link to {node} {what}: {why}", node=self._node, what=what, why=why)
        self.why_not = why

    def _tell(self, callback: Callable[[NodeId], None]) -> None:
        try:
            callback(self._node)
        except Exception:
            self.log.failure("somebody could not take the news of a link")
