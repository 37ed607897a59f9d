"""The first page: one sentence of health, what needs a decision, the servers, what is being done."""

from __future__ import annotations

from twisted.web.template import Tag, tags

from hybrid.api import schema
from hybrid.web import words
from hybrid.web.layout import Content, Page, Visitor, bar, facts, form, link, moment, section, state, table
from hybrid.web.reader import Reader
from hybrid.web.visits import Visit


async def show(read: Reader, visit: Visit) -> Page:
    """The cluster at a glance."""
    status = await read.get(schema.Status, "/v1/status")
    nodes = await read.get(schema.Page[schema.Node], "/v1/nodes")
    decisions = await read.get(schema.Page[schema.Decision], "/v1/decisions")
    operations = await read.get(schema.Page[schema.Operation], "/v1/operations", limit=10)
    events = await read.get(schema.EventPage, "/v1/events")
    body: list[Content] = [
        tags.p(state(status.health), " ", status.sentence, class_="lead"),
        tags.ul(*(tags.li(finding) for finding in status.findings)) if status.findings else "",
    ]
    if not status.sites:
        body.append(first_steps(len(nodes.items)))
    if decisions.items:
        body.append(section("For a person to decide", *(decision(visit.visitor, one) for one in decisions.items)))
    body += [
        section("Servers", tags.div(*(card(node) for node in nodes.items), class_="cards")),
        section("Operations", running(operations.items, status.as_of)),
        section("What happened", happenings(events.items[-15:], status.as_of)),
    ]
    return Page(title="Overview", body=body)


def first_steps(nodes: int) -> Tag:
    """What to do on an empty cluster."""
    more = (
        []
        if nodes > 1
        else [
            tags.li(
                "Add a second server, so that nothing is lost with this one: ", link("/settings", "make a join token")
            )
        ]
    )
    return section("First steps", tags.ol(*more, tags.li(link("/sites", "Create the first site"))))


def decision(visitor: Visitor, one: schema.Decision) -> Tag:
    """Something to decide, and the buttons to do so."""
    choices: list[Content] = []
    if one.kind == "pick" and one.site:
        choices = [
            form(visitor, "pick", f"Go on with {node}", about={"site": one.site, "node": node}) for node in one.nodes
        ]
    elif one.kind == "deletion" and one.site:
        choices = [form(visitor, "undelete-site", "Bring it back", about={"site": one.site})]
    elif one.site:
        choices = [link(f"/sites/{one.site}/past", "Look at it")]
    return tags.article(tags.h3(one.name), tags.p(one.text), tags.p(one.hint, class_="hint"), *choices, class_="decide")


def card(node: schema.Node) -> Tag:
    """A server."""
    pairs: list[tuple[str, Content]] = [
        ("Place", node.dc),
        (
            "Sites",
            f"{node.sites} of its own, {words.count(node.copies - node.sites, 'copy')}",
        ),
        ("Pool", bar(node.size_bytes - node.free_bytes, node.size_bytes)),
        ("Load", f"{node.load:.2f}"),
    ]
    return tags.article(
        tags.h3(link(f"/nodes/{node.name}", node.name), " ", state(node.state)), facts(pairs), class_="card"
    )


def running(operations: tuple[schema.Operation, ...], now: str) -> Tag:
    """Operations, newest first."""
    rows: list[list[Content]] = [
        [
            link(f"/operations/{one.id}", one.kind),
            one.site_name or "-",
            state(one.state),
            one.steps[-1].name if one.steps else "-",
            words.duration(one.seconds),
            one.actor,
            moment(one.created_at, now),
        ]
        for one in operations
    ]
    heads = ("What", "Site", "State", "Step", "Took", "Who", "When")
    return table(heads, rows, "Nothing is being done.", ("Took",))


def happenings(events: tuple[schema.Event, ...], now: str) -> Content:
    """Events, newest first."""
    if not events:
        return tags.p("Nothing yet.", class_="nothing")
    return tags.ul(*(tags.li(moment(one.at, now), " ", one.text) for one in reversed(events)), class_="log")
