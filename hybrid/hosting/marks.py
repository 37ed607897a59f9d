"""
Which snapshots of a site a person wants to keep: a part of its spec, so that it goes wherever the data go. Pure.
"""

from __future__ import annotations

import re

import msgspec

from hybrid.errors import BadRequest, Conflict
from hybrid.model import Guid, Mark, SiteSpec

MAX_MARKS = 50
"""Each one keeps data from being forgotten, and all of them travel with the site's word to every node."""
MAX_NOTE = 500
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,62}")


def marked(spec: SiteSpec, mark: Mark) -> SiteSpec:
    """
    `spec` with `mark`, in place of one of the same snapshot.

    Raises:
        BadRequest: No snapshot may be called so, or the note is too long.
        Conflict: Another one is called so, or there are `MAX_MARKS`.
    """
    if mark.name and (not _NAME.fullmatch(mark.name) or mark.name.startswith("hyb-")):
        raise BadRequest(
            f"{mark.name[:80]!r} is no name for a snapshot",
            "a letter, then letters, digits, dots, dashes and underscores, 63 in all, not beginning with hyb-",
        )
    if len(mark.note) > MAX_NOTE:
        raise BadRequest("the note is too long", f"{len(mark.note)} characters, at most {MAX_NOTE}")
    others = tuple(one for one in spec.marks if one.guid != mark.guid)
    if mark.name and any(one.name == mark.name for one in others):
        raise Conflict(f"another snapshot of {spec.name} is called {mark.name}", "", "take another name")
    if len(others) >= MAX_MARKS:
        raise Conflict(f"{spec.name} keeps {MAX_MARKS} snapshots already", "", "hybrid snap unlock one of them")
    return _with(spec, (*others, mark))


def unmarked(spec: SiteSpec, guid: Guid) -> SiteSpec:
    """`spec` without a mark of that snapshot; itself when there is none."""
    left = tuple(one for one in spec.marks if one.guid != guid)
    return spec if left == spec.marks else _with(spec, left)


def _with(spec: SiteSpec, marks: tuple[Mark, ...]) -> SiteSpec:
    return msgspec.structs.replace(spec, marks=marks, version=spec.version.next())
