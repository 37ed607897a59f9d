"""What a node answers about all its histories: a thousand sites with a hundred snapshots each. Touches no pool."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec

from hybrid.model import Guid, Snapshot
from hybrid.storage.memory import MemoryPool
from hybrid_replicator.index import HistoryIndex

SITES, EACH = 1000, 100
Row = dict[str, Any]


def measure(row: Callable[..., Row]) -> list[Row]:
    """Ask for everything."""
    index = HistoryIndex(MemoryPool())
    names = [f"sites/s-{number:026d}" for number in range(SITES)]
    for number, name in enumerate(names):
        for one in range(EACH):
            taken = Snapshot(Guid(number * EACH + one + 1), f"hyb-000001-bench-{one:07d}", 1_800_000_000 + one)
            index.took(name, taken)
    began_s = time.perf_counter()
    answer = msgspec.json.encode({site: index.history(f"sites/{site}") for site in index.sites()})
    spent_s = time.perf_counter() - began_s
    told = f"{len(answer)} bytes of JSON"
    return [row(f"the histories of {SITES} sites with {EACH} snapshots each", "s", spent_s, None, None, 1.0, told)]
