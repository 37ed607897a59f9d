"""Ledgers that tell each other things in any order, twice, late or never, and forget: in the end all know the same."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from hybrid.cluster.ledger import Ledger
from hybrid.model import Claim, Guid, NodeId, NodeRegister, SiteId, SiteRegister, Version
from hybrid.wire import Gossip

NODES = tuple(NodeId(f"n-{letter}") for letter in "abc")
SITES = (SiteId("s-one"), SiteId("s-two"))
A_NODE, A_SITE = st.sampled_from(NODES), st.sampled_from(SITES)


def told(ledger: Ledger) -> Gossip:
    """All that a ledger knows, as it travels."""
    saved = ledger.snapshot()
    words: dict[NodeId, dict[SiteId, SiteRegister]] = {}
    gossip = Gossip(nodes=saved.nodes, sites=words, copies={}, shared=saved.shared)
    for site, registers in saved.sites.items():
        for node, register in registers.items():
            gossip.sites.setdefault(node, {})[site] = register.word
            gossip.copies.setdefault(node, {})[site] = register.copy
    return gossip


class Ledgers(RuleBasedStateMachine):
    """Three nodes, two sites, and messages on their way."""

    def __init__(self) -> None:
        super().__init__()
        self.starts = dict.fromkeys(NODES, 1)
        self.ledgers = {node: Ledger(node, 1) for node in NODES}
        self.under_way: list[tuple[NodeId, Gossip]] = []
        self.latest: dict[tuple[NodeId, NodeId, SiteId], tuple[Version, Version]] = {}
        self.said: dict[tuple[NodeId, SiteId, Version], SiteRegister] = {}

    @rule(node=A_NODE, site=A_SITE, role=st.sampled_from(("replica", "owner", "none")), number=st.integers(1, 3))
    def publish(self, node: NodeId, site: SiteId, role: str, number: int) -> None:
        """A node says something of a site."""
        claim = Claim(number, node) if role == "owner" else None
        register = SiteRegister(role=role, claim=claim, head=Guid(number), length=number)  # type: ignore[arg-type]  # one of the roles
        self.ledgers[node].publish(site, register)

    @rule(node=A_NODE, load=st.integers(0, 2))
    def describe(self, node: NodeId, load: int) -> None:
        """A node says something of itself."""
        self.ledgers[node].publish_node(NodeRegister(id=node, name=node, dc="x", address="", load=float(load)))

    @rule(node=A_NODE, key=st.sampled_from("kl"), value=st.sampled_from(("1", "2", None)), at=st.integers(0, 5))
    def share(self, node: NodeId, key: str, value: str | None, at: int) -> None:
        """A node writes a value that has no owner, by a clock that may be wrong."""
        self.ledgers[node].share(key, value, at)

    @rule(sender=A_NODE, receiver=A_NODE)
    def tell(self, sender: NodeId, receiver: NodeId) -> None:
        """A message begins its way."""
        self.under_way.append((receiver, told(self.ledgers[sender])))

    @rule(which=st.integers(0, 99), again=st.booleans())
    def arrive(self, which: int, again: bool) -> None:
        """Any message arrives, and perhaps another time later."""
        if self.under_way:
            receiver, gossip = self.under_way[which % len(self.under_way)]
            if not again:
                del self.under_way[which % len(self.under_way)]
            self._hear(receiver, gossip)

    def _hear(self, node: NodeId, gossip: Gossip) -> None:
        """As the core does: what an earlier life said and this one does not know of, it takes back."""
        ledger = self.ledgers[node]
        for site in ledger.merge(gossip).disputed:
            ledger.publish(site, ledger.registers(site).get(node, SiteRegister(role="none")))

    @rule(node=A_NODE, remembers=st.booleans())
    def restart(self, node: NodeId, remembers: bool) -> None:
        """A node starts again, with what it had written down, or with nothing."""
        saved = self.ledgers[node].snapshot()
        self.starts[node] += 1
        self.ledgers[node] = Ledger(node, self.starts[node])
        if remembers:
            self.ledgers[node].restore(saved)
        else:
            self.latest = {key: value for key, value in self.latest.items() if key[0] != node}
        self.describe(node, 0)

    @invariant()
    def versions_never_go_back(self) -> None:
        """What a ledger knows is only ever replaced by something later, also over a restart that remembers."""
        for me, ledger in self.ledgers.items():
            for site in SITES:
                for node, register in ledger.registers(site).items():
                    now, key = (register.version, register.copy_version), (me, node, site)
                    before = self.latest.get(key, now)
                    assert now[0] >= before[0] and now[1] >= before[1], (key, before, now)
                    self.latest[key] = now

    @invariant()
    def a_version_means_one_thing(self) -> None:
        """No version is given twice, so two that know the same version know the same."""
        for ledger in self.ledgers.values():
            for site in SITES:
                for node, register in ledger.registers(site).items():
                    word = register.word
                    assert self.said.setdefault((node, site, register.version), word) == word

    def teardown(self) -> None:
        """Everybody tells everybody: all know the same, and what each says of itself is its own last word."""
        for _ in range(3):
            for sender in NODES:
                for receiver in NODES:
                    self._hear(receiver, told(self.ledgers[sender]))
        known = [
            (told(ledger).sites, told(ledger).copies, ledger.nodes(), ledger.shared())
            for ledger in self.ledgers.values()
        ]
        for other in known[1:]:
            assert _spoken(other[0]) == _spoken(known[0][0])
            assert (other[2], other[3]) == (known[0][2], known[0][3])
        for ledger in self.ledgers.values():
            before = ledger.snapshot()
            ledger.merge(told(ledger))
            assert ledger.snapshot() == before


def _spoken(sites: dict[NodeId, dict[SiteId, SiteRegister]]) -> dict[tuple[NodeId, SiteId], SiteRegister]:
    return {(node, site): word for node, words in sites.items() for site, word in words.items()}


Ledgers.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None, derandomize=True)
TestLedgers = Ledgers.TestCase
