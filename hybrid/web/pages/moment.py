"""A moment of a site: its files as they were, what changed since, and the ways back, which destroy nothing."""

from __future__ import annotations

from urllib.parse import urlencode

from twisted.web.template import tags

from hybrid.api import pastschema
from hybrid.web import layout, words
from hybrid.web.layout import Content, Page, field, form, link, section, table
from hybrid.web.reader import Reader, site_path
from hybrid.web.visits import Visit


async def browse(read: Reader, visit: Visit) -> Page:
    """A directory as it was, and the ways back to that moment."""
    name, wanted = visit.names["site"], visit.names["moment"]
    path = visit.query.get("path", "/") or "/"
    more = {"after": visit.query["after"]} if visit.query.get("after") else {}
    listing = await read.get(
        pastschema.Listing, site_path(name, "browse"), snapshot=wanted, path=path, limit=500, **more
    )
    taken = listing.snapshot
    body: list[Content] = [
        tags.p(
            f"As it was at {words.clock(taken.created_at)}, ",
            layout.moment(taken.created_at, listing.as_of),
            ".",
            class_="lead",
        ),
        tags.p(
            link(f"/sites/{name}/past", "All moments"),
            " · ",
            link(_here(name, wanted, "/diff", path=path), "What changed since"),
            " · ",
            tags.a("Download this folder", href=_download(name, wanted, path, "zip")),
            class_="tabs",
        ),
        section("Files", tags.p(*crumbs(name, wanted, path)), entries(visit, name, wanted, path, listing)),
        section("The whole site", *ways_back(visit, name, wanted, taken)),
    ]
    return Page(title=f"{name}, {words.ago(taken.created_at, listing.as_of)}", body=body, changes=False)


def _here(name: str, wanted: str, what: str = "", **query: str) -> str:
    return f"/sites/{name}/past/{wanted}{what}?{urlencode(query)}"


def _download(name: str, wanted: str, path: str, form_: str) -> str:
    query = {"snapshot": wanted, "path": path, "as": form_}
    return f"{site_path(name, 'files')}?{urlencode(query)}"


def crumbs(name: str, wanted: str, path: str) -> list[Content]:
    """The path, each folder a link."""
    found: list[Content] = [link(_here(name, wanted, path="/"), name)]
    so_far = ""
    for part in (part for part in path.split("/") if part):
        so_far += "/" + part
        found += [" / ", link(_here(name, wanted, path=so_far), part)]
    return found


def entries(visit: Visit, name: str, wanted: str, path: str, listing: pastschema.Listing) -> Content:
    """Files and folders, with what can be done with each."""
    rows: list[list[Content]] = []
    for entry in listing.items:
        full = path.rstrip("/") + "/" + entry.name
        folder = entry.kind == "directory"
        shown: Content = link(_here(name, wanted, path=full), entry.name + "/") if folder else entry.name
        get: Content = (
            ""
            if entry.kind in ("link", "other")
            else tags.a("Download", href=_download(name, wanted, full, "zip" if folder else "file"))
        )
        about = {"site": name, "snapshot": wanted, "path": full}
        back: list[Content] = [
            form(visit.visitor, "restore", "Restore a copy", about={**about, "copy": "1"}),
            form(visit.visitor, "restore", "Restore in place", about=about),
        ]
        changed = layout.moment(entry.modified_at, listing.as_of)
        rows.append([shown, "" if folder else words.size(entry.size_bytes), changed, get, back])
    shown_table = table(("Name", "Size", "Changed", "", " "), rows, "This folder was empty.", ("Size",))
    if listing.after is None:
        return shown_table
    return [shown_table, tags.p(link(_here(name, wanted, path=path, after=listing.after), "More"))]


def ways_back(visit: Visit, name: str, wanted: str, taken: pastschema.SnapshotAnswer) -> list[Content]:
    """Look at it running, keep it, go back to it."""
    about = {"site": name, "snapshot": wanted}
    keep: Content = (
        form(visit.visitor, "unkeep", "No longer keep it", about={"site": name, "mark": taken.guid})
        if taken.locked
        else form(visit.visitor, "keep", "Keep this moment", field("Under the name", "name"), about=about)
    )
    return [
        form(visit.visitor, "preview", "Run it beside the site and look at it", about=about),
        keep,
        tags.p(link(_here(name, wanted, "/rollback"), "Go back to this moment …")) if visit.visitor.may_write else "",
    ]


async def difference(read: Reader, visit: Visit) -> Page:
    """What changed since that moment."""
    name, wanted = visit.names["site"], visit.names["moment"]
    path = visit.query.get("path", "/") or "/"
    start = visit.query.get("start", "0")
    found = await _difference(read, name, wanted, path, start)
    rows: list[list[Content]] = [
        [
            one.change,
            (f"{one.was} → " if one.was else "") + one.path,
            words.size(one.old_bytes),
            words.size(one.new_bytes),
        ]
        for one in found.items
    ]
    more = (
        ""
        if found.after is None
        else tags.p(link(_here(name, wanted, "/diff", path=path, start=str(found.after)), "More"))
    )
    body: list[Content] = [
        tags.p(
            f"{_found(found)} between {words.clock(found.old.created_at)} and {words.clock(found.new.created_at)}.",
            class_="lead",
        ),
        tags.p(link(_here(name, wanted, path=path), "The files of that moment"), class_="tabs"),
        table(("Change", "Path", "Then", "Now"), rows, "Nothing changed.", ("Then", "Now")),
        more,
    ]
    return Page(title=f"Changes of {name}", body=body, changes=False)


async def confirm_rollback(read: Reader, visit: Visit) -> Page:
    """What going back will do, in numbers, and the button."""
    name, wanted = visit.names["site"], visit.names["moment"]
    found = await _difference(read, name, wanted, "/", "0")
    body: list[Content] = [
        tags.p(
            f"{_found(found)} will be as at {words.clock(found.old.created_at)}. What came after is set aside,"
            " not lost: you can undo this. The site is away for some seconds.",
            class_="lead",
        ),
        tags.ul(*(tags.li(f"{one.change}: {one.path}") for one in found.items[:20])),
        tags.p(f"and {found.total - 20} more") if found.total > 20 else "",
        form(
            visit.visitor,
            "rollback",
            f"Go back to {words.clock(found.old.created_at)}",
            about={"site": name, "to": wanted},
            grave=True,
        ),
        tags.p(link(f"/sites/{name}/past", "No, leave it as it is")),
    ]
    return Page(title=f"Take {name} back?", body=body, changes=False)


async def _difference(read: Reader, name: str, wanted: str, path: str, start: str) -> pastschema.DifferencePage:
    query = {"from": wanted, "path": path, "start": start, "limit": "200"}
    return await read.get(pastschema.DifferencePage, site_path(name, "diff"), **query)


def _found(found: pastschema.DifferencePage) -> str:
    return ("" if found.complete else "More than ") + words.count(found.total, "path")
