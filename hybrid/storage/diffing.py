"""Reads what `zfs diff -FH` writes: kind, type and path, absolute and with octal escapes, one change a line. Pure."""

from __future__ import annotations

import re
from typing import Literal

from hybrid.ports import Change

_KINDS: dict[bytes, Literal["added", "removed", "modified", "renamed"]] = {
    b"+": "added",
    b"-": "removed",
    b"M": "modified",
    b"R": "renamed",
}
_TYPES: dict[bytes, Literal["file", "directory", "link"]] = {b"F": "file", b"/": "directory", b"@": "link"}
_ESCAPE = re.compile(rb"\\([0-7]{4})")


def changes(output: bytes, root: str) -> list[Change]:
    """
    The changes below `root`, where the dataset is mounted, by path.

    The root directory itself, whose times change with every file, is left out.
    """
    found = []
    for line in output.split(b"\n"):
        kind, type_, path, new_path, *_ = *line.split(b"\t"), b"", b"", b"", b""
        relative = _relative(path, root)
        if kind in _KINDS and relative:
            new = _relative(new_path, root) if kind == b"R" else None
            found.append(Change(_KINDS[kind], relative, _TYPES.get(type_, "other"), new))
    return sorted(found, key=lambda change: (change.path, change.kind))


def _relative(escaped: bytes, root: str) -> bytes:
    """A path below `root`."""
    plain = _ESCAPE.sub(lambda octal: bytes([int(octal[1], 8) & 0xFF]), escaped)
    return plain.removeprefix(root.encode().rstrip(b"/")).strip(b"/")
