"""
Who is alive: heartbeat counters that nodes advance themselves and relay for all others. Pure.

A node is live while its counter was seen to advance, directly or through anybody, less than `fail_s` ago. So a broken
link between two nodes that both reach a third changes nothing. "Dead" is this node's opinion for the moment, never
data: no node is forgotten for being silent. Times are monotonic seconds of the caller's clock.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from hybrid.model import NodeId
from hybrid.settings import Timing

Heartbeat = tuple[int, int]
"""`(incarnation, counter)`; the larger is the later one."""

ALL_UP_TO = 8
"""Up to so many nodes, everybody is told at every heartbeat."""
LIVE_TARGETS = 2
DEAD_TARGETS = 1
LAG_ALLOWED_S = 0.25
"""An event loop that was late by more than this may have missed heartbeats: not fit to stand for a while."""

Choose = Callable[[Sequence[NodeId], int], Sequence[NodeId]]
"""`random.sample`, injected: that many distinct ones of a sequence."""


class Membership:
    """What this node knows of the life of all nodes."""

    def __init__(self, me: NodeId, incarnation: int, timing: Timing, now_s: float) -> None:
        """`incarnation` is persisted by the caller and raised at each start."""
        self.me = me
        self._timing = timing
        self._heartbeats: dict[NodeId, Heartbeat] = {me: (incarnation, 0)}
        self._advanced_s: dict[NodeId, float] = {}
        self._known = {me}
        self._beaten_s = now_s
        self._unfit_until_s = now_s

    @property
    def incarnation(self) -> int:
        """Grows when somebody tells of this node what it never said: persist it when it changed."""
        return self._heartbeats[self.me][0]

    @property
    def known(self) -> frozenset[NodeId]:
        """Every node ever configured or heard of, this one included."""
        return frozenset(self._known)

    def know(self, node: NodeId, now_s: float) -> None:
        """A configured node: from now on it is told, and listened for; it is not live before it was heard."""
        self._known.add(node)

    def forget(self, node: NodeId) -> None:
        """A node an operator removed; relayed heartbeats bring it back only if it still speaks to somebody."""
        if node != self.me:
            self._known.discard(node)
            self._heartbeats.pop(node, None)
            self._advanced_s.pop(node, None)

    def beat(self, now_s: float) -> dict[NodeId, Heartbeat]:
        """
        Advance this node's counter; to be called each `heartbeat_s`.

        Returns:
            Heartbeats of all nodes ever heard, to send.
        """
        late_s = now_s - self._beaten_s - self._timing.heartbeat_s
        self._beaten_s = now_s
        if late_s > LAG_ALLOWED_S:
            self.lagged(late_s, now_s)
        incarnation, counter = self._heartbeats[self.me]
        self._heartbeats[self.me] = (incarnation, counter + 1)
        return dict(self._heartbeats)

    def received(
        self, heartbeats: Mapping[NodeId, Heartbeat], now_s: float, sender: NodeId | None = None
    ) -> set[NodeId]:
        """
        Take what a peer told.

        The first heartbeat heard of a node through others is only where its counter stood, perhaps long ago: it must
        advance once more to count. Heard from `sender` itself it counts at once.

        Returns:
            Nodes whose liveness may have changed; with this node itself when its incarnation grew.
        """
        changed: set[NodeId] = set()
        for node, heartbeat in heartbeats.items():
            if node == self.me:
                changed |= self._refuted(heartbeat)
            elif heartbeat > self._heartbeats.get(node, (-1, -1)):
                if self._take(node, heartbeat, now_s, direct=node == sender):
                    changed.add(node)
        return changed

    def _take(self, node: NodeId, heartbeat: Heartbeat, now_s: float, direct: bool) -> bool:
        first = node not in self._heartbeats
        self._heartbeats[node] = heartbeat
        self._known.add(node)
        if first and not direct:
            return False
        was_live = self._is_live(node, now_s)
        self._advanced_s[node] = now_s
        return not was_live

    def _refuted(self, heartbeat: Heartbeat) -> set[NodeId]:
        """A counter of mine that I never reached: an earlier life, or a second node with my key. Outdo it."""
        if heartbeat <= self._heartbeats[self.me]:
            return set()
        self._heartbeats[self.me] = (heartbeat[0] + 1, 0)
        return {self.me}

    def _is_live(self, node: NodeId, now_s: float) -> bool:
        return now_s - self._advanced_s.get(node, float("-inf")) < self._timing.fail_s

    def live(self, now_s: float) -> frozenset[NodeId]:
        """This node and all whose counter advanced within `fail_s`."""
        return frozenset({self.me, *(node for node in self._advanced_s if self._is_live(node, now_s))})

    def silent_s(self, node: NodeId, now_s: float) -> float | None:
        """How long ago `node`'s counter advanced, for people; `None` when it never did."""
        advanced_s = self._advanced_s.get(node)
        return None if advanced_s is None else now_s - advanced_s

    def targets(self, now_s: float, replica_peers: Collection[NodeId], choose: Choose) -> list[NodeId]:
        """
        Whom to send this heartbeat to, in order of id.

        Args:
            now_s: Now.
            replica_peers: Nodes that share a site with this one: told directly each time, which is what keeps chance
                from making them look dead to each other.
            choose: Picks some of many.

        Returns:
            All other nodes in a small cluster, else some live ones, a dead one (so that a healed partition is
            noticed), and the replica peers.
        """
        others = sorted(self._known - {self.me})
        if len(self._known) <= ALL_UP_TO:
            return others
        live = self.live(now_s)
        alive = [node for node in others if node in live]
        dead = [node for node in others if node not in live]
        chosen = {*choose(alive, min(LIVE_TARGETS, len(alive))), *choose(dead, min(DEAD_TARGETS, len(dead)))}
        return sorted(chosen | (set(replica_peers) & set(others)))

    def lagged(self, lag_s: float, now_s: float) -> None:
        """The event loop was `lag_s` late: what this node takes for silence may be its own."""
        if lag_s > LAG_ALLOWED_S:
            until_s = now_s + 2 * self._timing.heartbeat_s + min(lag_s, self._timing.fail_s)
            self._unfit_until_s = max(self._unfit_until_s, until_s)

    def fit(self, now_s: float) -> bool:
        """Whether this node's idea of who is dead can be trusted enough to stand for a site."""
        return now_s >= self._unfit_until_s
