"""
What is wrong with a document that should become a Struct: all of it, by key, with what would be allowed. Pure.

`msgspec.convert` stops at the first mistake and tells types as Python has them; who writes settings wants neither.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args, get_origin, get_type_hints

import msgspec
from msgspec import inspect


@dataclass(frozen=True, slots=True)
class Trouble:
    """One key: which (dotted), what is wrong with it, what is allowed."""

    key: str
    wrong: str
    allowed: str

    def __str__(self) -> str:
        return f"`{self.key}` {self.wrong} (allowed: {self.allowed})"


def troubles_of(document: Mapping[str, Any], struct: type[msgspec.Struct], above: str = "") -> Iterator[Trouble]:
    """In the order of the document, then what is missing, in the order of the Struct. `above`: a prefix for keys."""
    hints = get_type_hints(struct, include_extras=True)
    for key, value in document.items():
        if key in hints:
            yield from _of_value(value, hints[key], above + key)
        else:
            near = difflib.get_close_matches(key, hints, n=1)
            yield Trouble(
                above + key, "is no key", f"did you mean `{near[0]}`?" if near else f"known: {', '.join(hints)}"
            )
    for field in msgspec.structs.fields(struct):
        if field.required and field.name not in document:
            yield Trouble(above + field.name, "is missing", allowed(hints[field.name]))


def _of_value(value: Any, hint: Any, key: str) -> Iterator[Trouble]:
    item = _struct_in_list(hint)
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct) and isinstance(value, Mapping):
        yield from troubles_of(value, hint, f"{key}.")
    elif item is not None and isinstance(value, list) and all(isinstance(one, Mapping) for one in value):
        for number, one in enumerate(value):
            yield from troubles_of(one, item, f"{key}[{number}].")
    else:
        try:
            msgspec.convert(value, hint)
        except msgspec.ValidationError:
            yield Trouble(key, f"is {json.dumps(value, default=str, ensure_ascii=False)}", allowed(hint))


def _struct_in_list(hint: Any) -> type[msgspec.Struct] | None:
    """The Struct of `tuple[Struct, ...]`."""
    inside = get_args(hint)
    if get_origin(hint) is tuple and len(inside) == 2 and inside[1] is ... and isinstance(inside[0], type):
        return inside[0] if issubclass(inside[0], msgspec.Struct) else None
    return None


def allowed(hint: Any) -> str:
    """In words, which values a type takes."""
    return _words(inspect.type_info(hint))


def _words(kind: Any) -> str:
    if isinstance(kind, inspect.BoolType):
        return "true or false"
    if isinstance(kind, inspect.IntType | inspect.FloatType):
        return _number(kind)
    if isinstance(kind, inspect.StrType):
        return f"text that matches {kind.pattern}" if kind.pattern else "text"
    if isinstance(kind, inspect.LiteralType):
        return " or ".join(json.dumps(value) for value in kind.values)
    if isinstance(kind, inspect.VarTupleType):
        return f"a list, each {_words(kind.item_type)}"
    if isinstance(kind, inspect.TupleType):
        return f"[{', '.join(_words(item) for item in kind.item_types)}]"
    if isinstance(kind, inspect.StructType):
        return f"a table of {', '.join(field.name for field in kind.fields)}"
    raise TypeError(f"no words for {kind}")


def _number(kind: inspect.IntType | inspect.FloatType) -> str:
    name = "a whole number" if isinstance(kind, inspect.IntType) else "a number"
    if kind.ge is not None and kind.le is not None:
        return f"{name} from {kind.ge} to {kind.le}"
    return f"{name}, at least {kind.ge}" if kind.ge is not None else name
