"""
What a node can do with sites, as protocols: the time machine and hosting. Pure declarations, like `hybrid.ports`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Literal, Protocol

import msgspec

from hybrid.history import History
from hybrid.model import Claim, Guid, Manifest, NodeId, SiteId, SiteSpec, Snapshot, Stash
from hybrid.ports import Executed
from hybrid.view import Pending, View

StashReason = Literal["conflict", "rollback", "undo", "modified"]


class Entry(msgspec.Struct, frozen=True):
    """A directory entry of a snapshot."""

    name: str
    kind: Literal["file", "directory", "link", "other"]
    size_bytes: int
    modified_at_s: int


MAX_FILE_READ = 64 * 1024 * 1024
"""The largest file `read_file` returns."""


class TimeMachine(Protocol):
    """
    The replicator, as those who open, close and roll back sites need it.

    Calls from `stash` to `unstash` want the site unmounted and `exclusive` held by the caller.
    """

    def history(self, site: SiteId) -> History:
        """The main line on this node, oldest first, from the index; empty when the site is not here."""

    def stashes(self, site: SiteId) -> tuple[Stash, ...]:
        """Stashes of `site` on this node, oldest first."""

    def exclusive(self, site: SiteId) -> AbstractAsyncContextManager[None]:
        """Keep snapshots, sends and receives of `site` away for a while; entered when those under way have ended."""

    async def snapshot(self, site: SiteId, claim: Claim, only_if_changed: bool = False) -> Snapshot | None:
        """Take one now. With `only_if_changed`, `None` when the newest already is the live data."""

    async def push(self, spec: SiteSpec, claim: Claim, node: NodeId) -> Guid:
        """Bring `node` to this node's head now (image first where missing). Returns the acknowledged head."""

    async def stash(self, site: SiteId, base: Guid | None, why: StashReason) -> Stash:
        """Set all after `base` aside; the main line ends at `base` (`None`: nothing of it is left here)."""

    async def unstash(self, stash_id: str, why: StashReason) -> Stash:
        """Swap: the stash becomes the main line, what was the main line after their base becomes the returned stash."""

    async def browse(self, site: SiteId, guid: Guid, path: str) -> list[Entry]:
        """The directory `path` as it was in a snapshot, by name. Raises `NoSuchPath`, `NoSuchSnapshot`."""

    async def read_file(self, site: SiteId, source: Guid | str, path: str) -> bytes:
        """
        The content of the regular file `path` as it was: one file for a person to look at or download.

        Args:
            source: A snapshot's guid on the main line, or the id of a stash (read at the stash's head).
            path: From the site's root, with or without the leading slash; links are not followed.

        Raises:
            NoSuchPath: Not there, not a regular file, or it leads out of the site.
            NoSuchSnapshot: This node does not hold `source`.
            TooLarge: More than `MAX_FILE_READ` bytes; nothing of it was read.
        """

    async def restore(self, site: SiteId, guid: Guid, path: str) -> int:
        """Bring `path` (file or folder) back into the mounted live data as it was. Returns files written."""

    async def unite(self, site: SiteId, stash_id: str) -> int:
        """
        Bring the mail of a stash on this node into the mounted live data, next to what came in there.

        Every Maildir below the site's top directory, over what both branches had (`hybrid_replicator.maildir` has the
        rules). Safe to repeat, after a crash too.

        Returns:
            Messages brought, moved or removed; 0 when it was done before.

        Raises:
            NoSuchSnapshot: There is no such stash here.
            Conflict: The site is not open here.
            StorageError: Not all of it was done; it may be done again.
        """

    async def recover(self) -> None:
        """At start: load the index, finish every journalled step that a crash cut short."""


class Progress(Protocol):
    """How a long call tells what it is doing."""

    def step(self, name: str) -> AbstractContextManager[None]:
        """`with progress.step("stop container"): …`: named, timed, marked failed when the block raises."""


class CreateSite(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a new site should be; what is left out comes from the image's manifest and the cluster's defaults."""

    name: str
    image: str
    """`<name>` (newest) or `<name>@<digest>`."""
    domains: tuple[str, ...] = ()
    """Default: `<name>.<main zone>`."""
    node: str | None = None
    """Name or id of the first owner; default: the best by placement."""
    copies: int = 2
    snapshot_every_s: float = 30.0
    ttl_s: int = 30
    quota_bytes: int | None = None
    memory_bytes: int | None = None
    cpus: float = 1.0
    pids: int | None = None
    consistency: Literal["available", "strict"] = "available"
    policy: str = "value"
    """See `SiteSpec.policy`."""


class Deleted(msgspec.Struct, frozen=True, kw_only=True):
    """A site in the trash, or on its way there."""

    site: SiteId
    name: str
    at_s: int
    until_s: int
    """It can be brought back until then."""
    by: NodeId


class Hosting(Protocol):
    """
    What the API can have done on this node.

    `view`, `decisions`, `pick`, `deleted` and `undelete` are for any node, `history` and the reading of files for those
    that hold the site; all else is for its owner.
    """

    def view(self) -> View:
        """The newest view."""

    def history(self, site: SiteId) -> History:
        """Main line on this node, oldest first."""

    def images(self) -> list[Manifest]:
        """Images on this node, by name."""

    async def create(self, request: CreateSite, progress: Progress) -> SiteSpec:
        """Make a site on this node and start it. Raises `BadRequest`, `Conflict`, `ImageError`, `OutOfSpace`."""

    async def edit(self, site: SiteId, changes: dict[str, object]) -> SiteSpec:
        """Change fields of the spec (`domains wanted copies snapshot_every_s ttl_s quota_bytes …`)."""

    async def move(self, site: SiteId, to: NodeId, progress: Progress) -> None:
        """Hand the site over to `to`, with a gap of a second or two. Raises `Conflict`, `PeerError`."""

    async def delete(self, site: SiteId, progress: Progress) -> None:
        """Stop it and move its dataset to the trash, here and on the replicas."""

    def pick(self, site: SiteId, node: NodeId, by: str) -> None:
        """
        On any node: of two histories that wait for a person's choice, have that of `node` go on.

        Raises `NoSuchSite`; `Conflict` when there is nothing to choose, or `node` has nothing to choose.
        """

    def decisions(self) -> list[Pending]:
        """What waits for a person, most urgent first."""

    def deleted(self) -> list[Deleted]:
        """Sites that can be brought back, newest deletion first."""

    def undelete(self, site: SiteId, by: str) -> None:
        """Bring a deleted site back, or let one stay that was deleted elsewhere. Raises `NoSuchSite`, `Conflict`."""

    async def snapshot(self, site: SiteId) -> Snapshot:
        """Take one now."""

    async def rollback(self, site: SiteId, to: Guid, progress: Progress) -> Stash:
        """Make the site as it was; what came after is kept as the returned stash."""

    async def undo(self, site: SiteId, progress: Progress) -> Stash:
        """Undo the newest rollback (or undo). Raises `Conflict` when there is none."""

    async def browse(self, site: SiteId, guid: Guid, path: str) -> list[Entry]:
        """See `TimeMachine.browse`."""

    async def read_file(self, site: SiteId, source: Guid | str, path: str) -> bytes:
        """See `TimeMachine.read_file`; also on a node that is not the owner but holds `source`."""

    async def restore(self, site: SiteId, guid: Guid, path: str, progress: Progress) -> int:
        """See `TimeMachine.restore`; a snapshot of the present is taken first."""

    async def execute(self, site: SiteId, argv: Sequence[str], stdin: bytes) -> Executed:
        """Run a command in its container."""

    async def logs(self, site: SiteId, lines: int) -> str:
        """The end of its console log."""
