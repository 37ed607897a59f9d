"""
The ports: what the node needs of storage, containers and peers, as protocols.

Pure declarations; the errors they name are in `hybrid.errors`. Every driver of a port passes the same contract tests
(`tests/contract/`). Calls are coroutines, every one with a deadline of its own; when it passes, the call raises and its
child is reaped.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import msgspec

from hybrid.history import History
from hybrid.model import Fact, Guid, NodeId, SiteId, Snapshot
from hybrid.sessions import Opening

# -------------------------------------------------------------------------------- streams


class ByteSource(Protocol):
    """Bytes that come in, pulled."""

    async def read(self) -> bytes:
        """The next bytes (at most 256 KiB), `b""` at the end. Raises when the source failed or was cut."""

    async def abort(self) -> None:
        """Stop, and reap what produces it. Safe to call at any time, more than once."""


class ByteSink(Protocol):
    """Bytes that go out; each `write` returns when there is room for more."""

    async def write(self, data: bytes) -> None:
        """Take `data`. Raises when the sink failed."""

    async def finish(self) -> None:
        """End of stream; returns when it has taken effect (for a receive: is on disk)."""

    async def abort(self) -> None:
        """Stop without effect. Safe to call at any time, more than once."""


class Moved(Protocol):
    """Told of bytes that were moved; what comes next waits until it returns. Raises when nothing more may come."""

    async def __call__(self, size_bytes: int, saved_bytes: int = 0, /) -> None:
        """`saved_bytes`: so many of them did not have to travel."""


@dataclass(frozen=True, slots=True)
class SourcePipe:
    """The pipe a source's bytes come from, for another process to read to its end."""

    descriptor: int
    held: bytes
    """What was read from it already and comes first."""
    moved: Moved


@dataclass(frozen=True, slots=True)
class SinkPipe:
    """The pipe a sink's bytes go to, for another process to write the rest of a stream to."""

    descriptor: int
    held: bytes
    """What was taken last and is not in the pipe: it comes first, and as many bytes of the end are kept back."""
    kept: Callable[[bytes], None]
    """Takes what was kept back."""
    broken: Callable[[], Awaitable[Exception]]
    """Why the pipe takes no more."""


@runtime_checkable
class PipedSource(Protocol):
    """A `ByteSource` whose bytes may be taken past this process."""

    async def source_pipe(self) -> SourcePipe | None:
        """Its pipe, left alone until the next `read` or `abort`, which is to find it at its end. `None`: none now."""


@runtime_checkable
class PipedSink(Protocol):
    """A `ByteSink` whose bytes may come past this process."""

    async def sink_pipe(self) -> SinkPipe | None:
        """Its pipe, left alone until the next call. `None`: none now."""


# -------------------------------------------------------------------------------- storage


class Capabilities(msgspec.Struct, frozen=True):
    """What a pool can do with its driver; what is missing is done another way by its users."""

    driver: str
    """`memory`, `zfs-fuse`, `openzfs`."""
    knows_written: bool = False
    """`written` of a dataset (zfs-fuse tells it another way)."""
    bookmarks: bool = False
    """An increment may begin at a snapshot that is gone here."""
    resumable: bool = False
    """What was received of a stream that was cut is kept, and a stream of here can go on where another was cut."""
    snapshot_directory: bool = False
    """`snapshot_path` knows one."""
    many_snapshots_at_once: bool = False
    """`snapshots` are of one instant."""
    diff: bool = False
    """`diff` tells what changed."""
    takes: int = 0
    """Features of streams that can be received, as in a stream's first record (`hybrid.storage.features`)."""


class Partial(msgspec.Struct, frozen=True, kw_only=True):
    """What is here of a stream that was cut: `Pool.send` at the other end can go on from there."""

    to: Guid
    base: Guid | None
    object: int
    """Where to go on: an object, and an offset in it. Only `send` understands them."""
    offset: int
    received_bytes: int
    features: int = 0
    """Those the rest of the stream must use as well."""


class Change(msgspec.Struct, frozen=True):
    """One difference between two moments of a dataset."""

    kind: Literal["added", "removed", "modified", "renamed"]
    path: bytes
    """Relative to the dataset's root; of a renamed one: where it was. Names of files are bytes."""
    type: Literal["file", "directory", "link", "other"]
    new_path: bytes | None = None
    """Of a renamed one, which may have been modified as well."""


class Space(msgspec.Struct, frozen=True):
    """A pool's bytes."""

    size_bytes: int
    free_bytes: int


class Health(msgspec.Struct, frozen=True):
    """What a pool says of itself, worst state first: see `hybrid.storage.health` for what it means to people."""

    state: Literal["online", "degraded", "faulted", "suspended"] = "online"
    """`degraded`: on fewer devices than it should be. `faulted`, `suspended`: it does no input or output any more."""
    read_only: bool = False
    """Imported so: nothing can be written."""
    data_errors: int = 0
    """Blocks that no device has whole any more, in live data or in snapshots."""
    devices: tuple[str, ...] = ()
    """Those not as they should be: `/dev/sdb is offline`, `/dev/sdc: 430 checksum errors`."""


class Dataset(msgspec.Struct, frozen=True):
    """A dataset as listed: name relative to Hybrid's root, user properties (`hybrid:*` without the prefix)."""

    name: str
    properties: dict[str, str]
    readonly: bool
    mountpoint: str | None
    """Where it is mounted now, or `None`."""
    used_bytes: int
    """With its snapshots."""
    referenced_bytes: int
    """What its live data refers to: what a quota limits."""
    history_bytes: int = 0
    """What would be free again without its snapshots."""
    origin: tuple[str, Guid] | None = None
    """Dataset and guid of the snapshot it was cloned from."""


class Pool(Protocol):
    """
    The datasets of one pool below Hybrid's root. Dataset names are relative to it: `sites/s-…`, `images/php`.

    Nothing here ever rolls back or receives by force: `receive` only extends a history, `destroy` refuses one with
    snapshots unless told, and a replica is never mounted.
    """

    capabilities: Capabilities

    async def prepare(self) -> None:
        """Create the root and its children `images sites stash trash temporary` where missing. Safe to repeat."""

    async def datasets(self) -> list[Dataset]:
        """All of them below the root, by name, without the structural ones of `prepare`. Costly: at start only."""

    async def dataset(self, name: str) -> Dataset:
        """One. Raises `NoSuchDataset`."""

    async def history(self, name: str) -> History:
        """Its snapshots, oldest first, maybe empty. Raises `NoSuchDataset`."""

    async def create(self, name: str, properties: Mapping[str, str] | None = None) -> None:
        """An empty dataset, writable, not mounted. Raises `AlreadyExists`, `OutOfSpace`."""

    async def clone(self, origin: str, guid: Guid, name: str, properties: Mapping[str, str] | None = None) -> None:
        """A writable dataset from a snapshot of `origin`, not mounted. Raises `NoSuchSnapshot`, `AlreadyExists`."""

    async def snapshot(self, name: str, snapshot_name: str) -> Snapshot:
        """Take one; on disk when this returns. Raises `NoSuchDataset`, `AlreadyExists`, `OutOfSpace`."""

    async def snapshot_if_changed(self, name: str, snapshot_name: str) -> Snapshot | None:
        """
        Take one if live data differs from the newest snapshot (or there is none yet); else `None`.
        """

    async def changed(self, names: Sequence[str]) -> frozenset[str]:
        """
        Those of `names`, all in `sites/` and with a snapshot, whose live data differ from the newest one.

        One cheap call for thousands of them, which tells of all that was written before it. A dataset that is not here
        counts as changed: a call about it alone will say more.
        """

    async def snapshots(self, names: Sequence[str], snapshot_name: str) -> tuple[Snapshot, ...]:
        """
        Take one of each dataset under the same name, all or none, in the order of `names`.

        Of one instant where `many_snapshots_at_once`; elsewhere one after the other, so that whoever wants them of one
        instant keeps what writes to them from running meanwhile. Raises as `snapshot`; then none is left.
        """

    async def snapshot_path(self, name: str, guid: Guid) -> str | None:
        """
        A directory in which a snapshot's files are seen, read-only, without anything being made for it.

        `None` where there is none: the dataset is not mounted, or not `snapshot_directory`; then clone it and mount
        the clone. Raises `NoSuchSnapshot`.
        """

    async def diff(self, name: str, older: Guid, newer: Guid | None) -> list[Change] | None:
        """
        What changed from one snapshot to a later one (`None`: to live data), by path.

        Returns:
            `None` where it cannot be told: the dataset is not mounted, or not `diff`; then compare two clones.

        Raises:
            NoSuchSnapshot: `older` or `newer` is not here, or `newer` is the older one.
        """

    async def bookmark(self, name: str, guid: Guid, tag: str) -> None:
        """
        Let increments begin at a snapshot also when it is gone; forgets where `tag` stood before.

        Stands there already: fine, also when the snapshot is gone. Does nothing where there are no `bookmarks`, else
        raises `NoSuchSnapshot`.
        """

    async def bookmarks(self, name: str) -> dict[str, Guid]:
        """The snapshot at which each tag stands. Empty where there are no `bookmarks`."""

    async def forget_bookmark(self, name: str, tag: str) -> None:
        """Undo `bookmark`. None of that tag: fine."""

    async def destroy_snapshot(self, name: str, guid: Guid) -> None:
        """Remove one. Raises `NoSuchSnapshot`, `Busy` (held, or has clones)."""

    async def destroy(self, name: str, with_history: bool = False) -> None:
        """Remove a dataset. Raises `HasHistory`, `Busy` (mounted, or a snapshot is held or cloned)."""

    async def rename(self, name: str, new_name: str) -> None:
        """Rename an unmounted dataset. Raises `NoSuchDataset`, `AlreadyExists`, `Busy`."""

    async def promote(self, name: str) -> None:
        """
        Make a clone independent: its origin's snapshots up to the cloned one become its own (`zfs promote`).

        Raises `NoSuchDataset`; `AlreadyExists` when a snapshot name stands on both sides; `StorageError` if no clone.
        """

    async def set_properties(self, name: str, properties: Mapping[str, str | None]) -> None:
        """Set user properties (values of any length), `None` removes one. On disk when this returns."""

    async def set_readonly(self, name: str, readonly: bool) -> None:
        """Whether live data may change. New datasets inherit `readonly=on` under `sites` once received."""

    async def set_quota(self, name: str, quota_bytes: int | None) -> None:
        """Limit what live data may refer to (`refquota`); snapshots do not count."""

    async def set_record_size(self, name: str, record_bytes: int) -> None:
        """How large the records of files made from now on are (`recordsize`): a power of two, 4 to 128 KiB."""

    async def mount(self, name: str, path: str) -> None:
        """Mount at an empty directory (made if missing). Mounted there already: fine. Raises `Busy` if elsewhere."""

    async def unmount(self, name: str) -> None:
        """Unmount; not mounted: fine. Raises `Busy` while something uses it."""

    async def clear_dead_mounts(self) -> list[str]:
        """
        Take away mounts whose storage daemon died; `check` raises `StorageSick` while there are any.

        Returns:
            Their paths: what runs on them has to be stopped, mounted and started again. Mostly empty.
        """

    async def hold(self, name: str, guid: Guid, tag: str) -> None:
        """Keep a snapshot from being destroyed. Held with that tag already: fine."""

    async def release(self, name: str, guid: Guid, tag: str) -> None:
        """Undo `hold`. Not held with that tag: fine."""

    async def holds(self, name: str, guid: Guid) -> frozenset[str]:
        """Tags that hold it."""

    async def send(
        self, name: str, guid: Guid, base: Guid | None, takes: int = 0, resume: Partial | None = None
    ) -> ByteSource:
        """
        The stream that makes a receiver's head `guid`.

        Args:
            base: Where the receiver ends now: an older snapshot or bookmark of this dataset, or the snapshot this
                dataset was cloned from (then the receiver makes a clone of its own copy of that). `None`: everything.
            takes: Features that the receiver takes; what is useful of them is used. Those that this dataset's streams
                cannot do without are used in any case, and refused there by name.
            resume: What the receiver has of it; only where `resumable`, and as it said: of the same `guid` and `base`.

        Raises:
            NoSuchSnapshot: `guid` or `base` is not here.
            StreamRefused: It cannot be sent to such a receiver: what is in the way, and what to try.
        """

    async def receive(self, name: str, resumable: bool = False) -> ByteSink:
        """
        Take a stream: a new dataset (read-only, not mounted), or an extension of one whose head is the stream's base.

        `finish` raises `StreamRefused`, `OutOfSpace`; then and after `abort` or a crash the old head stands.

        Args:
            resumable: Keep what came of a stream that is cut, where `resumable`. What is kept of an earlier one goes
                as soon as a stream begins that does not go on with it.
        """

    async def partial(self, name: str) -> Partial | None:
        """What is here of a stream that was cut; a new dataset of which there is only a part counts. Mostly `None`."""

    async def abandon(self, name: str) -> None:
        """Remove what is here of a stream that was cut, never a snapshot. Nothing: fine."""

    async def estimate(self, name: str, guid: Guid, base: Guid | None, takes: int = 0) -> int | None:
        """Bytes `send` would produce, or `None` where that cannot be told cheaply."""

    async def space(self) -> Space:
        """The pool's size and what may still be written."""

    async def reserve(self, wanted_bytes: int) -> int:
        """
        Keep so much free space back from every dataset, on disk when this returns; 0 gives all of it free.

        Returns:
            What is kept now: less than wanted on a pool that is too full.
        """

    async def health(self) -> Health:
        """What the pool says of its devices and of its data. Raises `StorageSick` when nothing answers."""

    async def check(self) -> None:
        """Answer quickly, or raise `StorageSick`: the pool does not answer, or does no input and output any more."""


# -------------------------------------------------------------------------------- containers


class ContainerSpec(msgspec.Struct, frozen=True, kw_only=True):
    """All a container needs to start, on any node the same but for `root`."""

    site: SiteId
    hostname: str
    root: str
    """Path of the mounted dataset: the root file system, owned by `id_base` onwards."""
    id_base: int
    """First host uid/gid of its range of 65536."""
    address: str
    prefix: int
    gateway: str
    """Empty: it has no route beyond its own subnet."""
    network: bool = True
    """`False`: nothing but a loopback of its own; `address`, `prefix` and `gateway` are not looked at."""
    init: tuple[str, ...]
    environment: dict[str, str] = {}
    memory_bytes: int
    cpus: float
    pids: int


class Executed(msgspec.Struct, frozen=True):
    """How a command in a container ended."""

    status: int
    stdout: bytes
    stderr: bytes


class Sitting(Protocol):
    """A session under way. It ends by itself with its command, its connection or its container."""

    async def ended(self) -> None:
        """Returns when nothing of it is left on this machine."""

    def end(self) -> None:
        """Have it end: its command is hung up on. Over already: fine."""


class Containers(Protocol):
    """The containers of this node. One request at a time per container; different ones go side by side."""

    async def prepare(self) -> None:
        """Bridge, addresses, forwarding. Safe to repeat, also after a crash."""

    async def start(self, spec: ContainerSpec) -> None:
        """Start it; running already: fine. Returns when its init runs. Raises `ContainerError`."""

    async def stop(self, site: SiteId, grace_s: float = 5.0) -> None:
        """Ask it to stop, kill what is left after `grace_s`. When this returns nothing of it runs. Not there: fine."""

    async def freeze(self, site: SiteId) -> None:
        """Stop scheduling it. Raises `NoSuchContainer`."""

    async def thaw(self, site: SiteId) -> None:
        """Undo `freeze`. Raises `NoSuchContainer`."""

    async def cut_off(self, site: SiteId) -> None:
        """
        Let nothing reach its network or leave it any more, until it is started anew. Not there: fine.

        For a container that cannot be stopped while its site is served elsewhere. Raises `ContainerError`.
        """

    async def running(self) -> dict[SiteId, str]:
        """Sites whose containers exist now, with `running` or `frozen`; also those started by an earlier process."""

    async def execute(self, site: SiteId, argv: Sequence[str], stdin: bytes = b"", timeout_s: float = 60.0) -> Executed:
        """Run a command inside as root of the container. Raises `NoSuchContainer`, `ContainerError` at the deadline."""

    def begin_session(self, opening: Opening, connection: int) -> Sitting:
        """
        Run what somebody who logged in wants, as root of the container, on a connected socket.

        Args:
            opening: What; the site in it must run here.
            connection: The socket, blocking or not, of which a copy is taken. `hybrid.sessions` is spoken on it.

        Raises:
            NoSuchContainer: It does not run.
            ContainerError: It is frozen.
        """

    async def answer(self, site: SiteId, port: int, path: str | None, host: str = "", timeout_s: float = 5.0) -> int:
        """
        Ask what listens on `port` of its loopback, from within its network, whether it has another one or not.

        Args:
            path: What to GET by HTTP, from `host`; `None`: only connect.

        Returns:
            The status of the answer; 0 for a connection that was accepted.

        Raises:
            NoSuchContainer: It does not run.
            ContainerError: Nothing listens, or what does gives no answer in time.
        """

    async def logs(self, site: SiteId, lines: int = 200) -> str:
        """The end of its console log. Empty when there is none."""

    async def close(self) -> None:
        """End the worker; containers go on."""


# -------------------------------------------------------------------------------- peers


class IncomingStream(ByteSource, Protocol):
    """A stream a peer offers: nothing of it is sent before `accept`."""

    async def accept(self) -> None:
        """Tell the peer to send."""

    def lead_into(self, sink: ByteSink, moved: Moved) -> None:
        """
        All that `read` gives is written to `sink`: what comes late in a long stream may go there past this process.

        `moved` is told of that; `read` then gives the stream's end.
        """


class Peers(Protocol):
    """Mutually authenticated links to the other nodes."""

    def handle(
        self, kind: type[msgspec.Struct], handler: Callable[[NodeId, msgspec.Struct], Awaitable[msgspec.Struct]]
    ) -> None:
        """Answer requests of `kind` with what `handler(sender, request)` returns. `HybridError` goes back as such."""

    def handle_streams(
        self, handler: Callable[[NodeId, msgspec.Struct, IncomingStream], Awaitable[msgspec.Struct]]
    ) -> None:
        """Answer offered streams: `handler(sender, offer, stream)` accepts and reads, or just returns its refusal."""

    async def request(self, node: NodeId, message: msgspec.Struct, deadline_s: float = 10.0) -> msgspec.Struct:
        """One request, one reply. Raises `PeerError`: unreachable, too late, or the peer's own error (`why`)."""

    async def offer(self, node: NodeId, offer: msgspec.Struct, source: ByteSource) -> msgspec.Struct:
        """
        Offer a stream; if the peer accepts, send `source` to its end. Returns the peer's answer either way.

        Back-pressure reaches `source`. Raises `PeerError` when cut, or when no byte moved for 60 s. Aborts `source`.
        """


Report = Callable[[Fact], None]
"""How a component tells what it observed."""
