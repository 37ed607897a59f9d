"""What the front doors tell of a site's visitors: times in classes, lines of its access log. Pure values."""

from __future__ import annotations

import msgspec

LATENCY_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the classes of `Served.latency`; one more class is for what took longer."""


class Used(msgspec.Struct, frozen=True, tag=True):
    """
    What one front door knows of sites that may sleep. Told every ten seconds, also where there is nothing to tell.

    What comes in at other nodes reaches a site through its owner's front doors, so these know all.
    """

    front: str
    """Of the process, made up when it started."""
    number: int
    """Counts what this front door told: where one is missing, so is what it knew."""
    sites: tuple[str, ...]
    """Those that somebody asked since the last time, waits for, or is connected to; sorted."""


class Awaited(msgspec.Struct, frozen=True, tag=True):
    """Somebody waits at a front door of this node for a site that sleeps."""

    site: str


class Logged(msgspec.Struct, frozen=True, tag=True):
    """Lines of a site's access log through one proxy, oldest first."""

    site: str
    lines: tuple[str, ...]
    dropped: int = 0
    """So many more there were no room for."""
