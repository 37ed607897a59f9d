"""What the cluster says of sites of which nothing else is said, as it stands in the shared map. Pure."""

from __future__ import annotations

import msgspec

from hybrid.grid import DEFAULT_TEXT

KEY = "defaults"


class Defaults(msgspec.Struct, frozen=True):
    """Unknown fields are those of a later release, and left alone by this one."""

    retention: str = DEFAULT_TEXT
    """How histories are kept, see `hybrid.grid`."""
    bursting: bool = True
    """Whether neighbours of a busy site move away, on nodes that may (`[bursting]` of their settings)."""


def decode(value: str | None) -> Defaults:
    """What stands in the shared map; what cannot be read says nothing."""
    try:
        return msgspec.json.decode(value, type=Defaults) if value else Defaults()
    except msgspec.MsgspecError:
        return Defaults()


def encode(defaults: Defaults) -> str:
    """As it stands in the shared map."""
    return msgspec.json.encode(defaults).decode()
