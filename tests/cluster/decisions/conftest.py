"""Fixtures of the cluster's tests: a short notation for what nodes say about a site."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec
import pytest

from hybrid.cluster.candidates import newest_spec
from hybrid.cluster.decisions import Decision
from hybrid.cluster.election import Elections
from hybrid.cluster.picks import Pick
from hybrid.model import NO_CLAIM, Claim, Guid, NodeId, SiteId, SiteRegister, SiteSpec, Version
from hybrid.settings import Timing

SITE = SiteId("s-one")
SAYS = re.compile(r"(!?)(\w+) (\w+)(?:\((\d+)\))?(?: (\d+)\.(\d+))?(.*)")


def claim_of(text: str) -> Claim:
    """`5b`: epoch 5, node b."""
    return Claim(int(text[:-1]), NodeId(text[-1]))


def register_of(line: str) -> tuple[bool, NodeId, SiteRegister]:
    """Whether the node lives, its id, and what it says, of a line as described at `scene`."""
    match = SAYS.fullmatch(line.strip())
    assert match, line
    dead, node, role, epoch, head_epoch, counter, rest = match.groups()
    words = dict([*word.split("=", 1), ""][:2] for word in rest.split())
    claim = Claim(int(epoch), NodeId(node)) if epoch else None
    register = SiteRegister(
        role=role,  # type: ignore[arg-type]  # the notation spells it as the model does
        claim=claim,
        seen=max(claim_of(words["seen"]) if "seen" in words else NO_CLAIM, claim or NO_CLAIM),
        head=Guid(int(counter) + 1000 * int(head_epoch)) if counter else None,
        head_epoch=int(head_epoch or 0),
        head_counter=int(counter or 0),
        length=int(counter or 0),
        serving="serving" in words,
        trouble=words.get("trouble", ""),
        successor=NodeId(words["to"]) if "to" in words else None,
    )
    return not dead, NodeId(node), register


@dataclass
class Scene:
    """What the nodes say about one site, changing in the course of a test, and the elections of one of them."""

    me: NodeId
    registers: dict[NodeId, SiteRegister] = field(default_factory=dict)
    live: set[NodeId] = field(default_factory=set)
    timing: Timing = field(default_factory=Timing)
    spec: SiteSpec | None = None
    dcs: dict[NodeId, str] = field(default_factory=dict)
    fit: bool = True
    free_space_ok: bool = True
    sick: frozenset[NodeId] = frozenset()
    pick: Pick | None = None
    now_s: float = 100.0
    elections: Elections = field(init=False)

    def __post_init__(self) -> None:
        self.elections = Elections(self.me, self.timing, 0.0)
        self.elections.decide(SiteId("s-other"), {}, frozenset(), None, 0.0, True, True, {})

    def say(self, text: str) -> None:
        """Replace what the named nodes say."""
        for line in text.split("|"):
            lives, node, register = register_of(line)
            self.registers[node] = register
            self.dcs.setdefault(node, "")
            (self.live.add if lives else self.live.discard)(node)

    def change(self, node: str, **fields: object) -> None:
        """Replace some fields of what `node` says."""
        self.registers[NodeId(node)] = msgspec.structs.replace(self.registers[NodeId(node)], **fields)

    def decide(self, at_s: float | None = None) -> Decision:
        """Decide now, or at each half second until `at_s`: the last decision."""
        while at_s is not None and self.now_s + 0.5 < at_s:
            self.now_s += 0.5
            self._decide()
        self.now_s = self.now_s if at_s is None else at_s
        return self._decide()

    def _decide(self) -> Decision:
        spec = self.spec or newest_spec(self.registers.values())
        return self.elections.decide(
            SITE,
            self.registers,
            frozenset(self.live | {self.me}),
            spec,
            self.now_s,
            self.fit,
            self.free_space_ok,
            self.dcs,
            sick=self.sick,
            pick=self.pick,
        )


@pytest.fixture
def scene() -> Callable[..., Scene]:
    """
    `scene("a", "a replica 3.7 | !b owner(4) 4.2 serving")`: as seen by `a`.

    Node, role, epoch of its claim, epoch and number of its newest snapshot, then words: `serving`, `trouble=…`,
    `seen=5b`, `to=c` (successor). `!` marks a dead node. It is 100 s after the start of `a`.
    """

    def make(me: str, text: str, **options: object) -> Scene:
        made = Scene(NodeId(me), **options)  # type: ignore[arg-type]  # fields of Scene, by name
        made.say(text)
        return made

    return make


@pytest.fixture
def spec() -> Callable[..., SiteSpec]:
    """A site's spec with some fields given."""

    def make(**fields: object) -> SiteSpec:
        plain = SiteSpec(
            id=SITE, version=Version(1, 1), name="one", domains=("one.example",), image="static@1", number=1
        )
        return msgspec.structs.replace(plain, **fields)

    return make
