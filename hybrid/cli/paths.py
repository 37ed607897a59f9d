"""Paths and queries of the API, escaped. Pure."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode

Json = dict[str, Any]
"""A JSON object."""


def with_query(path: str, query: dict[str, object]) -> str:
    """`path?query`, without arguments that are `None`."""
    given = {name: str(value) for name, value in query.items() if value is not None}
    return f"{path}?{urlencode(given)}" if given else path


def segment(name: str) -> str:
    """One part of a path, escaped: whatever a person types stays one part."""
    return quote(name, safe="")
