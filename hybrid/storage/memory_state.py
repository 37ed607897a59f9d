"""
What a pool in memory is made of: volumes (datasets), moments (snapshots), and how ZFS counts and moves them. Pure.

Contents are `path -> bytes` and never changed in place, so a snapshot is one reference and a block shared by several
snapshots is one `bytes` object, counted once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from hybrid.errors import AlreadyExists
from hybrid.model import Guid, Snapshot
from hybrid.ports import Change

Files = Mapping[str, bytes]

OVERHEAD_BYTES = 4096
"""What a dataset or snapshot takes for itself."""


@dataclass(slots=True, eq=False)
class Moment:
    """A snapshot with what it holds."""

    snapshot: Snapshot
    files: Files
    holds: set[str] = field(default_factory=set)


@dataclass(slots=True, eq=False)
class Counted:
    """How many moments of a volume were counted, which was the last, and their blocks: identity to length."""

    count: int = 0
    last: list[Moment] = field(default_factory=list)
    blocks: dict[int, int] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Volume:
    """A dataset. `readonly=None` inherits; `origin` is the very moment it was cloned from."""

    files: Files
    properties: dict[str, str] = field(default_factory=dict)
    moments: list[Moment] = field(default_factory=list)
    bookmarks: dict[str, Moment] = field(default_factory=dict)
    """By tag; what the snapshot held is kept for streams, and takes no room."""
    origin: Moment | None = None
    readonly: bool = False
    quota_bytes: int | None = None
    record_bytes: int | None = None
    mountpoint: str | None = None
    occupied: bool = False
    """A process has a file open in it (tests say so)."""
    counted: Counted | None = None
    """See `_blocks`."""

    def find(self, guid: Guid) -> Moment | None:
        """The moment with that guid."""
        return next((moment for moment in self.moments if moment.snapshot.guid == guid), None)

    def changed(self) -> bool:
        """Whether anything was written since the newest moment, be it what stood there before; or there is none."""
        return not self.moments or self.files is not self.moments[-1].files


def content_bytes(contents: Iterable[Files]) -> int:
    """Bytes of all `contents` together, each block counted once."""
    blocks = {id(block): len(block) for files in contents for block in files.values()}
    return sum(blocks.values())


def used_bytes(volumes: Iterable[Volume]) -> int:
    """Bytes that `volumes` take, with their snapshots."""
    blocks: dict[int, int] = {}
    contents = 0
    for volume in volumes:
        blocks.update(_blocks(volume.moments, volume))
        for block in volume.files.values():
            blocks[id(block)] = len(block)
        contents += 1 + len(volume.moments)
    return sum(blocks.values()) + OVERHEAD_BYTES * contents


def _blocks(moments: list[Moment], volume: Volume) -> dict[int, int]:
    """
    The blocks of its snapshots and their lengths.

    They are asked for after each stream, when one snapshot was added: the others are not counted again then. Where the
    last one that was counted is still at its place, none before it is gone.
    """
    known = volume.counted
    if known is None or moments[known.count - 1 : known.count] != known.last:
        known = volume.counted = Counted()
    for moment in moments[known.count :]:
        for block in moment.files.values():
            known.blocks[id(block)] = len(block)
    known.count, known.last = len(moments), moments[-1:]
    return known.blocks


def promote(clone: Volume, source: Volume) -> None:
    """
    Give `clone` the moments of `source` up to its origin; `source` becomes the clone (`zfs promote`).

    Other clones of the moments that move follow them by themselves.

    Raises:
        AlreadyExists: A snapshot name stands on both sides.
    """
    assert clone.origin is not None
    cut = source.moments.index(clone.origin) + 1
    moving, own = source.moments[:cut], {moment.snapshot.name for moment in clone.moments}
    both = [moment.snapshot.name for moment in moving if moment.snapshot.name in own]
    if both:
        raise AlreadyExists(f"snapshot {both[0]} stands on both sides", "", "rename one of them")
    clone.moments[:0] = moving
    del source.moments[:cut]
    clone.origin, source.origin = source.origin, clone.origin


def changes(before: Files, after: Files) -> list[Change]:
    """What differs, by path; a file that was rewritten with the same bytes is modified."""
    found = [Change("removed", path.encode(), "file") for path in before.keys() - after.keys()]
    found += [Change("added", path.encode(), "file") for path in after.keys() - before.keys()]
    both = before.keys() & after.keys()
    found += [Change("modified", path.encode(), "file") for path in both if before[path] is not after[path]]
    return sorted(found, key=lambda change: change.path)
