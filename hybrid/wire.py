"""
Messages between nodes, and their encoding: msgpack of tagged structs in frames with a 4-byte length. Pure.

Requests and replies travel over `hybrid.ports.Peers`; a frame larger than `MAX_FRAME` or not decodable ends the link.
"""

from __future__ import annotations

from typing import Any, get_args

import msgspec

from hybrid import canonical
from hybrid.model import (
    Claim,
    Copy,
    Guid,
    NodeId,
    NodeRegister,
    Shared,
    SiteId,
    SiteRegister,
    SiteSpec,
    Snapshot,
    Version,
)
from hybrid.ports import Partial

MAX_FRAME = 8 * 1024 * 1024
PROTOCOL = 1


class Gossip(msgspec.Struct, frozen=True, tag=True, kw_only=True, omit_defaults=True):
    """Registers the receiver may not have yet."""

    nodes: dict[NodeId, NodeRegister] = {}
    sites: dict[NodeId, dict[SiteId, SiteRegister]] = {}
    """The words; see `SiteRegister.word`."""
    copies: dict[NodeId, dict[SiteId, Copy]] = {}
    """Of sites that the receiver holds."""
    shared: dict[str, Shared] = {}
    quiet: bool = False
    """Not to be told on: it was found by comparing."""


class Compare(msgspec.Struct, frozen=True, tag=True):
    """Do we know the same? Answered by `Compared`."""

    total: int
    """Over all words, registers of nodes and shared values: `hybrid.cluster.sums`."""
    copies: int
    """Over the copies of sites that both hold."""


class Compared(msgspec.Struct, frozen=True, tag=True):
    """Where the answering node knows other things than the asking one."""

    sums: dict[NodeId, int] | None
    """Per writer (`""`: shared values); `None` when the total is the same."""
    same_copies: bool


class Pull(msgspec.Struct, frozen=True, tag=True, kw_only=True, omit_defaults=True):
    """Send what is later than this. Answered by `Pulled`."""

    words: dict[NodeId, dict[SiteId, Version]] = {}
    """Writer to site to version, complete for each of these writers; `""` is its register about itself."""
    sites: dict[SiteId, dict[NodeId, Version]] = {}
    """The same for whole sites, which are answered first."""
    copies: dict[SiteId, dict[NodeId, Version]] = {}
    shared: dict[str, tuple[int, int, NodeId]] | None = None
    """Key to stamp of all shared values; `None`: they are not asked for."""


class Pulled(msgspec.Struct, frozen=True, tag=True, kw_only=True, omit_defaults=True):
    """Some of what was asked for."""

    news: Gossip
    more: bool = False
    """Ask again: it did not fit into one message."""
    words: tuple[tuple[NodeId, SiteId], ...] = ()
    """Of what the asking node knows more: to be sent to the answering one. Likewise:"""
    nodes: tuple[NodeId, ...] = ()
    copies: tuple[tuple[NodeId, SiteId], ...] = ()
    shared: tuple[str, ...] = ()


class Done(msgspec.Struct, frozen=True, tag=True):
    """Nothing more to say."""


class SeesOwner(msgspec.Struct, frozen=True, tag=True):
    """Asked before a claim: do you see a live owner of `site` (or are you one)?"""

    site: SiteId


class OwnerSeen(msgspec.Struct, frozen=True, tag=True):
    """The live owner's claim as the answering node sees it, or `None`."""

    claim: Claim | None


class AgreeOwner(msgspec.Struct, frozen=True, tag=True):
    """The owner of a strict site under `claim`, while etcd is silent: may I go on? "Yes" is a promise not to stand."""

    site: SiteId
    claim: Claim


class Agreed(msgspec.Struct, frozen=True, tag=True):
    """Why not; empty for "yes"."""

    why_not: str = ""


class AskHistory(msgspec.Struct, frozen=True, tag=True):
    """What do you hold of this dataset (`sites/s-…`, `images/…`, `stash/…`)?"""

    dataset: str


class HistoryHeld(msgspec.Struct, frozen=True, tag=True, omit_defaults=True):
    """`None` when the dataset is not there. Oldest first."""

    history: tuple[Snapshot, ...] | None
    takes: int = 0
    """Features of streams that this node's pool takes: see `hybrid.ports.Capabilities`."""
    part: Partial | None = None
    """What is here of a stream of the dataset that was cut."""


class Offer(msgspec.Struct, frozen=True, tag=True, kw_only=True, omit_defaults=True):
    """The header of a replication stream."""

    dataset: str
    claim: Claim
    """The sender's claim on the site; refused if older than what the receiver has seen. `NO_CLAIM` for images."""
    base: Guid | None
    to: Snapshot
    size_bytes: int | None = None
    spec: SiteSpec | None = None
    properties: dict[str, str] = {}
    """For images and stashes: user properties to set after a complete receive."""
    goes_on: bool = False
    """It goes on with the part that the receiver said it has."""


class Taken(msgspec.Struct, frozen=True, tag=True):
    """The stream is on disk; `head` was read again after it."""

    head: Guid


class Refused(msgspec.Struct, frozen=True, tag=True):
    """
    The stream was not taken.

    `stale`: a newer claim is known (`seen`). `base`: the receiver ends elsewhere, ask its history again.
    `busy`, `space`, `broken`, `owner` (the receiver itself is a writer), `storage`: as they say; `why` for people.
    """

    reason: str
    why: str = ""
    seen: Claim | None = None


class TakeOver(msgspec.Struct, frozen=True, tag=True):
    """A planned move: the receiver holds `head` and may claim above `claim`, the sender stopped serving."""

    site: SiteId
    claim: Claim
    head: Guid
    came: str = "move"
    """See `hybrid.load.Placed`, as the next."""
    why: str = ""


class LogLines(msgspec.Struct, frozen=True, tag=True):
    """To the owner of a site: lines of its access log that the sender was told while it was the owner."""

    site: SiteId
    lines: bytes


class ApiCall(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """An API request passed on to the node that can answer it."""

    method: str
    path: str
    query: str = ""
    body: bytes = b""
    actor: str = ""
    """Who asked, as checked by the node that passes the call on."""
    key: str = ""
    """The client's `Idempotency-Key`, if any."""
    site: str = ""
    """The one site that exists for who asked."""
    account: str = ""
    """The account whose sites alone exist for who asked; neither of both: they see everything."""


class ApiAnswer(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """Its answer."""

    status: int
    body: bytes
    headers: dict[str, str] = {}


class Failed(msgspec.Struct, frozen=True, tag=True):
    """The peer's error, instead of a reply."""

    what: str
    why: str = ""
    try_: str = ""


class Hello(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """The first message on a link, both ways: who speaks, and which protocol."""

    cluster: str
    node: NodeId
    """Must be the one the sender's certificate names."""
    protocol: int = PROTOCOL


class Ping(msgspec.Struct, frozen=True, tag=True):
    """Is there anybody? Answered by `Done` by the link itself."""


class AskTime(msgspec.Struct, frozen=True, tag=True):
    """What time is it there? Answered by `TimeIs`."""


class TimeIs(msgspec.Struct, frozen=True, tag=True):
    """By the wall clock of who answers, seconds since the epoch."""

    at_s: float


class Pumped(msgspec.Struct, frozen=True, tag=True):
    """
    On a stream, to its sender: the rest may be moved by a process of its own (`hybrid.cluster.pumping`).

    The sender says `mark` in place of data when it is at that; the receiver answers `PumpNow`, and both go on with it.
    """

    mark: bytes
    takes: tuple[str, ...] = ()
    """How its blocks may be compressed: `hybrid.cluster.squeezing.NAME`, or not at all."""


class PumpNow(msgspec.Struct, frozen=True, tag=True):
    """See `Pumped`."""


Message = (
    Hello
    | Ping
    | Gossip
    | Compare
    | Compared
    | Pull
    | Pulled
    | Done
    | SeesOwner
    | OwnerSeen
    | AgreeOwner
    | Agreed
    | AskHistory
    | HistoryHeld
    | Offer
    | Taken
    | Refused
    | TakeOver
    | LogLines
    | ApiCall
    | ApiAnswer
    | Failed
    | AskTime
    | TimeIs
    | Pumped
    | PumpNow
)

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(Message)


def encode(message: msgspec.Struct) -> bytes:
    """The bytes of one message, without its length."""
    return _encoder.encode(message)


def decode(data: bytes) -> Message:
    """The message in `data`. Raises `ValueError` on anything that is not exactly one known message."""
    try:
        message: Message = _decoder.decode(data)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(str(error)) from error
    return message


class _Letter(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    id: int
    message: msgspec.Raw


class _AnyMessage(msgspec.Struct, frozen=True):
    type: str


_letter_decoder = msgspec.msgpack.Decoder(_Letter)
_kind_decoder = msgspec.msgpack.Decoder(_AnyMessage)
_kinds = frozenset(kind.__struct_config__.tag for kind in get_args(Message))


def pack(id: int, message: msgspec.Struct) -> bytes:
    """
    A message with the number that its answer will carry; 0 for one that wants none.

    Raises:
        ValueError: It would be larger than `MAX_FRAME`.
    """
    data = _encoder.encode((id, message))
    if len(data) > MAX_FRAME:
        raise ValueError(f"{type(message).__name__} of {len(data)} bytes, {MAX_FRAME} is the most")
    return data


def unpack(data: bytes) -> tuple[int, Message | None]:
    """
    What `pack` made: `(id, message)`, with `None` for a message of a type that this release does not know.

    Raises:
        ValueError: Anything else, also what `hybrid.canonical` refuses in parts that this release does not know.
    """
    try:
        id, message = _unpacked(data)
    except (msgspec.MsgspecError, RecursionError, MemoryError) as error:
        raise ValueError(str(error)) from error
    if message is None or canonical.suspicious(data) or _encoder.encode((id, message)) != data:
        canonical.check(data)
    return id, message


def _unpacked(data: bytes) -> tuple[int, Message | None]:
    letter = _letter_decoder.decode(data)
    try:
        return letter.id, _decoder.decode(letter.message)
    except msgspec.ValidationError:
        if _kind_decoder.decode(letter.message).type in _kinds:
            raise
        return letter.id, None
