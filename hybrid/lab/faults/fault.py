"""What a scenario is: a name, a cluster, what is done, and what it may cost. Values only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hybrid.lab.faults.scoring import Target
from hybrid.lab.faults.stage import Stage

TWENTY = Target()
"""What most may cost."""


@dataclass(frozen=True, slots=True)
class Fault:
    """
    One scenario.

    `name` begins with the id of the fault list (`F5-two`); `nodes` is the size of its cluster (4: two data centres of
    two nodes); `run` does it: marks the beginning and the end, and leaves everything whole.
    """

    name: str
    says: str
    nodes: int
    run: Callable[[Stage], None]
    target: Target = TWENTY
    times: int = 1
    """How often, in a whole campaign: one failover says little about the next."""

    def chosen(self, only: frozenset[str]) -> bool:
        """Whether `only` names it, by its whole name or by its id; nothing named: all are chosen."""
        return not only or self.name in only or self.name.partition("-")[0] in only
