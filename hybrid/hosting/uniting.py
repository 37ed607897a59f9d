"""
Where two branches can be united safely they are, without anybody being asked: the mail of a mail site. Shell.

After a partition one history goes on and the other is a stash. A Maildir's messages are files that are never changed,
so those of the stash can be brought into the main line beside what came in there. That is done on the owner, once the
stash has reached it. Any other kind of data is a person's to compare (`hybrid decisions`), but for stashes that hold
nothing which the main line lacks: a replica that followed one owner and then the other leaves such.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from hybrid.deeds import TimeMachine
from hybrid.hosting.holdings import Holding, Holdings
from hybrid.hosting.tasks import SiteTasks
from hybrid.model import MAIL, SiteId, Stash

AGAIN_S = 300.0
"""One that failed (no room) is tried again so often."""


class Uniting:
    """Looks for stashes of mail sites owned here."""

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        machine: TimeMachine,
        holdings: Holdings,
        tasks: SiteTasks,
        everywhere: Callable[[SiteId], Iterable[Stash]],
        event: Callable[[str, SiteId, str], None],
    ) -> None:
        """`everywhere(site)`: the stashes of all nodes. `event(kind, site, text)` records it for people."""
        self._everywhere = everywhere
        self._clock, self._machine, self._holdings, self._tasks, self._event = clock, machine, holdings, tasks, event
        self._tried_s: dict[str, float] = {}

    async def look(self) -> None:
        """Say which stashes hold nothing of their own, and begin to unite what can be."""
        for site in self._holdings:
            holding = self._holdings.get(site)
            if holding is None or not holding.serving or self._tasks.busy(site):
                continue
            self._contained(site, holding)
            stash = self._next(site, holding) if holding.spec.kind == MAIL else None
            if stash is not None:
                self._tried_s[stash.id] = self._clock.seconds()
                self._tasks.start(site, "unite mail", lambda s=site, i=stash.id: self._unite(s, i))  # type: ignore[misc]  # default arguments

    def _contained(self, site: SiteId, holding: Holding) -> None:
        """Stashes that end within the main line."""
        heads = {stash.head for stash in self._everywhere(site)} - set(holding.united)
        if heads:
            heads &= {snapshot.guid for snapshot in self._machine.history(site)}
        if heads:
            self._holdings.update(site, united=(*holding.united, *sorted(heads)))

    def _next(self, site: SiteId, holding: Holding) -> Stash | None:
        now_s = self._clock.seconds()
        for stash in self._machine.stashes(site):
            due = now_s - self._tried_s.get(stash.id, -AGAIN_S) >= AGAIN_S
            if stash.why == "conflict" and stash.head not in holding.united and due:
                return stash
        return None

    async def _unite(self, site: SiteId, stash_id: str) -> None:
        done = await self._machine.unite(site, stash_id)
        head = next(stash.head for stash in self._machine.stashes(site) if stash.id == stash_id)
        holding = self._holdings.need(site)
        self._holdings.update(site, united=(*holding.united, head))
        self._event("mail-united", site, f"{done} messages of {stash_id} are in the site again")
