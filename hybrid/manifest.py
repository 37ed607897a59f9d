"""What an image's manifest says of how a site is looked after: how to tell that it works. Pure values."""

from __future__ import annotations

from typing import Annotated

import msgspec


class Health(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    How to tell, from inside its container, that a site works: `[health]` in a manifest.

    Without a `command` its first port is asked: one of protocol `http` has to answer a GET with a status below 500, any
    other to accept a connection. A site without ports works when its container runs.
    """

    command: tuple[str, ...] = ()
    """Run in the container; status 0 means that it works."""
    path: Annotated[str, msgspec.Meta(pattern="^/[!-~]*$")] = "/"
    """What is asked for by GET."""
    within_s: float = 60.0
    """It has so long from the start of the container on, and is asked again until then."""
