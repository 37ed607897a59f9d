"""
Decides which site leaves a busy node, so that the site that made it busy gets the server to itself. Pure.

Each node decides about the sites it owns and nobody else does, so there is no coordinator, and no site that two nodes
move at once. Two nodes do not chase each other: a site leaves only a node that has been hot for a while, and goes only
to one that stays cool with it; between the two there is more than any one step. Where it came to it stays for
`cooldown_s`, whatever happens, and a node sends away no more than `per_hour`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from hybrid.cluster.loads import DIMENSIONS, Dimension
from hybrid.load import NodeLoad, SiteLoad
from hybrid.model import NodeId, SiteId

HOUR_S = 3600.0
_CALLED: dict[Dimension, str] = {"cpu": "processors", "memory": "memory", "io": "disks"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When to act, and how much at most. Parts of a node: 0 to 1."""

    hot: float = 0.85
    """In use for longer, from here on a node is hot."""
    cool: float = 0.6
    """A node to which a site goes is no busier than this with it."""
    pause_s: float = 20.0
    """Between two moves of a node: what came of the first must have shown."""
    cooldown_s: float = 1800.0
    """A site stays so long where it came to."""
    per_hour: int = 20
    """As many sites leave a node in an hour at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resident:
    """A site that this node owns."""

    site: SiteId
    name: str
    load: SiteLoad
    peak: SiteLoad | None = None
    """As high as either the short or the long average says, where that is more: it may have begun to spike itself."""
    here_s: float = float("inf")
    """For how long."""
    fresh: tuple[NodeId, ...] = ()
    """Live nodes whose copy lacks no more than what is under way, best first."""
    stays: str = ""
    """Why it cannot be moved now; empty: it can."""
    home_dc: str = ""
    apart: str = ""
    """Sites with the same word are not on one node, where that can be."""
    group: str = ""
    """Sites of one group are where the first of them is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """Another node."""

    node: NodeId
    name: str
    dc: str
    load: NodeLoad | None
    """`None`: it tells nothing, so it gets nothing."""
    refuses: str = ""
    """Why it can take nothing: down, full, drained; empty: it can."""
    apart: frozenset[str] = frozenset()
    """Words of the sites it owns."""
    coming: float = 0.0
    """The part of it that sites take which went there and cannot be in `load` yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Here:
    """This node."""

    name: str
    dc: str
    load: NodeLoad
    """As high as the short and the long average both say."""
    io_bytes_s: float = 0.0
    """Of all its sites."""
    left_s: Sequence[float] = ()
    """When sites left it for being busy, monotonic, oldest first."""


@dataclass(frozen=True, slots=True)
class Move:
    """A site should go."""

    site: SiteId
    to: NodeId
    why: str


@dataclass(frozen=True, slots=True)
class Stay:
    """Nothing is to be done."""

    why: str
    busy: SiteId | None = None
    """The site that makes this node hot."""


@dataclass(frozen=True, slots=True)
class Heat:
    """A node that is hot, by what, and what each site has to do with it."""

    dimension: Dimension
    part: float
    shares: Mapping[SiteId, float] = field(default_factory=dict)

    @property
    def busiest(self) -> SiteId:
        """The site that takes most."""
        return max(self.shares, key=lambda site: (self.shares[site], site))


def heat(here: Here, residents: Collection[Resident], limits: Limits) -> Heat | None:
    """
    What this node is hottest by, if it is hot and its sites are what makes it so.

    What other programs of the machine do is not helped by moving sites: these must have half of it at least.
    """
    found = [
        Heat(name, part, shares)
        for name in DIMENSIONS
        if (part := getattr(here.load, name)) >= limits.hot
        and sum((shares := _shares(name, here.load, residents)).values()) >= part / 2
    ]
    return max(found, key=lambda one: one.part, default=None)


def _shares(name: Dimension, load: NodeLoad, residents: Collection[Resident]) -> dict[SiteId, float]:
    """The part of this node that each site takes; nobody counts what a site alone does to memory and disks."""
    taken = {one.site: _taken(name, one.load) for one in residents}
    whole = load.cores if name == "cpu" else sum(taken.values()) / (getattr(load, name) or 1.0)
    return {site: used / whole if whole else 0.0 for site, used in taken.items()}


def _taken(name: Dimension, load: SiteLoad) -> float:
    return {"cpu": load.cpu, "memory": float(load.memory_bytes), "io": load.io_bytes_s}[name]


def choose(
    here: Here, residents: Collection[Resident], hosts: Collection[Host], limits: Limits, now_s: float
) -> Move | Stay:
    """
    The next move, if there is to be one: of the neighbours of the busiest site the one that takes most.

    Args:
        residents: All sites this node owns.
        hosts: All other nodes.
        now_s: Monotonic.
    """
    hot = heat(here, residents, limits)
    if hot is None:
        return Stay(f"{here.name} is not hot: {busiest_part(here.load)}")
    by_site = {one.site: one for one in residents}
    busy = by_site[hot.busiest]
    what = f"{here.name} is hot: {hot.part:.0%} of its {_CALLED[hot.dimension]} in use, {busy.name} takes most"
    neighbours = [one for one in residents if not _belongs(one, busy)]
    if not neighbours:
        return Stay(f"{what}, and has it to itself", busy.site)
    waits = _waits(here, limits, now_s)
    if waits:
        return Stay(f"{what}; {waits}", busy.site)
    for one in sorted(neighbours, key=lambda one: (-hot.shares[one.site], one.site)):
        if why_not(one, limits):
            continue
        able = [host for host in hosts if not unfit(one, host, here, limits)]
        if able:
            best = min(able, key=lambda host: _preference(one, host, here))
            took = (
                f"{one.name} takes {hot.shares[one.site]:.0%}, {best.name} is at {after(one, best, here):.0%} with it"
            )
            return Move(one.site, best.node, f"{what}; {took}")
    return Stay(f"{what}; no neighbour of it has a place to go to now", busy.site)


def busiest_part(load: NodeLoad) -> str:
    """The most used of what a node has: `41% of its processors in use`."""
    name = max(DIMENSIONS, key=lambda name: float(getattr(load, name)))
    return f"{getattr(load, name):.0%} of its {_CALLED[name]} in use"


def _belongs(one: Resident, busy: Resident) -> bool:
    """Whether `one` is the busy site, or one it is never apart from."""
    return one.site == busy.site or bool(one.group and one.group == busy.group)


def _waits(here: Here, limits: Limits, now_s: float) -> str:
    """Why this node moves nothing more just now."""
    if here.left_s and now_s - here.left_s[-1] < limits.pause_s:
        return "a site left a moment ago: what comes of that is waited for"
    if sum(now_s - left_s < HOUR_S for left_s in here.left_s) >= limits.per_hour:
        return f"{limits.per_hour} sites left within an hour, which is the most"
    return ""


def why_not(one: Resident, limits: Limits) -> str:
    """Why a site stays where it is, however busy its node gets; empty: it may go."""
    if one.stays:
        return one.stays
    if one.here_s < limits.cooldown_s:
        return f"it came less than {limits.cooldown_s / 60:g} min ago"
    return ""


def unfit(one: Resident, host: Host, here: Here, limits: Limits) -> str:
    """Why a site does not go to `host`; empty: it may."""
    if host.refuses:
        return host.refuses
    if host.node not in one.fresh:
        return "has no copy that is up to date"
    if host.load is None:
        return "does not tell how busy it is"
    if one.apart and one.apart in host.apart:
        return f"has a site that is to be apart from it ({one.apart})"
    part = after(one, host, here)
    if part > limits.cool:
        return f"would be busy with it: {part:.0%}"
    return ""


def after(one: Resident, host: Host, here: Here) -> float:
    """How busy `host` would be with `one`: the most used of what it has."""
    if host.load is None:
        return 1.0
    load = one.peak or one.load
    added = {
        "cpu": load.cpu / host.load.cores,
        "memory": load.memory_bytes / max(1, host.load.memory_bytes),
        "io": here.load.io * load.io_bytes_s / here.io_bytes_s if here.io_bytes_s else 0.0,
    }
    return max(float(getattr(host.load, name)) + added[name] for name in DIMENSIONS) + host.coming


def _preference(one: Resident, host: Host, here: Here) -> tuple[bool, int, int]:
    """Smaller is better: the site's home or this data centre, how busy it would be in eighths; else as it falls."""
    digest = hashlib.blake2b(f"{one.site}/{host.node}".encode(), digest_size=8).digest()
    return host.dc != (one.home_dc or here.dc), round(after(one, host, here) * 8), int.from_bytes(digest)
