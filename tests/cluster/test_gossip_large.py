"""Many nodes that gossip over links in memory, on one clock: nobody tells everybody, and everybody learns."""

from __future__ import annotations

import random

import msgspec
import pytest
from twisted.internet.task import Clock

from hybrid import wire
from hybrid.cluster.gossip import ALL_UP_TO, CIRCLE, COMPARE_EVERY, LOOK_S, Gossiping
from hybrid.cluster.ledger import Ledger, Merged
from hybrid.cluster.memory_peers import MemoryNetwork, MemoryPeers
from hybrid.cluster.sealing import MemorySeals
from hybrid.model import Claim, Guid, NodeId, NodeRegister, SiteId, SiteRegister, Version
from hybrid.wire import Gossip

SITE = SiteId("s-1")
COMPARE_S = LOOK_S * COMPARE_EVERY


class Crowd:
    """All nodes: who is there, who hears whom."""

    def __init__(self, count: int) -> None:
        self.clock = Clock()
        self.network = MemoryNetwork(self.clock, delay_s=0.01, reconnect_s=0.1)
        self.names = [NodeId(f"n-{number:03d}") for number in range(count)]
        self.silent: set[NodeId] = set()
        self.members = {name: Member(self, name) for name in self.names}

    def pass_time(self, seconds: float) -> None:
        """Let time pass in small steps."""
        self.clock.pump([0.05] * round(seconds * 20))

    def knowing(self, claim: Claim) -> int:
        """How many nodes know of `claim` on the site."""
        return sum(member.ledger.seen(SITE) == claim for member in self.members.values())


class Counting(MemoryPeers):
    """Links that count what is told over them."""

    sent = 0

    def send(self, node: NodeId, message: msgspec.Struct) -> bool:
        """See `MemoryPeers`."""
        self.sent += 1
        return super().send(node, message)


class Member:
    """One node."""

    def __init__(self, crowd: Crowd, name: NodeId) -> None:
        self.crowd, self.name = crowd, name
        self.links = Counting(crowd.network, name, crowd.clock)
        self.ledger = Ledger(name, 1, MemorySeals(name))
        self.changes: list[Merged] = []
        chance = random.Random(name)
        self.gossip = Gossiping(
            crowd.clock,
            self,
            self.ledger,
            self.links,
            chance.sample,
            self._held,
            lambda sender, gossip: True,
            self.changes.append,
        )
        key = MemorySeals(name).key
        self.ledger.publish_node(NodeRegister(id=name, name=name, dc="", address="", key=key))
        self.links.startService()
        self.gossip.startService()

    def _held(self) -> list[SiteId]:
        registers = self.ledger.sites_of(self.name)
        return [site for site in registers if self.ledger.registers(site)[self.name].role != "none"]

    @property
    def known(self) -> frozenset[NodeId]:
        """See `hybrid.cluster.gossip.Lives`."""
        return frozenset(self.crowd.names)

    def live(self, now_s: float) -> frozenset[NodeId]:
        """See `hybrid.cluster.gossip.Lives`."""
        return self.known - self.crowd.silent


@pytest.fixture
def crowd() -> Crowd:
    """Forty nodes that know each other, and have told each other who they are."""
    crowd = Crowd(40)
    crowd.pass_time(2)
    return crowd


def test_a_claim_is_everywhere_within_seconds(crowd: Crowd) -> None:
    """What one node says reaches all, though none tells more than a few; nothing is said when nothing changes."""
    for member in crowd.members.values():
        assert len(member.ledger.nodes()) == 40
        member.links.sent = 0
    crowd.pass_time(COMPARE_S)
    assert sum(member.links.sent for member in crowd.members.values()) == 0
    owner = crowd.members[crowd.names[0]]
    owner.ledger.publish(SITE, SiteRegister(role="owner", claim=Claim(1, owner.name)))
    owner.gossip.hurry()
    crowd.pass_time(1)
    assert crowd.knowing(Claim(1, owner.name)) == 40
    assert max(member.links.sent for member in crowd.members.values()) <= CIRCLE
    assert all(not member.ledger.vouching.ignored for member in crowd.members.values())


def test_snapshots_are_nobody_elses_business(crowd: Crowd) -> None:
    """A new head goes to the two others that hold the site; of forty nodes the rest hears and says nothing."""
    holders = [crowd.members[name] for name in crowd.names[:3]]
    for number, member in enumerate(holders):
        role = "replica" if number else "owner"
        member.ledger.publish(SITE, SiteRegister(role=role, head=Guid(1)))  # type: ignore[arg-type]  # a literal each
        member.gossip.hurry()
    crowd.pass_time(2)
    for member in crowd.members.values():
        member.links.sent = 0
        member.changes.clear()
    holders[0].ledger.publish(SITE, SiteRegister(role="owner", head=Guid(2)))
    holders[0].gossip.hurry()
    crowd.pass_time(1)
    assert [member.ledger.registers(SITE)[holders[0].name].head for member in holders] == [2, 2, 2]
    assert sum(member.links.sent for member in crowd.members.values()) <= 4
    assert not any(crowd.members[name].changes for name in crowd.names[3:])


def test_the_end_of_a_partition_is_noticed(crowd: Crowd) -> None:
    """Two halves that took each other for dead know each other's claims again soon after they can talk."""
    near, far = set(crowd.names[:20]), set(crowd.names[20:])
    crowd.network.partition(near, far)
    crowd.pass_time(6)
    for name in (crowd.names[0], crowd.names[39]):
        member = crowd.members[name]
        member.ledger.publish(SITE, SiteRegister(role="owner", claim=Claim(5, name)))
        member.gossip.hurry()
    crowd.pass_time(2)
    assert crowd.knowing(Claim(5, crowd.names[0])) == crowd.knowing(Claim(5, crowd.names[39])) == 20
    crowd.network.heal_all()
    crowd.pass_time(2 * COMPARE_S)
    assert crowd.knowing(Claim(5, crowd.names[39])) == 40


def test_whoever_can_be_reached_again_hears_what_it_missed(crowd: Crowd) -> None:
    """A holder that was cut off is told of new heads as soon as there is a link again, not at the next comparison."""
    owner, holder = (crowd.members[name] for name in crowd.names[:2])
    for member in (owner, holder):
        member.ledger.publish(SITE, SiteRegister(role="replica", head=Guid(1)))
        member.gossip.hurry()
    crowd.pass_time(2)
    crowd.network.partition({holder.name}, set(crowd.names) - {holder.name})
    crowd.silent = {holder.name}
    crowd.pass_time(6)
    owner.ledger.publish(SITE, SiteRegister(role="replica", head=Guid(2)))
    owner.gossip.hurry()
    crowd.pass_time(1)
    assert holder.ledger.registers(SITE)[owner.name].head == 1
    crowd.network.heal_all()
    crowd.pass_time(1)
    assert holder.ledger.registers(SITE)[owner.name].head == 2


def test_a_liar_convinces_nobody(crowd: Crowd) -> None:
    """A node that passes on what others never said is not believed, and all of them count it."""
    liar, victim = crowd.names[:2]
    word = SiteRegister(role="owner", claim=Claim(99, victim), version=Version(9, 9))
    for name in crowd.names[2:]:
        assert crowd.members[liar].links.send(name, Gossip(sites={victim: {SITE: word}}))
    crowd.pass_time(1)
    assert crowd.knowing(Claim(99, victim)) == 0
    counts = [crowd.members[name].gossip.ignored() for name in crowd.names[2:]]
    assert counts == [{"not signed by its writer": 1}] * 38


def test_a_comparison_with_a_liar_ends(crowd: Crowd) -> None:
    """A node that answers comparisons with more and more that is not believed is not asked for ever."""
    asked = 0

    async def answer(sender: NodeId, message: msgspec.Struct) -> msgspec.Struct:
        nonlocal asked
        asked += 1
        word = SiteRegister(role="owner", version=Version(9, asked))
        return wire.Pulled(news=Gossip(sites={crowd.names[1]: {SITE: word}}), more=True)

    async def differ(sender: NodeId, message: msgspec.Struct) -> msgspec.Struct:
        return wire.Compared(sums={crowd.names[1]: 7}, same_copies=True)

    liar, member = crowd.members[crowd.names[0]], crowd.members[crowd.names[5]]
    liar.links.handle(wire.Pull, answer)
    liar.links.handle(wire.Compare, differ)
    crowd.network.cut(liar.name, member.name)
    crowd.pass_time(6)
    crowd.network.heal_all()
    crowd.pass_time(LOOK_S + 1)
    assert 1 <= asked <= 4 * 40
    assert member.ledger.seen(SITE).epoch == 0


def test_the_size_at_which_it_begins() -> None:
    """Up to eight nodes everybody tells everybody: whom a node cannot reach it reaches through any other."""
    crowd = Crowd(ALL_UP_TO)
    crowd.pass_time(2)
    first, last = crowd.names[0], crowd.names[-1]
    crowd.network.cut(first, last)
    crowd.pass_time(6)
    crowd.members[first].ledger.publish(SITE, SiteRegister(role="owner", claim=Claim(1, first)))
    crowd.members[first].gossip.hurry()
    crowd.pass_time(1)
    assert crowd.knowing(Claim(1, first)) == ALL_UP_TO
