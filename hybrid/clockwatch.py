"""
Whether this node's wall clock is right, by those of the others. Shell; `apart` decides.

No ownership is decided by wall clocks (`hybrid.model`), but certificates, tokens and retention count by them, and
people read them: a wrong one is told before it costs anything. Others are asked what time it is, and half of the round
trip is what the answer may be wrong by (as in Cristian, Distributed Computing 3, 1989).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

import msgspec
from twisted.internet.interfaces import IReactorTime

from hybrid.errors import HybridError
from hybrid.loops import Loops
from hybrid.model import NodeId
from hybrid.ports import Peers
from hybrid.view import View
from hybrid.wire import AskTime, TimeIs

EVERY_S = 60.0
ASKED = 5
"""Others are asked at most: enough to tell who of all is wrong."""
TOLERANCE_S = 2.0
DEADLINE_S = 5.0


@dataclass(frozen=True, slots=True)
class Reading:
    """What another node's clock said."""

    name: str
    ahead_s: float
    """Of this node's, in the middle of the question; negative: behind it."""
    within_s: float
    """How wrong that may be."""

    @property
    def apart(self) -> bool:
        """Whether the two clocks certainly differ by more than they may."""
        return abs(self.ahead_s) - self.within_s > TOLERANCE_S


def apart(readings: Sequence[Reading]) -> str:
    """
    What people must hear of this node's clock; empty while it is right.

    It is right as long as half of the others agree with it: then it is their clocks that are told of, by themselves. Of
    two nodes none can say which of them is wrong, and both do.
    """
    differing = [reading for reading in readings if reading.apart]
    if len(differing) * 2 <= len(readings):
        return ""
    by_s = median(reading.ahead_s for reading in differing)
    names = ", ".join(sorted(reading.name for reading in differing))
    way = "behind" if by_s > 0 else "ahead of"
    return f"the clock of this server is {_rough(abs(by_s))} {way} that of {names}: set it, and keep it right (chrony)"


def _rough(seconds: float) -> str:
    """Few digits, so that it stays the same from look to look."""
    for size_s, unit in ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if seconds >= 2 * size_s:
            return f"about {round(seconds / size_s)} {unit}"
    return f"about {float(f'{seconds:.1g}'):g} seconds"


class ClockWatch:
    """
    Asks, and answers those who ask.

    Args:
        clock: For rhythm, and for how long answers took.
        peers: Links to the others.
        view: Of this node.
        choose: Some of them, by chance.
        wall_s: This node's wall clock, seconds since the epoch.
        tell: Takes what people must hear, or an empty text when all is well again.
    """

    def __init__(
        self,
        clock: IReactorTime,
        peers: Peers,
        view: Callable[[], View],
        choose: Callable[[Sequence[NodeId], int], Sequence[NodeId]],
        wall_s: Callable[[], float],
        tell: Callable[[str], None],
    ) -> None:
        self._clock, self._peers, self._view = clock, peers, view
        self._choose, self._wall_s, self._tell = choose, wall_s, tell
        peers.handle(AskTime, self._answer)

    def start(self, loops: Loops) -> None:
        """Look from now on."""
        loops.every(EVERY_S, self.look)

    async def look(self) -> None:
        """Ask some, and conclude; nothing is concluded where nobody answers."""
        view = self._view()
        names = {node.id: node.name for node in view.nodes.values() if node.live and node.id != view.me}
        chosen = self._choose(sorted(names), min(ASKED, len(names)))
        readings = [found for node in chosen if (found := await self._ask(node, names[node])) is not None]
        if readings:
            self._tell(apart(readings))

    async def _ask(self, node: NodeId, name: str) -> Reading | None:
        """`None`: no answer, or one that shows nothing, because it took long or this clock was set meanwhile."""
        began_s, wall_s = self._clock.seconds(), self._wall_s()
        try:
            answer = await self._peers.request(node, AskTime(), DEADLINE_S)
        except HybridError:
            return None  # away, or of a release that cannot tell
        took_s = self._clock.seconds() - began_s
        if not isinstance(answer, TimeIs) or abs(self._wall_s() - wall_s - took_s) > TOLERANCE_S:
            return None
        return Reading(name, answer.at_s - (wall_s + took_s / 2), took_s / 2)

    async def _answer(self, sender: NodeId, message: msgspec.Struct) -> msgspec.Struct:
        return TimeIs(self._wall_s())
