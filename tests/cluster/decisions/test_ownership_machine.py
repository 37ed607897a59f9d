"""Whatever befalls the nodes of a site, in any order: once it is over, one of them owns it, and it stays so."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hybrid.model import NodeId
from tests.cluster.decisions.ownership import Node, Ownership

NAMES = st.sampled_from([NodeId(name) for name in "abcd"])
CALM_S = 200.0
"""Long enough for several rests after failures, a quarantine and an election."""


class OwnershipMachine(RuleBasedStateMachine):
    """Partitions, crashes, failed starts, writes and picks, and what must hold after each."""

    @initialize(policy=st.sampled_from(["value", "epoch", "ask", "prefer:paris"]))
    def begin(self, policy: str) -> None:
        """A site that is served."""
        self.site = Ownership(policy)

    def node(self, name: NodeId) -> Node:
        """That one."""
        return self.site.nodes[name]

    @rule(seconds=st.sampled_from([0.5, 1, 3, 9, 15, 30]))
    def time_passes(self, seconds: float) -> None:
        """Let the elections work."""
        self.site.run(seconds)

    @rule(sides=st.lists(st.integers(0, 2), min_size=4, max_size=4))
    def cut(self, sides: list[int]) -> None:
        """Up to three sides that do not hear each other."""
        self.site.groups = dict(zip(self.site.nodes, sides, strict=True))

    @rule()
    def heal(self) -> None:
        """All hear all."""
        self.site.groups = dict.fromkeys(self.site.nodes, 0)

    @rule(name=NAMES)
    def crash(self, name: NodeId) -> None:
        """A server loses power."""
        self.site.crash(self.node(name))

    @rule(name=NAMES)
    def start(self, name: NodeId) -> None:
        """It comes back."""
        self.site.start(self.node(name))

    @rule(name=NAMES, broken=st.booleans())
    def starting(self, name: NodeId, broken: bool) -> None:
        """From now on containers do not start there, or do again."""
        self.node(name).broken = broken

    @rule(name=NAMES, count=st.integers(1, 4))
    def write(self, name: NodeId, count: int) -> None:
        """Clients write, where it is served."""
        for _ in range(count):
            self.site.write(self.node(name))

    @precondition(lambda self: self.site.policy == "ask")
    @rule(name=NAMES)
    def pick(self, name: NodeId) -> None:
        """A person picks what waits there, if anything does."""
        self.site.person_picks(self.node(name))

    @invariant()
    def waiting_is_not_serving(self) -> None:
        """Who waits for a person writes nothing."""
        assert not any(node.register.awaiting and node.register.serving for node in self.site.nodes.values())

    def teardown(self) -> None:
        """Peace: everything works again, and the person picks where there is something to pick."""
        if not hasattr(self, "site"):
            return
        self.heal()
        for node in self.site.nodes.values():
            node.broken = False
            self.site.start(node)
        self.site.run(20)
        for node in sorted(self.site.owners(), key=lambda node: node.id):
            self.site.person_picks(node)
        self.site.run(CALM_S)
        (owner,) = self.site.owners()
        assert owner.register.serving, owner.register
        held = [node.register.head for node in self.site.nodes.values() if node.register.role == "replica"]
        assert held == [owner.register.head] * 2, "L2: replicas did not follow"
        minted = len(self.site.minted)
        self.site.run(60)
        assert len(self.site.minted) == minted, "L5: claims go on growing"


OwnershipMachine.TestCase.settings = settings(max_examples=120, stateful_step_count=40)
TestOwnership = OwnershipMachine.TestCase
