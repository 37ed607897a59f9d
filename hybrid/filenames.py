r"""
Names of files as text: what is not UTF-8 is kept, and shown, by escapes. Pure.

A file's name is any bytes but NUL and `/`. As text, bytes that are no UTF-8 are `\xHH` and a backslash is `\\`, so
that each name has one text and each text one name: what a listing shows may be given back to any other call.
"""

from __future__ import annotations

import re

_ESCAPE = re.compile(rb"\\(?:\\|x([0-9a-fA-F]{2}))")


def shown(name: bytes) -> str:
    """The text of a name or path."""
    return name.replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")


def given(text: str) -> bytes:
    """The name or path that `text` stands for; a backslash that begins no escape stands for itself."""
    return _ESCAPE.sub(_unescaped, text.encode("utf-8", "surrogateescape"))


def _unescaped(found: re.Match[bytes]) -> bytes:
    return b"\\" if found[1] is None else bytes([int(found[1], 16)])
