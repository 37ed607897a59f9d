"""
Which names of datasets, snapshots, hold tags and properties are taken. Pure.

Narrower than ZFS itself: a name that reaches a command line never starts with a dash, never holds `/ @ # % ..`, a space
or a control character where it has no business, so nothing given by a person can mean something else to `zfs`.
"""

from __future__ import annotations

import re
from functools import lru_cache

from hybrid.errors import StorageError
from hybrid.model import Guid

STRUCTURE = ("cluster", "images", "sites", "standby", "stash", "temporary", "trash")
"""The datasets below Hybrid's root that hold the others; never mounted, never listed."""

_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*\Z")
_KEY = re.compile(r"[a-z][a-z0-9_-]*\Z")
_BOOKMARK = re.compile(r"hyb-[0-9a-f]{16}-(.+)\Z")
_MAX_DATASET = 180
"""ZFS takes 255 bytes for pool, dataset and snapshot together."""
_MAX_PART = 64


@lru_cache(4096)
def check_dataset(name: str) -> str:
    """`name` if it may name a dataset below the root. Raises `StorageError`."""
    folder, _, leaf = name.partition("/")
    if folder not in STRUCTURE or len(name) > _MAX_DATASET or not _good_part(leaf):
        raise StorageError(
            f"{name!r} cannot name a dataset",
            f"it is a folder ({', '.join(STRUCTURE)}), a slash, and letters, digits or . _ : -, at most {_MAX_DATASET}",
        )
    return name


def check_snapshot(name: str) -> str:
    """`name` if it may name a snapshot. Raises `StorageError`."""
    if not _good_part(name) or len(name) > _MAX_PART:
        raise StorageError(f"{name!r} cannot name a snapshot", "letters, digits and . _ : - only, at most 64")
    return name


def check_tag(tag: str) -> str:
    """`tag` if it may name a hold. Raises `StorageError`."""
    if not _good_part(tag) or len(tag) > _MAX_PART:
        raise StorageError(f"{tag!r} cannot name a hold", "letters, digits and . _ : - only, at most 64")
    return tag


def check_key(key: str) -> str:
    """`key` if it may name a user property (without `hybrid:`). Raises `StorageError`."""
    if not _KEY.match(key) or len(key) > _MAX_PART:
        raise StorageError(f"{key!r} cannot name a property", "lower-case letters, digits and _ - only, at most 64")
    return key


def bookmark_name(tag: str, guid: Guid) -> str:
    """A bookmark's name: the same for the same, so that making it twice is found to be done, however it stood."""
    return f"hyb-{guid:016x}-{tag}"


def bookmark_tag(name: str) -> str:
    """The tag in a bookmark's name; empty for one that is not ours."""
    match = _BOOKMARK.match(name)
    return match[1] if match else ""


def _good_part(part: str) -> bool:
    return bool(_PART.match(part)) and ".." not in part
