"""What must come to pass once things are left alone (L1 …): checked for a component after it was stable long enough."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hybrid.hosting.holdings import PREFIX
from hybrid.model import Guid, NodeId, SiteId

if TYPE_CHECKING:
    from tests.simulation.node import Node
    from tests.simulation.world import World

BEHIND = 3
"""Snapshots by which a copy may be behind while clients go on writing."""


class Liveness:
    """The claims of one world to progress, made of the nodes of `core`."""

    def __init__(self, world: World, core: frozenset[NodeId]) -> None:
        """`core`: nodes that are up, reach each other, and have been left alone for long."""
        self._world = world
        self._nodes = [node for node in world.nodes.values() if node.id in core]
        self._violated = world.oracle.violated

    def check(self, epochs_before: dict[SiteId, int]) -> None:
        """L1 to L7, for every site of which the core holds anything."""
        for site in self._world.sites:
            holders = [node for node in self._nodes if PREFIX + site in node.disk.volumes()]
            if holders and site not in self._world.deleted:
                self._site(site, holders, epochs_before.get(site))

    def _site(self, site: SiteId, holders: list[Node], epoch_before: int | None) -> None:
        owners = [node for node in holders if self._serves(node, site)]
        names = [node.name for node in owners]
        if len(owners) != 1:
            self._violated("L1", f"owners of {site}: {names} {self._roles(site)}")
            return
        owner = owners[0]
        claim = owner.disk.durable(site)
        assert claim is not None
        if epoch_before is not None and claim.epoch != epoch_before:
            self._violated("L5", f"the epoch of {site} still grows: from {epoch_before} to {claim.epoch}")
        self._copies(site, owner)
        self._stashes(site, owner, min(len(holders), 1 + self._wanted(site, owner)))
        for node in self._nodes:
            self._agrees(site, node, owner)

    def _serves(self, node: Node, site: SiteId) -> bool:
        register = node.process.register(site) if node.process else None
        return register is not None and register.role == "owner" and register.serving and node.serves(site)

    def _roles(self, site: SiteId) -> str:
        registers = {node.name: node.process.register(site) if node.process else None for node in self._nodes}
        return ", ".join(
            f"{name}: {register.role} {register.claim} serving={register.serving} {register.trouble}"
            for name, register in registers.items()
            if register is not None
        )

    def _wanted(self, site: SiteId, owner: Node) -> int:
        """How many copies beside the owner's."""
        assert owner.process is not None
        return owner.process.core.outlook.view.sites[site].spec.copies

    def _copies(self, site: SiteId, owner: Node) -> None:
        """L2, L3: as many copies as wanted, near the owner's head."""
        main = line(owner, site)
        wanted = self._wanted(site, owner)
        recent = set(main[-1 - BEHIND :])
        near = [node.name for node in self._nodes if node is not owner and recent & set(line(node, site)[-1:])]
        if len(near) < min(wanted, len(self._nodes) - 1):
            self._violated("L3", f"{site} of {owner.name} wants {wanted} copies, {near} are up to date")
        for node in self._nodes:
            theirs = line(node, site)
            strange = [guid for guid in set(theirs) - set(main) if not self._world.oracle.is_ancestor(guid, main[-1])]
            if node.name in near and strange:
                self._violated("L2", f"{node.name} does not follow {owner.name} in {site}")

    def _stashes(self, site: SiteId, owner: Node, wanted: int) -> None:
        """L4: what was set aside, and is no past of the main line, is on as many disks as the site, wherever there."""
        head = line(owner, site)[-1]
        aside = {guid for node in self._nodes for guid in _heads_aside(node, site)}
        for guid in sorted(guid for guid in aside if not self._world.oracle.is_ancestor(guid, head)):
            on = [node.name for node in self._nodes if _has(node, guid)]
            if len(on) < wanted:
                self._violated("L4", f"the stash of {site} that ends with {guid} is on {on}, not on {wanted}")

    def _agrees(self, site: SiteId, node: Node, owner: Node) -> None:
        process = node.process
        claim = owner.disk.durable(site)
        assert process is not None and claim is not None
        register = process.register(site)
        if register is not None and register.role != "none" and register.seen > claim:
            self._violated("L7", f"{node.name} has seen {register.seen} of {site}, refuses the owner's {claim}")
        seen = process.core.outlook.view.sites.get(site)
        if seen is None or (seen.owner, seen.state) != (owner.id, "serving"):
            self._violated("L6", f"{node.name} sees {seen and seen.owner} {seen and seen.state}, {owner.name} serves")


def _heads_aside(node: Node, site: SiteId) -> set[Guid]:
    """The newest snapshot of each stash of `site` on the disk of `node`."""
    aside = (volume for name, volume in node.disk.volumes().items() if name.startswith(f"stash/{site}."))
    return {volume.moments[-1].snapshot.guid for volume in aside if volume.moments}


def _has(node: Node, guid: Guid) -> bool:
    """Whether any dataset on the disk of `node` has that snapshot."""
    return any(moment.snapshot.guid == guid for volume in node.disk.volumes().values() for moment in volume.moments)


def line(node: Node, site: SiteId) -> list[Guid]:
    """The main line of `site` on the disk of `node`, oldest first; empty where there is none."""
    volume = node.disk.volumes().get(PREFIX + site)
    return [moment.snapshot.guid for moment in volume.moments] if volume else []


def epochs(world: World, core: frozenset[NodeId]) -> dict[SiteId, int]:
    """The largest epoch of each site on the disks of `core`."""
    found: dict[SiteId, int] = {}
    for node in (world.nodes[name] for name in sorted(core)):
        for site in world.sites:
            claim = node.disk.durable(site)
            if claim is not None:
                found[site] = max(found.get(site, 0), claim.epoch)
    return found
