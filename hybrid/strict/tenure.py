"""
How long this node may be sure to own its strict sites: the clock of its lease, and the spans that keep two apart. Pure.

A tenure is counted from when an affirmation was *asked for*, never from when its answer came. It was affirmed by etcd,
through the one lease of the node on which the keys of its sites hang, or by every other holder of the site together
(`hybrid.strict.failsafe`). All times are monotonic seconds of this machine.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hybrid.model import SiteId

NO_LEASE = 0
CLOCK_RATE = 1.01
"""No two clocks of sane machines run apart by more than one in a hundred."""


@dataclass(frozen=True, slots=True)
class Spans:
    """
    What happens how long after the last affirmation was asked for, for a lease of `ttl_s`.

    In this order, the owner's first: `renew_s`, `fence_s`, `freeze_s`; then, elsewhere, the lease runs out (`ttl_s`) or
    a promise does (`promise_s`), and `lock_delay_s` later at the earliest another node stands.
    """

    ttl_s: float

    @property
    def renew_s(self) -> float:
        """
        Renew when it is so old. At least each third of the TTL; a fifth leaves time for a change of etcd's leader.

        That takes about two seconds, and from a third to a half of 15 s it is two and a half.
        """
        return self.ttl_s / 5

    @property
    def fence_s(self) -> float:
        """The node stops the site itself."""
        return self.ttl_s / 2

    @property
    def freeze_s(self) -> float:
        """The guardian freezes what the node process did not stop."""
        return self.ttl_s * 3 / 4

    @property
    def promise_s(self) -> float:
        """So long a holder that agreed to go on without etcd does not stand, by its own clock."""
        return self.ttl_s * CLOCK_RATE

    @property
    def lock_delay_s(self) -> float:
        """So long after it found the site without an owner in etcd another node waits."""
        return self.ttl_s / 2 * CLOCK_RATE

    @property
    def amnesia_s(self) -> float:
        """
        So long where etcd knows nothing of the site at all: it was built anew, perhaps a moment ago.

        Then no lease had to run out before the key was gone, and the guardian of the last owner may not have frozen it.
        """
        return self.ttl_s * CLOCK_RATE


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease of this node."""

    id: int
    affirmed_s: float
    """When the last of its renewals (or the grant) that succeeded was asked for."""


@dataclass(frozen=True, slots=True)
class Held:
    """A site's key in etcd that names this node."""

    revision: int
    lease: int


class Tenures:
    """The lease of this node and what hangs on it."""

    def __init__(self, ttl_s: float) -> None:
        self.spans = Spans(ttl_s)
        self.lease: Lease | None = None
        self._held: dict[SiteId, Held] = {}
        self._agreed_s: dict[SiteId, float] = {}
        """When what stands without the lease that runs now was asked for."""

    # ------------------------------------------------------------------------------------------------- the lease

    def affirmed(self, lease: int, asked_s: float) -> None:
        """
        etcd granted or renewed `lease`, as was asked for at `asked_s`.

        A renewal that comes `fence_s` or more after the last one brings nothing back. It may be a lie: a member that
        led, hung and woke up (with the machine it shares with this node) renews leases that ran out long ago, until it
        notices that it does not lead any more. What hung on the lease has to be claimed again, in a transaction.
        """
        before = self.lease
        if before is None or before.id != lease or asked_s - before.affirmed_s >= self.spans.fence_s:
            self._unhook(self._held)
            self.lease = Lease(lease, asked_s)
        elif asked_s > before.affirmed_s:
            self.lease = Lease(lease, asked_s)

    def lost(self) -> None:
        """etcd does not know the lease: the keys that hung on it are gone. What it affirmed stands for its time."""
        self._unhook(self._held)
        self.lease = None

    def gone(self, site: SiteId) -> None:
        """etcd does not name this node any more. What it affirmed stands for its time."""
        self._unhook([site])

    def _unhook(self, sites: Iterable[SiteId]) -> None:
        for site in list(sites):
            held, affirmed_s = self._held.get(site), self.affirmed_s(site)
            if held is not None:
                self._held[site] = Held(held.revision, NO_LEASE)
            if affirmed_s is not None:
                self._agreed_s[site] = affirmed_s

    def renew_due(self, now_s: float) -> bool:
        """Whether to renew."""
        return self.lease is not None and now_s - self.lease.affirmed_s >= self.spans.renew_s

    # ------------------------------------------------------------------------------------------------- the sites

    def took(self, site: SiteId, revision: int, lease: int) -> None:
        """The key of `site` names this node since `revision`, hanging on `lease`."""
        self._held[site] = Held(revision, lease)
        self._agreed_s.pop(site, None)

    def agreed(self, site: SiteId, asked_s: float) -> None:
        """Every other holder of `site` agreed that this node goes on, asked at `asked_s`, when it was still sure."""
        if self.sure(site, asked_s):
            self._agreed_s[site] = max(asked_s, self._agreed_s.get(site, asked_s))

    def let_go(self, site: SiteId) -> None:
        """This node is not the owner of `site` any more, or gives it up."""
        self._held.pop(site, None)
        self._agreed_s.pop(site, None)

    @property
    def sites(self) -> list[SiteId]:
        """Those held, sure or not, by id."""
        return sorted(self._held)

    def revision(self, site: SiteId) -> int | None:
        """Since which revision of etcd `site` is held."""
        held = self._held.get(site)
        return held.revision if held else None

    def in_etcd(self, site: SiteId) -> bool:
        """Whether the key of `site` hangs on the lease that runs now."""
        held = self._held.get(site)
        return held is not None and self.lease is not None and held.lease == self.lease.id

    def affirmed_s(self, site: SiteId) -> float | None:
        """When the last affirmation of `site` was asked for; `None` where this node holds nothing."""
        if site not in self._held:
            return None
        by_etcd = self.lease.affirmed_s if self.lease is not None and self.in_etcd(site) else None
        known = [moment_s for moment_s in (by_etcd, self._agreed_s.get(site)) if moment_s is not None]
        return max(known, default=None)

    def sure(self, site: SiteId, now_s: float) -> bool:
        """Whether this node may let `site` run now: no other node can own it yet."""
        affirmed_s = self.affirmed_s(site)
        return affirmed_s is not None and now_s - affirmed_s < self.spans.fence_s

    def by_agreement(self, site: SiteId, now_s: float) -> bool:
        """Whether only the other holders make this node sure, and etcd does not any more."""
        lease = self.lease
        by_etcd = self.in_etcd(site) and lease is not None and now_s - lease.affirmed_s < self.spans.fence_s
        return self.sure(site, now_s) and not by_etcd

    def freeze_at_s(self, site: SiteId) -> float:
        """When the guardian shall freeze `site`: at once (0.0) where it is not held."""
        affirmed_s = self.affirmed_s(site)
        return 0.0 if affirmed_s is None else affirmed_s + self.spans.freeze_s
