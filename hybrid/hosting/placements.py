"""Notes why a site comes to this node, for whoever asks later. Shell only in that it is told the time."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hybrid.hosting.holdings import Holdings
from hybrid.load import KEPT, MAX_WHY, Placed
from hybrid.model import NodeId, SiteId, SiteRegister


class Placements:
    """What is known of how sites came here."""

    def __init__(
        self,
        me: NodeId,
        holdings: Holdings,
        registers: Callable[[SiteId], Mapping[NodeId, SiteRegister]],
        wall_s: Callable[[], float],
    ) -> None:
        """`registers(site)`: what each node says about it."""
        self._me, self._holdings, self._registers, self._wall_s = me, holdings, registers, wall_s

    def note(self, site: SiteId, came: str, why: str) -> None:
        """This node is about to claim `site`, which is here as a copy: with the claim it is kept, and told, why."""
        earlier = [said.placed for said in self._registers(site).values() if said.placed]
        last = max(earlier, key=lambda placed: placed[-1].at_s, default=())
        new = Placed(int(self._wall_s()), self._me, came, why[:MAX_WHY])
        self._holdings.explain(site, (*last, new)[-KEPT:])

    def here_s(self, site: SiteId) -> float:
        """For how long it is here; for ever where nobody knows of another place. By the time of day: it is a rest."""
        placed = self._holdings.need(site).placed
        if not placed or placed[-1].on != self._me:
            return float("inf")
        return max(0.0, self._wall_s() - placed[-1].at_s)
