"""What panels send: fields of a query and of a form, and who they say they are. Pure."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from urllib.parse import parse_qsl

from hybrid.errors import BadRequest

MAX_FIELDS = 500
Fields = Mapping[str, str]


def fields_of(query: str, body: bytes) -> dict[str, str]:
    """
    The fields of both; those of the body win.

    Raises:
        BadRequest: They cannot be read.
    """
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
        pairs += parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
    except ValueError as error:
        raise BadRequest("the form cannot be read", str(error)) from error
    found = dict(pairs)
    if any("\0" in value for value in found.values()):
        raise BadRequest("a field contains a NUL")
    return found


def needed(fields: Fields, *names: str) -> str:
    """The first of those fields that says something. Raises `BadRequest` when none does."""
    for name in names:
        if fields.get(name, "").strip():
            return fields[name].strip()
    raise BadRequest(f"{names[0]} is missing")


def panel_token(authorization: str) -> tuple[str, str]:
    """User and token of `Authorization: WHM user:token`, or of Basic (RFC 7617); empty where it is neither."""
    scheme, _, rest = authorization.partition(" ")
    if scheme.lower() == "basic":
        try:
            rest = base64.b64decode(rest.strip(), validate=True).decode("utf-8")
        except (binascii.Error, ValueError):
            return "", ""
    elif scheme.lower() != "whm":
        return "", ""
    user, _, token = rest.strip().partition(":")
    return user, token.strip()


def megabytes(text: str) -> int | None:
    """Bytes of a bound in MB as panels say it; `None`: none (`unlimited`, 0, nothing). Raises `BadRequest`."""
    given = text.strip().lower()
    if given in ("", "0", "unlimited"):
        return None
    if not (given.isascii() and given.isdigit() and len(given) <= 12):
        raise BadRequest("that is no number of megabytes", f"{given[:20]!r}", "a whole number, or `unlimited`")
    return int(given) * 2**20
