"""
Reading request bodies: JSON (RFC 8259) as strict as a hostile internet asks for, into `msgspec.Struct`s. Pure.

Refused: more than `MAX_BYTES`, deeper than `MAX_DEPTH`, a key given twice, NaN and infinities, unknown fields.
"""

from __future__ import annotations

import json
from typing import TypeVar

import msgspec

from hybrid.api.names import nearest, shown
from hybrid.errors import BadRequest, TooLarge

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 50

T = TypeVar("T", bound=msgspec.Struct)


def decode(data: bytes, kind: type[T]) -> T:
    """
    The `kind` in `data`; no data at all counts as `{}`.

    Raises:
        TooLarge: More than `MAX_BYTES`.
        BadRequest: Not JSON, or not a `kind`; says where and what was expected.
    """
    if len(data) > MAX_BYTES:
        raise TooLarge("the body is too large", f"{len(data)} bytes, at most {MAX_BYTES} are read")
    value = parse(data) if data.strip() else {}
    try:
        return msgspec.convert(value, kind, strict=True)
    except msgspec.ValidationError as error:
        raise BadRequest("the body is not valid", str(error), _suggestion(str(error), kind)) from error


def parse(data: bytes) -> object:
    """The JSON value in `data`. Raises `BadRequest`."""
    _check_depth(data)
    try:
        value: object = json.loads(
            data.decode("utf-8"), object_pairs_hook=_unique_keys, parse_constant=_no_constant, parse_float=_finite
        )
    except UnicodeDecodeError as error:
        raise BadRequest("the body is not JSON", f"not UTF-8 at byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise BadRequest("the body is not JSON", f"{error.msg} at line {error.lineno} column {error.colno}") from error
    except ValueError as error:  # an integer of more than 4300 digits
        raise BadRequest("the body is not JSON that can be used", str(error)) from error
    return value


def _check_depth(data: bytes) -> None:
    """Count brackets outside strings, before the recursive parser sees them."""
    depth, in_string, escaped = 0, False, False
    for byte in data:
        if in_string:
            if escaped:
                escaped = False
            elif byte == 0x5C:
                escaped = True
            elif byte == 0x22:
                in_string = False
        elif byte == 0x22:
            in_string = True
        elif byte in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise BadRequest("the body is nested too deeply", f"at most {MAX_DEPTH} levels are read")
        elif byte in b"]}":
            depth -= 1


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object whose keys are all different: two readers must never see two different requests."""
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise BadRequest("the body is not JSON that can be used", f"the key {shown(twice)} is given twice")
    return found


def _no_constant(name: str) -> object:
    """`NaN`, `Infinity` and `-Infinity` are Python's, not JSON's."""
    raise BadRequest("the body is not JSON", f"{name} is no JSON value")


def _finite(text: str) -> float:
    """A float that is one: `1e999` is refused."""
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise BadRequest("the body is not JSON that can be used", f"the number {shown(text)} is too large")
    return value


def _suggestion(message: str, kind: type[msgspec.Struct]) -> str:
    """What to try, when a field's name is not known."""
    if "unknown field" not in message:
        return ""
    wrong = message.split("`")[1]
    known = list(kind.__struct_encode_fields__)
    return nearest(wrong, known) or "known fields: " + ", ".join(known)
