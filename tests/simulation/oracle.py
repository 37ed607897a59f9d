"""Everything that ever happened, which no node knows: writes of clients, snapshots, who acknowledged what."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache

from hybrid.model import Claim, Guid, NodeId, SiteId

JOURNAL = "journal"
"""The file to which the clients of a site append: one number per write."""


class Violated(AssertionError):
    """An invariant does not hold."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{name} {text}")
        self.name = name


def writes_in(journal: bytes) -> tuple[int, ...]:
    """The writes in the content of `JOURNAL`."""
    return struct.unpack(f"<{len(journal) // 8}Q", journal)


@lru_cache(1024)
def written(journal: bytes) -> frozenset[int]:
    """The same, to look them up in."""
    return frozenset(writes_in(journal))


def appended(journal: bytes, write: int) -> bytes:
    """`journal` with one more write."""
    return journal + struct.pack("<Q", write)


@dataclass(frozen=True, slots=True)
class Taken:
    """A snapshot, as it was taken."""

    guid: Guid
    parent: Guid | None
    site: SiteId
    disk: str
    writes: frozenset[int]


@dataclass(slots=True)
class Oracle:
    """
    The truth.

    Attributes:
        snapshots: Every one that was ever taken of a site.
        disks_of: On which disks each has ever been.
        acknowledged: The disks on which each was said to be safe.
        gone: Where each was removed by stated retention, or with what the user deleted: `(disk, guid)`.
        lost_disks: Disks that were destroyed.
        loose: Writes that are in no snapshot yet, and the disk that accepted them.
        site_of: The site to which each write was made.
        minted: Every claim that was ever held.
        orphaned: Those whose own disk was destroyed: what else nobody can tell its node of may be used again.
        hears_of: `hears_of(node, site, claim)`: whether anybody can tell.
        made: Sites that were made with success.
        violations: Of invariants, as they were seen.
        states: How often each interesting state was reached.
    """

    snapshots: dict[Guid, Taken] = field(default_factory=dict)
    disks_of: dict[Guid, set[str]] = field(default_factory=dict)
    acknowledged: dict[Guid, set[str]] = field(default_factory=dict)
    gone: set[tuple[str, Guid]] = field(default_factory=set)
    lost_disks: set[str] = field(default_factory=set)
    loose: dict[int, str] = field(default_factory=dict)
    site_of: dict[int, SiteId] = field(default_factory=dict)
    minted: set[tuple[SiteId, Claim]] = field(default_factory=set)
    orphaned: set[tuple[SiteId, Claim]] = field(default_factory=set)
    hears_of: Callable[[NodeId, SiteId, Claim], bool] = lambda node, site, claim: True
    made: set[SiteId] = field(default_factory=set)
    violations: list[Violated] = field(default_factory=list)
    states: Counter[str] = field(default_factory=Counter)
    written: int = 0
    touched: bool = False
    """Something on some disk changed, or an invariant was seen violated, since this was last reset."""

    def wrote(self, disk: str, site: SiteId) -> int:
        """A client's next write to `site`, accepted by `disk`."""
        self.written += 1
        self.loose[self.written] = disk
        self.site_of[self.written] = site
        return self.written

    def taken(self, guid: Guid, parent: Guid | None, site: SiteId, disk: str, journal: bytes) -> None:
        """A snapshot was taken. S13: of nothing that was written to another site."""
        writes = frozenset(writes_in(journal))
        strange = [write for write in writes if self.site_of[write] != site]
        if strange:
            self.violated("S13", f"snapshot {guid} of {site} on {disk} holds writes {strange} of another site")
        self.snapshots[guid] = Taken(guid, parent, site, disk, writes)
        self.disks_of[guid] = {disk}
        before = self.snapshots[parent].writes if parent in self.snapshots and parent is not None else frozenset()
        for write in writes - before:
            self.loose.pop(write, None)

    def received(self, guid: Guid, disk: str) -> None:
        """A snapshot came to another disk."""
        if guid in self.disks_of:
            self.disks_of[guid].add(disk)

    def safe(self, guid: Guid, disks: Iterable[str]) -> None:
        """It was acknowledged that `guid` is on all of `disks`."""
        self.acknowledged.setdefault(guid, set()).update(disks)

    def removed(self, guid: Guid, disk: str) -> None:
        """Rightly removed from `disk`."""
        self.gone.add((disk, guid))

    def lost(self, disk: str) -> None:
        """`disk` was destroyed, with what only it had."""
        self.lost_disks.add(disk)
        for write in [write for write, where in self.loose.items() if where == disk]:
            del self.loose[write]

    def is_ancestor(self, old: Guid, new: Guid) -> bool:
        """Whether `old` comes before `new` on one line."""
        at: Guid | None = new
        while at is not None and at in self.snapshots:
            at = self.snapshots[at].parent
            if at == old:
                return True
        return False

    def mint(self, site: SiteId, claim: Claim, node: NodeId) -> None:
        """S6: `node` begins to hold `claim`."""
        if claim.node != node:
            self.violated("S6", f"{node} holds the claim {claim} of another node")
        lost = (site, claim) in self.orphaned and not self.hears_of(node, site, claim)
        if (site, claim) in self.minted and not lost:
            self.violated("S6", f"{node} uses the claim {claim} on {site} a second time")
        self.minted.add((site, claim))

    def violated(self, name: str, text: str) -> None:
        """An invariant does not hold. Not raised where it is seen: the code under test would catch it."""
        self.violations.append(Violated(name, text))
        self.touched = True

    def count(self, state: str) -> None:
        """An interesting state was reached."""
        self.states[state] += 1
