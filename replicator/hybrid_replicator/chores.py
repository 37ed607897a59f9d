"""What has time: thinning histories out, and finishing what was begun and not ended. Shell."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from hybrid.errors import Busy
from hybrid.model import Fact, Forgotten, SiteId
from hybrid_replicator.bases import Bases
from hybrid_replicator.copies import StashCopies
from hybrid_replicator.forgetting import AT_ONCE, Forgetting
from hybrid_replicator.gate import Gates
from hybrid_replicator.holds import BaseHolds
from hybrid_replicator.index import HistoryIndex
from hybrid_replicator.keeping import Keeping
from hybrid_replicator.names import site_dataset
from hybrid_replicator.past import Past
from hybrid_replicator.ports import Heads
from hybrid_replicator.receiver import Receiver
from hybrid_replicator.sender import Sender
from hybrid_replicator.sizes import Sizes
from hybrid_replicator.stash import Stashes
from hybrid_replicator.tasks import Tasks

PAUSE_S = 5.0
"""Between two looks at what is due."""
FORGET_EVERY_S = 300.0
"""Each history is thinned out so often, where there is room; the less there is, the more often."""
FORGET_AT_ONCE = 40
"""Histories per look."""
FINISH_EVERY_S = 10.0
HOLD_EVERY_S = 300.0
"""Nothing of the last hour is thinned out, so holds need not follow at once."""
CHECK_EVERY_S = 30.0
"""Every site is compared with what its peers acknowledged."""
SETTLE_EVERY_S = 10.0
VERIFY_EVERY_S = 10.0
"""One history of those that were believed at the start is read again."""
SPREAD_EVERY_S = 30.0
"""Stashes that are on no other node are offered so often."""


class Chores:
    """One chore of a kind at a time; none of them ever waits for another."""

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        index: HistoryIndex,
        gates: Gates,
        forgetting: Forgetting,
        stashes: Stashes,
        past: Past,
        copies: StashCopies,
        holds: BaseHolds,
        sender: Sender,
        tasks: Tasks,
        bases: Bases,
        heads: Heads,
        receiver: Receiver,
        report: Callable[[Fact], None],
        keeping: Keeping,
        sizes: Sizes,
        owned: Callable[[], Iterable[SiteId]],
    ) -> None:
        """`owned()` are the sites that this node owns."""
        self._clock, self._index, self._gates, self._forgetting = clock, index, gates, forgetting
        self._stashes, self._past, self._copies, self._holds = stashes, past, copies, holds
        self._sender, self._tasks, self._bases, self._heads = sender, tasks, bases, heads
        self._receiver, self._report = receiver, report
        self._keeping, self._sizes, self._owned = keeping, sizes, owned
        self._forgotten_s: dict[SiteId, float] = {}
        self._first_s: dict[SiteId, float] = {}
        """Since when each history is here; before `FORGET_EVERY_S` nobody can have heard what all others need of it."""
        self._began_s: dict[str, float] = {}
        self._unfinished: set[SiteId] = set()
        self._busy: set[str] = set()
        self._rests_until_s = float("-inf")

    def begin(self) -> None:
        """Begin what is due."""
        now_s = self._clock.seconds()
        if now_s < self._rests_until_s:
            return
        self._rests_until_s = now_s + PAUSE_S
        self._every(PAUSE_S, "forget", self._forget)
        self._every(PAUSE_S, "measure", self._measure)
        self._every(FINISH_EVERY_S, "finish", self._finish)
        self._every(FINISH_EVERY_S, "look again", self._receiver.look_again)
        self._every(SPREAD_EVERY_S, "spread", self._copies.spread)
        self._every(HOLD_EVERY_S, "hold", self._hold)
        self._every(CHECK_EVERY_S, "check", self._check)
        self._every(HOLD_EVERY_S, "give up", self._receiver.parts.sweep)
        self._every(SETTLE_EVERY_S, "settle", self._settle)
        self._every(VERIFY_EVERY_S, "verify", self._index.verify_next)

    def _every(self, period_s: float, name: str, chore: Callable[[], Awaitable[None]]) -> None:
        """Begin `chore` when its last beginning is `period_s` ago and it has ended."""
        now_s = self._clock.seconds()
        if name in self._busy or now_s - self._began_s.setdefault(name, now_s) < period_s:
            return

        async def run() -> None:
            try:
                await chore()
            finally:
                self._busy.discard(name)

        self._began_s[name] = now_s
        self._busy.add(name)
        self._tasks.start(f"chore {name}", run)

    async def _forget(self) -> None:
        """Thin out the histories whose turn it is."""
        now_s = self._clock.seconds()
        self._forgotten_s = {site: self._forgotten_s.get(site, now_s) for site in self._index.sites()}
        self._first_s = {site: self._first_s.get(site, now_s) for site in self._forgotten_s}
        every_s = FORGET_EVERY_S * self._keeping.shrink
        known = {site for site, at_s in self._first_s.items() if now_s - at_s >= FORGET_EVERY_S}
        due = sorted(
            (at_s, site) for site, at_s in self._forgotten_s.items() if site in known and now_s - at_s >= every_s
        )
        for _, site in due[:FORGET_AT_ONCE]:
            self._forgotten_s[site] = now_s
            await self._tidy(site)

    async def _tidy(self, site: SiteId) -> None:
        dataset, gone = site_dataset(site), 0
        try:
            history = self._index.history(dataset)
            kept = await self._bases.kept(site, history)
            async with self._gates.of(site).shared():
                if self._index.history(dataset)[: len(history)] == history:  # else it became another line meanwhile
                    at_once = int(AT_ONCE / self._keeping.shrink)
                    gone = await self._forgetting.tidy(dataset, kept, self._keeping.grid(site), at_once)
        except Busy:
            return
        except Exception:
            self.log.failure("old snapshots of {site} could not be destroyed", site=site)
            await self._index.refresh(site_dataset(site))
            return
        if gone:
            self.log.info("{gone} old snapshots of {site} destroyed", gone=gone, site=site)
            self._report(Forgotten(site))

    async def _measure(self) -> None:
        owned = set(self._owned())
        await self._sizes.look(site for site in self._index.sites() if site in owned or self._keeping.budgeted(site))

    async def _hold(self) -> None:
        """Also for nodes that never exchanged anything with this one: it may be the next owner."""
        for site in self._index.sites():
            dataset = site_dataset(site)
            for peer, guids in self._heads(site).items():
                self._holds.heard(dataset, self._index.history(dataset), peer, guids)
        await self._holds.settle()

    async def _check(self) -> None:
        self._sender.check_all()

    async def _settle(self) -> None:
        self._index.settle()

    async def _finish(self) -> None:
        """Finish stashes that were unfinished at the last look already, so not those just being made."""
        try:
            await self._past.sweep()
            for site in sorted(self._unfinished & self._stashes.unfinished):
                async with self._gates.of(site).exclusive():
                    await self._stashes.finish(site)
        finally:
            self._unfinished = set(self._stashes.unfinished)
