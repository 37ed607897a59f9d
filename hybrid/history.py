"""Comparing two histories of one dataset by guid. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hybrid.model import Guid, Snapshot

History = tuple[Snapshot, ...]
"""A dataset's snapshots, oldest first."""


@dataclass(frozen=True, slots=True)
class Equal:
    """Both end in the same snapshot."""

    head: Guid


@dataclass(frozen=True, slots=True)
class Behind:
    """Theirs ends at `base`, ours goes on: an increment from `base` brings them up to date."""

    base: Guid


@dataclass(frozen=True, slots=True)
class Ahead:
    """Ours ends at `base`, theirs goes on."""

    base: Guid


@dataclass(frozen=True, slots=True)
class Diverged:
    """Both go on after `base`, differently."""

    base: Guid


@dataclass(frozen=True, slots=True)
class Unrelated:
    """No snapshot in common (either side may be empty)."""


Relation = Equal | Behind | Ahead | Diverged | Unrelated


def compare(ours: Sequence[Guid], theirs: Sequence[Guid]) -> Relation:
    """
    How `theirs` relates to `ours`.

    Args:
        ours: Guids of our line, oldest first.
        theirs: Guids of their line, oldest first.

    Returns:
        The relation seen from us; `Behind` means *they* are behind.
    """
    known = {guid: index for index, guid in enumerate(ours)}
    base = next((guid for guid in reversed(theirs) if guid in known), None)
    if base is None:
        return Unrelated()
    ours_end, theirs_end = ours[-1] == base, theirs[-1] == base
    if ours_end and theirs_end:
        return Equal(base)
    if theirs_end:
        return Behind(base)
    if ours_end:
        return Ahead(base)
    return Diverged(base)


def guids(history: History) -> tuple[Guid, ...]:
    """The guids of `history`, oldest first."""
    return tuple(snapshot.guid for snapshot in history)
