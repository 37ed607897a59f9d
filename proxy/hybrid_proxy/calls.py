"""Sites that sleep on this node are called: the node process is told that somebody waits for them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Set

from hybrid.model import SiteId
from hybrid.sitetraffic import Awaited
from hybrid_proxy.route import Routes

AGAIN_S = 0.9
"""One is not told again within this time, however many come; it is once more then, as long as somebody waits."""


class Calls:
    """
    Those of one front door.

    Args:
        routes: Which sites sleep here.
        awaited: Sites that somebody waits for.
        tell: The node process.
        now_s: Seconds, monotonic.
    """

    def __init__(
        self,
        routes: Routes,
        awaited: Callable[[], Set[SiteId]],
        tell: Callable[[Awaited], None],
        now_s: Callable[[], float],
    ) -> None:
        self._routes, self._awaited, self._tell, self._now_s = routes, awaited, tell, now_s
        self._told_s: dict[SiteId, float] = {}

    def call(self, site: SiteId) -> None:
        """Somebody waits for it."""
        if site not in self._routes.asleep:
            return
        now_s = self._now_s()
        if now_s - self._told_s.get(site, float("-inf")) >= AGAIN_S:
            self._told_s[site] = now_s
            self._tell(Awaited(site))

    def again(self) -> None:
        """To be called each second: nothing depends on a word that was lost."""
        asleep = self._routes.asleep
        self._told_s = {site: told_s for site, told_s in self._told_s.items() if site in asleep}
        for site in asleep & self._awaited():
            self.call(site)
