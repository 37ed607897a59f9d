"""Puts registers into messages that are small enough to be sent, checked and merged between two heartbeats. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

import msgspec

from hybrid.cluster.news import CopyOf, Name, Self, Value, Word
from hybrid.model import Copy, NodeId, NodeRegister, Shared, SiteId, SiteRegister, Version
from hybrid.wire import Gossip

MAX_PARTS = 500
"""Parts in one message: to check that many signatures takes well under a tenth of a second."""
MAX_BYTES = 1024 * 1024
"""Bytes in one message, unless a single part is larger."""

Part = SiteRegister | Copy | NodeRegister | Shared
_encode = msgspec.msgpack.Encoder().encode
_UNSAID = Version(0, 0)


class Registered(Protocol):
    """A ledger, as it is read here."""

    def registers(self, site: SiteId) -> Mapping[NodeId, SiteRegister]:
        """What each node says about `site`."""

    def nodes(self) -> Mapping[NodeId, NodeRegister]:
        """What each node says about itself."""

    def speaks_of(self, node: NodeId) -> bool:
        """Whether others are told what `node` says of sites."""

    def shared_entry(self, key: str) -> Shared | None:
        """A shared value, a tombstone too."""


def parcel(ledger: Registered, names: Iterable[Name]) -> tuple[Gossip, list[Name]]:
    """
    What `names` stand for now, as one message.

    Returns:
        The message, and the names for which there was no room. Names of what is not known are dropped.
    """
    nodes: dict[NodeId, NodeRegister] = {}
    sites: dict[NodeId, dict[SiteId, SiteRegister]] = {}
    copies: dict[NodeId, dict[SiteId, Copy]] = {}
    shared: dict[str, Shared] = {}
    left: list[Name] = []
    parts = size = 0
    part: Part | None = None
    for name in names:
        if part is not None:  # the size of the last one concerns nobody
            parts, size = parts + 1, size + len(_encode(part))
        if parts >= MAX_PARTS or size >= MAX_BYTES:
            left.append(name)
            part = None
            continue
        part = part_of(ledger, name)
        if part is None:
            continue
        match name, part:
            case Word(node, site), SiteRegister():
                sites.setdefault(node, {})[site] = part
            case CopyOf(node, site), Copy():
                copies.setdefault(node, {})[site] = part
            case Self(node), NodeRegister():
                nodes[node] = part
            case Value(key), Shared():
                shared[key] = part
    return Gossip(nodes=nodes, sites=sites, copies=copies, shared=shared), left


def part_of(ledger: Registered, name: Name) -> Part | None:
    """What `name` stands for; `None` if nothing was ever said."""
    match name:
        case Word(node, site) if ledger.speaks_of(node):
            register = ledger.registers(site).get(node)
            return register.word if register is not None and register.version != _UNSAID else None
        case CopyOf(node, site) if ledger.speaks_of(node):
            register = ledger.registers(site).get(node)
            return register.copy if register is not None and register.copy_version != _UNSAID else None
        case Self(node):
            return ledger.nodes().get(node)
        case Value(key):
            return ledger.shared_entry(key)
        case _:
            return None
