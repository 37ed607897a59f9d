"""Three nodes that gossip over links in memory, on one clock."""

import random
from collections.abc import Callable

import pytest
from twisted.internet.task import Clock

from hybrid.cluster.gossip import Gossiping
from hybrid.cluster.ledger import Ledger, Merged
from hybrid.cluster.membership import Membership
from hybrid.cluster.memory_datagrams import MemoryAir
from hybrid.cluster.memory_peers import MemoryNetwork, MemoryPeers
from hybrid.cluster.pulse import Pulse
from hybrid.cluster.sealing import MemorySeals
from hybrid.model import Claim, NodeId, NodeRegister, SiteId, SiteRegister
from hybrid.settings import Timing

A, B, C = NodeId("n-a"), NodeId("n-b"), NodeId("n-c")
SITE = SiteId("s-1")


class Member:
    """One node."""

    def __init__(self, clock: Clock, network: MemoryNetwork, air: MemoryAir, node: NodeId) -> None:
        self.links: MemoryPeers = network.join(node)
        self.membership = Membership(node, 1, Timing(), clock.seconds(), random.Random(node))
        self.ledger = Ledger(node, 1, MemorySeals(node))
        self.ledger.publish_node(NodeRegister(id=node, name=node, dc="", address="", key=MemorySeals(node).key))
        self.changes: list[Merged] = []
        self.gossip = Gossiping(
            clock,
            self.membership,
            self.ledger,
            self.links,
            random.Random(node).sample,
            lambda: [site for site in self.ledger.sites_of(node)],
            lambda sender, gossip: True,
            self.changes.append,
        )
        self.links.startService()
        self.pulse = Pulse(clock, self.membership, air.join(node), self.links, self.gossip.lives_changed)
        self.gossip.startService()
        self.pulse.startService()


@pytest.fixture
def cluster() -> tuple[Clock, MemoryNetwork, dict[NodeId, Member], Callable[[float], None]]:
    """Three nodes that met, and a way to let time pass in small steps."""
    clock = Clock()
    network = MemoryNetwork(clock)
    air = MemoryAir(network)
    members = {node: Member(clock, network, air, node) for node in (A, B, C)}

    def pass_time(seconds: float) -> None:
        clock.pump([0.1] * round(seconds * 10))

    pass_time(2)
    return clock, network, members, pass_time


Cluster = tuple[Clock, MemoryNetwork, dict[NodeId, Member], Callable[[float], None]]


def test_everybody_learns_that_everybody_lives(cluster: Cluster) -> None:
    """Two seconds after start all nodes know of each other."""
    clock, _, members, _ = cluster
    assert {member.membership.live(clock.seconds()) for member in members.values()} == {frozenset({A, B, C})}


def test_a_publication_travels_at_once(cluster: Cluster) -> None:
    """A claim is known on the other nodes within a fraction of a second."""
    _, _, members, pass_time = cluster
    members[A].ledger.publish(SITE, SiteRegister(role="owner", claim=Claim(1, A)))
    members[A].gossip.hurry()
    pass_time(0.2)
    assert [members[node].ledger.seen(SITE) for node in (B, C)] == [Claim(1, A)] * 2
    assert SITE in {site for merged in members[B].changes for site in merged.sites}


def test_a_cut_between_two_is_bridged_by_the_third(cluster: Cluster) -> None:
    """Liveness and news go around a broken link: no node is taken for dead that anybody hears."""
    clock, network, members, pass_time = cluster
    network.cut(A, B)
    pass_time(20)
    members[A].ledger.publish(SITE, SiteRegister(role="owner", claim=Claim(7, A)))
    members[A].gossip.hurry()
    pass_time(2)
    assert members[B].membership.live(clock.seconds()) == {A, B, C}
    assert members[B].ledger.seen(SITE) == Claim(7, A)


def test_a_partition_is_noticed_and_its_end_too(cluster: Cluster) -> None:
    """After `fail_s` the lost node is dead for the others; when it is back, it hears all it missed."""
    clock, network, members, pass_time = cluster
    network.partition({A, B}, {C})
    pass_time(Timing().fail_s + 1)
    assert members[A].membership.live(clock.seconds()) == {A, B}
    members[A].ledger.publish(SITE, SiteRegister(role="owner", claim=Claim(9, A)))
    members[A].ledger.share("zone/x", '"y"', 1000)
    network.heal_all()
    pass_time(3)
    assert members[A].membership.live(clock.seconds()) == {A, B, C}
    assert members[C].ledger.seen(SITE) == Claim(9, A)
    assert members[C].ledger.shared() == {"zone/x": '"y"'}
