"""
The audit log of a node: who asked it for what change, and what it decided itself, each entry bound to all before. Pure.

An entry holds the SHA-256 of the one before it, so none can be changed, taken out or put in without all that follow
being written anew; and from time to time a node tells the cluster how far its log is (`Witness`), so that even this is
noticed. Old entries go; what is left still hangs together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Literal

import msgspec

START = "0" * 64
"""What the first entry ever is bound to."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One line."""

    number: int
    """Grows by one, from 1."""
    at_s: float
    """Seconds since the epoch, as this node's clock said."""
    kind: Literal["call", "decision"]
    actor: str
    """The name of the token; of a decision the node's."""
    what: str
    """`POST /v1/sites/shop/move`; the kind of the decision."""
    site: str = ""
    """Its id, where it is about one and that is known."""
    outcome: str
    """The answer's status; of a decision what was said."""
    before: str
    """`digest` of the entry before."""


class Witness(msgspec.Struct, frozen=True):
    """What a node told the cluster of its log: that entry `number` has this digest."""

    number: int
    digest: str


class Fault(msgspec.Struct, frozen=True):
    """Where a log does not hang together."""

    number: int
    why: str


def digest(entry: Entry) -> str:
    """SHA-256, in hex, of an entry in JSON with its fields in the order above."""
    return hashlib.sha256(msgspec.json.encode(entry)).hexdigest()


def first_fault(entries: Iterable[Entry], witness: Witness | None = None) -> Fault | None:
    """
    The first fault of `entries`, the whole of a log, oldest first.

    Args:
        witness: What the cluster was told; its entry may have gone with age, but not have another content.
    """
    last: Entry | None = None
    for entry in entries:
        if last is not None and entry.number != last.number + 1:
            return Fault(entry.number, f"the entry before it is number {last.number}: some are missing")
        expected = START if entry.number == 1 else digest(last) if last is not None else entry.before
        if entry.before != expected:
            return Fault(entry.number, "an entry before it is not what it was when this one was written")
        if witness is not None and entry.number == witness.number and digest(entry) != witness.digest:
            return Fault(entry.number, "it is not what the node told the cluster when it was written")
        last = entry
    if witness is not None and (last is None or last.number < witness.number):
        return Fault(witness.number, "the node told the cluster of this entry, and its log ends before it")
    return None
