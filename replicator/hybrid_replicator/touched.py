"""Which folders a comparison has to look into, from what the pool says has changed. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from hybrid.ports import Change

MOST = 20_000
"""With more of them, the whole is walked."""


def folders(changes: Iterable[Change]) -> tuple[bytes, ...] | None:
    """
    The folders in which something changed, with all above them, sorted; `b""` is the root.

    `None` when there are too many to be told.
    """
    found: set[bytes] = set()
    for change in changes:
        for path in (change.path, change.new_path or change.path):
            while path:
                path = path.rpartition(b"/")[0]
                found.add(path)
        if len(found) > MOST:
            return None
    return tuple(sorted(found))
