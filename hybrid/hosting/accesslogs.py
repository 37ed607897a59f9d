"""
The access log of a site becomes a file among its own: `/var/log/hybrid/access.log`. Shell.

The front doors of the owner tell its node process each second what they answered. It is written while the site is
served here, and handed on to the next owner where that is another node by now. Nothing waits for any of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.defer import TimeoutError as WaitedTooLong
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from hybrid.errors import Conflict, HybridError
from hybrid.hosting.backlog import Backlog
from hybrid.hosting.holdings import Holdings
from hybrid.hosting.tasks import SiteTasks
from hybrid.model import Fact, NodeId, SiteId
from hybrid.ports import Peers
from hybrid.sitetraffic import Logged
from hybrid.view import View
from hybrid.wire import Done, LogLines

AGAIN_S = 60.0
"""Where it cannot be written (the quota is used up …) it is tried again so much later."""
AT_ONCE = 100
"""Sites written to in one turn."""
HAND_ON_S = 5.0
FINISH_S = 3.0

Append = Callable[[Sequence[tuple[str, int, bytes]]], Awaitable[Sequence[str]]]
"""
`append(portions)`: adds to the log of each site (where its data are mounted, first uid of its range, lines) and returns
why it could not, in their order, empty where it could. Raises `HybridError` when nothing is known of any.
"""


async def nobody(portions: Sequence[tuple[str, int, bytes]]) -> Sequence[str]:
    """An `Append` that writes nothing."""
    return ["this node writes no access logs"] * len(portions)


class AccessLogs:
    """
    Delivers them.

    Args:
        clock: Monotonic.
        me: This node.
        append: Writes.
        peers: Other nodes.
        holdings: What is held here.
        tasks: Sites that something is being done to are left alone.
        view: The newest.
        place: Where the live data of a site are mounted here, and the first uid of its range.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        me: NodeId,
        append: Append,
        peers: Peers,
        holdings: Holdings,
        tasks: SiteTasks,
        view: Callable[[], View],
        place: Callable[[SiteId], tuple[str, int]],
    ) -> None:
        self._clock, self._me, self._append, self._peers = clock, me, append, peers
        self._holdings, self._tasks, self._view, self._place = holdings, tasks, view, place
        self._backlog = Backlog()
        self._not_before_s: dict[SiteId, float] = {}
        self._lost = 0

    def observe(self, fact: Fact) -> None:
        """A front door of this node tells something."""
        if isinstance(fact, Logged):
            for line in fact.lines:
                self._backlog.add(SiteId(fact.site), line.encode() + b"\n")

    async def take_on(self, _: NodeId, request: object) -> Done:
        """Another node hands lines on, as this one owns the site. Raises `Conflict` when it does not."""
        assert isinstance(request, LogLines)
        if not self._serves(request.site):
            raise Conflict(f"site {request.site} is not served on this node")
        for line in request.lines.splitlines(keepends=True):
            self._backlog.add(request.site, line.removesuffix(b"\n") + b"\n")
        return Done()

    async def look(self) -> None:
        """Write what waits, and hand on what is another node's."""
        await self.write()
        view = self._view()
        leaving: dict[SiteId, NodeId] = {}
        for site in self._backlog.sites():
            seen = view.sites.get(site)
            if seen is None:
                self._backlog.forget(site)
                self._not_before_s.pop(site, None)
            elif seen.owner not in (None, self._me) and seen.state == "serving" and len(leaving) < AT_ONCE:
                assert seen.owner is not None
                leaving[site] = seen.owner
        await gatherResults([Deferred.fromCoroutine(self._hand_on(*one)) for one in leaving.items()])
        if self._backlog.lost != self._lost:
            count, self._lost = self._backlog.lost - self._lost, self._backlog.lost
            self.log.warn("{count} lines of access logs are lost: they could not be written for too long", count=count)

    async def write(self) -> None:
        """Write what waits for sites served here. Never raises."""
        now_s = self._clock.seconds()
        sites = [site for site in self._backlog.sites() if self._may_write(site, now_s)][:AT_ONCE]
        taken = {site: self._backlog.take(site) for site in sites}
        if not taken:
            return
        portions = [(*self._place(site), b"".join(lines)) for site, lines in taken.items()]
        try:
            whys = await self._append(portions)
        except HybridError as error:
            whys = [str(error)] * len(portions)
        for (site, lines), why in zip(taken.items(), whys, strict=True):
            if why:
                self.log.info("the access log of {site} waits: {why}", site=site, why=why)
                self._backlog.put_back(site, lines)
                self._not_before_s[site] = self._clock.seconds() + AGAIN_S
            else:
                self._not_before_s.pop(site, None)

    async def finish(self) -> None:
        """This process ends: write what can be written in a moment. Never raises."""
        writing = Deferred.fromCoroutine(self.write()).addTimeout(FINISH_S, self._clock)
        try:
            await writing
        except WaitedTooLong:
            self.log.warn("the last lines of access logs could not be written")

    async def _hand_on(self, site: SiteId, owner: NodeId) -> None:
        lines = self._backlog.take(site)
        try:
            await self._peers.request(owner, LogLines(site, b"".join(lines)), deadline_s=HAND_ON_S)
        except HybridError as error:
            self.log.debug("{owner} does not take lines of {site}: {why}", owner=owner, site=site, why=str(error))
            self._backlog.put_back(site, lines)

    def _may_write(self, site: SiteId, now_s: float) -> bool:
        late_enough = now_s >= self._not_before_s.get(site, now_s)
        return late_enough and self._serves(site) and not self._tasks.busy(site)

    def _serves(self, site: SiteId) -> bool:
        holding = self._holdings.get(site)
        return holding is not None and holding.role == "owner" and holding.serving
