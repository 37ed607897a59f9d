"""How pumps may compress blocks of a stream, and what this node has for it. Shell: looks for a library."""

from __future__ import annotations

import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

NAME = "zstd"
"""Zstandard (RFC 8878), each block for itself."""


@cache
def library() -> str | None:
    """The folder from which a pump can import it; empty: it needs none. `None`: there is none here."""
    if sys.version_info >= (3, 14):
        return ""
    try:
        found = find_spec("backports.zstd")
    except ModuleNotFoundError:
        return None
    return None if found is None or found.origin is None else str(Path(found.origin).parents[2])


def taken() -> tuple[str, ...]:
    """What this node takes."""
    return () if library() is None else (NAME,)
