"""What a node may have to do about a site, and the facts it decides that from. Pure values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import msgspec

from hybrid.cluster.candidates import Registers
from hybrid.cluster.picks import Pick
from hybrid.model import Bid, Claim, NodeId, SiteId, SiteSpec


@dataclass(frozen=True, slots=True)
class Stay:
    """Nothing to do now; `why` is for people."""

    why: str = ""
    settled: bool = field(default=False, compare=False)
    """Time alone changes nothing about it: the site need not be looked at before some fact has changed."""


@dataclass(frozen=True, slots=True)
class Stand:
    """Ask `confirmation` nodes, decide again, then open the site under `claim` (rule R2)."""

    claim: Claim


@dataclass(frozen=True, slots=True)
class Reaffirm:
    """Own on, under the larger `claim`: a ghost of a larger one makes receivers refuse the old one for ever (R9)."""

    claim: Claim


@dataclass(frozen=True, slots=True)
class PublishBid:
    """Publish `bid` for the conflict `key`; it may never change afterwards (R5)."""

    key: str
    bid: Bid


@dataclass(frozen=True, slots=True)
class Fence:
    """Stop serving, keep what is not in a snapshot, give the claim up: `winner` owns the site under `claim` (R6)."""

    winner: NodeId
    claim: Claim


@dataclass(frozen=True, slots=True)
class AwaitPick:
    """Policy `ask`: stop writing until a person has picked among `claims`, this node's own one included, sorted."""

    claims: tuple[Claim, ...]


@dataclass(frozen=True, slots=True)
class Resume:
    """A person picked this node's history: serve again."""


Decision = Stay | Stand | Reaffirm | PublishBid | Fence | AwaitPick | Resume


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """One look at one site; the fields are those of `Elections.decide`."""

    me: NodeId
    site: SiteId
    registers: Registers
    live: frozenset[NodeId]
    spec: SiteSpec | None
    now_s: float
    fit: bool
    free_space_ok: bool
    dcs: Mapping[NodeId, str]
    loads: Mapping[NodeId, float] = MappingProxyType({})
    sick: frozenset[NodeId] = frozenset()
    pick: Pick | None = None

    @property
    def alone(self) -> bool:
        """Whether there is no other node in the world, so that there is nobody to listen to."""
        return {*self.dcs, *self.registers, *self.live} <= {self.me}

    @property
    def asks(self) -> bool:
        """Whether a person decides between two histories of this site."""
        return self.spec is not None and self.spec.policy == "ask"
