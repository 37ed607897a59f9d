"""Three nodes that take over, fence and re-affirm while messages come in any order: every claim is one node's, once."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from hybrid.cluster.confirming import confirmation, owner_seen, refuted
from hybrid.cluster.decisions import Fence, PublishBid, Reaffirm, Stand, Stay
from hybrid.cluster.election import Elections
from hybrid.cluster.ledger import Ledger
from hybrid.model import NO_CLAIM, Bid, Claim, Guid, NodeId, Role, SiteId, SiteRegister, SiteSpec, Version
from hybrid.settings import Timing
from hybrid.wire import Gossip
from tests.cluster.decisions.test_ledgers_meeting import told

SITE = SiteId("s-one")
NODES = tuple(NodeId(f"n-{letter}") for letter in "abc")
A_NODE = st.sampled_from(NODES)
SPEC = SiteSpec(id=SITE, version=Version(1, 1), name="one", domains=(), image="static@1", number=1)
BEAT_S = 0.5


@dataclass
class Node:
    """What one node has on disk, and what its process knows."""

    me: NodeId
    claim: Claim | None = None
    seen: Claim = NO_CLAIM
    minted: list[Claim] = field(default_factory=list)
    counter: int = 1
    epoch: int = 0
    starts: int = 0
    up: bool = True

    def start(self, now_s: float) -> None:
        """A new process: whatever was owned, it is a replica, and listens first."""
        self.starts, self.up, self.claim = self.starts + 1, True, None
        self.role: Role = "replica"
        self.bids: dict[str, Bid] = {}
        self.ledger = Ledger(self.me, self.starts)
        self.elections = Elections(self.me, Timing(), now_s)

    def hold(self, claim: Claim) -> None:
        """Make a claim durable. S5, S6: it is this node's own, and larger than each before it."""
        assert claim.node == self.me and claim > max(self.minted, default=NO_CLAIM), (claim, self.minted)
        self.minted.append(claim)
        self.claim, self.seen, self.role, self.bids = claim, max(claim, self.seen), "owner", {}
        self.counter, self.epoch = self.counter + 1, claim.epoch

    def publish(self) -> None:
        """Say what is so."""
        register = SiteRegister(
            role=self.role,
            claim=self.claim,
            seen=self.seen,
            head=Guid(self.counter),
            head_epoch=self.epoch,
            head_counter=self.counter,
            serving=self.role == "owner",
            spec=SPEC,
            bids=self.bids,
        )
        self.ledger.publish(SITE, register)


class Takeovers(RuleBasedStateMachine):
    """Three nodes, one site."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 100.0
        self.nodes = {node: Node(node) for node in NODES}
        for node in self.nodes.values():
            node.start(0.0)
        self.cuts: set[frozenset[NodeId]] = set()
        self.doubts: set[tuple[NodeId, NodeId]] = set()
        self.under_way: list[tuple[NodeId, Gossip]] = []

    # ------------------------------------------------------------------------------------------------ the world

    @rule(seconds=st.sampled_from((0.5, 2.0, 5.0, 15.0)), hear=st.booleans())
    def wait(self, seconds: float, hear: bool) -> None:
        """Time passes; with `hear` those who reach each other also talk."""
        for _ in range(int(seconds / BEAT_S)):
            self.now_s += BEAT_S
            for node in self.nodes.values():
                self._look(node)
            if hear:
                self._all_talk()

    @rule(sender=A_NODE, receiver=A_NODE)
    def tell(self, sender: NodeId, receiver: NodeId) -> None:
        """A message begins its way, to arrive whenever it likes."""
        if self.nodes[sender].up:
            self.under_way.append((receiver, told(self.nodes[sender].ledger)))

    @rule(which=st.integers(0, 99))
    def arrive(self, which: int) -> None:
        """One of them arrives."""
        if self.under_way:
            receiver, gossip = self.under_way.pop(which % len(self.under_way))
            if self.nodes[receiver].up:
                self.nodes[receiver].ledger.merge(gossip)

    @rule(one=A_NODE, other=A_NODE, cut=st.booleans())
    def cut(self, one: NodeId, other: NodeId, cut: bool) -> None:
        """Two nodes do not reach each other, or do again."""
        (self.cuts.add if cut else self.cuts.discard)(frozenset({one, other}))

    @rule(node=A_NODE, other=A_NODE, doubt=st.booleans())
    def doubt(self, node: NodeId, other: NodeId, doubt: bool) -> None:
        """A node takes another for dead, wrongly perhaps."""
        (self.doubts.add if doubt else self.doubts.discard)((node, other))

    @rule(node=A_NODE)
    def crash(self, node: NodeId) -> None:
        """Power off."""
        self.nodes[node].up = False

    @rule(node=A_NODE)
    def restart(self, node: NodeId) -> None:
        """Power on, or off and on."""
        self.nodes[node].start(self.now_s)

    @rule(node=A_NODE)
    def write(self, node: NodeId) -> None:
        """Clients of an owner change something."""
        self.nodes[node].counter += self.nodes[node].role == "owner"

    # ----------------------------------------------------------------------------------------------- the nodes

    def _reaches(self, one: NodeId, other: NodeId) -> bool:
        return self.nodes[one].up and self.nodes[other].up and frozenset({one, other}) not in self.cuts

    def _live(self, me: NodeId) -> frozenset[NodeId]:
        alive = {me} | {other for other in NODES if self._reaches(me, other)}
        alive |= {far for near in list(alive) for far in NODES if self._reaches(near, far)}
        return frozenset(other for other in alive if (me, other) not in self.doubts or other == me)

    def _all_talk(self) -> None:
        for sender in NODES:
            for receiver in NODES:
                if sender != receiver and self._reaches(sender, receiver):
                    self.nodes[receiver].ledger.merge(told(self.nodes[sender].ledger))

    def _look(self, node: Node) -> None:
        if not node.up:
            return
        node.publish()
        decision = self._decide(node)
        match decision:
            case Stand():
                if self._refuted(node, decision.claim):
                    node.elections.called_off(SITE, self.now_s)
                elif isinstance(again := self._decide(node), Stand):
                    node.hold(again.claim)
            case Reaffirm(claim):
                node.hold(claim)
            case Fence(_, claim):
                node.seen, node.claim, node.role, node.bids = max(node.seen, claim), None, "replica", {}
            case PublishBid(key, bid):
                assert key not in node.bids, "a bid never changes"
                node.bids = {**node.bids, key: bid}
            case Stay():
                pass
            case _:
                raise AssertionError(f"{decision} of a site that asks nobody")
        node.publish()

    def _decide(self, node: Node) -> object:
        live, registers = self._live(node.me), node.ledger.registers(SITE)
        return node.elections.decide(SITE, registers, live, SPEC, self.now_s, True, True, dict.fromkeys(NODES, "x"))

    def _refuted(self, node: Node, claim: Claim) -> bool:
        asked = confirmation(node.ledger.registers(SITE), self._live(node.me), node.me)
        answers = [
            owner_seen(self.nodes[other].ledger.registers(SITE), self._live(other), node.me)
            for other in asked
            if self._reaches(node.me, other)
        ]
        return refuted(answers, claim)

    # ------------------------------------------------------------------------------------------------- the end

    def teardown(self) -> None:
        """All is whole again for a while: one owner, of the largest claim, and nobody else holds one."""
        self.cuts, self.doubts = set(), set()
        for node in self.nodes.values():
            if not node.up:
                node.start(self.now_s)
        self.wait(120.0, True)
        owners = [node for node in self.nodes.values() if node.role == "owner"]
        assert [len(owners), *(node.claim for node in self.nodes.values() if node not in owners)] == [1, None, None]
        assert owners[0].claim == max(claim for node in self.nodes.values() for claim in node.minted)
        minted = [claim for node in self.nodes.values() for claim in node.minted]
        assert len(minted) == len(set(minted))


Takeovers.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None, derandomize=True)
TestTakeovers = Takeovers.TestCase
