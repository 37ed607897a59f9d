"""The order in which nodes are probed: a shuffled ring, so that each is reached within two rounds (SWIM §4.3). Pure."""

from __future__ import annotations

from collections.abc import Callable, MutableSequence, Sequence
from typing import Any, Protocol

from hybrid.model import NodeId


class Chance(Protocol):
    """Chance, injected: a `random.Random` fits."""

    def random(self) -> float:
        """A number from 0 up to 1."""

    def shuffle(self, x: MutableSequence[Any]) -> None:
        """Bring into another order, in place."""

    def sample(self, population: Sequence[NodeId], k: int) -> list[NodeId]:
        """That many distinct ones."""


class Ring:
    """Nodes, each given out once a round."""

    def __init__(self, chance: Chance) -> None:
        self._chance = chance
        self._members: dict[NodeId, None] = {}
        self._round: list[NodeId] = []

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, node: NodeId) -> bool:
        return node in self._members

    @property
    def members(self) -> list[NodeId]:
        """All, in the order in which they came."""
        return list(self._members)

    def add(self, node: NodeId) -> None:
        """From now on, at a random place of this round."""
        if node not in self._members:
            self._members[node] = None
            self._round.insert(int(self._chance.random() * (len(self._round) + 1)), node)

    def discard(self, node: NodeId) -> None:
        """No longer."""
        self._members.pop(node, None)

    def next(self, suits: Callable[[NodeId], bool]) -> NodeId | None:
        """The next one that `suits`; `None` after a whole round without one."""
        for _ in range(2 * len(self._members)):
            if not self._round:
                self._round = list(self._members)
                self._chance.shuffle(self._round)
            node = self._round.pop()
            if node in self._members and suits(node):
                return node
        return None
