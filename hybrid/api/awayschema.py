"""What goes in and out of the API about copies far away. Pure; part of the schema."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from hybrid.api.pastschema import MomentText
from hybrid.api.schema import Body
from hybrid.away.stores import DAY_S


class NewAwayStore(Body, frozen=True):
    """A folder of an S3-compatible store that copies go to, or that a lost cluster filled."""

    name: Annotated[str, Meta(max_length=32)]
    endpoint: Annotated[str, Meta(max_length=255)]
    """`https://host[:port]`."""
    bucket: Annotated[str, Meta(max_length=63)]
    access_key: Annotated[str, Meta(min_length=1, max_length=128)]
    secret_key: Annotated[str, Meta(min_length=1, max_length=256)]
    region: Annotated[str, Meta(min_length=1, max_length=64)] = "us-east-1"
    folder: Annotated[str, Meta(max_length=200)] = ""
    recovery_key: Annotated[str, Meta(max_length=200)] = ""
    """Of the cluster that filled it; empty: a new key."""
    every_s: Annotated[float, Meta(ge=60)] = 3600.0
    keep_s: Annotated[float, Meta(ge=DAY_S)] = 30 * DAY_S
    follow: bool = False
    """Keep sites there that this cluster does not have ready, to be promoted at once."""


class AwayRestore(Body, frozen=True):
    """Which site to bring back, as it was when."""

    site: Annotated[str, Meta(min_length=1, max_length=80)]
    """Its id, or its name then."""
    at: MomentText | None = None
    """A time or an age; the newest moment at or before it."""


class AwayShip(Body, frozen=True):
    """To which store."""

    store: Annotated[str, Meta(min_length=1, max_length=32)]


class AwayStoreAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A store, without its secrets."""

    name: str
    endpoint: str
    bucket: str
    folder: str
    region: str
    every_s: float
    keep_s: float
    follow: bool


class AwayStoreAdded(AwayStoreAnswer, frozen=True, kw_only=True):
    """A new store, and once the key without which what lies there cannot be read."""

    recovery_key: str


class AwaySiteAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A site in a store."""

    site: str
    name: str
    newest_at: str
    age_s: int
    moments: int
    """That can be restored."""
    bytes: int
