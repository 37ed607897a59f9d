"""
How long a suspect has to prove itself: Lifeguard's timer, long at first, shorter with each independent accuser. Pure.

The numbers are those of memberlist's LAN and WAN profiles.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Profile:
    """How patiently a node is probed and accused."""

    probe_s: float
    """A probe is over after this."""
    timeout_s: float
    """The direct part of it."""
    mult: int
    """Shortest suspicion: `mult * max(1, log10(nodes)) * probe_s`; `mult - 2` more accusers bring it down to that."""
    max_mult: int = 6
    """Longest suspicion, as a multiple of the shortest."""


LAN = Profile(probe_s=1.0, timeout_s=0.5, mult=4)
WAN = Profile(probe_s=5.0, timeout_s=3.0, mult=6)


def profile(one: str, other: str, far: Collection[tuple[str, str]]) -> Profile:
    """Between two data centres; `far` lists the pairs that are far apart (`*` in it is any, but not twice the same)."""
    if one == other:
        return LAN
    for a, b in far:
        if (a in (one, "*") and b in (other, "*")) or (a in (other, "*") and b in (one, "*")):
            return WAN
    return LAN


def timeout_s(profile: Profile, nodes: int, confirmed: int, possible: int) -> float:
    """
    How long to suspect before taking it for dead.

    Args:
        profile: Of the suspect.
        nodes: How many are alive, about.
        confirmed: Accusers besides the first.
        possible: Nodes besides the first accuser that are well and could confirm. Where none can, one accuser does.
    """
    least_s = profile.mult * max(1.0, math.log10(max(1, nodes))) * profile.probe_s
    wanted = min(profile.mult - 2, possible)
    if confirmed >= wanted:
        return least_s
    most_s = profile.max_mult * least_s
    return max(least_s, most_s - math.log(confirmed + 1) / math.log(wanted + 1) * (most_s - least_s))
