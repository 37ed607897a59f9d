"""The endpoint of a node's audit log. Shell."""

from __future__ import annotations

import msgspec

from hybrid.api.calls import Answer, Call, json_answer
from hybrid.api.names import node_name
from hybrid.api.parts import Parts
from hybrid.api.routes import Query, Route
from hybrid.audit import Entry, Witness

MAX_SHOWN = 10_000


class AuditPage(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a node's audit log, oldest first, as it is bound together: see `hybrid.audit`."""

    items: tuple[Entry, ...]
    witness: Witness | None
    """What the cluster was told of this log."""
    from_node: str


async def list_entries(parts: Parts, call: Call) -> Answer:
    """Those after `after`."""
    after = call.argument_int("after", 0, 0, 2**62)
    found = parts.audit.entries(after, call.argument_int("limit", 1000, 1, MAX_SHOWN))
    from_node = node_name(parts.view, parts.view.me)
    return json_answer(AuditPage(items=tuple(found), witness=parts.audit.witness(), from_node=from_node))


ROUTES = (
    Route(
        method="GET",
        template="/v1/audit",
        endpoint=list_entries,
        summary="A node's audit log: who asked it for what change, and what it decided itself",
        query=(
            Query("node", "name or id of the node to ask; the answering one if not said"),
            Query("after", "number of the last entry known", "integer"),
            Query("limit", "how many at most", "integer"),
        ),
        answer=AuditPage,
        at="named",
    ),
)
