"""Columns: which fields of an item a list shows, and how. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from hybrid.cli.exits import USAGE, CliError
from hybrid.cli.table import Align
from hybrid.cli.units import shown_duration, shown_size

Item = dict[str, Any]

_GOOD = frozenset(("serving", "asleep", "up", "ok", "done", "running", "True", "yes"))
_ODD = frozenset(("changing", "degraded", "stopped", "interrupted"))
_BAD = frozenset(("down", "unavailable", "failed", "critical", "no"))


def text(value: object) -> str:
    """Anything as it is; a list joined by commas; nothing as `-`."""
    if value in (None, "", [], {}):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ",".join(map(str, value))
    return str(value)


def bytes_(value: object) -> str:
    """A number of bytes."""
    return shown_size(value) if isinstance(value, int | float) else "-"


def seconds(value: object) -> str:
    """A duration."""
    return shown_duration(value) if isinstance(value, int | float) else "-"


def proven(value: object) -> str:
    """`3h ago`, `failed`: the last word on a site's copies, for a list."""
    if not isinstance(value, dict):
        return "-"
    if value["outcome"] == "failed" or value["good_age_s"] is None:
        return str(value["outcome"])
    return f"{shown_duration(value['good_age_s'])} ago"


def proof_sentence(value: object) -> str:
    """`last proven restorable 3 h ago, on n2 in 4.1 s`."""
    if not isinstance(value, dict):
        return "-"
    return f"{value['sentence']} (on {value['node']}, {value['seconds']} s)"


def taken(value: object) -> str:
    """`0.5 cores, 128M, 16 req/s`: what a site takes of its owner."""
    if not isinstance(value, dict) or not any(value.values()):
        return "-"
    parts = [f"{value['cpu']:.2g} cores" if value["cpu"] else "", bytes_(value["memory_bytes"] or None)]
    parts += [f"{value['requests_s']:.2g} req/s" if value["requests_s"] else ""]
    parts += [f"{bytes_(value['io_bytes_s'])}/s of disk" if value["io_bytes_s"] else ""]
    return ", ".join(part for part in parts if part not in ("", "-"))


def in_use(value: object) -> str:
    """`8 cores, 64G: 50% cpu, 12% memory, 0% disk`: what a node has, and what of that is in use."""
    if not isinstance(value, dict):
        return "-"
    has = f"{value['cores']:g} cores, {bytes_(value['memory_bytes'])}"
    return f"{has}: {value['cpu']:.0%} cpu, {value['memory']:.0%} memory, {value['io']:.0%} disk"


def ports(value: object) -> str:
    """`http 80, echo 7 on 7007`: ports of a container and those of the nodes that lead to them."""
    if not isinstance(value, list):
        return "-"
    shown = (f"{port['name']} {port['port']}" + _public(port.get("public_port")) for port in value)
    return ", ".join(shown) or "-"


def _public(port: int | None) -> str:
    return "" if port is None else f" on {port}"


class Column(NamedTuple):
    """A field and how it is shown to people. CSV and JSON give values as they are."""

    key: str
    title: str = ""
    show: Callable[[object], str] = text
    align: Align = "left"

    @property
    def heading(self) -> str:
        """The title, by default the key in capitals."""
        return self.title or self.key.upper().replace("_", " ")

    def cell(self, item: Item) -> str:
        """For people."""
        return self.show(item.get(self.key))

    def raw(self, item: Item) -> str:
        """For programs."""
        value = item.get(self.key)
        return "" if value is None else text(value) if isinstance(value, list) else str(value)


def chosen(option: str | None, default: Sequence[Column], items: Sequence[Item]) -> list[Column]:
    """
    The columns in `--columns a,b`, else the default ones.

    Raises:
        CliError: No item has a field of that name; names those there are.
    """
    if not option:
        return list(default)
    known = {column.key: column for column in default}
    fields = list(dict.fromkeys([*known, *(key for item in items[:1] for key in item)]))
    found = []
    for key in (part.strip() for part in option.split(",")):
        if key not in fields:
            raise CliError(f"there is no column {key!r}", "", "there are " + ", ".join(fields), USAGE)
        found.append(known.get(key, Column(key)))
    return found


def colour(cell: str) -> str:
    """The SGR code of a state; `""` for anything else. The word itself always says the same."""
    if cell in _GOOD:
        return "32"
    return "33" if cell in _ODD else "31" if cell in _BAD else ""
