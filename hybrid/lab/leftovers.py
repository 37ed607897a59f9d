"""Removing labs: this one's at its end, and those of runs that were killed. Synchronous, safe to repeat."""

from __future__ import annotations

import shutil

from hybrid.lab import cgroups, claimed, network


def remove_leftovers() -> list[str]:
    """Remove what labs of dead processes left on this machine. Returns their names."""
    with claimed.exclusive():
        dead = claimed.dead_labs()
        for name in dead:
            remove_lab(name)
    return dead


def remove_lab(name: str) -> None:
    """End what still runs of the lab `name`, and remove its network, control groups and (where noted) its folder."""
    network.remove(name)
    cgroups.remove(name)
    base_dir = claimed.noted(name, "base_dir")
    if base_dir is not None:
        shutil.rmtree(base_dir, ignore_errors=True)
    claimed.release_name(name)
