"""
Decides what to send to a peer, from both histories. Pure; compares by guid only.

The sender's line is the main line (it holds the claim), so a peer that went on by itself keeps its tail as a stash.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from hybrid.history import Ahead, Behind, Diverged, Equal, History, Unrelated, compare, guids
from hybrid.model import Guid, Snapshot


@dataclass(frozen=True, slots=True)
class Nothing:
    """The peer ends where we end (or we have no snapshot yet: `head` is `None`)."""

    head: Guid | None


@dataclass(frozen=True, slots=True)
class Step:
    """One stream makes the peer's head `to`; `base` is where it starts, `None` for everything."""

    base: Guid | None
    to: Snapshot


@dataclass(frozen=True, slots=True)
class SendImageFirst:
    """The peer needs the snapshot we were cloned from before an increment on it makes sense."""

    origin: Guid


@dataclass(frozen=True, slots=True)
class TheyDiverged:
    """The peer stashes what it has after `base`, then takes the increment; none when `to` is `base` itself."""

    base: Guid
    to: Snapshot


@dataclass(frozen=True, slots=True)
class NothingInCommon:
    """The peer keeps its own line as a stash and takes ours from `base` (our origin, if it holds it) or whole."""

    base: Guid | None
    to: Snapshot


Plan = Nothing | Step | SendImageFirst | TheyDiverged | NothingInCommon


def plan(
    ours: History,
    theirs: History | None,
    origin: Guid | None,
    origin_held: bool = False,
    bookmarks: Collection[Guid] = (),
) -> Plan:
    """
    What brings a peer to our head.

    Args:
        ours: Our main line, oldest first.
        theirs: The peer's line; `None` when it has no such dataset.
        origin: The snapshot of an image that our line was cloned from, if it was.
        origin_held: The peer is known to hold `origin`.
        bookmarks: Snapshots of our line that are gone, and from which an increment may begin all the same.
    """
    if not ours:
        return Nothing(None)
    to = ours[-1]
    if theirs:
        marked = _newest(theirs, bookmarks)
        if marked > _newest(theirs, guids(ours)):
            base = theirs[marked].guid
            return Step(base, to) if marked == len(theirs) - 1 else TheyDiverged(base, to)
        match compare(guids(ours), guids(theirs)):
            case Equal(head):
                return Nothing(head)
            case Behind(base):
                return Step(base, to)
            case Ahead(base) | Diverged(base):
                return TheyDiverged(base, to)
            case Unrelated():
                pass
    if origin is not None and not origin_held:
        return SendImageFirst(origin)
    return Step(origin, to) if theirs is None else NothingInCommon(origin, to)


def _newest(line: History, wanted: Collection[Guid]) -> int:
    """The place in `line` of the newest snapshot that is one of `wanted`; -1: none is."""
    known = frozenset(wanted)
    return max((place for place, snapshot in enumerate(line) if snapshot.guid in known), default=-1)
