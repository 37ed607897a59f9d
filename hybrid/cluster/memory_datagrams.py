"""
`hybrid.cluster.pulse.Datagrams` in memory, on the cuts and delays of a `MemoryNetwork`; with losses. For tests and
simulations: packets are handed over as they are, nothing is sealed.
"""

from __future__ import annotations

from collections.abc import Callable

from hybrid.cluster.memory_peers import MemoryNetwork
from hybrid.cluster.packets import Packet
from hybrid.cluster.pulse import Hear
from hybrid.model import NodeId


class MemoryAir:
    """What all datagrams of one network pass."""

    def __init__(self, network: MemoryNetwork, chance: Callable[[], float] | None = None) -> None:
        """`chance` gives numbers from 0 to 1; needed where `loss` or `jitter_s` is set."""
        self.network = network
        self.chance = chance or (lambda: 1.0)
        self.loss = 0.0
        """Share of the datagrams that is lost."""
        self.jitter_s = 0.0
        """Each takes up to so much longer than the network's delay, and may so overtake another."""
        self.ears: dict[NodeId, Hear] = {}

    def join(self, node: NodeId) -> MemoryDatagrams:
        """The datagrams of `node`, in its newest life: an earlier one hears nothing any more."""
        self.leave(node)
        return MemoryDatagrams(self, node)

    def leave(self, node: NodeId) -> None:
        """`node` has no power: it hears nothing and answers nothing."""
        self.ears.pop(node, None)


class MemoryDatagrams:
    """One node's `hybrid.cluster.pulse.Datagrams`."""

    def __init__(self, air: MemoryAir, node: NodeId) -> None:
        self._air, self._node = air, node

    def listen(self, hear: Hear) -> None:
        """See `hybrid.cluster.pulse.Datagrams`."""
        self._air.ears[self._node] = hear

    def send(self, node: NodeId, packet: Packet) -> None:
        """See `hybrid.cluster.pulse.Datagrams`."""
        air = self._air
        if air.loss and air.chance() < air.loss:
            return
        delay_s = air.network.delay_s + (air.jitter_s * air.chance() if air.jitter_s else 0.0)
        air.network.clock.callLater(delay_s, self._arrive, node, packet)

    def _arrive(self, node: NodeId, packet: Packet) -> None:
        hear = self._air.ears.get(node)
        if hear is not None and not self._air.network.is_cut(self._node, node):
            hear(self._node, packet)
