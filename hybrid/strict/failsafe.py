"""
Going on without etcd: only while every other holder of the site agrees, all of them and not a majority. Pure.

The idea is Patroni's failsafe mode (its documentation, "DCS Failsafe Mode"). To agree is to promise not to stand for
`Spans.promise_s`, so an owner that everybody agreed with is as sure as one that etcd affirmed. Whoever is not among the
holders that the owner wrote down in etcd may not stand at all (`hybrid.strict.decisions`); so asking those is enough.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from hybrid.cluster.candidates import CLAIMING, HOLDING, Registers
from hybrid.model import Claim, NodeId, SiteId, SiteRegister
from hybrid.strict.tenure import Spans


@dataclass(slots=True)
class Promises:
    """What this node promised to owners of sites of which it holds a copy."""

    spans: Spans
    _until_s: dict[SiteId, float] = field(default_factory=dict)

    def ask(
        self,
        site: SiteId,
        claim: Claim,
        mine: SiteRegister | None,
        named_in_etcd: NodeId | None,
        busy: bool,
        now_s: float,
    ) -> str:
        """
        May `claim.node` go on as the owner of `site`? If so, it is promised at once.

        Args:
            site: Any site.
            claim: The asker's.
            mine: What this node says of the site.
            named_in_etcd: Whom etcd names, where this node just read it.
            busy: Whether this node is about to do something with the site.
            now_s: Monotonic seconds.

        Returns:
            Why not; empty for "yes".
        """
        if mine is not None and (mine.role in CLAIMING or busy):
            return "this node is about to own it"
        if mine is not None and mine.seen > claim:
            return f"a newer claim is known here: {mine.seen}"
        if named_in_etcd not in (None, claim.node):
            return f"etcd names {named_in_etcd}"
        self._until_s[site] = now_s + self.spans.promise_s
        return ""

    def kept(self, site: SiteId, now_s: float) -> bool:
        """Whether this node may stand for `site`: nothing that it promised is still due."""
        return now_s >= self._until_s.get(site, 0.0)


@dataclass(frozen=True, slots=True)
class Counted:
    """The holders of one site that this node, its owner, counts on, as far as etcd has it in writing."""

    written: frozenset[NodeId] | None = None
    """As etcd is known to have it; `None`: not known."""
    maybe: frozenset[NodeId] = frozenset()
    """Of writings whose outcome is not known."""

    def asked(self, me: NodeId) -> frozenset[NodeId] | None:
        """Whom to ask when etcd is silent; `None` where that is not known, so that nothing could be concluded."""
        return None if self.written is None else (self.written | self.maybe) - {me}


def holders(
    counted: Collection[NodeId], registers: Registers, targets: Collection[NodeId], me: NodeId
) -> frozenset[NodeId]:
    """
    Whom the owner has to count on: all that hold the site or are about to, and nobody less that was counted already.

    Args:
        counted: Those written down already; only who says itself that it holds nothing is left out.
        registers: What each node says, silent ones too.
        targets: To whom the site is replicated now.
        me: The owner.
    """
    held = {node for node, register in registers.items() if register.role in HOLDING}
    empty = {node for node, register in registers.items() if register.role == "none"}
    return frozenset({me, *held, *targets, *(set(counted) - empty)})


def unanimous(asked: Collection[NodeId], answers: Mapping[NodeId, bool]) -> bool:
    """Whether every one of `asked` said yes. Nobody to ask is yes too: then nobody else may stand."""
    return all(answers.get(node, False) for node in asked)
