"""What a node can say and do about which node owns which site, as a protocol. Pure declaration, like `hybrid.deeds`."""

from __future__ import annotations

from typing import Protocol

import msgspec

from hybrid.cluster.draining import Plan
from hybrid.deeds import Progress
from hybrid.load import NodeLoad, Placed, SiteLoad
from hybrid.model import NodeId, SiteId


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What speaks against a node as a place for a site."""

    node: NodeId
    against: str
    """Empty: nothing."""


class Left(msgspec.Struct, frozen=True, kw_only=True):
    """A neighbour that left so that a busy site has its node to itself."""

    at_s: int
    name: str
    to: NodeId
    why: str


class Why(msgspec.Struct, frozen=True, kw_only=True):
    """Why a site is where it is."""

    placed: tuple[Placed, ...]
    """How it came here, and where it was before, oldest first; empty: it was made here, or nothing is known."""
    load: SiteLoad | None
    here: NodeLoad | None
    """This node; `None`: it does not measure."""
    hot: str
    """What this node is about to do because it is hot, or why it does nothing; empty: it is not hot, or not to."""
    stays: str
    """Why the site would stay however hot it gets; empty: it may go."""
    others: tuple[Verdict, ...]
    """Every other node, by name."""
    made_room: tuple[Left, ...] = ()
    """Who left this node for this site, oldest first, since this process began."""


class PlacingDeeds(Protocol):
    """`why` is for the owner of a site, `plan` and `drain` for the node it is about, `resume` for any."""

    def why(self, site: SiteId) -> Why:
        """Raises `NoSuchSite`; `Conflict` where this node does not own it."""

    def plan(self) -> Plan:
        """Where the sites of this node would go if it were drained."""

    async def drain(self, by: str, progress: Progress) -> int:
        """
        Have this node own nothing from now on: no election or placement prefers it, and all it owns is moved away.

        Returns:
            How many sites were moved.

        Raises:
            Conflict: A site has no place, then nothing was done; or it was called off, or a site could not be moved.
        """

    def resume(self, node: NodeId) -> None:
        """Let a node own sites again; not drained: fine."""
