"""Running sites are asked whether they work, and started again when they do not for a while. Shell."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from hybrid.errors import HybridError
from hybrid.hosting.asking import ask
from hybrid.hosting.holdings import Holdings
from hybrid.hosting.tasks import SiteTasks, in_background
from hybrid.hosting.terms import Terms
from hybrid.hosting.vitals import Vitals
from hybrid.model import SiteId
from hybrid.ports import Containers

ANSWER_S = 20.0
"""A command that takes longer has failed."""


class Checkup:
    """Asks what this node serves."""

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        containers: Containers,
        holdings: Holdings,
        terms: Terms,
        tasks: SiteTasks,
        tell: Callable[[str, SiteId, str], None],
    ) -> None:
        """`tell(kind, site, text)`: for people."""
        self._clock, self._containers, self._holdings = clock, containers, holdings
        self._terms, self._tasks, self._tell = terms, tasks, tell
        self._vitals = Vitals()

    async def look(self) -> None:
        """Begin to ask what is due."""
        ours = {site: held.spec.health for site in self._holdings if (held := self._holdings.get(site)) and held.claim}
        serving = {site for site in ours if self._serves(site) and not self._tasks.busy(site)}
        for site in self._vitals.due(ours, serving, self._clock.seconds()):
            in_background(f"asking {site} whether it works", lambda site=site: self._ask(site))  # type: ignore[misc]  # default argument

    async def _ask(self, site: SiteId) -> None:
        spec = self._holdings.need(site).spec
        why = ""
        try:
            await ask(self._containers, site, spec, ANSWER_S)
        except HybridError as error:
            why = str(error)
        if self._vitals.heard(site, spec.health, not why, self._clock.seconds()) and self._serves(site):
            self.log.warn("{site} does not work, starting it again: {why}", site=site, why=why)
            if self._tasks.start(site, "restart", lambda: self._terms.restart(site)):
                self._tell("restarted", site, f"{spec.name} did not work and is started again: {why}")

    def _serves(self, site: SiteId) -> bool:
        """Whether it still does, as nobody is doing anything to it."""
        holding = self._holdings.get(site)
        if holding is None or holding.awaiting:
            return False
        return holding.serving and holding.role == "owner" and holding.spec.runs
