"""The person who decides what the cluster leaves to people: looks now and then, at any node, and answers by chance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hybrid.deeds import Hosting
from hybrid.errors import HybridError
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

    def look(self) -> None:
        """Answer what some node asks; then again after a while."""
        node = self._chance.choice(list(self._world.nodes.values()))
        if node.up and node.running and node.process is not None:
            hosting = node.process.core.hosting
            for wanted in hosting.decisions():
                self._answer(node, hosting, wanted)
        self._world.later(self._chance.expovariate(1 / PATIENCE_S), self.look)

    def _answer(self, node: Node, hosting: Hosting, wanted: Pending) -> None:
        world, site = self._world, wanted.site
        if site is None or wanted.kind not in ("pick", "deletion"):
            return
        try:
            if wanted.kind == "pick":
                picked = self._chance.choice(wanted.nodes)
                hosting.pick(site, next(one.id for one in world.nodes.values() if one.name == picked), "anna")
                world.note(node.name, f"picked for {site}: {picked}")
                world.oracle.count("picked")
            elif self._chance.random() < 0.5:
                hosting.undelete(site, "anna")
                world.note(node.name, f"undeleted: {site}")
                world.oracle.count("undeleted")
        except HybridError as error:
            world.note(node.name, f"no answer to {wanted.kind} of {site}: {error}")
