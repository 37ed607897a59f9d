"""
In which order a node takes over sites, when it should take over many at once: its neighbour died. Pure.

All at once they would start slower than one after the other: disks and caches are cold. So the busiest go first, and a
few at a time; with very many, nodes begin at different moments. Times are monotonic seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hybrid.cluster.candidates import Registers
from hybrid.model import Claim, NodeId, SiteId

AT_ONCE = 4
JITTER_S = 1.0
"""Where not all sites get a turn at once, the first waits up to so long."""
SPOKEN_FOR_S = 120.0
"""So long a site that waits for its turn is kept from a node with a poorer copy."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    claim: Claim
    since_s: float


class Turns:
    """The sites that this node should take over and has not begun with."""

    def __init__(self, jitter: Callable[[], float]) -> None:
        """`jitter`: between 0 and 1, at random."""
        self._jitter = jitter
        self._waiting: dict[SiteId, _Waiting] = {}
        self._begin_s = float("-inf")

    def next(
        self, wanted: Mapping[SiteId, Claim], under_way: int, now_s: float, busy: Callable[[SiteId], float]
    ) -> list[SiteId]:
        """
        The sites of `wanted` to begin with now, most urgent first.

        Args:
            wanted: All sites to be taken over now and the claims for that; others are not waited for any more.
            under_way: How many are being taken over.
            busy: How busy a site is; the larger the busier.
        """
        if wanted and not self._waiting and len(wanted) + under_way > AT_ONCE:
            self._begin_s = now_s + self._jitter() * JITTER_S
        if not wanted:
            self._waiting = {}
            return []
        self._waiting = {
            site: _Waiting(claim, self._waiting[site].since_s if site in self._waiting else now_s)
            for site, claim in wanted.items()
        }
        if now_s < self._begin_s:
            return []
        turn = sorted(wanted, key=lambda site: (-busy(site), site))[: max(0, AT_ONCE - under_way)]
        for site in turn:
            del self._waiting[site]
        return turn

    def spoken_for(self, site: SiteId, me: NodeId, asker: NodeId, registers: Registers, now_s: float) -> Claim | None:
        """The claim with which this node will stand, where `site` waits for its turn and `asker` has less of it."""
        waiting = self._waiting.get(site)
        if waiting is None or now_s - waiting.since_s > SPOKEN_FOR_S or me not in registers:
            return None
        poorer = asker not in registers or _history(registers, asker) < _history(registers, me)
        return waiting.claim if poorer else None


def _history(registers: Registers, node: NodeId) -> tuple[int, int, int]:
    """As in `hybrid.cluster.candidates.rank`."""
    register = registers[node]
    return register.head_epoch, register.head_counter, register.length
