"""What a node stands on: the drivers behind its ports, real ones or fakes."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from hybrid.adapters import Memory
from hybrid.away.ports import Objects
from hybrid.away.stores import AwayStore
from hybrid.cluster.gossip import Links
from hybrid.cluster.loads import Gauge
from hybrid.cluster.pulse import Datagrams
from hybrid.cluster.pulse import Links as PulseLinks
from hybrid.cluster.sealing import Seals
from hybrid.departures import Links as Cuts
from hybrid.hosting.accesslogs import Append
from hybrid.hosting.terms import Accepts
from hybrid.ports import Containers, Peers, Pool
from hybrid.strict.ports import StrictDrivers
from hybrid_replicator.ports import Files, Probe


class PeerLinks(Peers, Links, Cuts, PulseLinks, Protocol):
    """Links as the core uses them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drivers:
    """What a node stands on."""

    pool: Pool
    containers: Containers
    links: PeerLinks
    datagrams: Datagrams
    entropy: Callable[[int], bytes]
    files: Files
    memory: Memory
    seals: Seals
    accepts: Accepts
    shift_owners: Callable[[str, int], Awaitable[object]]
    imprint: Callable[[str, int, str], Awaitable[None]] | None = None
    """See `hybrid.hosting.creation.Creation`; `None`: nothing is written."""
    append: Append | None = None
    """Writes access logs of sites; `None`: nobody does."""
    wall_s: Callable[[], float]
    patient_wall_s: Callable[[], float] | None = None
    """By which snapshots are old: does not believe a clock that leaps ahead. `None`: `wall_s`."""
    random: random.Random
    load: Callable[[], float]
    objects: Callable[[AwayStore], Objects]
    """Opens a store far away."""
    probe: Probe | None = None
    """How long small writes take; without it, receives are as fast as can be."""
    gauge: Gauge | None = None
    """What containers and the machine have to do; without it nothing is measured, and no site moves for it."""
    strict: StrictDrivers | None = None
    """etcd and the guardian, where this node has them."""
