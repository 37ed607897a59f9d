"""The view, drawn from registers and liveness. Pure; see `hybrid.view` for what its fields mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

import msgspec

from hybrid.cluster.candidates import HOLDING, Registers, claimant, newest_spec, rank
from hybrid.model import Claim, Guid, NodeId, NodeRegister, SiteId, SiteRegister, SiteSpec, Stash
from hybrid.view import NodeView, SiteState, SiteView, View


class Registered(Protocol):
    """A ledger, as it is read here."""

    def sites(self) -> Iterable[SiteId]:
        """Every site ever spoken of."""

    def registers(self, site: SiteId) -> Mapping[NodeId, SiteRegister]:
        """What each node says about it."""

    def nodes(self) -> Mapping[NodeId, NodeRegister]:
        """What each node says about itself."""


def build(
    me: NodeId,
    ledger: Registered,
    live: frozenset[NodeId],
    upstreams: Mapping[SiteId, str],
    zones: tuple[str, ...],
    previous: View | None = None,
    lost: frozenset[NodeId] = frozenset(),
) -> View:
    """
    What this node concludes now.

    Args:
        me: This node.
        ledger: All registers.
        live: From `Membership.live`.
        upstreams: Addresses of this node's containers; used for sites it owns and serves.
        zones: The cluster's DNS zones, the main one first.
        previous: The view before. Its unchanged parts are kept; it is returned itself when nothing changed.
        lost: From `Absences.lost`.

    Returns:
        A view with the next serial number (1 for the first), or `previous`.
    """
    nodes = {node: node_view(register, node in live, node in lost) for node, register in sorted(ledger.nodes().items())}
    sites = {}
    for site in sorted(ledger.sites()):
        seen = site_view(me, ledger.registers(site), live, upstreams.get(site), lost)
        if seen is not None:
            sites[site] = seen
    if previous is not None and (previous.zones, previous.nodes, previous.sites) == (zones, nodes, sites):
        return previous
    return View(me=me, serial=previous.serial + 1 if previous else 1, zones=zones, nodes=nodes, sites=sites)


def node_view(register: NodeRegister, live: bool, lost: bool = False) -> NodeView:
    """A node, from what it says about itself."""
    said = msgspec.structs.asdict(register)
    del said["version"], said["key"]
    return NodeView(live=live, lost=lost and not live, **said)


def site_view(
    me: NodeId,
    registers: Registers,
    live: frozenset[NodeId],
    upstream: str | None,
    lost: frozenset[NodeId] = frozenset(),
) -> SiteView | None:
    """
    One site, from what all nodes say about it.

    Returns:
        `None` for a site that nobody holds any more, or of which nobody knows what it should be.
    """
    spec = newest_spec(register for register in registers.values() if register.role != "none")
    if spec is None:
        return None
    owner = claimant(registers, live)
    mine = registers[owner] if owner is not None else None
    holders = _holders(registers, live, owner)
    state = _state(spec, mine, holders)
    return SiteView(
        spec=spec,
        state=state,
        owner=owner,
        claim=mine.claim if mine else None,
        upstream=upstream if owner == me and state == "serving" else None,
        holders=holders,
        away=_away(registers, live | lost),
        lag_s=_lag_s(me, registers, mine),
        safe_copies=_safe_copies(me, registers, live, owner),
        stashes=stashes(registers),
        trouble=_trouble(registers, mine, holders),
        awaiting=_awaiting(registers, live),
        stuck=tuple(
            sorted(n for n, said in registers.items() if n in live and said.role == "stashing" and said.trouble)
        ),
    )


def _state(spec: SiteSpec, owner: SiteRegister | None, holders: tuple[NodeId, ...]) -> SiteState:
    if spec.wanted == "stopped":
        return "stopped" if holders else "unavailable"
    if owner is not None and owner.serving:
        return "serving"
    if not holders or (owner is not None and (owner.trouble or owner.awaiting)):
        return "unavailable"
    return "changing"


def _holders(registers: Registers, live: frozenset[NodeId], owner: NodeId | None) -> tuple[NodeId, ...]:
    """Living nodes that hold it: the owner first, then as elections would prefer them."""
    held = [node for node, register in registers.items() if node in live and register.role in HOLDING]
    held.sort(key=lambda node: rank(node, registers[node]), reverse=True)
    return tuple(sorted(held, key=lambda node: node != owner))


def _awaiting(registers: Registers, live: frozenset[NodeId]) -> tuple[Claim, ...]:
    """All claims among which living owners wait for a pick."""
    return tuple(sorted({claim for node in live if node in registers for claim in registers[node].awaiting}))


def _stuck(registers: Registers, live: frozenset[NodeId]) -> tuple[NodeId, ...]:
    """Live nodes whose fence does not come to its end."""
    return tuple(sorted(n for n, said in registers.items() if n in live and said.role == "stashing" and said.trouble))


def _away(registers: Registers, accounted: frozenset[NodeId]) -> tuple[NodeId, ...]:
    """Holders that are neither live nor lost."""
    return tuple(sorted(n for n, register in registers.items() if n not in accounted and register.role in HOLDING))


def _told_of_copies(me: NodeId, registers: Registers) -> bool:
    """Whether this node hears of every snapshot of the site: it holds it too."""
    return me in registers and registers[me].role in HOLDING


def _lag_s(me: NodeId, registers: Registers, owner: SiteRegister | None) -> float | None:
    if owner is None:
        return None
    return owner.lag_s if _told_of_copies(me, registers) else owner.late_s


def _safe_copies(me: NodeId, registers: Registers, live: frozenset[NodeId], owner: NodeId | None) -> int:
    """Other living nodes with the owner's head; at a distance, no more than the owner says and than there are."""
    if owner is None:
        return 0
    others = [register for node, register in registers.items() if node in live and node != owner]
    if not _told_of_copies(me, registers):
        return min(registers[owner].safe_copies, sum(register.role in HOLDING for register in others))
    head = registers[owner].head
    return 0 if head is None else sum(register.head == head for register in others)


_REASONS = ("rollback", "undo", "conflict", "modified")
"""Of several stashes of one history, the one with the first of these reasons is shown."""


def stashes(registers: Registers) -> tuple[Stash, ...]:
    """Of all nodes, also of silent ones, oldest first; each history once, though several nodes set it aside."""
    by_head: dict[Guid, Stash] = {}
    for stash in sorted(
        (stash for register in registers.values() for stash in register.stashes),
        key=lambda stash: (_REASONS.index(stash.why), stash.id),
    ):
        by_head.setdefault(stash.head, stash)
    return tuple(sorted(by_head.values(), key=lambda stash: (stash.head_at_s, stash.id)))


def _trouble(registers: Registers, owner: SiteRegister | None, holders: tuple[NodeId, ...]) -> str:
    if owner is not None and owner.awaiting:
        return "it has two histories since a partition, and a person is to pick one"
    if owner is not None:
        return owner.trouble
    if not holders:
        return "no server that is up holds it"
    return next((registers[node].trouble for node in holders if registers[node].trouble), "")
