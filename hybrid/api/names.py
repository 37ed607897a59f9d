"""Which names people may give, and which of several was probably meant. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from hybrid.errors import BadRequest
from hybrid.model import NodeId
from hybrid.view import View

RULE = "lower-case letters, digits and inner hyphens (a-z 0-9 -), 1 to 63 of them, beginning and ending with no hyphen"
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_SITE_ID = re.compile(r"s-[a-z2-7]{26}")
_IMAGE = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,61}[a-z0-9])?(?:@[a-z0-9]{1,64})?")
_OPERATION_ID = re.compile(r"op-([a-z2-7]{8})-([a-z0-9]{4,32})")
_STASH_ID = re.compile(r"s-[a-z2-7]{26}\.[0-9]{1,12}\.[a-z0-9-]{1,32}\.[a-z0-9-]{1,32}")


def is_site_id(text: str) -> bool:
    """Whether `text` has the form of a generated site id."""
    return _SITE_ID.fullmatch(text) is not None


def site_reference(text: str) -> str:
    """`text` if it may be the name or id of a site. Raises `BadRequest` with the rule."""
    return checked_name(text, "site")


def checked_name(text: str, what: str) -> str:
    """`text` if it follows the rule for names. Raises `BadRequest` with the rule otherwise."""
    if _NAME.fullmatch(text) is None:
        raise BadRequest(f"{shown(text)} is not a name for a {what}", f"names are {RULE}")
    return text


def new_site_name(text: str) -> str:
    """As `checked_name`, and not of the form of a generated id, which would be ambiguous for ever."""
    if is_site_id(text):
        raise BadRequest(f"{shown(text)} is not a name for a site", "it has the form of a site's id")
    return checked_name(text, "site")


def image_reference(text: str) -> str:
    """`<name>` or `<name>@<digest>`. Raises `BadRequest` otherwise."""
    if _IMAGE.fullmatch(text) is None or ".." in text:
        raise BadRequest(f"{shown(text)} is not an image", "give `<name>` or `<name>@<digest>`", "`hybrid image list`")
    return text


def stash_reference(text: str) -> str:
    """`text` if it has the form of a stash's id. Raises `BadRequest` otherwise."""
    if _STASH_ID.fullmatch(text) is None:
        raise BadRequest(
            f"{shown(text)} is not the id of a stash", "ids are <site-id>.<epoch>.<node>.<base>", "`hybrid stash list`"
        )
    return text


def short_node(node: NodeId) -> str:
    """The eight characters of a node's id that its operations carry."""
    return node.removeprefix("n-")[:8]


def node_of(operation_id: str) -> str | None:
    """`short_node` of the node that runs an operation; `None` when that is no operation's id."""
    form = _OPERATION_ID.fullmatch(operation_id)
    return form[1] if form else None


def shown(text: str) -> str:
    """`text` in quotes, safe on a terminal and in a page: control and non-ASCII characters escaped, cut at 80."""
    safe = text.encode("unicode_escape").decode("ascii")
    return f'"{safe if len(safe) <= 80 else safe[:77] + "..."}"'


def nearest(wrong: str, known: Iterable[str]) -> str:
    """`did you mean "…"?` when one of `known` is close to `wrong`, else an empty string."""
    near = difflib.get_close_matches(wrong, sorted(known), n=1)
    return f'did you mean "{near[0]}"?' if near else ""


def node_name(view: View, node: NodeId | None) -> str:
    """The name of a node for people; its id where the name is not known; `""` for none."""
    if node is None:
        return ""
    known = view.nodes.get(node)
    return known.name if known else node
