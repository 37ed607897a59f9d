"""
The person who decides what the cluster leaves to people: looks now and then, at any node, and answers by chance.

Who picks a history that is out of sight has decided that the site waits for it, for ever if need be. So whether a site
must be served in the end depends on them, too: in peace they want it served.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hybrid.deeds import Hosting
from hybrid.errors import HybridError
from hybrid.model import NodeId
from hybrid.view import Pending
from tests.simulation.node import Node

if TYPE_CHECKING:
    from tests.simulation.world import World

PATIENCE_S = 20.0
"""Between two looks, on average."""


class Person:
    """Of flesh and blood: works also in peace, and never hurries."""

    def __init__(self, world: World) -> None:
        self._world, self._chance = world, world.chance("person")
        self._wanted: frozenset[NodeId] | None = None
        """In peace: where they look, and whose history they pick from then on."""

    def insist(self, core: frozenset[NodeId]) -> None:
        """From now on they ask only nodes of `core`, and pick what is there, where any of it is."""
        self._wanted = core

    def look(self) -> None:
        """Answer what some node asks; then again after a while."""
        nodes = self._world.nodes.values()
        node = self._chance.choice([node for node in nodes if self._wanted is None or node.id in self._wanted])
        if node.up and node.running and node.process is not None:
            hosting = node.process.core.hosting
            for wanted in hosting.decisions():
                self._answer(node, hosting, wanted)
        self._world.later(self._chance.expovariate(1 / PATIENCE_S), self.look)

    def _there(self, wanted: Pending) -> list[str]:
        """In peace: the nodes of the core among those that may be picked."""
        there = {self._world.nodes[node].name for node in self._wanted or ()}
        return [name for name in wanted.nodes if name in there]

    def _answer(self, node: Node, hosting: Hosting, wanted: Pending) -> None:
        world, site = self._world, wanted.site
        if site is None or wanted.kind not in ("pick", "deletion"):
            return
        try:
            if wanted.kind == "pick":
                picked = self._chance.choice(self._there(wanted) or wanted.nodes)
                hosting.pick(site, next(one.id for one in world.nodes.values() if one.name == picked), "anna")
                world.note(node.name, f"picked for {site}: {picked}")
                world.oracle.count("picked")
            elif self._chance.random() < 0.5:
                hosting.undelete(site, "anna")
                world.note(node.name, f"undeleted: {site}")
                world.oracle.count("undeleted")
        except HybridError as error:
            world.note(node.name, f"no answer to {wanted.kind} of {site}: {error}")
