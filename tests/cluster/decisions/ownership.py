"""
A site on some nodes, in which every decision is the real one and every deed takes no time: for state machines.

Nodes know of each other what reached them while they were connected, and take a node for dead that they did not hear
for `fail_s`. Deeds fail where a test says so. What must never happen is asserted as it happens.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from hybrid.cluster.confirming import confirmation, owner_seen, refuted
from hybrid.cluster.decisions import AwaitPick, Decision, Fence, PublishBid, Reaffirm, Resume, Stand, Stay
from hybrid.cluster.election import Elections
from hybrid.cluster.picks import Pick
from hybrid.model import Claim, Guid, NodeId, SiteId, SiteRegister, SiteSpec, Version
from hybrid.settings import Timing

SITE = SiteId("s-one")
STEP_S = 0.5
SPEC = SiteSpec(id=SITE, version=Version(1, 1), name="one", domains=("one.example",), image="static@1", number=1)


@dataclass
class Node:
    """One server: what is on its disk, what it heard, and its elections."""

    id: NodeId
    register: SiteRegister
    known: dict[NodeId, SiteRegister]
    heard_s: dict[NodeId, float]
    elections: Elections
    up: bool = True
    started_s: float = 0.0
    broken: bool = False
    """No container starts here."""

    def say(self, **fields: object) -> None:
        """Change what it says; `seen` never shrinks, and its own claim never exceeds it."""
        before = self.register
        register: SiteRegister = msgspec.structs.replace(before, **fields, version=before.version.next())
        largest = max(before.seen, register.seen, register.claim or before.seen)
        self.register = msgspec.structs.replace(register, seen=largest)
        self.known[self.id] = self.register


@dataclass
class Ownership:
    """All nodes, and time."""

    policy: str = "value"
    names: str = "abcd"
    holders: str = "abc"
    timing: Timing = field(default_factory=Timing)
    now_s: float = 0.0
    pick: Pick | None = None
    minted: set[Claim] = field(default_factory=set)
    nodes: dict[NodeId, Node] = field(default_factory=dict)
    groups: dict[NodeId, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.spec = msgspec.structs.replace(SPEC, policy=self.policy)
        first = Claim(1, NodeId(self.holders[0]))
        self.minted.add(first)
        for name in map(NodeId, self.names):
            register = SiteRegister(role="none")
            if name in self.holders:
                head = {"head": Guid(1), "head_epoch": 1, "head_counter": 1, "length": 1, "seen": first}
                register = SiteRegister(role="replica", spec=self.spec, **head)  # type: ignore[arg-type]  # its fields
            self.nodes[name] = Node(name, register, {}, {}, Elections(name, self.timing, 0.0))
            self.groups[name] = 0
        self.nodes[first.node].say(role="owner", claim=first, serving=True)
        self.run(self.timing.boot_s + self.timing.settle_s)

    # ------------------------------------------------------------------------------------------------- reading

    def connected(self, one: Node, other: Node) -> bool:
        """Whether the two hear each other now."""
        return one.up and other.up and self.groups[one.id] == self.groups[other.id]

    def live(self, node: Node) -> frozenset[NodeId]:
        """Whom `node` takes for living."""
        recent = {other for other, at_s in node.heard_s.items() if self.now_s - at_s < self.timing.fail_s}
        return frozenset(recent | {node.id})

    def owners(self) -> list[Node]:
        """Living nodes that claim the site."""
        return [node for node in self.nodes.values() if node.up and node.register.claim is not None]

    # -------------------------------------------------------------------------------------------------- events

    def crash(self, node: Node) -> None:
        """Power off."""
        node.up = False

    def start(self, node: Node) -> None:
        """Power on: rule R0. What waits for a person goes on waiting."""
        if node.up:
            return
        node.up, node.started_s, node.heard_s = True, self.now_s, {}
        node.elections = Elections(node.id, self.timing, self.now_s)
        if node.register.role != "none" and not node.register.awaiting:
            node.say(role="replica", claim=None, serving=False, bids={}, successor=None)

    def write(self, node: Node) -> None:
        """A client writes, if the site is served there; the change gets a snapshot."""
        if node.up and node.register.serving:
            self._advance(node, node.register.head_epoch)

    def _advance(self, node: Node, epoch: int) -> None:
        counter = node.register.head_counter + 1
        head = Guid(hash((epoch, node.id, counter)) % 2**63)
        node.say(head=head, head_epoch=epoch, head_counter=counter, length=node.register.length + 1)

    def person_picks(self, node: Node) -> None:
        """A person looks at what waits on `node`, and picks its history."""
        register = node.register
        if register.awaiting and register.claim is not None:
            over = tuple(claim for claim in register.awaiting if claim != register.claim)
            self.pick = Pick(site=SITE, claim=register.claim, over=over)

    # ---------------------------------------------------------------------------------------------------- time

    def run(self, seconds: float) -> None:
        """Let time pass."""
        for _ in range(round(seconds / STEP_S)):
            self.now_s += STEP_S
            self._spread()
            for node in self.nodes.values():
                if node.up:
                    self._act(node, self._decide(node))
            self._replicate()

    def _spread(self) -> None:
        for node in self.nodes.values():
            for other in self.nodes.values():
                if node is not other and self.connected(node, other):
                    node.heard_s[other.id] = self.now_s
                    for name, register in other.known.items():
                        if name not in node.known or register.version > node.known[name].version:
                            node.known[name] = register

    def _decide(self, node: Node) -> Decision:
        return node.elections.decide(
            SITE,
            node.known,
            self.live(node),
            self.spec,
            self.now_s,
            fit=True,
            free_space_ok=True,
            dcs=dict.fromkeys(self.nodes, ""),
            pick=self.pick,
        )

    # --------------------------------------------------------------------------------------------------- deeds

    def _act(self, node: Node, decision: Decision) -> None:
        match decision:
            case Stay():
                return
            case Stand(claim):
                self._stand(node, claim)
            case Reaffirm(claim):
                self._mint(node, claim)
                node.say(claim=claim, bids={})
            case PublishBid(key, bid):
                assert key not in node.register.bids, f"{node.id} would bid twice for {key}"
                node.say(bids={**node.register.bids, key: bid})
            case Fence(winner, claim):
                assert winner != node.id
                if self.policy == "ask":
                    assert self.pick is not None and node.register.claim in self.pick.over, "nobody decided that"
                node.say(role="replica", claim=None, serving=False, bids={}, awaiting=(), seen=claim)
            case AwaitPick(claims):
                assert self.policy == "ask"
                node.say(awaiting=claims, serving=False)
            case Resume():
                assert self.pick is not None and self.pick.claim.node == node.id
                node.say(awaiting=(), serving=True)

    def _mint(self, node: Node, claim: Claim) -> None:
        assert claim.node == node.id
        assert claim not in self.minted, f"{claim} was minted before"
        assert claim > node.register.seen
        self.minted.add(claim)

    def _stand(self, node: Node, claim: Claim) -> None:
        assert self.now_s - node.started_s >= self.timing.boot_s, "S10: it has not listened yet"
        asked = [self.nodes[name] for name in confirmation(node.known, self.live(node), node.id)]
        answers = [owner_seen(other.known, self.live(other), node.id) for other in asked if self.connected(node, other)]
        if refuted(answers, claim):
            node.elections.called_off(SITE, self.now_s)
            return
        self._mint(node, claim)
        node.say(role="owner", claim=claim, bids={}, trouble="")
        self._advance(node, claim.epoch)
        if node.broken:
            node.say(role="replica", claim=None, trouble="it does not start")
            node.elections.failed(SITE, self.now_s)
        else:
            node.say(serving=True)

    def _replicate(self) -> None:
        """Rule R3: replicas take the line of whoever serves, unless they know of a larger claim."""
        for node in sorted(self.owners(), key=lambda node: node.register.claim or node.register.seen):
            for other in self.nodes.values():
                sender, receiver = node.register, other.register
                if receiver.role == "replica" and sender.claim is not None and self.connected(node, other):
                    if sender.serving and sender.claim >= receiver.seen and receiver.head != sender.head:
                        other.say(
                            head=sender.head,
                            head_epoch=sender.head_epoch,
                            head_counter=sender.head_counter,
                            length=sender.length,
                            seen=sender.claim,
                            trouble="",
                        )
