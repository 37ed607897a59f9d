"""All faults there are, in the order of the list in which they were asked for. Values only."""

from __future__ import annotations

from collections.abc import Sequence

from hybrid.lab.faults import chaos, clocks, clumsy, crashes, deaths, disks, distance, halts, losses, partitions, room
from hybrid.lab.faults.fault import Fault

FAULTS: tuple[Fault, ...] = (
    *deaths.FAULTS,
    *halts.FAULTS,
    *partitions.FAULTS,
    *distance.FAULTS,
    *clocks.FAULTS,
    *room.FAULTS,
    *losses.FAULTS,
    *clumsy.FAULTS,
    *crashes.FAULTS,
    *disks.FAULTS,
    *chaos.FAULTS,
)


def chosen(only: str) -> Sequence[Fault]:
    """
    The faults that `only` names, by id or name, separated by commas; all of them for none.

    Raises:
        ValueError: One of the names is not known.
    """
    names = frozenset(name.strip() for name in only.split(",") if name.strip())
    known = {fault.name for fault in FAULTS} | {fault.name.partition("-")[0] for fault in FAULTS}
    if names - known:
        raise ValueError(f"no fault {', '.join(sorted(names - known))}; there are {', '.join(sorted(known))}")
    return [fault for fault in FAULTS if fault.chosen(names)]
