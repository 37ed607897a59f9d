"""What the API takes to clone a site. Pure."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from hybrid.api.pastschema import MomentText
from hybrid.api.schema import Body, Copies, Domains


class NewClone(Body, frozen=True):
    """A clone to make of a site; what is left out is as with that site."""

    name: str
    domains: Domains = ()
    """Default: `<name>.<main zone>`."""
    at: MomentText | None = None
    """The moment to begin from; default: now."""
    copies: Copies | None = None
    environment: Annotated[dict[str, str], Meta(max_length=100)] = msgspec.field(default_factory=dict)
    """On top of that of the other site: secrets of its own."""
