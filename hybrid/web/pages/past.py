"""The time machine of a site: its moments, what was set aside, and what is looked at now."""

from __future__ import annotations

from twisted.web.template import Tag, tags

from hybrid.api import pastschema, schema
from hybrid.web import words
from hybrid.web.layout import Content, Page, form, link, moment, section, table
from hybrid.web.reader import Reader, site_path
from hybrid.web.visits import Visit

WHY = {
    "conflict": "your other version, written while servers could not see each other",
    "rollback": "what came after the moment you went back to",
    "undo": "what you undid",
    "modified": "changes that a server found in its copy",
}


async def show(read: Reader, visit: Visit) -> Page:
    """The timeline, newest first, and what was set aside."""
    name = visit.names["site"]
    per = visit.query.get("per", "age")
    site = await read.get(schema.Site, site_path(name))
    moments = await read.get(schema.Page[pastschema.SnapshotAnswer], site_path(name, "snapshots"), per=per)
    stashes = await read.get(schema.Page[pastschema.StashAnswer], site_path(name, "stashes"))
    discarded = await read.get(schema.Page[pastschema.DiscardedStash], site_path(name, "discarded-stashes"))
    previews = await read.get(schema.Page[pastschema.PreviewAnswer], site_path(name, "previews"))
    body: list[Content] = [
        tags.p(where(site), class_="lead"),
        tags.p(link(f"/sites/{name}", "The site"), " · ", *_grains(name, per), class_="tabs"),
        section("Moments", timeline(name, moments)),
        section(
            "Set aside",
            *aside(visit, name, stashes, discarded),
            form(visit.visitor, "undo", "Undo the newest way back", about={"site": name}),
        ),
    ]
    if previews.items:
        body.append(section("Looked at now", *(preview(visit, name, one, previews.as_of) for one in previews.items)))
    return Page(title=f"Time machine of {name}", body=body)


def where(site: schema.Site) -> str:
    """Where the copies are, and how old the newest is."""
    others = [holder for holder in site.holders if holder != site.owner]
    if not others:
        return "There is no copy on another server."
    newest = "holds every change" if not site.lag_s else f"lacks the last {words.duration(site.lag_s)}"
    return f"{words.count(len(site.holders), 'server')} hold it: {', '.join(site.holders)}. The newest copy {newest}."


def _grains(name: str, per: str) -> list[Content]:
    found: list[Content] = []
    for grain, title in (
        ("age", "by age"),
        ("minute", "by minute"),
        ("hour", "by hour"),
        ("day", "by day"),
        ("all", "all"),
    ):
        if found:
            found.append(" · ")
        found.append(tags.strong(title) if grain == per else link(f"/sites/{name}/past?per={grain}", title))
    return found


def timeline(name: str, moments: schema.Page[pastschema.SnapshotAnswer]) -> Tag:
    """A line for each moment."""
    rows: list[list[Content]] = []
    for one in moments.items:
        note = " ".join(part for part in (one.label, one.note) if part)
        kind = "" if one.kind == "crash" else one.kind
        branches = f"{words.count(len(one.branches), 'branch')} from here" if one.branches else ""
        more = f"and {words.count(one.stands_for - 1, 'other')}" if one.stands_for > 1 else ""
        rows.append(
            [
                tags.a(moment(one.created_at, moments.as_of), href=f"/sites/{name}/past/{one.guid}"),
                words.clock(one.created_at),
                tags.strong(note) if one.locked else note,
                " ".join(part for part in ("kept" if one.locked else "", kind, branches, more) if part),
            ]
        )
    return table(("Moment", "Time", "Name", ""), rows, "No snapshot was taken yet.")


def aside(
    visit: Visit,
    name: str,
    stashes: schema.Page[pastschema.StashAnswer],
    discarded: schema.Page[pastschema.DiscardedStash],
) -> list[Content]:
    """Histories beside the main line, and those in the trash."""
    found: list[Content] = [tags.a(id="stashes")]
    for one in stashes.items:
        about = {"site": name, "stash": one.id}
        found.append(
            tags.article(
                tags.p(
                    f"Until {words.clock(one.head_at)}: {WHY[one.why]}. ",
                    link(f"/sites/{name}/past/{one.id}", "See its files"),
                ),
                form(visit.visitor, "adopt", "Go on with this version", about=about, grave=True),
                form(visit.visitor, "discard", "Put it into the trash", about=about),
                class_="decide",
            )
        )
    if not stashes.items:
        found.append(tags.p("Nothing is set aside.", class_="nothing"))
    for gone in discarded.items:
        about = {"site": name, "stash": gone.stash.id}
        found.append(
            tags.article(
                tags.p(f"In the trash until {words.clock(gone.until)}: {WHY[gone.stash.why]}."),
                form(visit.visitor, "undiscard", "Bring it back", about=about),
            )
        )
    return found


def preview(visit: Visit, name: str, one: pastschema.PreviewAnswer, now: str) -> Tag:
    """A past moment that runs."""
    return tags.article(
        tags.p(tags.a(one.host, href=f"http://{one.host}/", rel="noreferrer"), " until ", moment(one.until, now)),
        form(visit.visitor, "end-preview", "End it", about={"site": name, "preview": one.id}),
    )
