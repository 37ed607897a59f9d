"""Endpoints of operations and events. Shell."""

from __future__ import annotations

from hybrid.api import lookup, schema
from hybrid.api.access import may_see_id
from hybrid.api.calls import Answer, Call, json_answer
from hybrid.api.endpoints.pages import page
from hybrid.api.moments import rfc3339
from hybrid.api.names import node_name, shown
from hybrid.api.parts import Parts
from hybrid.errors import BadRequest

MAX_WAIT_S = 60
STATES = ("running", "done", "failed", "interrupted")


async def list_operations(parts: Parts, call: Call) -> Answer:
    """Operations of this node, newest first."""
    state, site = call.arguments.get("state"), call.arguments.get("site")
    if state is not None and state not in STATES:
        raise BadRequest(f"?state={shown(state)} is not a state", "one of " + ", ".join(STATES))
    limit = call.argument_int("limit", 100, 1, 1000)
    found = parts.operations.newest_first(10**6 if call.actor.is_bound else limit, site, state)
    mine = [one for one in found if may_see_id(call.actor, one.site, parts.view)]
    return page(parts, schema.Operation, mine[:limit])


async def show_operation(parts: Parts, call: Call) -> Answer:
    """One operation; with `wait`, once it has ended (or, with `seen`, has changed), at most so many seconds later."""
    wait_s = call.argument_int("wait", 0, 0, MAX_WAIT_S)
    seen = call.argument_int("seen", 0, 0, 10**9) if "seen" in call.arguments else None
    operation_id = call.params["operation"]
    operation = await parts.operations.wait(operation_id, wait_s, seen)
    if operation is None or not may_see_id(call.actor, operation.site, parts.view):
        raise lookup.no_such_operation(operation_id)
    return json_answer(operation)


async def list_events(parts: Parts, call: Call) -> Answer:
    """Events of this node's log after `since`, oldest first. As a stream, see `hybrid.api.stream`."""
    since = call.argument_int("since", 0, 0, 2**62)
    view, events = parts.view, parts.events
    found = events.since(since, call.argument_int("limit", 1000, 1, 10_000))
    answer = schema.EventPage(
        items=found,
        newest=found[-1].seq if found else events.newest,
        missed=events.missed(since),
        as_of=rfc3339(parts.wall_s()),
        from_node=node_name(view, view.me),
    )
    return json_answer(answer)
