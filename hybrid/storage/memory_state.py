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
    mountpoint: str | None = None
    occupied: bool = False
    """A process has a file open in it (tests say so)."""

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
    volumes = list(volumes)
    contents = [volume.files for volume in volumes]
    contents += [moment.files for volume in volumes for moment in volume.moments]
    return content_bytes(contents) + OVERHEAD_BYTES * len(contents)


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
