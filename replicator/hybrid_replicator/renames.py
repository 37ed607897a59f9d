"""
Tells what a rename was from what was deleted here and added there. Pure.

A file keeps its inode number in all snapshots of its dataset. One that is gone under its old name and has the number of
one that is new was renamed, unless the number was used again for another file: so it must also be of the same kind and,
but for directories, as old (its time of birth, where the file system tells it) or unchanged in size and time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from hybrid.deeds import Difference, Kind


@dataclass(frozen=True, slots=True)
class Found:
    """A file, folder or link in one of two moments."""

    path: str
    """Text as in `hybrid.filenames`."""
    kind: Kind
    inode: int
    size_bytes: int
    modified_ns: int


@dataclass(frozen=True, slots=True)
class Pair:
    """What became of one: `old` and `new`, either of which may be missing."""

    old: Found | None
    new: Found | None


def paired(deleted: Iterable[Found], added: Iterable[Found]) -> Iterator[Pair]:
    """Each of both once: a rename as a pair of two. Deleted ones first."""
    by_inode = {one.inode: one for one in added}
    for old in deleted:
        new = by_inode.get(old.inode)
        if new is not None and _same(old, new):
            del by_inode[old.inode]
            yield Pair(old, new)
        else:
            yield Pair(old, None)
    for new in by_inode.values():
        yield Pair(None, new)


def _same(old: Found, new: Found) -> bool:
    if old.kind != new.kind:
        return False
    return old.kind == "directory" or (old.size_bytes, old.modified_ns) == (new.size_bytes, new.modified_ns)


def difference(pair: Pair) -> Difference:
    """A pair as it is told; of one path in both, a change."""
    old, new = pair.old, pair.new
    there = new or old
    assert there is not None  # of a pair, one is there
    if old is None or new is None:
        change = "added" if old is None else "deleted"
    else:
        change = "changed" if old.path == new.path else "renamed"
    return Difference(
        change=change,  # type: ignore[arg-type]  # one of the four
        path=there.path,
        was=old.path if old is not None and change == "renamed" else "",
        kind=there.kind,
        old_bytes=old.size_bytes if old else 0,
        new_bytes=new.size_bytes if new else 0,
    )
