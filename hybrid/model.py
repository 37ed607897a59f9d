"""
The vocabulary: ids, claims, snapshots, specs, registers and facts.

Pure values. Everything here may cross a wire or be written down, so it is a frozen `msgspec.Struct`.
Sizes are in bytes, times in seconds; `*_at_s` is wall time (for people and names only), never used to decide.
"""

from __future__ import annotations

from typing import Literal, NewType

import msgspec

from hybrid.load import NodeLoad, Placed, SiteLoad
from hybrid.manifest import Extract, Health, Hooks
from hybrid.sitehttp import Http
from hybrid.sitetraffic import Awaited, Logged, Used

NodeId = NewType("NodeId", str)
"""`n-` and 16 base32 characters: the digest of the node's public key."""
SiteId = NewType("SiteId", str)
"""`s-` and 26 base32 characters, generated. Names people give live in `SiteSpec.name`."""
Guid = NewType("Guid", int)
"""A snapshot's identity (64 bits): equal on the sender and the receiver of a stream."""


class Claim(msgspec.Struct, frozen=True, order=True, array_like=True):
    """The token of ownership; the larger wins. Two components may mint one epoch, so the node is part of it."""

    epoch: int
    node: NodeId

    def __str__(self) -> str:
        return f"{self.epoch},{self.node}"

    @classmethod
    def parse(cls, text: str) -> Claim:
        """Read what `str` wrote. Raises `ValueError` on anything else."""
        epoch, node = text.split(",", 1)
        return cls(int(epoch), NodeId(node))


NO_CLAIM = Claim(0, NodeId(""))
"""Smaller than every real claim: "none heard of yet"."""


class Version(msgspec.Struct, frozen=True, order=True, array_like=True):
    """
    Orders the values of a register that one writer at a time may write.

    For registers `(incarnation, counter)` of the node; for a site's spec `(epoch, counter)` of the owner's claim.
    """

    major: int
    minor: int

    def next(self) -> Version:
        """The version after this one, from the same writer."""
        return Version(self.major, self.minor + 1)


class Snapshot(msgspec.Struct, frozen=True):
    """One moment of a dataset. Compare by `guid` only; the name is for people and for order of epochs."""

    guid: Guid
    name: str
    """Without the dataset: `hyb-000042-abcdefgh-0001832` (epoch, node, counter), or a name given by hand."""
    created_at_s: int

    @property
    def epoch(self) -> int:
        """The epoch under which it was taken; 0 for a name that is not ours."""
        return name_parts(self.name)[0]

    @property
    def counter(self) -> int:
        """Its number in the counting of snapshot names; 0 for a name that is not ours."""
        return name_parts(self.name)[1]

    @property
    def kind(self) -> Literal["crash", "consistent", "group", "consistent group"]:
        """`consistent`: taken between the hooks of its application. `group`: in the same instant as others'."""
        mark = self.name[-1:] if name_parts(self.name) != (0, 0) else ""
        return _KINDS.get(mark, "crash")


_KINDS: dict[str, Literal["consistent", "group", "consistent group"]] = {
    "c": "consistent",
    "g": "group",
    "b": "consistent group",
}
"""What a letter after the number in a snapshot's name says."""


def snapshot_name(claim: Claim, counter: int, mark: Literal["", "c", "g", "b"] = "") -> str:
    """
    The name of snapshot number `counter` taken under `claim`: unique without any clock.

    `mark` says of what kind it is, see `Snapshot.kind`: the name travels with the stream.
    """
    return f"hyb-{claim.epoch:06d}-{claim.node.removeprefix('n-')[:8]}-{counter:07d}{mark}"


def name_parts(name: str) -> tuple[int, int]:
    """`(epoch, counter)` in a snapshot's name; `(0, 0)` for a name that is not ours."""
    parts = name.split("-")
    if len(parts) != 4 or parts[0] != "hyb":
        return 0, 0
    number = parts[3][:-1] if parts[3][-1:] in _KINDS else parts[3]
    return (int(parts[1]), int(number)) if parts[1].isdigit() and number.isdigit() else (0, 0)


# ---------------------------------------------------------------------------------------------- images, specs


Service = Literal["postgres", "mysql", "smtp", "submission", "imap", "pop3", "ftp", "tls"]
"""
Protocols of which all sites share one port of each node: what a client says first tells whose it is.

`tls`: HTTPS that is passed on as it is, for the site shows its own certificate.
"""


RecordBytes = Literal[4096, 8192, 16384, 32768, 65536, 131072]
"""Those that every ZFS has."""


class Port(msgspec.Struct, frozen=True):
    """A port of a container and how the front doors offer it."""

    name: str
    port: int
    """Inside the container."""
    protocol: Literal["http", "tcp", "udp"] | Service = "http"
    public_port: int | None = None
    """For `tcp` and `udp`: the port on every node that leads to it."""


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What an image says of itself (`manifest.toml`)."""

    name: str
    description: str = ""
    kind: str = "website"
    init: tuple[str, ...] = ("/sbin/hybrid-init",)
    """The container's first process and its arguments."""
    ports: tuple[Port, ...] = (Port("http", 80),)
    environment: dict[str, str] = {}
    memory_bytes: int = 256 * 1024 * 1024
    pids: int = 200
    extracts: dict[str, Extract] = {}
    health: Health = Health()
    hooks: Hooks = Hooks()
    needs: Literal["", "mysql", "postgres"] = ""
    """What the database has to speak without which a site of this image cannot be made; empty: it needs none."""
    record_bytes: RecordBytes | None = None
    """Size of the records (`recordsize` of zfsprops(7)) that files of its sites are written in; `None`: the pool's."""


def image_dataset(image: str) -> str:
    """The dataset of image `<name>@<digest>`: `images/<name>-<digest>`; its one snapshot is called `image`."""
    return "images/" + image.replace("@", "-")


class Mark(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A snapshot that a person wants to keep."""

    guid: Guid
    name: str = ""
    """By which people call it; unique within its site, or empty."""
    note: str = ""
    at_s: int
    """When it was marked."""
    by: str


class SiteSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    What a site should be. Written by its owner only; replicated with its dataset; larger `version` wins.

    `number` (1..32000, unique in the cluster) gives the container's address and id range, the same on all nodes.
    """

    id: SiteId
    version: Version
    name: str
    domains: tuple[str, ...]
    """Lower-case host names, without a final dot; the first is the canonical one."""
    image: str
    """`<name>@<digest>`, see `image_dataset`."""
    number: int
    kind: str = "website"
    init: tuple[str, ...] = ("/sbin/hybrid-init",)
    ports: tuple[Port, ...] = (Port("http", 80),)
    environment: dict[str, str] = {}
    wanted: Literal["running", "stopped"] = "running"
    suspended: bool = False
    """Its account was suspended: it is stopped whatever is `wanted`, and visitors are told so."""
    account: str = ""
    """Who it belongs to, see `hybrid.accounts`; empty: to nobody but the operator."""
    copies: int = 2
    """Replicas beyond the owner, where there are nodes."""
    snapshot_every_s: float = 30.0
    """No change waits longer than this for its snapshot."""
    ttl_s: int = 30
    quota_bytes: int | None = None
    """Of live data, as `df` in the site shows it; history does not count."""
    history_budget_bytes: int | None = None
    """What its history may take; beyond that old history goes earlier than `retention` says."""
    retention: str = ""
    """How its history is kept, see `hybrid.grid`; empty: as the cluster's default says."""
    memory_bytes: int = 256 * 1024 * 1024
    cpus: float = 1.0
    pids: int = 200
    policy: str = "value"
    """Which of two histories becomes the main line after a partition: `value`, `epoch`, `prefer:<dc>` or `ask`."""
    home_dc: str = ""
    pinned: bool = False
    """It stays where it is: no busy neighbour and no drained node moves it."""
    apart: str = ""
    """Sites with the same word are kept on different nodes, where that can be; empty: any may be beside it."""
    consistency: Literal["available", "strict"] = "available"
    """Cut off: `available` goes on, and histories are settled later; `strict` stops rather than be written twice."""
    marks: tuple[Mark, ...] = ()
    """Snapshots that retention keeps until they are unmarked, oldest mark first."""
    health: Health = Health()
    verify_every_s: float | None = None
    """How often a replica is started to see whether it can be; 0: never, `None`: as the cluster is told."""
    hooks: Hooks = Hooks()
    consistent_every_s: float = 900.0
    """How often a snapshot is taken between the hooks, where there are any and something changed; 0: never."""
    clone_of: SiteId | None = None
    """The site it shares snapshots with, from one of which it was cloned; `None`: none, or none any more."""
    sleep_after_s: float = 0.0
    """Its container is stopped when nobody asked for it for so long, and started when somebody does; 0: never."""
    asleep: bool = False
    """That is so now. It goes with the spec, so whoever takes it over lets it sleep on."""
    ids: int = 0
    """The number of the site whose id range its files are in, as it began as a clone of that; 0: its own."""
    record_bytes: RecordBytes | None = None
    """See `Manifest.record_bytes`."""
    ssh_keys: tuple[str, ...] = ()
    """Lines of the public keys (`hybrid.sshkeys`) by which people log in by SSH, oldest first."""

    @property
    def is_on(self) -> bool:
        """Whether it answers who asks, though its container may have to be started for that."""
        return self.wanted == "running" and not self.suspended

    @property
    def runs(self) -> bool:
        """Whether its container should."""
        return self.is_on and not self.asleep

    http: Http = Http()


MAIL = "mail"
"""The kind of sites whose data are Maildirs."""
PREFER = "prefer:"
"""How the policy begins that prefers the history of a data centre, whose name follows."""

# -------------------------------------------------------------------------------------------------- registers


class Stash(msgspec.Struct, frozen=True):
    """Divergent history kept beside the main line, as dataset `stash/<id>`."""

    id: str
    """`<site-id>.<epoch>.<node8>.<base8>`, unique."""
    site: SiteId
    base: Guid | None
    """Newest snapshot common with the main line; `None` when there was none."""
    head: Guid
    head_at_s: int
    why: Literal["conflict", "rollback", "undo", "modified"]


class Bid(msgspec.Struct, frozen=True, order=True, array_like=True):
    """What a writer offers in a conflict. Immutable once published for its key; the larger wins."""

    value: tuple[int, ...]
    """By policy: for `value` (changes since the common base, head_at_s bucket, …), most important first."""
    claim: Claim


class Proof(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What came of starting the copy of a site that a node holds, apart from the world."""

    outcome: Literal["good", "failed", "skipped"]
    """`good`: it came up and passed its health check. `skipped`: it could not be tried."""
    at_s: int
    """When that was known."""
    guid: Guid
    """Of the snapshot that was started."""
    of_s: int
    """When that snapshot was taken."""
    seconds: float = 0.0
    """From the clone to the answer."""
    why: str = ""
    good_at_s: int = 0
    """When a copy on this node was last found good; 0: never."""


Role = Literal["none", "replica", "opening", "owner", "stashing", "leaving"]


class Copy(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    The part of a `SiteRegister` that changes with each snapshot: its writer's copy of the site.

    Told only to nodes that hold the site too (elections and retention need it); its fields mean what they mean there.
    """

    version: Version = Version(0, 0)
    """Given by the ledger: `SiteRegister.copy_version`."""
    head: Guid | None = None
    head_epoch: int = 0
    head_counter: int = 0
    head_at_s: int = 0
    length: int = 0
    recent: tuple[Guid, ...] = ()
    lag_s: float | None = None
    seal: bytes = b""
    """The writer's signature; see `hybrid.cluster.vouching`."""


NO_COPY = Copy()
"""What is known of the copies of others by a node that does not hold the site."""


class SiteRegister(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    What one node publishes about one site. Only that node writes it.

    Two parts travel apart, each with a version: its word, to all nodes, and its `Copy`, to those that hold the site.
    """

    version: Version = Version(0, 0)
    """Of the word: given by the ledger when it is published. `(0, 0)`: only the copy was heard of so far."""
    copy_version: Version = Version(0, 0)
    role: Role
    claim: Claim | None = None
    """Held durably by this node (roles `opening`, `owner`, `leaving`)."""
    seen: Claim = NO_CLAIM
    """The largest claim this node ever heard of."""
    head: Guid | None = None
    head_epoch: int = 0
    head_counter: int = 0
    head_at_s: int = 0
    length: int = 0
    """Snapshots in the main line here."""
    recent: tuple[Guid, ...] = ()
    """Newest eight guids, newest first."""
    serving: bool = False
    """The container runs and may be sent requests."""
    trouble: str = ""
    """Why it is not as it should be, for people: `pool full`, `image missing`, …"""
    lag_s: float | None = None
    """Owner: age of the oldest change that no other node holds; 0.0 when all is safe."""
    late_s: float | None = None
    """Owner: `lag_s` in coarse steps, for all nodes: 0.0 while it is no more than usual."""
    safe_copies: int = 0
    """Owner, for all nodes: others that hold its history but for the last minute."""
    data_bytes: int = 0
    """Owner: what its live data refer to, in coarse steps."""
    history_bytes: int = 0
    """Owner: what would be free again without its history, in coarse steps."""
    spec: SiteSpec | None = None
    stashes: tuple[Stash, ...] = ()
    bids: dict[str, Bid] = {}
    """Conflict key `<lower claim>/<higher claim>` to this node's bid."""
    successor: NodeId | None = None
    """With role `leaving`: who takes over in a planned move."""
    united: tuple[Guid, ...] = ()
    """Owner: heads of stashes that hold nothing which the main line lacks, or whose mail was brought into it."""
    awaiting: tuple[Claim, ...] = ()
    """Policy `ask`: the claims among which a person is to pick; until then this owner writes nothing."""
    proof: Proof | None = None
    """The newest of this node's copy."""
    load: SiteLoad | None = None
    """Owner: what it takes there, in coarse steps; `None`: as good as nothing, or not measured."""
    placed: tuple[Placed, ...] = ()
    """Owner: how it came here, and where it was before, oldest first."""

    seal: bytes = b""
    """The writer's signature of the word."""
    copy_seal: bytes = b""

    @property
    def copy(self) -> Copy:
        """The part for those that hold the site."""
        return Copy(
            version=self.copy_version,
            head=self.head,
            head_epoch=self.head_epoch,
            head_counter=self.head_counter,
            head_at_s=self.head_at_s,
            length=self.length,
            recent=self.recent,
            lag_s=self.lag_s,
            seal=self.copy_seal,
        )

    @property
    def word(self) -> SiteRegister:
        """The part for everybody: this register without its copy."""
        return self.with_copy(NO_COPY)

    def with_copy(self, copy: Copy) -> SiteRegister:
        """This word beside that copy."""
        return msgspec.structs.replace(
            self,
            copy_version=copy.version,
            head=copy.head,
            head_epoch=copy.head_epoch,
            head_counter=copy.head_counter,
            head_at_s=copy.head_at_s,
            length=copy.length,
            recent=copy.recent,
            lag_s=copy.lag_s,
            copy_seal=copy.seal,
        )


Boot = tuple[int, int]
"""One life of a node: the incarnation it started with, and a number by chance. The later life is the larger."""
NO_BOOT: Boot = (0, 0)


class NodeRegister(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a node publishes about itself."""

    version: Version = Version(0, 0)
    id: NodeId
    name: str
    dc: str
    address: str
    seal: bytes = b""
    """Its signature; see `hybrid.cluster.vouching`."""
    key: bytes = b""
    """Its public key (SubjectPublicKeyInfo, DER), of which `id` is the digest: see `hybrid.cluster.sealing`."""
    cluster_port: int = 7946
    interior_port: int = 7947
    api_port: int = 8443
    size_bytes: int = 0
    free_bytes: int = 0
    release: str = ""
    storage_ok: bool = True
    load: float = 0.0
    boot: Boot = NO_BOOT
    """Of the life that published this; see `hybrid.cluster.twins`."""
    twin: Boot = NO_BOOT
    """Of another life with this node's key that it heard of, which may be going on."""
    alarms: tuple[str, ...] = ()
    """What a person must look at, as this node sees it."""
    measured: NodeLoad | None = None
    """What it has and what of that is in use, in coarse steps; `None`: it does not measure."""
    draining: bool = False
    """It is to own nothing, as a person wished."""


class Shared(msgspec.Struct, frozen=True, kw_only=True):
    """A value without an owner (token, zone, image list …): last writer wins by `stamp`."""

    stamp: tuple[int, int, NodeId]
    """Hybrid logical clock: (milliseconds, counter, node); larger wins."""
    value: str | None
    """JSON; `None` is a tombstone."""


# ------------------------------------------------------------------------------------------------------ facts


class Snapshotted(msgspec.Struct, frozen=True, tag=True):
    """A change of `site` is on this node's disk as `snapshot`."""

    site: SiteId
    snapshot: Snapshot


class Replicated(msgspec.Struct, frozen=True, tag=True):
    """`node` acknowledged that it holds `guid` of `site`."""

    site: SiteId
    node: NodeId
    guid: Guid
    bytes: int = 0
    seconds: float = 0.0


class Received(msgspec.Struct, frozen=True, tag=True):
    """This node now holds `guid` of `site`, sent under `claim`."""

    site: SiteId
    claim: Claim
    guid: Guid


class Forgotten(msgspec.Struct, frozen=True, tag=True):
    """Snapshots of `site` that nobody needs were destroyed on this node."""

    site: SiteId


class Stashed(msgspec.Struct, frozen=True, tag=True):
    """Divergent history of a site was set aside on this node."""

    stash: Stash


class SnapshotFailed(msgspec.Struct, frozen=True, tag=True):
    """No snapshot could be taken: the site is not protected until this ends."""

    site: SiteId
    reason: str


class Measured(msgspec.Struct, frozen=True, tag=True):
    """What a site's live data and its history take on this node."""

    site: SiteId
    data_bytes: int
    history_bytes: int


class HistoryThinned(msgspec.Struct, frozen=True, tag=True):
    """A site's history is over its budget on this node: old history goes earlier from now on."""

    site: SiteId
    history_bytes: int
    budget_bytes: int


class StreamBroken(msgspec.Struct, frozen=True, tag=True):
    """What `node` sent was not what it announced, or no stream that the pool takes."""

    node: NodeId
    reason: str


class SendFailed(msgspec.Struct, frozen=True, tag=True):
    """A send did not arrive; it is tried again."""

    site: SiteId
    node: NodeId
    reason: str


class StorageFailed(msgspec.Struct, frozen=True, tag=True):
    """The pool does not answer."""

    reason: str


class Served(msgspec.Struct, frozen=True, tag=True):
    """Traffic of a site through one proxy since its last report."""

    site: SiteId
    requests: int
    bytes: int
    errors: int = 0
    """Responses of the site with a status of 500 or more."""
    latency: tuple[int, ...] = ()
    """Responses by class of `hybrid.sitetraffic.LATENCY_S`."""
    refused: int = 0
    """Requests that got a page of the front door's own; counted where they came in, as those that waited are."""
    waited: int = 0
    """Requests that waited for an owner, or for room."""
    waited_s: float = 0.0
    """How long all of them together."""


class Wished(msgspec.Struct, frozen=True, tag=True):
    """Somebody logs in to a past moment of a site, of which no preview is known to the front doors."""

    site: SiteId
    moment: str
    """As it was said: `2h`, `2026-11-20T14:05`, …"""


Fact = (
    Snapshotted
    | Replicated
    | Received
    | Forgotten
    | Stashed
    | SnapshotFailed
    | SendFailed
    | StorageFailed
    | Measured
    | HistoryThinned
    | StreamBroken
    | Served
    | Wished
    | Logged
    | Used
    | Awaited
)
