"""What the API tells of loads, and of why a site is where it is. Pure."""

from __future__ import annotations

import msgspec

from hybrid.api.moments import rfc3339
from hybrid.api.names import node_name
from hybrid.cluster.bursting import busiest_part
from hybrid.cluster.draining import Plan
from hybrid.load import IDLE, NodeLoad, Placed, SiteLoad
from hybrid.model import NodeId
from hybrid.placing_deeds import Why
from hybrid.view import SiteView, View

_CAME = {
    "move": "was moved here",
    "burst": "made room for a busy neighbour",
    "drain": "left a node that was drained",
    "relief": "left a node whose pool was full",
    "election": "was taken over",
}


class LoadAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What a site takes of its owner, on average of a minute or so."""

    cpu: float
    """Processor cores."""
    memory_bytes: int
    """That cannot be had back by dropping caches."""
    io_bytes_s: float
    """Read and written, where the kernel tells whose that is."""
    requests_s: float
    """HTTP requests answered."""


class CapacityAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What a node has, and which part of that is in use, 0 to 1, in steps of an eighth."""

    cores: float
    memory_bytes: int
    cpu: float
    memory: float
    io: float


class CameAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A site came to a node."""

    at: str
    on: str
    came: str
    """`move`, `burst`, `drain`, `relief`, `election`."""
    why: str


class VerdictAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What speaks against another node as a place for a site; empty: nothing."""

    node: str
    against: str


class LeftAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A neighbour that left for a busy site."""

    at: str
    site: str
    to: str
    why: str


class PlaceAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Where a site would go."""

    site: str
    to: str


class StuckAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A site for which there is no place."""

    site: str
    why: str


class WhyAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Why a site is where it is."""

    site: str
    owner: str
    sentence: str
    moves: tuple[CameAnswer, ...]
    """The last ones, oldest first."""
    load: LoadAnswer
    node: CapacityAnswer | None
    """Its owner's, exactly; `null`: it does not measure."""
    hot: str
    """What the owner is about to do because it is hot, or why nothing."""
    stays: str
    """Why the site stays however hot it gets; empty: it may go."""
    others: tuple[VerdictAnswer, ...]
    """All other nodes, by name."""
    made_room: tuple[LeftAnswer, ...]
    """Who left the owner for this site."""
    as_of: str
    from_node: str


class DrainAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What draining a node means now."""

    node: str
    draining: bool
    """Whether it is to own nothing already."""
    sites: tuple[PlaceAnswer, ...]
    """Where its sites would go, by name."""
    stuck: tuple[StuckAnswer, ...]
    """Sites for which there is no place: while there are any, it is not drained."""
    seconds: float
    """That it is likely to take."""
    as_of: str
    from_node: str


def drain(view: View, planned: Plan, now_s: float) -> DrainAnswer:
    """What this node would do."""
    me = view.nodes.get(view.me)
    names = {site: seen.spec.name for site, seen in view.sites.items()}
    return DrainAnswer(
        node=node_name(view, view.me),
        draining=me is not None and me.draining,
        sites=tuple(PlaceAnswer(site=names[site], to=node_name(view, to)) for site, to in planned.to.items()),
        stuck=tuple(StuckAnswer(site=names[site], why=why) for site, why in planned.stuck.items()),
        seconds=round(planned.seconds, 1),
        as_of=rfc3339(now_s),
        from_node=node_name(view, view.me),
    )


def load(of: SiteLoad | None) -> LoadAnswer:
    """Of a site; nothing is as good as nothing."""
    return LoadAnswer(**msgspec.structs.asdict(of or IDLE))


def capacity(of: NodeLoad | None) -> CapacityAnswer | None:
    """Of a node."""
    return CapacityAnswer(**msgspec.structs.asdict(of)) if of is not None else None


def why(view: View, site: SiteView, told: Why, now_s: float) -> WhyAnswer:
    """`told` by this node about `site`, which it owns."""
    return WhyAnswer(
        site=site.spec.name,
        owner=node_name(view, view.me),
        sentence=_sentence(view, site, told),
        moves=tuple(_came(view, one) for one in told.placed),
        load=load(told.load),
        node=capacity(told.here),
        hot=told.hot,
        stays=told.stays,
        others=tuple(VerdictAnswer(node=node_name(view, one.node), against=one.against) for one in told.others),
        made_room=tuple(
            LeftAnswer(at=rfc3339(one.at_s), site=one.name, to=node_name(view, one.to), why=one.why)
            for one in told.made_room
        ),
        as_of=rfc3339(now_s),
        from_node=node_name(view, view.me),
    )


def _came(view: View, one: Placed) -> CameAnswer:
    return CameAnswer(at=rfc3339(one.at_s), on=node_name(view, NodeId(one.on)), came=one.came, why=one.why)


def _sentence(view: View, site: SiteView, told: Why) -> str:
    """`blog is on n2: it made room for a busy neighbour at …; n2 is not hot, 12% of its processors in use`."""
    owner, last = node_name(view, view.me), told.placed[-1] if told.placed else None
    came = "it was made here, or came before reasons were kept"
    if last is not None and last.on == view.me:
        came = f"it {_CAME.get(last.came, last.came)} at {rfc3339(last.at_s)}"
    busy = f"; {owner} has {busiest_part(told.here)}" if told.here is not None else ""
    return f"{site.spec.name} is on {owner}: {came}{busy}"
