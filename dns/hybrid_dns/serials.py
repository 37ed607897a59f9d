"""
The SOA serial: one for all zones of a cluster, and what it stands for. Pure.

The leader (the live node with the smallest id) writes it into the shared map with a digest of the contents, whenever
these are others: seconds since the epoch, or one more than the last. On both sides of a partition it goes on so. When
they meet, the later write wins; where that is smaller than what was served, the leader goes on above it. Nobody ever
serves a smaller one than it did before.
"""

from __future__ import annotations

import hashlib

import msgspec

from hybrid.view import View
from hybrid_dns.zone import Contents

KEY = "dns/serial"
MODULUS = 2**32
_encode = msgspec.msgpack.Encoder(order="deterministic").encode


class Serial(msgspec.Struct, frozen=True):
    """What stands in the shared map."""

    serial: int
    digest: str
    """Of the contents it stands for."""


def digest(contents: Contents) -> str:
    """Equal for equal contents, on all nodes."""
    return hashlib.blake2b(_encode(contents), digest_size=16).hexdigest()


def read(value: str | None) -> Serial:
    """The entry; 0 for nothing, or nothing that can be read."""
    try:
        return msgspec.json.decode(value or "", type=Serial)
    except msgspec.MsgspecError:
        return Serial(0, "")


def leads(view: View) -> bool:
    """Whether this node is to write it."""
    live = [node.id for node in view.nodes.values() if node.live]
    return bool(live) and min(live) == view.me


def next_entry(entry: Serial, served: int, now: str, now_s: float) -> str | None:
    """
    What the leader is to write; `None` when the entry is right.

    Args:
        entry: What stands there.
        served: The largest this node served.
        now: The digest of what is published now.
        now_s: Seconds since the epoch.
    """
    if entry.digest == now and entry.serial >= served:
        return None
    serial = max(entry.serial + 1, served + 1, int(now_s)) % MODULUS
    return msgspec.json.encode(Serial(serial, now)).decode()
