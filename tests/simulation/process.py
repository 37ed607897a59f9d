"""One life of a node's process: real membership, ledger and elections, told and asked twice a second."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

from hybrid.cluster.decisions import AwaitPick, Fence, PublishBid, Reaffirm, Stand, Stay
from hybrid.cluster.packets import CALL, Packet
from hybrid.model import NodeId
from hybrid.wire import Gossip
from tests.simulation.deeds import Deeds
from tests.simulation.disk import Disk
from tests.simulation.life import SITE

if TYPE_CHECKING:
    from tests.simulation.world import World


class Process(Deeds):
    """`hybrid node`, from its start to its end."""

    def __init__(self, world: World, disk: Disk, rate: float, container: bool) -> None:
        """See `Life`."""
        super().__init__(world, disk, rate, container)
        self.boot()
        self.later(world.chance.random() * world.timing.heartbeat_s, self.tick)
        self.due_s = math.inf
        self.membership.start(self.now_s())
        self.pulse([])

    def tick(self) -> None:
        """Half a second passed."""
        self.later(self.world.timing.heartbeat_s, self.tick)
        chance = self.world.chance
        self.publish()
        if chance.random() < 0.2:
            self.disk.saved = self.ledger.snapshot()
        holders = [node for node, register in self.ledger.registers(SITE).items() if register.role != "none"]
        for peer in self.membership.targets(holders):
            news = self.ledger.news_for(peer)
            self.world.tell(self.me, peer, lambda other, news=news: other.heard(self.me, news))  # type: ignore[misc]  # default argument
        if self.role == "owner" and not self.busy and not self.disk.sick:
            if self.disk.live and chance.random() < 0.3 and self.disk.claim is not None:
                self.disk.snapshot(self.disk.claim, self.world.clock.seconds())
                self.publish()
            self.replicate()
        self.look()

    def pulse(self, deeds: list[tuple[NodeId, Packet]]) -> None:
        """Send what the membership protocol says, and be called when something of it is due."""
        for node, packet in deeds:
            if packet.kind == CALL:
                called = partial(self.called, node, packet.number)
                self.world.ask(self.me, node, lambda other: None, lambda answer, called=called: called())  # type: ignore[misc]  # default argument
            else:
                self.world.cast(self.me, node, partial(self.received, self.me, packet))
        if self.membership.due_s < self.due_s:
            self.due_s = self.membership.due_s
            self.later(max(0.0, self.due_s - self.now_s()), self.advance)

    def advance(self) -> None:
        """Something of the membership protocol may be due."""
        self.due_s = math.inf
        self.pulse(self.membership.advance(self.now_s()))

    def called(self, node: NodeId, number: int) -> None:
        """A ping over a link was answered."""
        self.pulse(self.membership.called(node, number, self.now_s()))

    @staticmethod
    def received(sender: NodeId, packet: Packet, receiver: Process) -> None:
        """A datagram arrived at `receiver`."""
        receiver.pulse(receiver.membership.received(sender, packet, receiver.now_s()))

    def heard(self, sender: NodeId, gossip: Gossip) -> None:
        """Gossip of a peer."""
        self.ledger.merge(gossip, sender)
        self.look()

    def look(self) -> None:
        """Decide, and begin the deed."""
        if self.busy:
            return
        self.publish()
        decision = self.decide()
        match decision:
            case Stand(claim):
                self.confirm(claim)
            case Fence(_, claim):
                self.world.count("fenced")
                self.disk.seen = max(self.disk.seen, claim)
                self.close()
            case PublishBid(key, bid):
                assert key not in self.bids, f"{self.me} would change its bid for {key}"
                self.bids = {**self.bids, key: bid}
                self.world.count_conflict(self, key)
                self.publish()
            case Reaffirm(claim):
                if self.world.mutant != "no re-affirm":
                    self.world.count("re-affirmed")
                    self.disk.hold(claim)
                    self.publish()
            case AwaitPick() | Stay():
                return
