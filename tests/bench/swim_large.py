"""
The membership protocol of very many nodes, in simulated time: `python -m tests.bench.swim_large [NODES]`.

The nodes begin acquainted, as those of a cluster that has been up for long.
"""

from __future__ import annotations

import json
import sys

from hybrid.cluster.packets import Packet, encode
from hybrid.model import NodeId
from tests.membership.world import World

REST_S = 20.0
KILLS = 5
MOST_S = 120.0
STEP_S = 0.5


def simulate(nodes: int = 1000, kills: int = KILLS) -> dict[str, float]:
    """
    Let them rest, then kill some, one after the other.

    Returns:
        Per node and second at rest `packets_per_s` and `bytes_per_s` (before sealing, which adds 52 to each packet); of
        a kill the mean `first_s`, until one node takes it for dead, `known_s`, until all do, and
        `packets_per_s_at_death`; `false_deaths`.
    """
    world = World(nodes, seed=3)
    acquaint(world)
    sizes: list[int] = []
    send = world.send

    def weigh(sender: NodeId, receiver: NodeId, packet: Packet) -> None:
        sizes.append(len(encode(packet)))
        send(sender, receiver, packet)

    world.send = weigh  # type: ignore[method-assign]  # every packet is weighed
    world.run(REST_S)
    sizes.clear()
    world.run(REST_S)
    figures: dict[str, float] = {"nodes": nodes, "packets_per_s": len(sizes) / REST_S / nodes}
    figures["bytes_per_s"] = sum(sizes) / REST_S / nodes
    firsts_s, knowns_s, rates = [], [], []
    for number in range(kills):
        victim = world[number].id
        world[number].up = False
        sizes.clear()
        firsts_s.append(world.run_until(lambda victim=victim: missing(world, victim) > 0, MOST_S, STEP_S))  # type: ignore[misc]
        left_s = world.run_until(lambda victim=victim: missing(world, victim) == len(up(world)), MOST_S, STEP_S)  # type: ignore[misc]
        knowns_s.append(firsts_s[-1] + left_s)
        rates.append(len(sizes) / knowns_s[-1] / nodes)
    for name, values in (("first_s", firsts_s), ("known_s", knowns_s), ("packets_per_s_at_death", rates)):
        figures[name] = sum(values) / kills
    figures["false_deaths"] = len(world.false_deaths())
    return figures


def acquaint(world: World) -> None:
    """All of them have met long ago. Reaches inside: to let them meet takes a million pings."""
    for node in world.nodes.values():
        beliefs, rumours = node.membership._beliefs, node.membership._rumours
        for other in world.nodes:
            member = beliefs.know(other)
            if member is not None:
                beliefs.answered(member, 1, 0.0)
        while rumours:
            rumours.take(len(world.nodes), 1)  # what is told of a meeting was told long ago
        beliefs.changes.clear()
        node.seen = node.membership.live(0.0)


def up(world: World) -> list[NodeId]:
    """The nodes that run."""
    return [node.id for node in world.nodes.values() if node.up]


def missing(world: World, victim: NodeId) -> int:
    """How many of those that run take `victim` for dead."""
    return sum(victim not in world.nodes[node].membership.live(world.now_s) for node in up(world))


if __name__ == "__main__":
    done = simulate(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
    print(json.dumps({key: round(value, 2) for key, value in done.items()}, indent=2))
