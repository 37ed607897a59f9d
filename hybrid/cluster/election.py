"""
Who owns a site, decided by each node for itself from registers and liveness: rules R0, R1, R2, R5, R9, R10. Pure.

Deciding again with the same facts gives the same decision until the deed shows in this node's own register, so a
caller never needs to remember one. What an owner does is in `owning`, what a replica does in `standing`, the only
things remembered (waits and rests) in `patience`.
"""

from __future__ import annotations

from collections.abc import Mapping

from hybrid.cluster.candidates import CLAIMING, Registers
from hybrid.cluster.decisions import Decision, Look, Stay
from hybrid.cluster.owning import as_owner
from hybrid.cluster.patience import Patience
from hybrid.cluster.picks import Pick
from hybrid.cluster.standing import as_replica
from hybrid.model import NodeId, SiteId, SiteSpec
from hybrid.settings import Timing


class Elections:
    """The elections of one node, for all sites."""

    def __init__(self, me: NodeId, timing: Timing, started_s: float) -> None:
        """`started_s`: when this process started, by the clock of `now_s`. It listens from its first look on."""
        self._me, self._timing = me, timing
        self._patience = Patience(timing, started_s)
        self._barred = False

    def bar(self) -> None:
        """Stand for no site any more, in this life: another node has this one's key."""
        self._barred = True

    def decide(
        self,
        site: SiteId,
        registers: Registers,
        live: frozenset[NodeId],
        spec: SiteSpec | None,
        now_s: float,
        fit: bool,
        free_space_ok: bool,
        dcs: Mapping[NodeId, str],
        loads: Mapping[NodeId, float] | None = None,
        sick: frozenset[NodeId] = frozenset(),
        pick: Pick | None = None,
    ) -> Decision:
        """
        What this node must do about `site` now. To be asked at each heartbeat, and when something changed.

        Args:
            site: Any site.
            registers: What each node says about it.
            live: From `Membership.live`.
            spec: The newest spec, for policy and home data centre.
            now_s: Monotonic seconds.
            fit: From `Membership.fit`.
            free_space_ok: Whether there is room here to own it.
            dcs: Data centre of *every* node known, also of those not heard yet (`""`): being the only one in it, this
                node knows that there is nobody to wait for.
            loads: Load of nodes, where known.
            sick: Nodes that say that their storage does not answer.
            pick: With policy `ask`, what a person picked last.
        """
        look = Look(
            me=self._me,
            site=site,
            registers=registers,
            live=live,
            spec=spec,
            now_s=now_s,
            fit=fit,
            free_space_ok=free_space_ok,
            dcs=dcs,
            loads=loads or {},
            sick=sick,
            pick=pick,
        )
        self._patience.looked(now_s)
        mine = registers.get(self._me)
        if mine is None or mine.role in ("none", "stashing"):
            self._patience.over(site)
            return Stay("nothing to own it with")
        if mine.claim is None or mine.role not in CLAIMING:
            if self._barred:
                return Stay("another node has this one's key")
            return as_replica(look, self._patience, self._timing)
        if mine.role == "owner":
            self._patience.succeeded(site)
        return as_owner(look, self._patience, self._timing, mine, mine.claim)

    def failed(self, site: SiteId, now_s: float) -> None:
        """
        A stand could not be carried out: rest, twice as long each time, and let the next candidate have its turn.

        The caller publishes `trouble`, by which all others see that this node comes last now.
        """
        self._patience.failed(site, now_s)

    def called_off(self, site: SiteId, now_s: float) -> None:
        """Somebody still sees an owner (`refuted`): begin to wait anew. No failure."""
        self._patience.over(site)
