"""
When a running site is asked whether it works, and when it is started again because it does not. Pure.

Only sites whose image says how often (`Health.every_s`). One slow answer restarts nothing; a site that a restart does
not mend is left in peace for longer each time, for a container that starts for ever serves nobody. Times are monotonic.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from hybrid.manifest import Health
from hybrid.model import SiteId

AT_ONCE = 4
"""Sites asked at the same time."""
FAILURES = 3
"""So many in a row, and it is started again."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 60.0, 3600.0
"""Between two restarts at least; twice as long each time."""
WELL_S = 600.0
"""A site that works so long is as if it never had to be restarted."""


@dataclass(slots=True)
class _Patient:
    next_s: float
    failures: int = 0
    pause_s: float = FIRST_PAUSE_S
    restarted_s: float = float("-inf")
    well_since_s: float | None = None
    asked: bool = False


class Vitals:
    """What is known of each site that is asked."""

    def __init__(self) -> None:
        self._patients: dict[SiteId, _Patient] = {}

    def due(self, ours: Mapping[SiteId, Health], serving: Collection[SiteId], now_s: float) -> list[SiteId]:
        """
        The sites to ask now, longest waiting first; each is told by `heard` before it comes again.

        Args:
            ours: What this node owns; what is not among it any more is forgotten.
            serving: Those of them that run and are let alone just now.
        """
        wanted = {site: health for site, health in ours.items() if health.every_s > 0}
        for site in self._patients.keys() - wanted.keys():
            del self._patients[site]
        for site, health in wanted.items():
            self._patients.setdefault(site, _Patient(now_s + max(health.within_s, health.every_s)))
        free = AT_ONCE - sum(patient.asked for patient in self._patients.values())
        waiting = [(one.next_s, site) for site, one in self._patients.items() if not one.asked and one.next_s <= now_s]
        turn = [site for _, site in sorted(waiting) if site in serving][: max(0, free)]
        for site in turn:
            self._patients[site].asked = True
        return turn

    def heard(self, site: SiteId, health: Health, works: bool, now_s: float) -> bool:
        """Take the answer of a site. Returns whether it is to be started again."""
        patient = self._patients.get(site)
        if patient is None:
            return False
        patient.asked, patient.next_s = False, now_s + health.every_s
        if works:
            patient.failures = 0
            patient.well_since_s = now_s if patient.well_since_s is None else patient.well_since_s
            if now_s - patient.well_since_s >= WELL_S:
                patient.pause_s = FIRST_PAUSE_S
            return False
        patient.failures, patient.well_since_s = patient.failures + 1, None
        if patient.failures < FAILURES or now_s - patient.restarted_s < patient.pause_s:
            return False
        if patient.restarted_s > float("-inf"):
            patient.pause_s = min(LONGEST_PAUSE_S, 2 * patient.pause_s)
        patient.failures, patient.restarted_s = 0, now_s
        patient.next_s = now_s + max(health.within_s, health.every_s)
        return True
