"""The view, drawn from registers and liveness. Pure; see `hybrid.view` for what its fields mean."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Protocol

import msgspec

from hybrid.cluster.candidates import HOLDING, Registers, claimant, newest_spec, rank
from hybrid.leaves import Leaves
from hybrid.model import Claim, Guid, NodeId, NodeRegister, SiteId, SiteRegister, SiteSpec, Stash
from hybrid.view import NodeView, SiteState, SiteView, View


class Registered(Protocol):
    """A ledger, as it is read here."""

    def sites(self) -> Iterable[SiteId]:
        """Every site ever spoken of."""

    def sites_of(self, node: NodeId) -> Iterable[SiteId]:
        """Every site of which `node` ever spoke."""

    def registers(self, site: SiteId) -> Mapping[NodeId, SiteRegister]:
        """What each node says about it."""

    def nodes(self) -> Mapping[NodeId, NodeRegister]:
        """What each node says about itself."""


class Views:
    """The view of this node, renewed from what changed: a site is drawn again when somebody it concerns changed."""

    def __init__(
        self, me: NodeId, ledger: Registered, zones: tuple[str, ...], upstream: Callable[[SiteId], str | None]
    ) -> None:
        """
        Nothing is seen yet.

        Args:
            me: This node.
            ledger: All registers.
            zones: The cluster's DNS zones, the main one first.
            upstream: The address of a container of this node, while it serves; used for sites it owns.
        """
        self._me, self._ledger, self._zones, self._upstream = me, ledger, zones, upstream
        self._view = View(me=me, serial=0, zones=zones, nodes={}, sites=Leaves())
        self._live: frozenset[NodeId] = frozenset()
        self._lost: frozenset[NodeId] = frozenset()
        self._drawn: dict[NodeId, NodeRegister] = {}
        self._touched: set[SiteId] = set(ledger.sites())

    def touch(self, site: SiteId) -> None:
        """Somebody's register of `site` changed, or the state of its container here."""
        self._touched.add(site)

    def renew(self, live: frozenset[NodeId], lost: frozenset[NodeId]) -> View:
        """
        What this node concludes now.

        Args:
            live: From `Membership.live`.
            lost: From `Absences.lost`.

        Returns:
            A view with the next serial number (1 for the first), or the one before itself when nothing changed.
        """
        turned = (live ^ self._live) | (lost ^ self._lost)
        touched = self._touched.union(*(self._ledger.sites_of(node) for node in turned))
        registers = dict(self._ledger.nodes())
        nodes = self._nodes(registers, turned, live, lost)
        sites = self._sites(touched, live, lost)
        if nodes is not self._view.nodes or sites is not self._view.sites or not self._view.serial:
            serial = self._view.serial + 1
            self._view = View(me=self._me, serial=serial, zones=self._zones, nodes=nodes, sites=sites)
        self._live, self._lost, self._drawn, self._touched = live, lost, registers, set()
        return self._view

    def _nodes(
        self,
        registers: Mapping[NodeId, NodeRegister],
        turned: frozenset[NodeId],
        live: frozenset[NodeId],
        lost: frozenset[NodeId],
    ) -> dict[NodeId, NodeView]:
        """All nodes, by id; the same as before when nothing differs."""
        before = self._view.nodes
        drawn = {
            node: node_view(register, node in live, node in lost)
            for node, register in registers.items()
            if node in turned or self._drawn.get(node) is not register
        }
        if registers.keys() == before.keys() and all(before[node] == view for node, view in drawn.items()):
            return before
        return {node: drawn.get(node) or before[node] for node in sorted(registers)}

    def _sites(
        self, touched: Collection[SiteId], live: frozenset[NodeId], lost: frozenset[NodeId]
    ) -> Mapping[SiteId, SiteView]:
        """All sites; the same as before when nothing differs."""
        before = self._view.sites
        changed: dict[SiteId, SiteView] = {}
        gone: list[SiteId] = []
        for site in sorted(touched):
            seen = site_view(self._me, self._ledger.registers(site), live, self._upstream(site), lost)
            if seen is None:
                gone.append(site)
            elif before.get(site) != seen:
                changed[site] = seen
        if not changed and not any(site in before for site in gone):
            return before
        return (before if isinstance(before, Leaves) else Leaves(before)).replaced(changed, gone)


def node_view(register: NodeRegister, live: bool, lost: bool = False) -> NodeView:
    """A node, from what it says about itself."""
    said = msgspec.structs.asdict(register)
    del said["version"], said["key"], said["seal"], said["boot"], said["twin"]
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
    spec = newest_spec([register for register in registers.values() if register.role != "none"])
    if spec is None:
        return None
    owner = claimant(registers, live)
    mine = registers[owner] if owner is not None else None
    holders = _holders(registers, live, owner)
    state = _state(spec, mine, [registers[node].trouble for node in holders])
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
        data_bytes=mine.data_bytes if mine else 0,
        history_bytes=mine.history_bytes if mine else 0,
        stashes=stashes(registers),
        trouble=_trouble(registers, mine, holders),
        united=mine.united if mine else (),
        awaiting=_awaiting(registers, live),
        stuck=_stuck(registers, live),
        proofs={node: said.proof for node, said in sorted(registers.items()) if said.proof is not None},
        load=mine.load if mine else None,
        placed=mine.placed if mine else (),
    )


def _state(spec: SiteSpec, owner: SiteRegister | None, troubles: list[str]) -> SiteState:
    """`troubles`: of each living holder. Without an owner, one that has none may become it."""
    if not spec.is_on:
        return "stopped" if troubles else "unavailable"
    if spec.asleep and owner is not None and owner.role == "owner" and not owner.trouble and not owner.awaiting:
        return "asleep"
    if owner is not None and owner.serving:
        return "serving"
    if owner is None and all(troubles):
        return "unavailable"
    if owner is not None and (owner.trouble or owner.awaiting):
        return "unavailable"
    return "changing"


def _holders(registers: Registers, live: frozenset[NodeId], owner: NodeId | None) -> tuple[NodeId, ...]:
    """Living nodes that hold it: the owner first, then as elections would prefer them."""
    held = [
        (node == owner, rank(node, register), node)
        for node, register in registers.items()
        if node in live and register.role in HOLDING
    ]
    held.sort(reverse=True)
    return tuple(node for _, _, node in held)


def _awaiting(registers: Registers, live: frozenset[NodeId]) -> tuple[Claim, ...]:
    """All claims among which living owners wait for a pick."""
    awaiting = {claim for node, said in registers.items() if said.awaiting and node in live for claim in said.awaiting}
    return tuple(sorted(awaiting)) if awaiting else ()


def _stuck(registers: Registers, live: frozenset[NodeId]) -> tuple[NodeId, ...]:
    """Live nodes whose fence does not come to its end."""
    return tuple(sorted([n for n, said in registers.items() if said.role == "stashing" and said.trouble and n in live]))


def _away(registers: Registers, accounted: frozenset[NodeId]) -> tuple[NodeId, ...]:
    """Holders that are neither live nor lost."""
    return tuple(sorted([n for n, said in registers.items() if n not in accounted and said.role in HOLDING]))


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
    return 0 if head is None else sum([register.head == head for register in others])


_REASONS = ("rollback", "undo", "conflict", "modified")
"""Of several stashes of one history, the one with the first of these reasons is shown."""


def _preference(stash: Stash) -> tuple[int, str]:
    return _REASONS.index(stash.why), stash.id


def _age(stash: Stash) -> tuple[int, str]:
    return stash.head_at_s, stash.id


def stashes(registers: Registers) -> tuple[Stash, ...]:
    """Of all nodes, also of silent ones, oldest first; each history once, though several nodes set it aside."""
    told = [stash for register in registers.values() if register.stashes for stash in register.stashes]
    if not told:
        return ()
    by_head: dict[Guid, Stash] = {}
    for stash in told:
        known = by_head.setdefault(stash.head, stash)
        if known != stash and _preference(stash) < _preference(known):
            by_head[stash.head] = stash
    return tuple(sorted(by_head.values(), key=_age) if len(by_head) > 1 else by_head.values())


def _trouble(registers: Registers, owner: SiteRegister | None, holders: tuple[NodeId, ...]) -> str:
    if owner is not None and owner.awaiting:
        return "it has two histories since a partition, and a person is to pick one"
    if owner is not None:
        return owner.trouble
    if not holders:
        return "no server that is up holds it"
    return next((registers[node].trouble for node in holders if registers[node].trouble), "")
