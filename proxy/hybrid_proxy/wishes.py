"""Past moments that logins ask for: told the node process, each once in a while and not too many. Pure."""

from __future__ import annotations

from collections.abc import Callable

from hybrid.model import SiteId, Wished

AGAIN_S = 30.0
"""One is not told again within this time."""
AT_MOST = 10
"""In that time, whoever asks: nobody has shown a password yet."""


class Wishes:
    """
    Those of one front door.

    Args:
        tell: The node process.
        now_s: Seconds, monotonic.
    """

    def __init__(self, tell: Callable[[Wished], None], now_s: Callable[[], float]) -> None:
        self._tell, self._now_s = tell, now_s
        self._told_s: dict[tuple[SiteId, str], float] = {}

    def wish(self, site: SiteId, moment: str) -> None:
        """Somebody waits for it."""
        now_s = self._now_s()
        self._told_s = {wish: told_s for wish, told_s in self._told_s.items() if now_s - told_s < AGAIN_S}
        if (site, moment) not in self._told_s and len(self._told_s) < AT_MOST:
            self._told_s[site, moment] = now_s
            self._tell(Wished(site, moment))
