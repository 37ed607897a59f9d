"""What survives a crash: a node's pool, properties and small database, and the oracle of all snapshots ever taken."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from hybrid.cluster.ledger import Saved
from hybrid.history import Ahead, Behind, Diverged, Equal, compare
from hybrid.model import NO_CLAIM, Claim, Guid, NodeId

Line = tuple[Guid, ...]
"""Guids, oldest first."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A snapshot as the oracle knows it."""

    guid: Guid
    parent: Guid | None
    claim: Claim
    counter: int
    at_s: float
    writes: tuple[int, ...]


@dataclass(slots=True)
class Oracle:
    """Everything that ever happened, which no node knows."""

    snapshots: dict[Guid, Taken] = field(default_factory=dict)
    acknowledged: dict[Guid, set[NodeId]] = field(default_factory=dict)
    claims: set[Claim] = field(default_factory=set)
    loose: set[int] = field(default_factory=set)
    """Writes of clients that are in no snapshot yet."""
    written: int = 0

    def taken(self, parent: Guid | None, claim: Claim, at_s: float, writes: tuple[int, ...]) -> Guid:
        """A new snapshot."""
        guid = Guid(len(self.snapshots) + 1)
        counter = self.snapshots[parent].counter + 1 if parent else 1
        self.snapshots[guid] = Taken(guid, parent, claim, counter, at_s, writes)
        self.loose.difference_update(writes)
        return guid

    def minted(self, claim: Claim) -> None:
        """A claim became durable."""
        assert claim not in self.claims, f"S6 claim {claim} was used before"
        self.claims.add(claim)


@dataclass(slots=True)
class Disk:
    """One node's durable state."""

    node: NodeId
    oracle: Oracle
    line: Line = ()
    stashes: list[tuple[Guid | None, Line]] = field(default_factory=list)
    """Base, and the whole line that was set aside."""
    claim: Claim | None = None
    seen: Claim = NO_CLAIM
    accepted: Claim = NO_CLAIM
    live: list[int] = field(default_factory=list)
    """Writes of clients after the newest snapshot."""
    incarnation: int = 0
    saved: Saved = field(default_factory=Saved)
    sick: bool = False

    def write(self) -> None:
        """A client's write, accepted."""
        self.oracle.written += 1
        self.live.append(self.oracle.written)
        self.oracle.loose.add(self.oracle.written)

    def snapshot(self, claim: Claim, at_s: float) -> None:
        """Extend the line by what is live."""
        parent = self.line[-1] if self.line else None
        self.line = (*self.line, self.oracle.taken(parent, claim, at_s, tuple(self.live)))
        self.live = []

    def hold(self, claim: Claim) -> None:
        """Make a claim durable."""
        self.oracle.minted(claim)
        assert claim > (self.claim or NO_CLAIM), f"S5 claim of {self.node} went back from {self.claim} to {claim}"
        self.claim = claim
        self.seen = max(self.seen, claim)

    def receive(self, claim: Claim, line: Line, force: bool) -> str:
        """
        Make `line` the main line; what is here and not in it goes to a stash (with `force`: is destroyed).

        Returns:
            `same`, `extended` or `stashed`.
        """
        assert claim >= self.accepted, f"S7 {self.node} accepted a stream of {claim} after one of {self.accepted}"
        assert not self.live, f"S7 {self.node} received into changed data"
        self.accepted = claim
        self.seen = max(self.seen, claim)
        relation = compare(line, self.line)
        match relation:
            case Equal():
                return "same"
            case Behind():
                self.line = line
                return "extended"
            case Ahead(base) | Diverged(base):
                kept: Guid | None = base
            case _:
                kept = None
        if self.line and not force:
            self.stashes.append((kept, self.line))
        self.line = line
        return "stashed"

    def lines(self) -> Iterator[Line]:
        """The main line and all stashes."""
        yield self.line
        for _, line in self.stashes:
            yield line

    def holds(self, guid: Guid) -> bool:
        """Whether a snapshot is here, wherever."""
        return any(guid in line for line in self.lines())
