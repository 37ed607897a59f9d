"""One other node: the link to it, opened again for as long as this node runs. Shell."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import connectProtocol
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.task import deferLater
from twisted.logger import Logger

from hybrid.cluster.framed import Connections
from hybrid.cluster.identity import Identity
from hybrid.cluster.link import LinkTiming, OutgoingLink
from hybrid.model import NodeId


class Neighbour:
    """Keeps a link to `node`; `link` is it while there is one."""

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
    ) -> None:
        """`endpoint` is asked for at each attempt: addresses change."""
        self.link: OutgoingLink | None = None
        self.why_not = "not connected yet"
        """Why there is no link, for people."""
        self._reactor, self._timing, self._jitter, self._connections = reactor, timing, jitter, connections
        self._identity, self._node, self._endpoint, self._on_up = identity, node, endpoint, on_up
        self._keeping: Deferred[None] | None = None

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

    async def _keep(self) -> None:
        attempt = 0
        while True:
            attempt = 0 if await self._live_once() else attempt + 1
            await deferLater(self._reactor, self._delay(attempt))

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
            self._down("cannot be reached", str(error) or type(error).__name__)
            return False
        self.link, self.why_not = link, ""
        self.log.info("link to {node} is up", node=self._node)
        self._tell()
        await link.gone()
        self.link = None
        self._down("is lost", link.reason)
        return True

    def _down(self, what: str, why: str) -> None:
        if why != self.why_not:
            self.log.info("link to {node} {what}: {why}", node=self._node, what=what, why=why)
        self.why_not = why

    def _tell(self) -> None:
        try:
            self._on_up(self._node)
        except Exception:
            self.log.failure("somebody could not take the news of a link")
