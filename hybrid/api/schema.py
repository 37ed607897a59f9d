"""
What the API takes and gives, as `msgspec.Struct`s: the one schema for decoding, encoding and OpenAPI. Pure.

Sizes in bytes, durations in seconds, times in RFC 3339, guids as decimal strings (64 bits do not fit a JSON number).
"""

from __future__ import annotations

from typing import Annotated, Generic, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from hybrid.api.placing import CapacityAnswer, LoadAnswer
from hybrid.api.problems import Problem
from hybrid.api.proofs import ProofAnswer, VerifyEvery
from hybrid.api.transfers import TransferAnswer
from hybrid.view import SiteState

T = TypeVar("T")

OperationState = Literal["running", "done", "failed", "interrupted"]

Copies = Annotated[int, Meta(ge=0, le=16, description="Replicas beyond the owner, where there are nodes.")]
Interval = Annotated[float, Meta(ge=1, le=86400, description="No change waits longer than this for its snapshot.")]
Ttl = Annotated[int, Meta(ge=1, le=86400, description="Of the site's DNS records, in seconds.")]
Size = Annotated[int, Meta(ge=1024 * 1024, le=2**60, description="Bytes.")]
Retention = Annotated[
    str,
    Meta(
        max_length=400,
        description="How history is kept: all for 1h, 1 per 10min for 24h, hourly for 7d, daily for 30d."
        " Empty: as the cluster's default says.",
    ),
]
Memory = Annotated[int, Meta(ge=16 * 1024 * 1024, le=2**50, description="Bytes of memory it may use.")]
Cpus = Annotated[float, Meta(ge=0.01, le=1024, description="Processor cores it may use.")]
Pids = Annotated[int, Meta(ge=10, le=1_000_000, description="Processes it may have.")]
Policy = Annotated[
    str,
    Meta(
        pattern="^(value|epoch|ask|prefer:[a-z0-9-]{1,63})$",
        description="Which of two histories wins after a partition: that with more changes (value), the newest election"
        " (epoch), that of a data centre (prefer:<dc>), or a person decides (ask).",
    ),
]
SleepAfter = Annotated[float, Meta(ge=0, le=30 * 86400, description="0, or 10 s to 30 days")]
ConsistentEvery = Annotated[
    float,
    Meta(ge=0, le=366 * 86400, description="How often a snapshot is taken between the image's hooks; 0: never."),
]
AccountName = Annotated[
    str, Meta(pattern="^([a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?)?$", description="An account, or none.")
]
Apart = Annotated[
    str,
    Meta(pattern="^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)?$", description="Sites with one word are kept apart."),
]
Domains = Annotated[tuple[str, ...], Meta(max_length=100, description="Host names; the first is the canonical one.")]


class Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of what clients send: unknown fields are refused."""


class Empty(Body, frozen=True):
    """Nothing to say."""


class NewSite(Body, frozen=True):
    """A site to create; what is left out comes from the image and the cluster's defaults."""

    name: str
    image: str
    """`<name>` (newest) or `<name>@<digest>`."""
    domains: Domains = ()
    """Default: `<name>.<main zone>`."""
    node: str | None = None
    """Name or id of the first owner; default: the best place."""
    copies: Copies = 2
    snapshot_every_s: Interval = 30.0
    ttl_s: Ttl = 30
    quota_bytes: Size | None = None
    """Of its data; history does not count."""
    history_budget_bytes: Size | None = None
    """Of its history: beyond it old history goes earlier."""
    retention: Retention = ""
    memory_bytes: Memory | None = None
    cpus: Cpus = 1.0
    pids: Pids | None = None
    policy: Policy = "value"
    consistency: Literal["available", "strict"] = "available"
    """`strict`: stops rather than be written in two places; needs etcd."""
    verify_every_s: VerifyEvery | None = None
    """`null`: as often as the cluster's other sites."""
    consistent_every_s: ConsistentEvery = 900.0
    sleep_after_s: SleepAfter = 0.0
    account: AccountName = ""
    """Whose it is; its package says what is left out here."""
    database: str | None = None
    """Image of a database to make with it: on the same node, in one group, and the site is told how to log in."""


class SiteChanges(Body, frozen=True):
    """Fields of a site to change; what is left out stays."""

    domains: Domains | UnsetType = UNSET
    wanted: Literal["running", "stopped"] | UnsetType = UNSET
    copies: Copies | UnsetType = UNSET
    snapshot_every_s: Interval | UnsetType = UNSET
    ttl_s: Ttl | UnsetType = UNSET
    quota_bytes: Size | UnsetType | None = UNSET
    history_budget_bytes: Size | UnsetType | None = UNSET
    retention: Retention | UnsetType = UNSET
    memory_bytes: Memory | UnsetType = UNSET
    cpus: Cpus | UnsetType = UNSET
    pids: Pids | UnsetType = UNSET
    policy: Policy | UnsetType = UNSET
    consistency: Literal["available", "strict"] | UnsetType = UNSET
    verify_every_s: VerifyEvery | UnsetType | None = UNSET
    consistent_every_s: ConsistentEvery | UnsetType = UNSET
    sleep_after_s: SleepAfter | UnsetType = UNSET
    """Its container stops when nobody asked for it for so long, and starts when somebody does; 0: never."""
    suspended: bool | UnsetType = UNSET
    pinned: bool | UnsetType = UNSET
    apart: Apart | UnsetType = UNSET
    account: AccountName | UnsetType = UNSET


class MoveTo(Body, frozen=True):
    """Where a site shall go."""

    to: str
    """Name or id of a node."""


class PickOf(Body, frozen=True):
    """Whose history shall go on."""

    node: str
    """Name or id of one of those in the decision."""


class Command(Body, frozen=True):
    """A command to run in a container; `argv` is never given to a shell."""

    argv: Annotated[tuple[str, ...], Meta(min_length=1, max_length=1000)]
    stdin: str = ""


class NewJoinToken(Body, frozen=True):
    """A token with which one node may join."""

    ttl_s: Annotated[int, Meta(ge=10, le=7 * 86400)] = 1800
    dc: Annotated[str, Meta(max_length=64)] = ""
    """Only for a node of this data centre; empty: of any."""
    name: Annotated[str, Meta(max_length=32)] = ""
    """Only for a node of this name; empty: of any."""


class NewImage(Body, frozen=True):
    """An image to import from the store of built images."""

    name: str


class NewToken(Body, frozen=True):
    """A token for a program or a person."""

    name: str
    rights: Literal["admin", "read"] = "admin"


class Page(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """A list, with the time and the node whose view it is."""

    items: tuple[T, ...]
    as_of: str
    from_node: str


class SiteCounts(msgspec.Struct, frozen=True):
    """Sites by state."""

    serving: int = 0
    changing: int = 0
    stopped: int = 0
    unavailable: int = 0


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """The cluster in one sentence, and the figures behind it."""

    health: Literal["ok", "degraded", "critical"]
    sentence: str
    findings: tuple[str, ...]
    """What is not as it should be, worst first; empty when all is well."""
    nodes: int
    nodes_live: int
    sites: int
    sites_by_state: SiteCounts
    worst_lag_s: float | None
    """Age of the oldest change of any site that no other node holds; `null` with a single node."""
    decisions: int
    """What waits for a person: `GET /v1/decisions`."""
    can_lose_nodes: int
    """How many nodes may die at once, whichever they are, while every site's history survives."""
    can_lose_dcs: tuple[str, ...]
    """Data centres of which any one may vanish while every site's history survives."""
    as_of: str
    from_node: str


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """Something only a person can decide, or should look at."""

    kind: Literal["pick", "fence", "deletion", "alarm", "stash"]
    """
    `pick`: which of several histories goes on. `fence`: a server that lost the site cannot stop it. `deletion`: it was
    deleted while a server that was cut off went on. `alarm`: a server does not trust another. `stash`: history that
    lost a conflict.
    """
    site: str | None
    """The site's id; `null` where it is about a server, whose name is in `name`."""
    name: str
    nodes: tuple[str, ...]
    """Names of the nodes to choose from, or that it is about."""
    text: str
    hint: str
    """What to do about it."""


class DeletedSite(msgspec.Struct, frozen=True, kw_only=True):
    """A site in the trash."""

    id: str
    name: str
    deleted_at: str
    until: str
    """It can be brought back until then."""
    by: str
    """Name of the node that owned it."""


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """A node as seen from the answering one."""

    id: str
    name: str
    dc: str
    address: str
    state: Literal["up", "down"]
    sites: int
    """Of which it is the owner."""
    copies: int
    """Datasets of sites it holds, owned ones included."""
    size_bytes: int
    free_bytes: int
    storage_ok: bool
    load: float
    capacity: CapacityAnswer | None
    """`null`: it does not tell."""
    draining: bool
    release: str
    api_port: int
    as_of: str
    from_node: str


class PortAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A port of a site."""

    name: str
    port: int
    protocol: str
    public_port: int | None


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """A site as seen from the answering node. Nodes are given by name."""

    id: str
    name: str
    kind: str
    state: SiteState
    wanted: Literal["running", "stopped"]
    suspended: bool
    account: str
    domains: tuple[str, ...]
    image: str
    owner: str | None
    holders: tuple[str, ...]
    """Live nodes with its data: owner first, then the best replica."""
    copies: int
    safe_copies: int
    """Other live nodes that hold everything the owner has."""
    lag_s: float | None
    trouble: str
    stashes: int
    snapshot_every_s: float
    ttl_s: int
    data_bytes: int
    """What its data take on the owner, in coarse steps, with its image's share; 0 until measured."""
    history_bytes: int
    """What its history takes there besides."""
    quota_bytes: int | None
    history_budget_bytes: int | None
    retention: str
    """Its own; empty: the cluster's default, `GET /v1/defaults`."""
    memory_bytes: int
    cpus: float
    pids: int
    policy: str
    consistency: str
    home_dc: str
    pinned: bool
    """It stays where it is."""
    apart: str
    environment: dict[str, str]
    ports: tuple[PortAnswer, ...]
    claim: str | None
    clone_of: str | None
    """Name of the site it shares snapshots with, as it was cloned from one; its id where that site is gone."""
    consistent_every_s: float
    sleep_after_s: float
    verify_every_s: float | None
    proof: ProofAnswer | None
    """What came of the newest start of a copy; `null` where none was started yet."""
    load: LoadAnswer
    """What it takes of its owner, in coarse steps."""
    as_of: str
    from_node: str


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """An image."""

    name: str
    reference: str | None
    """`<name>@<digest>`; `null`: it is built, and imported when a site of it is first created."""
    size_bytes: int
    packages: tuple[str, ...]
    """`<name> <version>` of what it was built from; empty where that is not known."""
    description: str
    kind: str
    ports: tuple[PortAnswer, ...]
    memory_bytes: int
    pids: int


class CommandResult(msgspec.Struct, frozen=True, kw_only=True):
    """How a command ended; output that is not UTF-8 text comes in base64."""

    status: int
    stdout: str
    stderr: str
    encoding: Literal["utf-8", "base64"]
    truncated: bool


class Log(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a site's console log."""

    text: str
    as_of: str
    from_node: str


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A named part of an operation."""

    name: str
    state: Literal["running", "done", "failed"]
    seconds: float | None = None
    """`null` while it runs."""


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """A long call: what it does, how far it is, how it ended."""

    id: str
    kind: str
    """`create`, `move`, `delete`, `rollback`, `undo`, `restore`, `import`, `verify`, …"""
    state: OperationState
    site: str | None
    """The site's id; `null` before it has one, or where it is about none."""
    site_name: str | None
    node: str
    """Name of the node that runs it."""
    actor: str
    steps: tuple[Step, ...]
    transfers: tuple[TransferAnswer, ...] = ()
    """While it runs: the bytes of its site that are being moved, where many are."""
    created_at: str
    seconds: float
    """So far, or in all."""
    revision: int
    """Grows with each change: `?wait=…&seen=…` returns when it is larger than `seen`."""
    result: dict[str, object] | None
    error: Problem | None


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened, as the answering node saw it."""

    seq: int
    """Grows by one; belongs to `from_node`."""
    at: str
    kind: str
    """`node-up`, `node-down`, `site-created`, `site-state`, `site-owner`, `stash`, `operation`, `trouble`, …"""
    text: str
    site: str | None = None
    node: str | None = None
    operation: str | None = None


class EventPage(msgspec.Struct, frozen=True, kw_only=True):
    """Events after `since`, oldest first."""

    items: tuple[Event, ...]
    newest: int
    """Give it as `since` next time."""
    missed: bool
    """Events after `since` were dropped already: the log is bounded."""
    as_of: str
    from_node: str


class JoinToken(msgspec.Struct, frozen=True, kw_only=True):
    """Shown once."""

    token: str
    expires_at: str
    command: str


class ClusterKeys(msgspec.Struct, frozen=True, kw_only=True):
    """The keys that seal what nodes send each other by UDP, without the keys."""

    known: int
    """How many are opened with; more than one while the key is being replaced."""
    sealing_since: str
    replaced: bool
    """Whether the newest one is in use everywhere and no other is known."""


class TokenAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A token without its secret."""

    id: str
    name: str
    rights: Literal["admin", "read", "site", "account", "ticket"]
    created_at: str


class TokenCreated(msgspec.Struct, frozen=True, kw_only=True):
    """Shown once: only its hash is kept."""

    id: str
    token: str
    name: str
    rights: Literal["admin", "read", "site", "account", "ticket"]
