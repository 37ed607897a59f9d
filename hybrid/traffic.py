"""The traffic of a node, as its settings want it. Composition."""

from __future__ import annotations

import time
from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

from hybrid.model import NodeId
from hybrid.settings import Settings
from hybrid.view import View
from hybrid_replicator.pace import Paces, Strain
from hybrid_replicator.ports import Probe
from hybrid_replicator.traffic import Gentle, Traffic


def goes_squeezed(settings: Settings, view: View, node: NodeId) -> bool:
    """Whether large streams to `node` are compressed on the way, if it takes that."""
    to, seen = settings.replication.compress_to, view.nodes.get(node)
    return "*" in to or (seen is not None and (seen.dc in to or seen.name in to))


def traffic_of(
    clock: IReactorTime, settings: Settings, view: Callable[[], View], wall_s: Callable[[], float], probe: Probe | None
) -> tuple[Traffic, Gentle | None]:
    """The pacing of all streams, and who watches the pool meanwhile, to be called each second; `None`: nobody does."""

    def place(node: NodeId) -> tuple[str, ...]:
        seen = view().nodes.get(node)
        return (seen.dc, seen.name) if seen is not None else ()

    def minute() -> int:
        local = time.localtime(wall_s())
        return local.tm_hour * 60 + local.tm_min

    limits, strain = settings.replication.limits, Strain()
    traffic = Traffic(clock, Paces("send", limits, place, minute), Paces("receive", limits, place, minute), strain)
    if probe is None or not settings.replication.gentle:
        return traffic, None
    return traffic, Gentle(clock, traffic, strain, probe)
