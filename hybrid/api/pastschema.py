"""What the API takes and gives about the past of a site: see `hybrid.api.schema`. Pure."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from hybrid.api.schema import Body

MomentText = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=128,
        description="A moment: a snapshot's guid or name, the name it was kept under, a time (the newest at or before"
        " it), an age (60s, 10m, 2h, 1d), `now` (the newest), or the id of a stash (its end).",
    ),
]
PathText = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=16384,
        description=r"From the site's root. Bytes that are not UTF-8 are written \xHH, a backslash \\.",
    ),
]


class NewSnapshot(Body, frozen=True):
    """A snapshot to take; with a name, a note or `keep` it stays until it is unlocked."""

    name: str = ""
    note: str = ""
    keep: bool = False


class NewMark(Body, frozen=True):
    """A snapshot to keep until it is unlocked."""

    snapshot: MomentText
    name: str = ""
    note: str = ""


class RollbackTo(Body, frozen=True):
    """Which moment the whole site shall go back to."""

    to: MomentText


class RestorePath(Body, frozen=True):
    """Which file or folder to bring back, from which moment."""

    snapshot: MomentText
    path: PathText
    copy: bool = False
    """Beside what is there now, under a name that says when it is from; else in its place."""


class NewExtract(Body, frozen=True):
    """Something to get out of a past moment that is no file there."""

    snapshot: MomentText
    name: str
    """One of those that the site's image can."""
    values: dict[str, str] = msgspec.field(default_factory=dict)
    """Of its parameters."""


class NewPreview(Body, frozen=True):
    """A past moment to look at for a while."""

    snapshot: MomentText
    seconds: Annotated[int, Meta(ge=60, le=86400)] = 3600


class PreviewAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A past moment that can be looked at, behind a name of its own."""

    id: str
    guid: str
    host: str
    node: str
    until: str
    by: str


class ExtractAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What an image can get out of a past moment."""

    name: str
    description: str
    file: str
    parameters: dict[str, str]
    """Name to what it means."""


class SnapshotAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A moment of a site one can go back to."""

    guid: str
    name: str
    created_at: str
    age_s: int
    kind: Literal["crash", "consistent", "group", "consistent group"] = "crash"
    """`consistent`: its application knew of it. `group`: in the same instant as those of other sites."""
    locked: bool = False
    """Kept until it is unlocked."""
    label: str = ""
    """The name under which it is kept."""
    note: str = ""
    stands_for: int = 1
    """Snapshots of the same minute, hour or day that are not told, and this one."""
    branches: tuple[str, ...] = ()
    """Stashes that go on from here."""


class StashAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """History set aside: what a rollback undid, or one side of a partition."""

    id: str
    site: str
    why: Literal["conflict", "rollback", "undo", "modified"]
    base: str | None
    head: str
    head_at: str


class DiscardedStash(msgspec.Struct, frozen=True, kw_only=True):
    """A stash in the trash."""

    stash: StashAnswer
    discarded_at: str
    until: str
    """It can be brought back until then."""
    by: str


class StashDetail(msgspec.Struct, frozen=True, kw_only=True):
    """A stash with what lies in it."""

    stash: StashAnswer
    snapshots: tuple[SnapshotAnswer, ...]
    """Newest first, without those of the main line; at most a thousand."""
    as_of: str
    from_node: str


class EntryAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A directory entry."""

    name: str
    kind: Literal["file", "directory", "link", "other"]
    size_bytes: int
    modified_at: str


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """A directory as it was in a snapshot."""

    items: tuple[EntryAnswer, ...]
    snapshot: SnapshotAnswer
    path: str
    after: str | None
    """There are more: ask again with this `after`."""
    as_of: str
    from_node: str


class DifferenceAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One path that is not the same in both moments."""

    change: Literal["added", "changed", "deleted", "renamed"]
    path: str
    was: str
    """Of a renamed one: where it was."""
    kind: Literal["file", "directory", "link", "other"]
    old_bytes: int
    new_bytes: int


class DifferencePage(msgspec.Struct, frozen=True, kw_only=True):
    """What is different between two moments, by path."""

    items: tuple[DifferenceAnswer, ...]
    old: SnapshotAnswer
    new: SnapshotAnswer
    total: int
    """Differences found."""
    complete: bool
    """`false`: there are more than `total`, which are not told."""
    after: int | None
    """There are more: ask again with this `start`."""
    as_of: str
    from_node: str
