"""
How values of any length and content become ZFS user properties `hybrid:*`, and back. Pure.

ZFS pool version 23 keeps at most 1023 bytes in a property and sets one at a time, and its listing separates columns by
tabs and rows by newlines, and it refuses an empty value. So a value is percent-encoded to plain ASCII, an empty one
written `~`, and a long one cut into pieces:

    hybrid:spec              ~3.1f2e3d4c~<first piece>        the head: number of pieces, digest of the value
    hybrid:spec.1f2e3d4c.1   <second piece>                   the rest, under names of this very value
    hybrid:spec.1f2e3d4c.2   <third piece>

The rest is written before the head and removed after it, so a crash in between leaves the old value whole.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from urllib.parse import quote, unquote

PREFIX = "hybrid:"
PIECE_BYTES = 1000
_HEAD_BYTES = 24
_SAFE = "".join(map(chr, range(0x21, 0x7F))).replace("%", "").replace("~", "") + " "
_EMPTY = "~"
_HEAD = re.compile(r"~(\d+)\.([0-9a-f]{8})~")

Change = tuple[str, str | None]
"""A raw property to set, or with `None` to remove."""


def pieces(key: str, value: str) -> dict[str, str]:
    """The raw properties of one value; the head is last."""
    text = quote(value, safe=_SAFE) or _EMPTY
    if len(text) <= PIECE_BYTES:
        return {PREFIX + key: text}
    first, rest = text[: PIECE_BYTES - _HEAD_BYTES], text[PIECE_BYTES - _HEAD_BYTES :]
    tails = [rest[at : at + PIECE_BYTES] for at in range(0, len(rest), PIECE_BYTES)]
    digest = hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
    raw = {f"{PREFIX}{key}.{digest}.{number}": tail for number, tail in enumerate(tails, 1)}
    raw[PREFIX + key] = f"~{len(tails) + 1}.{digest}~{first}"
    return raw


def join(raw: Mapping[str, str]) -> dict[str, str]:
    """
    The values in raw properties (other than `hybrid:*` are passed over), by key.

    A value whose pieces are not all there is left out: somebody else's hand was at it.
    """
    keys = [name.removeprefix(PREFIX) for name in raw if name.startswith(PREFIX) and "." not in name]
    values = {key: _joined(raw, key) for key in keys}
    return {key: unquote(value) for key, value in values.items() if value is not None}


def changes(raw: Mapping[str, str], wanted: Mapping[str, str | None]) -> list[Change]:
    """What to set and remove, in this order, so that `raw` comes to say `wanted`; what is right already is left."""
    todo: list[Change] = []
    stale: list[Change] = []
    for key, value in wanted.items():
        new = {} if value is None else pieces(key, value)
        todo += [(name, text) for name, text in new.items() if raw.get(name) != text]
        stale += [(name, None) for name in _of(raw, key) if name not in new]
    return todo + sorted(stale)  # the head of a removed value goes before its rest


def _joined(raw: Mapping[str, str], key: str) -> str | None:
    head = raw[PREFIX + key]
    match = _HEAD.match(head)
    if match is None:
        return "" if head == _EMPTY else head
    names = [f"{PREFIX}{key}.{match[2]}.{number}" for number in range(1, int(match[1]))]
    if not all(name in raw for name in names):
        return None
    return head[match.end() :] + "".join(raw[name] for name in names)


def _of(raw: Iterable[str], key: str) -> list[str]:
    return [name for name in raw if name == PREFIX + key or name.startswith(f"{PREFIX}{key}.")]
