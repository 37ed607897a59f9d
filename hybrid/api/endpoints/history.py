"""Endpoints of the time machine: snapshots, roll back, undo, restore, browse, stashes, files. Shell."""

from __future__ import annotations

from urllib.parse import quote

from hybrid.api import moments, render, schema
from hybrid.api.calls import Answer, Call, json_answer
from hybrid.api.endpoints.pages import page
from hybrid.api.endpoints.sites import begin, site_of
from hybrid.api.jsonbody import decode
from hybrid.api.moments import rfc3339
from hybrid.api.names import shown, stash_reference
from hybrid.api.parts import Parts
from hybrid.api.problems import Refusal, problem
from hybrid.deeds import Progress
from hybrid.errors import BadRequest
from hybrid.model import SiteId, Snapshot

MAX_PATH = 4096


async def list_snapshots(parts: Parts, call: Call) -> Answer:
    """Moments one can go back to, newest first."""
    now_s = parts.wall_s()
    history = parts.hosting.history(site_of(parts, call).spec.id)
    limit = call.argument_int("limit", 1000, 1, 100_000)
    newest_first = history[::-1][:limit]
    return page(parts, schema.SnapshotAnswer, [render.snapshot(taken, now_s) for taken in newest_first])


async def take_snapshot(parts: Parts, call: Call) -> Answer:
    """Take one now."""
    decode(call.body, schema.Empty)
    site = site_of(parts, call)
    return json_answer(render.snapshot(await parts.hosting.snapshot(site.spec.id), parts.wall_s()), 201)


async def roll_back(parts: Parts, call: Call) -> Answer:
    """Make the whole site as it was; what came after is kept as a stash."""
    site = site_of(parts, call)
    to = snapshot_at(parts, site.spec.id, decode(call.body, schema.RollbackTo).to)

    async def work(progress: Progress) -> dict[str, object]:
        stash = await parts.hosting.rollback(site.spec.id, to.guid, progress)
        return {"snapshot": to.name, "created_at": rfc3339(to.created_at_s), "stash": stash.id}

    return begin(parts, call, "rollback", site, site.spec.name, work)


async def undo(parts: Parts, call: Call) -> Answer:
    """Undo the newest rollback (or undo)."""
    decode(call.body, schema.Empty)
    site = site_of(parts, call)

    async def work(progress: Progress) -> dict[str, object]:
        return {"stash": (await parts.hosting.undo(site.spec.id, progress)).id}

    return begin(parts, call, "undo", site, site.spec.name, work)


async def restore(parts: Parts, call: Call) -> Answer:
    """Bring one file or folder back as it was."""
    site = site_of(parts, call)
    wanted = decode(call.body, schema.RestorePath)
    path = checked_path(wanted.path)
    source = snapshot_at(parts, site.spec.id, wanted.snapshot)

    async def work(progress: Progress) -> dict[str, object]:
        files = await parts.hosting.restore(site.spec.id, source.guid, path, progress)
        return {"files": files, "path": path, "snapshot": source.name}

    return begin(parts, call, "restore", site, site.spec.name, work)


async def browse(parts: Parts, call: Call) -> Answer:
    """A directory as it was."""
    site = site_of(parts, call)
    path = checked_path(call.arguments.get("path", "/"))
    source = snapshot_at(parts, site.spec.id, call.argument("snapshot"))
    entries = await parts.hosting.browse(site.spec.id, source.guid, path)
    now_s, view = parts.wall_s(), parts.view
    listing = schema.Listing(
        items=tuple(render.entry(found) for found in entries),
        snapshot=render.snapshot(source, now_s),
        path=path,
        as_of=rfc3339(now_s),
        from_node=render.node_name(view, view.me),
    )
    return json_answer(listing)


async def read_file(parts: Parts, call: Call) -> Answer:
    """A file as it was in a snapshot."""
    site = site_of(parts, call)
    path = checked_path(call.argument("path"))
    source = snapshot_at(parts, site.spec.id, call.argument("snapshot"))
    return download(path, await parts.hosting.read_file(site.spec.id, source.guid, path))


async def list_stashes(parts: Parts, call: Call) -> Answer:
    """History set aside, oldest first."""
    return page(parts, schema.StashAnswer, [render.stash(kept) for kept in site_of(parts, call).stashes])


async def read_stash_file(parts: Parts, call: Call) -> Answer:
    """A file as it is in a stash."""
    site = site_of(parts, call)
    stash_id = stash_reference(call.params["stash"])
    if stash_id not in {kept.id for kept in site.stashes}:
        title = f"site {site.spec.name} has no stash {shown(stash_id)}"
        raise Refusal(problem(404, "no-such-stash", title, "", "`hybrid stash list` shows them"))
    path = checked_path(call.argument("path"))
    return download(path, await parts.hosting.read_file(site.spec.id, stash_id, path))


def snapshot_at(parts: Parts, site: SiteId, text: str) -> Snapshot:
    """The snapshot on this node's main line that `text` means."""
    return moments.find(parts.hosting.history(site), moments.parse(text), parts.wall_s())


def checked_path(path: str) -> str:
    """A path inside a site; the time machine itself keeps it from leading out. Raises `BadRequest`."""
    if len(path.encode("utf-8", "surrogatepass")) > MAX_PATH or "\0" in path:
        raise BadRequest(f"{shown(path)} is not a path", f"at most {MAX_PATH} bytes, without NUL")
    if ".." in path.split("/"):
        raise BadRequest(f"{shown(path)} is not a path inside the site", "it contains ..", "give the path itself")
    return path


def download(path: str, content: bytes) -> Answer:
    """Raw bytes that no browser shall run."""
    name = path.rstrip("/").rsplit("/", 1)[-1]
    headers = {
        "content-type": "application/octet-stream",
        "content-disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
        "x-content-type-options": "nosniff",
    }
    return Answer(200, content, headers)
