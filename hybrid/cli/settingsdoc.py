"""
The documentation of the settings, from the Structs of `hybrid.settings`. Reads their source, decides nothing.

A key is documented by the text below it in the source; `keys` finds that, so that no second list of keys can grow old.
"""

from __future__ import annotations

import ast
import inspect
import json
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, get_args, get_type_hints

import msgspec

from hybrid.settings import Settings
from hybrid.structcheck import allowed

NEEDED = (
    "name",
    "dc",
    "address",
    "pool",
    "zfs_daemon",
    "cluster_port",
    "api_port",
    "http_port",
    "https_port",
    "dns_port",
)
"""What a fresh `/etc/hybrid/hybrid.toml` shows; of these only `name` and `address` have no default."""


@dataclass(frozen=True, slots=True)
class Key:
    """
    One setting.

    Attributes:
        table: `strict`, `replication.limits`; empty at the top.
        listed: The table is one of several of that name, `[[…]]`.
        default: As TOML; empty where there is none.
    """

    table: str
    listed: bool
    name: str
    text: str
    allowed: str
    default: str


@cache
def keys() -> tuple[Key, ...]:
    """All settings, tables last."""
    return tuple(_keys(Settings, "", False))


def _keys(struct: type[msgspec.Struct], table: str, listed: bool) -> Iterator[Key]:
    texts, hints = _texts(struct), get_type_hints(struct, include_extras=True)
    inner = []
    for field in msgspec.structs.fields(struct):
        below = _struct_of(hints[field.name])
        if below is not None:
            inner.append((below, f"{table}.{field.name}".strip("."), below is not hints[field.name]))
            continue
        default = "" if field.required else toml(field.default)
        yield Key(table, listed, field.name, texts[field.name], allowed(hints[field.name]), default)
    for below, name, several in inner:
        yield from _keys(below, name, several)


def table_text(table: str) -> str:
    """What a table is about: the text of the Struct that it is."""
    struct: Any = Settings
    for name in table.split("."):
        struct = _struct_of(get_type_hints(struct, include_extras=True)[name])
    return " ".join((struct.__doc__ or "").split())


def reference() -> str:
    """A settings file with every key commented out at its default, and what it means."""
    lines = [
        "# Every setting of a Hybrid node, each at its default. A node reads /etc/hybrid/hybrid.toml;",
        "# `hybrid node check-config` tells what is wrong with a file.",
    ]
    table = ""
    for key in keys():
        if key.table != table:
            table = key.table
            head = f"[[{table}]]" if key.listed else f"[{table}]"
            lines += ["", *_commented(table_text(table)), f"# {head}"]
        lines += ["", *_commented(key.text), *_commented(f"({key.allowed})"), f"# {key.name} = {key.default or '…'}"]
    return "\n".join(lines) + "\n"


def fresh() -> str:
    """The file that a package installs: the needed keys, commented out, for `hybrid init` or a person to fill in."""
    lines = [
        "# Settings of this Hybrid node. `hybrid init` and `hybrid join` fill in what they are told; what is left out",
        "# has its default. All keys: hybrid.toml(5), `hybrid node settings`. Check it: `hybrid node check-config`.",
    ]
    by_name = {key.name: key for key in keys() if not key.table}
    for name in NEEDED:
        key = by_name[name]
        lines += ["", *_commented(key.text), f"# {name} = {key.default or '…'}"]
    return "\n".join(lines) + "\n"


def first_sentence(name: str) -> str:
    """Of what a key of the top means, for a line of the file."""
    text = next(key.text for key in keys() if key.name == name and not key.table)
    return text.split(". ")[0].split("; ")[0].rstrip(".")


def toml(value: Any) -> str:
    """A value as TOML: JSON's strings, numbers, booleans and lists are TOML's."""
    return json.dumps(value, ensure_ascii=False)


def _commented(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(text, 110)]


def _struct_of(hint: Any) -> type[msgspec.Struct] | None:
    """The Struct that a type is, or is a list of."""
    inside = get_args(hint)[0] if get_args(hint) else hint
    return inside if isinstance(inside, type) and issubclass(inside, msgspec.Struct) else None


@cache
def _texts(struct: type[msgspec.Struct]) -> dict[str, str]:
    """Field to the text below it, on one line. A field without one is missing."""
    body = ast.parse(inspect.getsource(struct)).body[0]
    assert isinstance(body, ast.ClassDef)
    texts = {}
    for field, below in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
            texts[field.target.id] = " ".join(str(ast.literal_eval(below.value)).split())
    return texts
