"""What the API takes and tells of consistency groups. Pure."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from hybrid.api.pastschema import MomentText
from hybrid.api.schema import Body
from hybrid.cluster.groups import Group
from hybrid.view import View


class NewGroup(Body, frozen=True):
    """Sites whose moments belong together."""

    name: str
    sites: Annotated[tuple[str, ...], Meta(min_length=2, max_length=8, description="Names or ids; the first leads.")]
    every_s: Annotated[float, Meta(ge=0, le=366 * 86400, description="0: only when asked to.")] = 300.0


class GroupTo(Body, frozen=True):
    """Which instant all sites of a group shall go back to."""

    to: MomentText


class GroupAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A group."""

    name: str
    sites: tuple[str, ...]
    """By name; the first leads: the others are kept on its owner."""
    owner: str | None
    together: bool
    """Whether all are on one node now."""
    every_s: float
    busy: bool
    """A roll-back, or an undo, has begun."""
    undoable: bool


def shown(view: View, group: Group) -> GroupAnswer:
    """One group."""
    sites = [view.sites.get(site) for site in group.sites]
    owners = {site.owner if site is not None else None for site in sites}
    lead = sites[0].owner if sites[0] is not None else None
    known = view.nodes.get(lead) if lead is not None else None
    return GroupAnswer(
        name=group.name,
        sites=tuple(site.spec.name if site else id_ for site, id_ in zip(sites, group.sites, strict=True)),
        owner=known.name if known else lead,
        together=len(owners) == 1 and None not in owners,
        every_s=group.every_s,
        busy=bool(group.under_way),
        undoable=bool(group.undoable),
    )
