"""One life of a node's process: real membership, ledger and elections, told and asked at each heartbeat."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hybrid.cluster.decisions import AwaitPick, Fence, PublishBid, Reaffirm, Stand, Stay
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

    def tick(self) -> None:
        """One heartbeat."""
        self.later(self.world.timing.heartbeat_s, self.tick)
        now_s, chance = self.now_s(), self.world.chance
        heartbeats = self.membership.beat(now_s)
        self.publish()
        if chance.random() < 0.2:
            self.disk.saved = self.ledger.snapshot()
        holders = [node for node, register in self.ledger.registers(SITE).items() if register.role != "none"]
        for peer in self.membership.targets(now_s, holders, chance.sample):
            news = self.ledger.news_for(peer, heartbeats)
            self.world.tell(self.me, peer, lambda other, news=news: other.heard(self.me, news))  # type: ignore[misc]  # default argument
        if self.role == "owner" and not self.busy and not self.disk.sick:
            if self.disk.live and chance.random() < 0.3 and self.disk.claim is not None:
                self.disk.snapshot(self.disk.claim, self.world.clock.seconds())
                self.publish()
            self.replicate()
        self.look()

    def heard(self, sender: NodeId, gossip: Gossip) -> None:
        """Gossip of a peer."""
        self.membership.received(gossip.heartbeats, self.now_s(), sender)
        self.ledger.raise_to(self.membership.incarnation)
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
