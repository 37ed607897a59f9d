"""
Deleted sites: a signed tombstone in the shared map, and who may act on it (rule R12). Pure.

A tombstone names all that it buries. A node whose history goes on beyond that does not obey: somebody wrote there
while it was cut off, and a person decides. The entry stays for good, so that a copy which returns after years is buried
too; who wants the site back replaces it by `Undeleted`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

import msgspec

from hybrid.cluster.sealing import Seals
from hybrid.history import History
from hybrid.model import NO_CLAIM, Claim, Guid, NodeId, SiteId

KEY = "deleted/"
"""Shared keys: `deleted/<site-id>`."""
MOST = 512
"""Newest snapshots that a tombstone names; retention leaves fewer."""
KEEP_S = 7 * 86400
"""A deleted site can be brought back for so long."""
_PURPOSE = b"hybrid tombstone 1\0"


class Tombstone(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Says that a site was deleted by its owner."""

    site: SiteId
    name: str
    claim: Claim
    """The largest claim known when it was deleted."""
    buried: bytes
    """Guids of the history that was deleted, eight bytes each, newest first; at most `MOST`."""
    at_s: int
    by: NodeId
    moved_to: str = ""
    """The store far away from which it may come back: it was not deleted, but given to another cluster."""
    key: bytes = b""
    """Public key of `by`."""
    signature: bytes = b""

    @property
    def payload(self) -> bytes:
        """What is signed: everything said here but the signature."""
        return _PURPOSE + msgspec.msgpack.encode(msgspec.structs.replace(self, signature=b""))


class Undeleted(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Says that a person wants a deleted site back, or to stay."""

    site: SiteId
    at_s: int
    claim: Claim = NO_CLAIM
    """See `Tombstone`."""
    by: str = ""


Entry = Tombstone | Undeleted


def buried(guids: Iterable[Guid]) -> bytes:
    """What `Tombstone.buried` says of a history, given newest first."""
    return b"".join(struct.pack(">Q", guid) for guid, _ in zip(guids, range(MOST), strict=False))


def sealed(stone: Tombstone, seals: Seals) -> Tombstone:
    """`stone` with the signature of this node, which is `stone.by`."""
    stone = msgspec.structs.replace(stone, key=seals.key)
    return msgspec.structs.replace(stone, signature=seals.sign(stone.payload))


def genuine(stone: Tombstone, seals: Seals) -> bool:
    """Whether the node that it names said so."""
    return seals.belongs(stone.key, stone.by) and seals.valid(stone.key, stone.payload, stone.signature)


def encode(entry: Entry) -> tuple[str, str]:
    """Key and value for the shared map."""
    return KEY + entry.site, msgspec.json.encode(entry).decode()


def decode(key: str, value: str | None) -> Entry | None:
    """What a shared entry says, or `None` if it is something else, or about another site than its key."""
    if value is None or not key.startswith(KEY):
        return None
    try:
        entry: Entry = msgspec.json.decode(value, type=Entry)
    except msgspec.MsgspecError:
        return None
    return entry if KEY + entry.site == key else None


def obeyed(stone: Tombstone, history: History) -> bool:
    """Whether a node with this main line may put it in the trash: it ends in what was buried."""
    if not history:
        return True
    head = struct.pack(">Q", history[-1].guid)
    return any(stone.buried[at : at + 8] == head for at in range(0, len(stone.buried), 8))
