"""
Deleted sites: a tombstone in the shared map, and who may act on it (rule R12). Pure.

A tombstone names the head it buries. A node whose history goes on after that head does not obey: somebody wrote
there while it was cut off, and a person decides.
"""

from __future__ import annotations

import msgspec

from hybrid.history import History
from hybrid.model import Claim, Guid, SiteId

KEY = "deleted/"
"""Shared keys: `deleted/<site-id>`."""


class Tombstone(msgspec.Struct, frozen=True):
    """Says that a site was deleted by its owner."""

    site: SiteId
    name: str
    claim: Claim
    head: Guid | None
    at_s: int


def encode(tombstone: Tombstone) -> tuple[str, str]:
    """Key and value for the shared map."""
    return KEY + tombstone.site, msgspec.json.encode(tombstone).decode()


def decode(key: str, value: str) -> Tombstone | None:
    """The tombstone of a shared entry, or `None` if it is something else."""
    if not key.startswith(KEY):
        return None
    try:
        return msgspec.json.decode(value, type=Tombstone)
    except msgspec.MsgspecError:
        return None


def obeyed(tombstone: Tombstone, history: History) -> bool:
    """Whether a node with this main line may put it in the trash: nothing there is newer than what was buried."""
    if not history or tombstone.head is None:
        return True
    if any(snapshot.guid == tombstone.head for snapshot in history):
        return history[-1].guid == tombstone.head
    return history[-1].epoch <= tombstone.claim.epoch
