"""
`hybrid.cluster.pulse.Datagrams` in memory, on the cuts and delays of a `MemoryNetwork`; with losses. For tests and
simulations: packets are handed over as they are, nothing is sealed.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

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
        self.ears: dict[NodeId, tuple[Hear, IReactorTime]] = {}

    def join(self, node: NodeId, clock: IReactorTime | None = None) -> MemoryDatagrams:
        """The datagrams of `node`, in its newest life, by its own `clock`: an earlier one hears nothing any more."""
        self.leave(node)
        return MemoryDatagrams(self, node, clock or self.network.clock)

    def leave(self, node: NodeId) -> None:
        """`node` has no power: it hears nothing and answers nothing."""
        self.ears.pop(node, None)


class MemoryDatagrams:
    """One node's `hybrid.cluster.pulse.Datagrams`."""

    def __init__(self, air: MemoryAir, node: NodeId, clock: IReactorTime) -> None:
        self._air, self._node, self._clock = air, node, clock

    def listen(self, hear: Hear) -> None:
        """See `hybrid.cluster.pulse.Datagrams`."""
        self._air.ears[self._node] = (hear, self._clock)

    def send(self, node: NodeId, packet: Packet) -> None:
        """See `hybrid.cluster.pulse.Datagrams`."""
        air = self._air
        if air.loss and air.chance() < air.loss:
            return
        ears = air.ears.get(node)
        if ears is None:
            return
        delay_s = air.network.delay_s + (air.jitter_s * air.chance() if air.jitter_s else 0.0)
        ears[1].callLater(delay_s, self._arrive, node, packet, ears[0])

    def _arrive(self, node: NodeId, packet: Packet, hear: Hear) -> None:
        heard_by = self._air.ears.get(node)
        if heard_by is not None and heard_by[0] == hear and not self._air.network.is_cut(self._node, node):
            hear(self._node, packet)
