"""What can be done from a page: each form is one call of the API. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import quote

from hybrid.cli.units import size
from hybrid.errors import BadRequest

Kind = Literal["text", "words", "whole", "number", "size", "flag"]
"""How a field is read: `words` are divided by spaces, a `size` may be written `20G`."""
_PARAMETER = re.compile(r"\{([a-z]+)\}")


@dataclass(frozen=True, slots=True)
class Form:
    """A call that a form makes."""

    method: Literal["POST", "PATCH", "DELETE"]
    template: str
    """Of the route; its `{names}` are fields of the form."""
    fields: Mapping[str, Kind] = field(default_factory=dict)
    """Of the body. A field that was left empty is left out."""
    shows: str = ""
    """The answer is shown, under this title: it holds something that is told once."""
    values: bool = False
    """Fields `value-<name>` become the body's `values`."""


_SITE = "/v1/sites/{site}"
_LIMITS: dict[str, Kind] = {
    "domains": "words",
    "copies": "whole",
    "ttl_s": "whole",
    "quota_bytes": "size",
    "history_budget_bytes": "size",
    "memory_bytes": "size",
    "cpus": "number",
    "retention": "text",
}
FORMS: Mapping[str, Form] = {
    "create-site": Form("POST", "/v1/sites", {"name": "text", "image": "text", "node": "text", **_LIMITS}),
    "change-site": Form("PATCH", _SITE, _LIMITS),
    "start-site": Form("POST", f"{_SITE}/start"),
    "stop-site": Form("POST", f"{_SITE}/stop"),
    "move-site": Form("POST", f"{_SITE}/move", {"to": "text"}),
    "delete-site": Form("DELETE", _SITE),
    "undelete-site": Form("POST", f"{_SITE}/undelete"),
    "pick": Form("POST", f"{_SITE}/pick", {"node": "text"}),
    "verify-site": Form("POST", f"{_SITE}/verify"),
    "snapshot": Form("POST", f"{_SITE}/snapshots", {"name": "text", "note": "text", "keep": "flag"}),
    "keep": Form("POST", f"{_SITE}/marks", {"snapshot": "text", "name": "text", "note": "text"}),
    "unkeep": Form("DELETE", f"{_SITE}/marks/{{mark}}"),
    "rollback": Form("POST", f"{_SITE}/rollback", {"to": "text"}),
    "undo": Form("POST", f"{_SITE}/undo"),
    "restore": Form("POST", f"{_SITE}/restore", {"snapshot": "text", "path": "text", "copy": "flag"}),
    "extract": Form("POST", f"{_SITE}/extracts", {"snapshot": "text", "name": "text"}, values=True),
    "preview": Form("POST", f"{_SITE}/previews", {"snapshot": "text"}),
    "end-preview": Form("DELETE", f"{_SITE}/previews/{{preview}}"),
    "adopt": Form("POST", f"{_SITE}/stashes/{{stash}}/adopt"),
    "discard": Form("DELETE", f"{_SITE}/stashes/{{stash}}"),
    "undiscard": Form("POST", f"{_SITE}/stashes/{{stash}}/undiscard"),
    "import-image": Form("POST", "/v1/images", {"name": "text"}),
    "remove-node": Form("DELETE", "/v1/nodes/{node}"),
    "join-token": Form("POST", "/v1/join-tokens", {"name": "text", "dc": "text"}, shows="A token for one new server"),
    "token": Form("POST", "/v1/tokens", {"name": "text", "rights": "text"}, shows="A token, shown this once"),
    "revoke-token": Form("DELETE", "/v1/tokens/{token}"),
}


def path_of(form: Form, given: Mapping[str, str]) -> str:
    """The path to call. Raises `BadRequest` when what it is about is not said."""

    def value(found: re.Match[str]) -> str:
        text = given.get(found[1], "")
        if not text:
            raise BadRequest(f"the form lacks {found[1]}", "", "go back and send it from its page")
        return quote(text, safe="")

    return _PARAMETER.sub(value, form.template)


def body_of(form: Form, given: Mapping[str, str]) -> dict[str, object]:
    """The body to send. Raises `BadRequest` for a number or size that is none."""
    body = {
        name: _read(name, kind, given[name].strip())
        for name, kind in form.fields.items()
        if given.get(name, "").strip()
    }
    if form.values:
        prefix = "value-"
        body["values"] = {name.removeprefix(prefix): text for name, text in given.items() if name.startswith(prefix)}
    return body


def _read(name: str, kind: Kind, text: str) -> object:
    try:
        match kind:
            case "words":
                return text.replace(",", " ").split()
            case "whole":
                return int(text)
            case "number":
                return float(text)
            case "size":
                return size(text)
            case "flag":
                return True
            case _:
                return text
    except ValueError as error:
        raise BadRequest(f"{name} is not valid", str(error)) from error
