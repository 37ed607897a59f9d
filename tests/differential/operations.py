"""Lists of operations on two pools, made from a seed: sensible ones and mistakes. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

DATASETS = ("sites/s-a", "sites/s-b", "stash/s-a.1")
SNAPSHOTS = tuple(f"s{number}" for number in range(5))
PATHS = ("one", "two")
TAGS = ("hyb-stash", "hyb-base-x")
KEYS = ("spec", "claim")
NO_SUCH = -1
"""Stands for a guid that nobody has."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One call: on which of the two pools, which, and with what. Snapshots are named by their place in a history."""

    pool: int
    call: str
    arguments: tuple[Any, ...]

    def __str__(self) -> str:
        return f"{self.call}({', '.join(map(repr, self.arguments))}) on pool {self.pool}"


def operations(seed: int, count: int, restarts: bool = False) -> list[Operation]:
    """
    Args:
        restarts: Also power cuts; then no file is removed, for a removal is only on disk some time later.
    """
    chance = random.Random(seed)
    found = [Operation(0, "create", (DATASETS[0],)), Operation(0, "write", (DATASETS[0], "one", 100))]
    weights = _WEIGHTS | ({"restart": 8, "remove": 0} if restarts else {})
    for _ in range(count):
        call = chance.choices(list(weights), list(weights.values()))[0]
        found.append(Operation(int(chance.random() < 0.35), call, _arguments(call, chance, len(found))))
    return found


_WEIGHTS = {
    "create": 3,
    "write": 12,
    "remove": 2,
    "snapshot": 12,
    "snapshot_if_changed": 5,
    "clone": 5,
    "promote": 4,
    "rename": 4,
    "hold": 3,
    "release": 2,
    "destroy_snapshot": 4,
    "destroy": 3,
    "set_properties": 3,
    "set_readonly": 3,
    "set_quota": 2,
    "mount": 3,
    "unmount": 3,
    "send": 14,
}


def _arguments(call: str, chance: random.Random, number: int) -> tuple[Any, ...]:
    dataset, place = chance.choice(DATASETS), chance.randrange(4) if chance.random() < 0.93 else NO_SUCH
    match call:
        case "write":
            return dataset, chance.choice(PATHS), chance.choice((100, 3000, 300_000))
        case "remove":
            return dataset, chance.choice(PATHS)
        case "snapshot":
            return dataset, chance.choice(SNAPSHOTS)
        case "snapshot_if_changed":  # a name that is taken is an error only where the driver has to try
            return dataset, f"{chance.choice(SNAPSHOTS)}-{number}"
        case "clone":
            return dataset, place, chance.choice(DATASETS)
        case "rename":
            return dataset, chance.choice([other for other in DATASETS if other != dataset])
        case "hold" | "release":
            return dataset, place, chance.choice(TAGS)
        case "destroy_snapshot":
            return dataset, place
        case "destroy" | "set_readonly":
            return dataset, chance.random() < 0.5
        case "set_properties":
            return dataset, chance.choice(KEYS), chance.choice(("x", "y" * 2000, "", None))
        case "set_quota":
            return dataset, chance.choice((None, 1_000_000))
        case "mount":
            return dataset, chance.randrange(2)
        case "send":
            base = chance.choice((None, "theirs", "theirs", "theirs", "origin", place))
            return dataset, place, base, chance.choice((dataset, dataset, chance.choice(DATASETS)))
        case "restart":
            return ()
        case _:
            return (dataset,)
