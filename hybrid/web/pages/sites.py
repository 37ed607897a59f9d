"""All sites, and making a new one."""

from __future__ import annotations

from twisted.web.template import Tag, tags

from hybrid.api import schema
from hybrid.web import words
from hybrid.web.layout import Content, Page, choice, field, form, link, section, state, table
from hybrid.web.reader import Reader
from hybrid.web.visits import Visit

HEADS = ("Site", "State", "Server", "Copies", "Behind", "Data", "History", "Set aside")


async def show(read: Reader, visit: Visit) -> Page:
    """The list, with what is found by `?find=` only."""
    sites = await read.get(schema.Page[schema.Site], "/v1/sites")
    wanted = visit.query.get("find", "").lower()
    found = [site for site in sites.items if matches(site, wanted)]
    body: list[Content] = [
        tags.form(
            field("Find", "find", wanted, hint="a name, domain, server or state", kind="search"),
            tags.button("Find"),
            method="get",
            class_="find",
        ),
        table(HEADS, (row(site) for site in found), "No site is like that." if wanted else "There is no site yet."),
    ]
    if not visit.visitor.is_bound:
        nodes = await read.get(schema.Page[schema.Node], "/v1/nodes")
        images = await read.get(schema.Page[schema.Image], "/v1/images")
        body.append(section("A new site", new(visit, images.items, nodes.items)))
    return Page(title="Sites", body=body)


def matches(site: schema.Site, wanted: str) -> bool:
    """Whether every word of `wanted` is in its name, domains, server or state."""
    text = " ".join((site.name, *site.domains, site.owner or "", site.state, site.image)).lower()
    return all(word in text for word in wanted.split())


def row(site: schema.Site) -> list[Content]:
    """A line of the list."""
    name: list[Content] = [link(f"/sites/{site.name}", site.name)]
    if site.domains:
        name.append(tags.small(" " + site.domains[0]))
    return [
        name,
        [state(site.state), tags.small(f" {site.trouble}") if site.trouble else ""],
        site.owner or "-",
        f"{site.safe_copies} of {site.copies}",
        words.duration(site.lag_s),
        words.size(site.data_bytes),
        words.size(site.history_bytes),
        link(f"/sites/{site.name}/past#stashes", str(site.stashes)) if site.stashes else "-",
    ]


def new(visit: Visit, images: tuple[schema.Image, ...], nodes: tuple[schema.Node, ...]) -> Content:
    """The form; without images it says how to get one."""
    if not images:
        return tags.p("There is no image yet: import one under ", link("/settings", "Settings"), ".", class_="nothing")
    inputs: list[Tag] = [
        field("Name", "name", required=True, hint="letters, digits and hyphens"),
        choice("Image", "image", [image.name for image in images]),
        field("Domains", "domains", hint="divided by spaces; a name of the cluster's own zone if you leave it empty"),
        choice("Server", "node", [node.name for node in nodes if node.state == "up"], empty="the best place"),
        field("Memory", "memory_bytes", hint="256M, 1G; the image's own if you leave it empty"),
        field("Space for its data", "quota_bytes", hint="20G; no bound if you leave it empty"),
    ]
    made = form(visit.visitor, "create-site", "Create", *inputs)
    return made or tags.p("Your token may only read.", class_="nothing")
