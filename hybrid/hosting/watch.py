"""What died is started again, what hangs half-way is tried again, storage that came back is used again. Shell."""

from __future__ import annotations

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from hybrid.errors import HybridError
from hybrid.hosting.holdings import Holding, Holdings
from hybrid.hosting.tasks import SiteTasks
from hybrid.hosting.terms import Terms
from hybrid.model import SiteId
from hybrid.ports import Containers

AGAIN_S = 30.0


class Watch:
    """Keeps what this node owns running."""

    log = Logger()

    def __init__(
        self, clock: IReactorTime, containers: Containers, holdings: Holdings, terms: Terms, tasks: SiteTasks
    ) -> None:
        self._clock = clock
        self._containers, self._holdings, self._terms, self._tasks = containers, holdings, terms, tasks
        self._tried_s: dict[SiteId, float] = {}

    async def look(self) -> None:
        """Start again every container that should run and does not; go on with what stopped half-way."""
        self._unstick()
        wanted = [site for site in self._holdings if self._should_run(site)]
        if not wanted:
            return
        running = await self._containers.running()
        for site in wanted:
            if site not in running and self._should_run(site):
                self.log.warn("the container of {site} is gone: starting it again", site=site)
                self._restart(site)

    def _unstick(self) -> None:
        """
        An opening or closing that failed is tried again every `AGAIN_S`.

        Others may have taken the site over meanwhile (its trouble is published); then the elections fence it.
        """
        for site in self._holdings:
            holding = self._holdings.get(site)
            if holding is None or not _half_way(holding) or self._tasks.busy(site):
                self._tried_s.pop(site, None)
                continue
            now_s = self._clock.seconds()
            if now_s - self._tried_s.setdefault(site, now_s) < AGAIN_S:
                continue
            self._tried_s[site] = now_s
            if holding.role == "stashing" or holding.claim is None:
                self.log.error("site {site} could not be closed: trying again", site=site)
                self._tasks.start(site, "close", lambda site=site: self._terms.close(site))  # type: ignore[misc]  # default argument
            else:
                self._restart(site)

    def _should_run(self, site: SiteId) -> bool:
        holding = self._holdings.get(site)
        return (
            holding is not None
            and holding.role == "owner"
            and holding.spec.runs
            and not holding.awaiting
            and not self._tasks.busy(site)
        )

    def _restart(self, site: SiteId) -> None:
        """Unless a person is to pick first: the steward sees to it that it stays shut."""
        if self._awaits(site):
            return
        self._tasks.start(site, "restart", lambda: self._terms.restart(site))

    async def storage_lost(self) -> None:
        """The pool is gone: what runs on it is dead; kill it, so that nothing half-alive answers."""
        owned = [site for site in self._holdings if self._holdings.is_writer(site) and not self._awaits(site)]
        await gatherResults([Deferred.fromCoroutine(self._kill(site)) for site in owned])

    def _awaits(self, site: SiteId) -> bool:
        """Whether it waits for a person's pick, so that nothing of it runs."""
        holding = self._holdings.get(site)
        return holding is not None and bool(holding.awaiting)

    def not_resumed(self, site: SiteId, reason: str) -> None:
        """What an earlier process left could not be put in order: with its claim still held, that is tried again."""
        held = self._holdings.need(site).claim is not None
        self.log.error("site {site} could not be resumed: {reason}", site=site, reason=reason)
        self._holdings.update(
            site, role="stashing" if held else "replica", serving=False, trouble=f"could not be resumed: {reason}"
        )

    async def _kill(self, site: SiteId) -> None:
        """One that is about to be given up anyway stays so."""
        try:
            holding = self._holdings.need(site)
            role = "opening" if holding.role == "owner" else holding.role
            self._holdings.update(site, role=role, serving=False, trouble="")
            await self._terms.stop(site, grace_s=0.0)
        except HybridError as error:
            self.log.error("the container of {site} was not killed: {error}", site=site, error=str(error))
        except Exception:
            self.log.failure("killing the container of {site} failed", site=site)

    def storage_still_lost(self, reason: str) -> None:
        """It will not be back in a moment: say so, and another node may take the sites over."""
        for site in self._holdings:
            holding = self._holdings.get(site)
            if holding is not None and (holding.role == "opening" or holding.awaiting) and not holding.trouble:
                self._holdings.update(site, trouble=f"storage does not answer: {reason}")

    def storage_back(self) -> None:
        """The pool answers again: start what is still ours, unless a person is to pick first."""
        for site in self._holdings:
            holding = self._holdings.get(site)
            if holding is not None and holding.awaiting:
                self._holdings.update(site, trouble="")
            elif holding is not None and holding.role == "opening" and holding.claim is not None:
                self._restart(site)


def _half_way(holding: Holding) -> bool:
    """Whether it is neither owned nor given up; a hand-over under way is left to itself while it has a claim."""
    return holding.role in ("opening", "stashing") or (holding.role == "leaving" and holding.claim is None)
