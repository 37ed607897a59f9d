"""
What is wrong with other nodes, or with there being two of this one: noticed, told to people, acted on. Shell.

Alarms stand in this node's register, so that `hybrid status` tells them on every node.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from twisted.logger import Logger

from hybrid.cluster.ledger import Ledger
from hybrid.cluster.sanity import Leap, unreasonable
from hybrid.cluster.twins import Twins
from hybrid.model import Boot, Copy, Fact, NodeId, Received, StreamBroken
from hybrid.wire import Gossip

MAX_ALARMS = 20
BROKEN_STREAMS = 3
"""So many streams of one node one after the other that were not what it announced are no chance."""


class Vigilance:
    """
    Listens to what others say before it is taken in.

    Attributes:
        twins: Whether this node's key is in use elsewhere.
    """

    log = Logger()

    def __init__(self, boot: Boot, ledger: Ledger, give_way: Callable[[], None], changed: Callable[[], None]) -> None:
        """
        Args:
            boot: Of this life of the node.
            ledger: All registers.
            give_way: Called when this node must claim no sites any more.
            changed: Called when this node's register must say something new.
        """
        self.twins = Twins(boot)
        self._ledger, self._give_way, self._changed = ledger, give_way, changed
        self._alarms: dict[str, str] = {}
        self._quarantined: set[NodeId] = set()
        self._broken: Counter[NodeId] = Counter()

    @property
    def alarms(self) -> tuple[str, ...]:
        """For people, oldest first."""
        return tuple(self._alarms.values())

    def listens(self, sender: NodeId, gossip: Gossip) -> bool:
        """
        Whether to take in what `sender` says.

        Not again, from it or of it, from a node that once wrote what no healthy node writes. Who only passes that on is
        none the worse for it.
        """
        for leap in unreasonable(gossip, self._ledger):
            new = leap.writer not in self._quarantined and leap.writer != self._ledger.me
            if new and self._written(leap, sender):
                self._quarantine(leap.writer, leap.text)
        if sender in self._quarantined:
            return False
        self._look_for_twin(sender, gossip)
        return True

    def _written(self, leap: Leap, sender: NodeId) -> bool:
        """Whether it is really its writer's."""
        part, believes = leap.part, self._ledger.vouching.believes
        if isinstance(part, Copy):
            return believes(part, leap.writer, sender, leap.site)
        return believes(part, leap.writer, sender, leap.site)

    def _quarantine(self, node: NodeId, why: str) -> None:
        self._quarantined.add(node)
        self._ledger.disbelieve(node)
        name = self._ledger.nodes()[node].name if node in self._ledger.nodes() else node
        self._alarm(f"quarantine/{node}", f"nothing {name} says is believed any more: {why}")

    def called_by_twin(self, source: str) -> None:
        """A connection from `source` proved that it has this node's own key."""
        self._alarm("twin-calls", f"{source} uses this node's own key: was its disk cloned? Stop one of the two")

    def clock(self, why: str) -> None:
        """What is wrong with this node's clock; nothing, when it is empty."""
        if why:
            self._alarm("clock", why)
        elif self._alarms.pop("clock", None) is not None:
            self.log.info("the clock of this server is right again")
            self._changed()

    def kept_out(self, why: str) -> None:
        """Another node does not let this one in."""
        self._alarm("kept out", f"this node is kept out by others, stop it and join anew: {why}")

    def observe(self, fact: Fact) -> None:
        """A component observed something: a node may be sending broken streams."""
        if isinstance(fact, Received):
            self._broken.pop(fact.claim.node, None)
        if not isinstance(fact, StreamBroken):
            return
        self._broken[fact.node] += 1
        if self._broken[fact.node] == BROKEN_STREAMS:
            nodes = self._ledger.nodes()
            name = nodes[fact.node].name if fact.node in nodes else fact.node
            what = f"{name} sends streams that are not what it announces: {fact.reason}"
            self._alarm(f"streams/{fact.node}", f"{what}. Look at its memory and disks")

    def _look_for_twin(self, sender: NodeId, gossip: Gossip) -> None:
        me = self._ledger.me
        register = gossip.nodes.get(me)
        if register is None or not self._ledger.vouching.believes(register, me, sender):
            return
        if not self.twins.heard(register, self._ledger.nodes().get(me)):
            return
        if self.twins.other == register.boot:
            goes_on = "it started later, so this one claims no more sites" if self.twins.yields else "this one goes on"
            where = f"{register.address} is a second node with this node's key, a cloned disk?"
            self._alarm("twin", f"{where} Stop one of the two; {goes_on}")
        self._ledger.raise_to(register.version.major + 1)  # whoever outdoes that has heard of this life
        if self.twins.yields:
            self._ledger.give_way()
            self._give_way()
        self._changed()

    def _alarm(self, key: str, text: str) -> None:
        if self._alarms.get(key) != text and len(self._alarms) < MAX_ALARMS:
            self._alarms[key] = text
            self.log.error("{text}", text=text)
            self._changed()
