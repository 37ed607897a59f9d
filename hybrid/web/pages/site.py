"""One site: how it is, and what can be done with it."""

from __future__ import annotations

from twisted.web.template import tags

from hybrid.api import schema
from hybrid.web import words
from hybrid.web.layout import Content, Page, choice, facts, field, form, link, section, state
from hybrid.web.pages.overview import running
from hybrid.web.reader import Reader, site_path
from hybrid.web.visits import Visit


async def show(read: Reader, visit: Visit) -> Page:
    """The summary."""
    site = await read.get(schema.Site, site_path(visit.names["site"]))
    operations = await read.get(schema.Page[schema.Operation], "/v1/operations", site=site.id, limit=5)
    body: list[Content] = [
        tags.p(state(site.state), " ", sentence(site), class_="lead"),
        tags.p(
            link(f"/sites/{site.name}/past", "Time machine"),
            " · ",
            link(f"/sites/{site.name}/log", "Log"),
            class_="tabs",
        ),
        section("How it is", facts(told(site))),
        section("Do", *deeds(visit, site)),
        *(await _for_operators(read, visit, site)),
        section("Operations", running(operations.items, operations.as_of)),
    ]
    return Page(title=site.name, body=body)


async def _for_operators(read: Reader, visit: Visit, site: schema.Site) -> list[Content]:
    """What a customer does not decide."""
    if visit.visitor.is_bound or not visit.visitor.may_write:
        return []
    nodes = await read.get(schema.Page[schema.Node], "/v1/nodes")
    return [
        section("Move and prove", *moves(visit, site, nodes.items)),
        section("Change", changes(visit, site)),
        section("Delete", tags.p(link(f"/sites/{site.name}/delete", "Delete this site …"))),
    ]


def sentence(site: schema.Site) -> str:
    """What matters most."""
    if site.trouble:
        return site.trouble
    where = f"on {site.owner}" if site.owner else "on no server"
    copies = words.count(site.safe_copies, "other server")
    return f"{where}; {copies} hold{'' if site.safe_copies > 1 else 's'} all of it" + (
        f"; the newest change waits since {words.duration(site.lag_s)}" if site.lag_s else ""
    )


def told(site: schema.Site) -> list[tuple[str, Content]]:
    """Its facts."""
    domains: list[Content] = []
    for domain in site.domains:
        domains += [tags.a(domain, href=f"http://{domain}/", rel="noreferrer"), " "]
    return [
        ("Domains", domains or "-"),
        ("Image", site.image),
        ("Server", site.owner or "-"),
        ("Held by", ", ".join(site.holders) or "-"),
        ("Data", words.size(site.data_bytes) + (f" of {words.size(site.quota_bytes)}" if site.quota_bytes else "")),
        ("History", words.size(site.history_bytes)),
        ("History is kept", site.retention or "as the cluster's default says"),
        ("Memory", words.size(site.memory_bytes)),
        ("Processor", "1 core" if site.cpus == 1 else f"{site.cpus:g} cores"),
        ("Sleeps", f"when not asked for in {words.duration(site.sleep_after_s)}" if site.sleep_after_s else "never"),
        ("Proven restorable", site.proof.sentence if site.proof else "never tried"),
        ("When cut off", "goes on" if site.consistency == "available" else "stops rather than be written twice"),
        ("Copy of", site.clone_of or "-"),
    ]


def deeds(visit: Visit, site: schema.Site) -> list[Content]:
    """Start or stop, snapshot."""
    about = {"site": site.name}
    return [
        form(visit.visitor, "stop-site", "Stop", about=about)
        if site.wanted == "running"
        else form(visit.visitor, "start-site", "Start", about=about),
        form(
            visit.visitor,
            "snapshot",
            "Take a snapshot",
            field("Kept under the name", "name", hint="left empty, it is forgotten in its time"),
            about=about,
        ),
    ]


def moves(visit: Visit, site: schema.Site, nodes: tuple[schema.Node, ...]) -> list[Content]:
    """To another server; and whether a copy there would start."""
    about = {"site": site.name}
    others = [node.name for node in nodes if node.state == "up" and node.name != site.owner]
    found: list[Content] = []
    if others:
        found.append(form(visit.visitor, "move-site", "Move", choice("To", "to", others), about=about))
    if others and site.safe_copies:
        found.append(form(visit.visitor, "verify-site", "Prove that a copy starts", about=about))
    return found or [tags.p("There is no other server.", class_="nothing")]


def changes(visit: Visit, site: schema.Site) -> Content:
    """What can be set."""
    return form(
        visit.visitor,
        "change-site",
        "Save",
        field("Domains", "domains", " ".join(site.domains), hint="the first is the canonical one"),
        field("Copies", "copies", str(site.copies), kind="number", hint="on other servers"),
        field("Memory", "memory_bytes", _written(site.memory_bytes)),
        field("Cores", "cpus", f"{site.cpus:g}"),
        field("Space for its data", "quota_bytes", _written(site.quota_bytes)),
        field("Space for its history", "history_budget_bytes", _written(site.history_budget_bytes)),
        field("History is kept", "retention", site.retention, hint="all for 1h, hourly for 7d, daily for 30d"),
        about={"site": site.name},
    )


def _written(count: int | None) -> str:
    """A size as a form takes it, exactly."""
    if count is None:
        return ""
    for unit, letter in ((2**30, "G"), (2**20, "M"), (2**10, "K")):
        if count and count % unit == 0:
            return f"{count // unit}{letter}"
    return str(count)


async def confirm_delete(read: Reader, visit: Visit) -> Page:
    """What will happen, in numbers, and the button."""
    site = await read.get(schema.Site, site_path(visit.names["site"]))
    body: list[Content] = [
        tags.p(
            f"{site.name} stops answering at once. Its {words.size(site.data_bytes)} of data and"
            f" {words.size(site.history_bytes)} of history stay in the trash of"
            f" {words.count(len(site.holders), 'server')}; for a week it can be brought back, under Settings.",
            class_="lead",
        ),
        form(visit.visitor, "delete-site", f"Delete {site.name}", about={"site": site.name}, grave=True),
        tags.p(link(f"/sites/{site.name}", "No, keep it")),
    ]
    return Page(title=f"Delete {site.name}?", body=body, changes=False)


async def log(read: Reader, visit: Visit) -> Page:
    """The end of its console log."""
    name = visit.names["site"]
    found = await read.get(schema.Log, site_path(name, "logs"), lines=200)
    body: list[Content] = [
        tags.p(link(f"/sites/{name}", "Back to the site")),
        tags.pre(found.text or "Nothing was written yet.", tabindex="0"),
    ]
    return Page(title=f"Log of {name}", body=body)
