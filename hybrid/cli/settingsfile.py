"""`hybrid.toml` as `hybrid init` and `hybrid join` write it: what is there, with what was asked for. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from hybrid.cli.settingsdoc import first_sentence, fresh, toml

_TABLE = re.compile(r"^[ \t]*\[", re.MULTILINE)


def with_values(text: str, values: Mapping[str, str | int | bool]) -> str:
    """
    The settings file `text` with `values` for keys of its top.

    A key that is there, maybe in a comment, is set in its place; others come before the first table. All else stays.
    """
    match = _TABLE.search(text)
    end = match.start() if match else len(text)
    top, tables = text[:end], text[end:]
    for key, value in values.items():
        top = _set(top, key, f"{key} = {toml(value)}")
    return top + tables


def render(values: Mapping[str, str | int | bool]) -> str:
    """A new file."""
    return with_values(fresh(), values)


def _set(top: str, key: str, line: str) -> str:
    for pattern in (rf"^[ \t]*{key}[ \t]*=.*$", rf"^#[ \t]*{key}[ \t]*=.*$"):
        found = re.search(pattern, top, re.MULTILINE)
        if found:
            return top[: found.start()] + line + top[found.end() :]
    gap = "" if not top or top.endswith("\n") else "\n"
    return f"{top}{gap}\n# {first_sentence(key)}\n{line}\n"
