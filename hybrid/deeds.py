"""
What a node can do with sites, as protocols: the time machine and hosting. Pure declarations, like `hybrid.ports`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Literal, Protocol

import msgspec

from hybrid.history import History
from hybrid.manifest import Extract
from hybrid.model import Claim, Guid, Manifest, Mark, NodeId, Port, Proof, SiteId, SiteSpec, Snapshot, Stash
from hybrid.ports import ByteSource, Executed
from hybrid.sshkeys import PublicKey
from hybrid.view import Pending, View

StashReason = Literal["conflict", "rollback", "undo", "modified"]


Kind = Literal["file", "directory", "link", "other"]
Form = Literal["file", "tar", "zip"]
"""How a path is read out: a regular file as it is; a file or folder as an archive."""


class Entry(msgspec.Struct, frozen=True):
    """A directory entry of a snapshot."""

    name: str
    """Text as in `hybrid.filenames`, here and in all paths."""
    kind: Kind
    size_bytes: int
    modified_at_s: int


class Folder(msgspec.Struct, frozen=True):
    """Some entries of a directory, by name."""

    entries: tuple[Entry, ...]
    more: bool = False
    """There are others after the last of these."""


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One path that is not the same in two moments."""

    change: Literal["added", "changed", "deleted", "renamed"]
    path: str
    """From the site's root; of a deleted one, where it was."""
    was: str = ""
    """Of a renamed one: where it was. Content and attributes may have changed besides."""
    kind: Kind
    old_bytes: int = 0
    new_bytes: int = 0


class Differences(msgspec.Struct, frozen=True):
    """What is different, by path."""

    changes: tuple[Difference, ...]
    complete: bool = True
    """`False`: there is more than is told."""


Way = Literal["send", "receive", "copy", "restore", "store", "fetch"]
"""To or from another node, into another dataset here, from a snapshot into live data, to or from a store."""


class TransferSeen(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes that are being moved."""

    way: Way
    dataset: str
    """`sites/…`, `images/…` or `stash/…`."""
    node: str
    """The other one's id, this one's where there is none, or the name of a store."""
    bytes: int
    size_bytes: int | None
    """In all, where it is known."""
    bytes_per_s: int
    """On average so far."""
    seconds: float
    left_s: float | None
    saved_bytes: int = 0
    """Of those that were moved: they did not have to travel, being compressed on the way."""


class Transfer(Protocol):
    """One of them, as who moves the bytes counts them."""

    bytes: int
    size_bytes: int | None
    """In all, where it is known."""


class Transfers(Protocol):
    """What is being moved on this node, for people to see."""

    def transfer(self, way: Way, dataset: str, node: str, size_bytes: int | None) -> AbstractContextManager[Transfer]:
        """While one is under way; see `TransferSeen`."""


TakenBack = Callable[[], Awaitable[None]]
"""Ends the use of something that was lent."""


class TimeMachine(Protocol):
    """
    The replicator, as those who open, close and roll back sites need it.

    Calls from `stash` to `unstash` want the site unmounted and `exclusive` held by the caller.
    """

    def history(self, site: SiteId) -> History:
        """The main line on this node, oldest first, from the index; empty when the site is not here."""

    def stashes(self, site: SiteId) -> tuple[Stash, ...]:
        """Stashes of `site` on this node, oldest first."""

    def transfers(self) -> tuple[TransferSeen, ...]:
        """Streams to and from this node that are under way, the longest first."""

    def exclusive(self, site: SiteId) -> AbstractAsyncContextManager[None]:
        """Keep snapshots, sends and receives of `site` away for a while; entered when those under way have ended."""

    async def snapshot(
        self, site: SiteId, claim: Claim, only_if_changed: bool = False, consistent: bool = False
    ) -> Snapshot | None:
        """
        Take one now. With `only_if_changed`, `None` when the newest already is the live data.

        `consistent` marks it as one that its application knows of.
        """

    async def snapshot_together(
        self, claims: Mapping[SiteId, Claim], consistent: bool, valid: Callable[[], bool]
    ) -> tuple[Snapshot, ...]:
        """
        Take one of each site under one name, all or none, in their order, marked as of one instant.

        `valid()` is asked afterwards: whether nothing of them was written meanwhile. Raises `Busy` if not; then none
        of them is left.
        """

    async def push(self, spec: SiteSpec, claim: Claim, node: NodeId) -> Guid:
        """Bring `node` to this node's head now (image first where missing). Returns the acknowledged head."""

    async def stash(self, site: SiteId, base: Guid | None, why: StashReason) -> Stash:
        """Set all after `base` aside; the main line ends at `base` (`None`: nothing of it is left here)."""

    async def unstash(self, stash_id: str, why: StashReason) -> Stash:
        """Swap: the stash becomes the main line, what was the main line after their base becomes the returned stash."""

    def stash_history(self, site: SiteId, stash_id: str) -> History:
        """What lies in a stash on this node, oldest first, without what the main line has; empty: it is not here."""

    async def browse(self, site: SiteId, guid: Guid, path: str, after: str, limit: int) -> Folder:
        """
        The directory `path` as it was in a snapshot of the main line or of a stash, on any node that holds it.

        Args:
            path: From the site's root, with or without the leading slash, in `browse` and all below; no link that
                leads out of the site is followed.
            after: Only entries after this name.
            limit: As many at most.

        Raises:
            NoSuchPath: Not there, not a directory, or it leads out of the site.
            NoSuchSnapshot: This node does not hold it.
            TooLarge: More entries than can be listed.
            Busy: Too many others look into snapshots.
        """

    async def read(self, site: SiteId, guid: Guid, path: str, form: Form) -> ByteSource:
        """
        What `path` held: a regular file as it was, or a file or folder as an archive; links are not followed.

        It ends by itself when nobody reads it for two minutes. Raises as `browse`; the source does for what is met on
        the way.
        """

    async def compare(self, site: SiteId, old: Guid, new: Guid, path: str) -> Differences:
        """What is different in the directory `path` at `new` from what it was at `old`. Raises as `browse`."""

    async def lend(self, site: SiteId, guid: Guid, name: str, quota_bytes: int | None, taken_back: TakenBack) -> str:
        """
        A writable clone of a snapshot, `temporary/<name>`.

        Args:
            taken_back: Awaited when the site's history is to be changed: ends what uses it, and gives it back.

        Returns:
            Where it is mounted. Raises as `browse`.
        """

    async def read_lent(self, name: str, path: str) -> ByteSource:
        """The regular file `path` of what was lent. Raises `NoSuchPath`."""

    async def give_back(self, name: str) -> None:
        """Throw a clone away; not there: fine. Never raises: what cannot be removed now is removed later."""

    async def restore(self, site: SiteId, guid: Guid, path: str, copy: str) -> tuple[int, str]:
        """
        Bring `path` (file or folder) of a snapshot back into the mounted live data.

        Args:
            copy: Beside what is there now, as `name (copy).ending`; empty: in its place.

        Returns:
            Files and links written, and the path where they are now.
        """

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

    def is_clone(self, site: SiteId) -> bool:
        """Whether the main line on this node hangs on a snapshot of another site."""

    async def base(self, site: SiteId, guid: Guid) -> tuple[str, Guid]:
        """
        Make what clones of a moment of `site` hang on; made already: fine.

        Returns:
            Dataset and snapshot to clone. Raises `NoSuchSnapshot`.
        """

    async def sweep_bases(self) -> None:
        """Remove what was made so long ago, and on which no clone hangs any more."""

    async def copy_apart(self, site: SiteId) -> None:
        """
        Copy the line of such a site into a dataset of its own, beside everything else; what was begun is gone on with.

        Raises:
            Conflict: A stash, or another clone, hangs on it.
            OutOfSpace: There is no room for it.
        """

    async def take_apart(self, site: SiteId) -> None:
        """Put that copy in the place of the clone. Wants the site unmounted and `exclusive` held by the caller."""

    async def clear_apart(self, site: SiteId) -> None:
        """Remove the clone whose place was taken."""

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
    history_budget_bytes: int | None = None
    retention: str = ""
    memory_bytes: int | None = None
    cpus: float = 1.0
    pids: int | None = None
    consistency: Literal["available", "strict"] = "available"
    policy: str = "value"
    """See `SiteSpec.policy`."""
    verify_every_s: float | None = None
    """See `SiteSpec.verify_every_s`."""
    consistent_every_s: float = 900.0
    sleep_after_s: float = 0.0
    """See `SiteSpec.sleep_after_s`."""
    account: str = ""
    """See `SiteSpec.account`."""
    private: str = ""
    """What the site's init reads as a part of its environment: lines of sh(1), kept in its data and nowhere else."""


class CloneSite(msgspec.Struct, frozen=True, kw_only=True):
    """What a clone of a site should be; what is left out is as with that site."""

    name: str
    domains: tuple[str, ...] = ()
    """Default: `<name>.<main zone>`."""
    at: Guid | None = None
    """The snapshot to begin from; `None`: one of now."""
    copies: int | None = None
    environment: dict[str, str] = {}
    """On top of that of the other site: secrets of its own."""


class Deleted(msgspec.Struct, frozen=True, kw_only=True):
    """A site in the trash, or on its way there."""

    site: SiteId
    name: str
    at_s: int
    until_s: int
    """It can be brought back until then."""
    by: NodeId


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """A past moment that can be looked at for a while, behind a name of its own."""

    id: SiteId
    """`preview-` and 16 base32 characters; for front doors it is a site."""
    site: SiteId
    guid: Guid
    host: str
    node: NodeId
    port: int
    """That answers HTTP; 0: none does."""
    until_s: int
    by: str
    name: str = ""
    """Of its site."""
    label: str = ""
    """Logins name it by `#` and this, or its id: what was asked for."""
    ports: tuple[Port, ...] = ()
    """Of its site, all there are."""


class DiscardedStash(msgspec.Struct, frozen=True, kw_only=True):
    """A stash in the trash, or on its way there."""

    stash: Stash
    at_s: int
    until_s: int
    """It can be brought back until then."""
    by: str


class Hosting(Protocol):
    """
    What the API can have done on this node.

    `view`, `transfers`, `decisions`, `pick`, `deleted`, `undelete` and how often sites are verified are for any node,
    `history` and the reading of files for those that hold the site, `verify` for those but the owner; all else is for
    its owner.
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

    async def clone(self, site: SiteId, request: CloneSite, progress: Progress) -> SiteSpec:
        """
        Make a site that begins as `site` is, or was, and shares with it what neither changes.

        Raises:
            NoSuchSnapshot: There is no such moment any more.
            BadRequest, Conflict, OutOfSpace: As `create`.
        """

    async def detach(self, site: SiteId, progress: Progress) -> None:
        """
        Have a clone share nothing any more with the site it was made from. It is served meanwhile.

        Raises:
            Conflict: It is no clone, or history set aside hangs on it.
            OutOfSpace: There is no room for it.
        """

    async def move(self, site: SiteId, to: NodeId, progress: Progress) -> None:
        """Hand the site over to `to`, with a gap of a second or two. Raises `Conflict`, `PeerError`."""

    async def delete(self, site: SiteId, progress: Progress, moved_to: str = "") -> None:
        """Stop it and move its dataset to the trash, here and on the replicas; `moved_to`: see `Tombstone`."""

    def pick(self, site: SiteId, node: NodeId, by: str) -> None:
        """
        On any node: of two histories that wait for a person's choice, have that of `node` go on.

        Raises `NoSuchSite`; `Conflict` when there is nothing to choose, or `node` has nothing to choose.
        """

    def transfers(self) -> tuple[TransferSeen, ...]:
        """Streams to and from this node that are under way, the longest first."""

    def decisions(self) -> list[Pending]:
        """What waits for a person, most urgent first."""

    def deleted(self) -> list[Deleted]:
        """Sites that can be brought back, newest deletion first."""

    def undelete(self, site: SiteId, by: str) -> None:
        """Bring a deleted site back, or let one stay that was deleted elsewhere. Raises `NoSuchSite`, `Conflict`."""

    async def snapshot(self, site: SiteId) -> Snapshot:
        """Take one now, between the hooks of its image where there are any."""

    async def rollback(self, site: SiteId, to: Guid, progress: Progress) -> Stash:
        """Make the site as it was; what came after is kept as the returned stash."""

    async def undo(self, site: SiteId, progress: Progress) -> Stash:
        """Undo the newest rollback (or undo). Raises `Conflict` when there is none."""

    def stash_history(self, site: SiteId, stash_id: str) -> History:
        """See `TimeMachine.stash_history`; also on a node that is not the owner."""

    async def browse(self, site: SiteId, guid: Guid, path: str, after: str, limit: int) -> Folder:
        """See `TimeMachine.browse`; also on a node that is not the owner but holds the snapshot. So the next two."""

    async def read(self, site: SiteId, guid: Guid, path: str, form: Form) -> ByteSource:
        """See `TimeMachine.read`."""

    async def compare(self, site: SiteId, old: Guid, new: Guid, path: str) -> Differences:
        """See `TimeMachine.compare`."""

    async def restore(self, site: SiteId, guid: Guid, path: str, copy: str, progress: Progress) -> tuple[int, str]:
        """See `TimeMachine.restore`; a snapshot of the present is taken first."""

    async def mark(self, site: SiteId, mark: Mark) -> SiteSpec:
        """
        Keep a snapshot for good, under a name if it has one; marked already: name and note are replaced.

        Raises `NoSuchSnapshot`; `Conflict`: the name is another's, or the site has as many marks as it may.
        """

    async def unmark(self, site: SiteId, guid: Guid) -> SiteSpec:
        """Let retention decide about a snapshot again. Not marked: fine."""

    async def add_key(self, site: SiteId, key: PublicKey) -> SiteSpec:
        """Let who has it log in; known already: it gets its new name. Raises `Conflict`: the site has too many."""

    async def remove_key(self, site: SiteId, name: str) -> SiteSpec:
        """By fingerprint or name. Raises `NoSuchKey`; `Conflict`: several are called so."""

    async def adopt(self, site: SiteId, stash_id: str, progress: Progress) -> Stash:
        """Make a stash the main line; what was that before is kept as the returned stash, and `undo` brings it back."""

    async def extracts(self, site: SiteId) -> dict[str, Extract]:
        """What the image of a site held here can extract, by name. Raises `NoSuchSite`."""

    async def extract(
        self, site: SiteId, guid: Guid, name: str, values: Mapping[str, str], token: str, progress: Progress
    ) -> None:
        """
        On any node that holds the snapshot: run one of `extracts`; then `content(token)` has the result for a while.

        Raises `BadRequest`, `Conflict`, `ContainerError`.
        """

    async def content(self, token: str) -> ByteSource:
        """The result of an extract made on this node. Raises `NoSuchPath` when it is not kept (any more)."""

    async def preview(
        self, site: SiteId, guid: Guid, seconds: int, by: str, progress: Progress, label: str = ""
    ) -> Preview:
        """
        On any node that holds the snapshot: run it apart from all others, reachable by HTTP under a name of its own,
        and by logins at shared ports that name it or its `label`.

        Raises `BadRequest`, `Conflict`, `ContainerError`.
        """

    def previews(self, site: SiteId) -> list[Preview]:
        """Of all nodes, the one that ends first first."""

    def end_preview(self, site: SiteId, preview_id: str) -> None:
        """On any node: end one. Raises `NoSuchPath`."""

    def discard(self, stash: Stash, by: str) -> DiscardedStash:
        """On any node: put a stash into the trash wherever it is, its copies too; from there it can be brought back."""

    def undiscard(self, site: SiteId, stash_id: str, by: str) -> None:
        """On any node: bring a discarded stash back. Raises `Conflict` when it is not in the trash."""

    def discarded(self, site: SiteId) -> list[DiscardedStash]:
        """On any node: stashes that can be brought back, newest discard first."""

    async def verify(self, site: SiteId, progress: Progress) -> Proof:
        """
        On a holder that is not the owner: start its copy apart from the world, and see whether the site works.

        Raises:
            Conflict: This node owns it, or has no snapshot of it.
        """

    def verify_every_s(self) -> float:
        """How often that is done with every site, unless it says otherwise itself; 0: never."""

    def set_verify_every_s(self, every_s: float) -> None:
        """Change that for the whole cluster."""

    async def execute(self, site: SiteId, argv: Sequence[str], stdin: bytes) -> Executed:
        """Run a command in its container."""

    async def logs(self, site: SiteId, lines: int) -> str:
        """The end of its console log."""
