"""
Consistency groups: sites of one application, as a website and its database, whose moments belong together. Pure.

A group is a value in the cluster's shared map. The owner of its first site does what is to be done with all of them;
the others follow that one. A roll-back of all is written there too before its first step, so that whoever owns the
sites after a crash finishes it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Annotated, Literal

import msgspec

from hybrid.errors import BadRequest, Conflict
from hybrid.history import History
from hybrid.model import Guid, SiteId, Snapshot
from hybrid.view import View

KEY = "group/"
"""`group/<name>` in the shared map: JSON of a `Group`."""
MOST = 8
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_OF_GROUPS = ("group", "consistent group")


class Step(msgspec.Struct, frozen=True):
    """What is to be done with one site of a group."""

    site: SiteId
    to: Guid | None
    """The snapshot to roll back to; `None`: undo."""
    mark: Guid
    """A snapshot by which to see whether it is done: it is on the main line before a roll-back, and after an undo."""


class Group(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One group."""

    name: str
    sites: tuple[SiteId, ...]
    """The first one leads."""
    every_s: Annotated[float, msgspec.Meta(ge=0)] = 300.0
    """How often all are snapshotted in one instant, where something changed; 0: only when asked to."""
    under_way: tuple[Step, ...] = ()
    """Of a roll-back or an undo that has begun."""
    undoable: dict[SiteId, Guid] = {}
    """Heads of what the last one set aside."""


def encode(group: Group) -> tuple[str, str]:
    """Key and value."""
    return KEY + group.name, msgspec.json.encode(group).decode()


def decode(value: str | None) -> Group | None:
    """What a value says; `None` where there is none, or none that can be read."""
    try:
        return msgspec.json.decode(value, type=Group) if value is not None else None
    except msgspec.MsgspecError:
        return None


def read(values: Mapping[str, str]) -> list[Group]:
    """All groups in these values of the shared map, by name."""
    found = [decode(values[key]) for key in sorted(values)]
    return [group for group in found if group is not None]


def new(name: str, sites: Iterable[SiteId], every_s: float, others: Collection[Group], view: View) -> Group:
    """
    A new group.

    Raises:
        BadRequest: No group may be called so, or it has too few or too many sites.
        Conflict: The name is taken, or a site belongs to another group.
    """
    members = tuple(dict.fromkeys(sites))
    if not _NAME.fullmatch(name):
        raise BadRequest(f"{name!r} cannot be a group's name", "", "use 1 to 63 of a-z 0-9 and -")
    if not 2 <= len(members) <= MOST:
        raise BadRequest(f"a group is of 2 to {MOST} sites", f"these are {len(members)}")
    for other in others:
        if other.name == name:
            raise Conflict(f"there is a group {name} already", "", "choose another name, or delete it first")
        both = set(members).intersection(other.sites)
        if both:
            raise Conflict(f"site {view.sites[min(both)].spec.name} belongs to group {other.name} already")
    return Group(name=name, sites=members, every_s=every_s)


def strays(group: Group, view: View) -> list[SiteId]:
    """Sites of the group owned by this node that are to go where the leading one is served, on another node."""
    lead = view.sites.get(group.sites[0])
    if lead is None or lead.state not in ("serving", "asleep") or lead.owner in (None, view.me):
        return []
    return [site for site in group.sites[1:] if site in view.sites and view.sites[site].owner == view.me]


def moments(histories: Mapping[SiteId, History]) -> list[Snapshot]:
    """What all have of one instant, oldest first, as the first one has it."""
    lines = list(histories.values())
    names = [{one.name for one in line if one.kind in _OF_GROUPS} for line in lines]
    common = set[str].intersection(*names) if names else set()
    return [one for one in lines[0] if one.name in common] if lines else []


def due(group: Group, histories: Mapping[SiteId, History], now_s: float) -> bool:
    """Whether all are to be snapshotted: any has changed since the last instant, which is long enough ago."""
    if group.every_s <= 0 or not all(histories.values()):
        return False
    known = moments(histories)
    if not known:
        return True
    at_rest = all(line[-1].name == known[-1].name for line in histories.values())
    return not at_rest and not 0 <= now_s - known[-1].created_at_s < group.every_s


def left_to_do(steps: Iterable[Step], histories: Mapping[SiteId, History]) -> list[Step]:
    """Those of `steps` that are not done yet: the last site's first, so that what leans on others comes up last."""
    return [step for step in reversed(tuple(steps)) if not done(step, histories.get(step.site, ()))]


def done(step: Step, history: History) -> bool:
    """Whether a site's main line shows that the step was done."""
    there = any(snapshot.guid == step.mark for snapshot in history)
    return there if step.to is None else not there


Kind = Literal["g", "b"]
"""How the names of group snapshots are marked: `b` where the hooks of all that have any were run."""
