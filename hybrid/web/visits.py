"""What a page is asked for: the path's names, the query, and who looks. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hybrid.web.layout import Visitor


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One look at a page."""

    visitor: Visitor
    names: Mapping[str, str]
    """Those in the path, decoded."""
    query: Mapping[str, str]
    """The last of each name."""
