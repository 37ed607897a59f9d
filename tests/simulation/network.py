"""A seeded network: delays, losses, cuts in one or both directions, links that break and are noticed late."""

from __future__ import annotations

import random
from collections.abc import Callable

from twisted.internet.task import Clock

from hybrid.model import NodeId

Pair = tuple[NodeId, NodeId]
"""From, to."""
LOSS = 0.02


class Network:
    """Carries calls between nodes. In order on each link, like TCP; what a broken link swallowed is not repeated."""

    def __init__(self, clock: Clock, chance: random.Random, lost: Callable[[NodeId, NodeId], None]) -> None:
        """`lost(sender, receiver)`: the sender notices that its link is broken; afterwards there is a new one."""
        self._clock, self._chance, self._lost = clock, chance, lost
        self.cut: set[Pair] = set()
        self._broken: set[Pair] = set()
        self._last_s: dict[Pair, float] = {}

    def send(self, sender: NodeId, receiver: NodeId, deliver: Callable[[], None], long: bool = False) -> None:
        """Have `deliver` called at the receiver's; never, if the link is cut or breaks. `long`: a stream."""
        pair = (sender, receiver)
        if pair in self._broken:
            return
        if pair in self.cut or self._chance.random() < LOSS:
            self.broke(pair)
            return
        now_s = self._clock.seconds()
        at_s = now_s + (self._chance.uniform(0.05, 1.5) if long else self._chance.uniform(0.001, 0.2))
        if not long:
            at_s = self._last_s[pair] = max(at_s, self._last_s.get(pair, 0.0))
        self._clock.callLater(at_s - now_s, self._arrive, pair, deliver)

    def cast(self, sender: NodeId, receiver: NodeId, deliver: Callable[[], None]) -> None:
        """The same for a datagram, which needs no link."""
        if (sender, receiver) not in self.cut and self._chance.random() >= LOSS:
            self._clock.callLater(self._chance.uniform(0.001, 0.2), deliver)

    def _arrive(self, pair: Pair, deliver: Callable[[], None]) -> None:
        if pair in self.cut:
            self.broke(pair)
        elif pair not in self._broken:
            deliver()

    def broke(self, pair: Pair) -> None:
        """The link of a pair is dead; its sender will notice."""
        if pair not in self._broken:
            self._broken.add(pair)
            self._clock.callLater(self._chance.uniform(0.1, 2.0), self._noticed, pair)

    def _noticed(self, pair: Pair) -> None:
        self._broken.discard(pair)
        self._lost(*pair)
