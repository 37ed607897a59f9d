"""
`--filter state=serving`: which items of a list are shown. Pure.

`FIELD=TEXT` is it, `!=` is not, `~` contains (without regard to case), `<` and `>` compare numbers; sizes and times may
be written as elsewhere (`>1G`, `<10m`). Of a field that is a list, one part is enough; several filters hold together.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from hybrid.cli.columns import Column, Item, text
from hybrid.cli.exits import USAGE, CliError
from hybrid.cli.units import duration, size

_FORM = re.compile(r"\s*([A-Za-z0-9_]+)\s*(!=|=|~|<|>)\s*(.*)", re.DOTALL)


def filtered(filters: Sequence[str], items: Sequence[Item], columns: Sequence[Column]) -> list[Item]:
    """
    The items for which all `filters` hold.

    Raises:
        CliError: One is none, names a field that is not there, or compares with what is no number.
    """
    rules = [_rule(one, items, columns) for one in filters]
    return [item for item in items if all(_holds(item.get(rule[0]), *rule) for rule in rules)]


def _rule(one: str, items: Sequence[Item], columns: Sequence[Column]) -> tuple[str, str, str]:
    form = _FORM.fullmatch(one)
    if form is None:
        forms = "FIELD=TEXT, FIELD!=TEXT, FIELD~TEXT, FIELD<NUMBER, FIELD>NUMBER"
        raise CliError(f"{one!r} is no filter", "", forms, USAGE)
    field, sign, wanted = form[1], form[2], form[3].strip()
    fields = list(dict.fromkeys([*(key for item in items[:1] for key in item), *(column.key for column in columns)]))
    if field not in fields:
        raise CliError(f"there is no field {field!r}", "", "there are " + ", ".join(fields), USAGE)
    if sign in "<>" and _number(wanted, field) is None:
        raise CliError(f"{wanted!r} is no number", "", f"as in {field}>10, {field}>1G, {field}<10m", USAGE)
    return field, sign, wanted


def _holds(value: object, field: str, sign: str, wanted: str) -> bool:
    parts = value if isinstance(value, list) else [value]
    match sign:
        case "=":
            return any(_same(part, field, wanted) for part in parts)
        case "!=":
            return not any(_same(part, field, wanted) for part in parts)
        case "~":
            return any(wanted.lower() in text(part).lower() for part in parts)
    bound = _number(wanted, field)
    known = [len(value)] if isinstance(value, list) else [value]
    numbers = [part for part in known if isinstance(part, int | float)]
    return bound is not None and any(part < bound if sign == "<" else part > bound for part in numbers)


def _same(value: object, field: str, wanted: str) -> bool:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value == _number(wanted, field)
    return wanted in (text(value), "" if value is None else str(value))


def _number(wanted: str, field: str) -> float | None:
    """`10m` is ten minutes of a field in seconds, else ten mebibytes."""
    for read in (float, duration if field.endswith("_s") else size):
        try:
            return float(read(wanted))
        except ValueError:
            continue
    return None
