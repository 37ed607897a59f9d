"""Operations: all of them, and one with its steps."""

from __future__ import annotations

import msgspec
from twisted.web.template import Tag, tags

from hybrid.api import schema
from hybrid.api.problems import Problem
from hybrid.api.transfers import TransferAnswer
from hybrid.web import words
from hybrid.web.layout import Content, Page, facts, link, section, state
from hybrid.web.pages.overview import running
from hybrid.web.reader import Reader
from hybrid.web.visits import Visit


async def show(read: Reader, visit: Visit) -> Page:
    """Those of all servers that answer, by server."""
    nodes = await read.get(schema.Page[schema.Node], "/v1/nodes")
    body: list[Content] = []
    for node in nodes.items:
        if node.state == "up":
            found = await read.get(schema.Page[schema.Operation], "/v1/operations", node=node.name, limit=50)
            body.append(section(node.name, running(found.items, found.as_of)))
        else:
            body.append(section(node.name, tags.p("It does not answer; what it was doing is told when it is back.")))
    return Page(title="Operations", body=body)


async def one(read: Reader, visit: Visit) -> Page:
    """One operation."""
    operation = await read.get(schema.Operation, f"/v1/operations/{visit.names['operation']}")
    pairs: list[tuple[str, Content]] = [
        ("Site", link(f"/sites/{operation.site_name}", operation.site_name) if operation.site_name else "-"),
        ("Server", operation.node),
        ("Begun by", operation.actor),
        ("Began", words.clock(operation.created_at)),
        ("Took" if operation.state != "running" else "Takes so far", words.duration(operation.seconds)),
    ]
    body: list[Content] = [
        tags.p(state(operation.state), class_="lead"),
        tags.ol(*(step(part) for part in operation.steps), class_="steps"),
        *(tags.p(moving(one)) for one in operation.transfers),
        facts(pairs),
    ]
    if operation.error is not None:
        body.append(problem(operation.error))
    if operation.result:
        body.append(section("Result", facts((name, _said(value)) for name, value in operation.result.items())))
    return Page(
        title=f"{operation.kind} {operation.site_name or ''}".strip(), body=body, soon=operation.state == "running"
    )


def step(part: schema.Step) -> Tag:
    """A step, and how long it took."""
    return tags.li(
        part.name, " ", state(part.state), " ", words.duration(part.seconds) if part.seconds is not None else ""
    )


def moving(transfer: TransferAnswer) -> str:
    """How far it is, how fast it goes, how long it still takes."""
    of = f" of {words.size(transfer.size_bytes)}" if transfer.size_bytes is not None else ""
    left = f", {words.duration(transfer.left_s)} left" if transfer.left_s is not None else ""
    return f"{words.size(transfer.bytes)}{of} at {words.size(transfer.bytes_per_s)}/s{left}"


def problem(told: Problem) -> Tag:
    """What, why, what to try."""
    parts: list[Content] = [tags.h2(told.title)]
    if told.detail:
        parts.append(tags.p(told.detail))
    if told.hint:
        parts.append(tags.p(tags.strong("Try: "), told.hint))
    return tags.section(*parts, role="alert", class_="problem")


def _said(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
