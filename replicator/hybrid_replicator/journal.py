"""
What is written down before histories are swapped, so that a crash at any step can be finished; and stash ids. Pure.

One intent per site, as JSON in property `intent-<site-id>` of dataset `stash/journal`.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain, count

import msgspec

from hybrid.deeds import StashReason
from hybrid.model import Guid, NodeId, SiteId, Snapshot, Stash
from hybrid_replicator.names import CLAIM, short_node


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """The main line of `site` becomes stash `id`; a new main line takes its place."""

    id: str
    site: SiteId
    why: StashReason
    base: Guid | None
    """Where the new main line ends when it is a clone; `None`: it comes from `source`, or there is none."""
    source: str | None = None
    """The dataset of the stash that becomes the main line, with all its history."""
    source_head: Guid | None = None
    """Newest snapshot of `source`, held as that of a stash until now."""
    head: Snapshot
    """Newest snapshot of what is set aside."""
    properties: dict[str, str]
    """Of the main line, to be written onto the new one: a clone inherits none."""
    at_s: float
    """Wall time of the decision."""


def encode(intent: Intent) -> str:
    """The intent as a property value."""
    return msgspec.json.encode(intent).decode()


def decode(value: str) -> Intent:
    """Read what `encode` wrote. Raises `msgspec.MsgspecError` on anything else."""
    return msgspec.json.decode(value, type=Intent)


def stash_id(site: SiteId, head: Snapshot, me: NodeId, base: Guid | None, taken: Callable[[str], bool]) -> str:
    """
    A new stash's id, `<site-id>.<epoch>.<node8>.<base8>`, with a number added while it is taken.

    Args:
        head: Newest snapshot of what is set aside; its epoch is mentioned.
        me: The node on which it happens.
        base: Newest common snapshot; `none` is mentioned when there is no such thing.
        taken: Whether an id is in use.
    """
    name = f"{site}.{head.epoch:06d}.{short_node(me)}.{f'{base:016x}'[:8] if base is not None else 'none'}"
    return next(one for one in chain([name], (f"{name}.{number}" for number in count(2))) if not taken(one))


def without_claim(intent: Intent) -> Intent:
    """For recovery: who comes back after a crash is a replica first, whatever it was before."""
    left = {key: value for key, value in intent.properties.items() if key != CLAIM}
    return msgspec.structs.replace(intent, properties=left)


def record(intent: Intent, base: Guid | None) -> Stash:
    """What is listed of the stash that `intent` makes, whose newest snapshot in common is `base`."""
    return Stash(
        id=intent.id,
        site=intent.site,
        base=base,
        head=intent.head.guid,
        head_at_s=intent.head.created_at_s,
        why=intent.why,
    )
