"""Endpoints of the files of the past: browse, download, compare, restore; on any node that holds the moment. Shell."""

from __future__ import annotations

import datetime
from typing import get_args
from urllib.parse import quote

from hybrid import filenames
from hybrid.api import lookup, pastrender
from hybrid.api import pastschema as schema
from hybrid.api.access import may_see_id
from hybrid.api.calls import Answer, Call, json_answer
from hybrid.api.endpoints.history import moment_of
from hybrid.api.endpoints.pages import page
from hybrid.api.endpoints.sites import begin, site_of
from hybrid.api.jsonbody import decode
from hybrid.api.moments import rfc3339
from hybrid.api.names import node_name, shown
from hybrid.api.parts import Parts
from hybrid.deeds import Form, Progress
from hybrid.errors import BadRequest, NoSuchPath

MAX_PATH = 4096
"""Bytes, as the kernel has it."""
MAX_ENTRIES, MAX_DIFFERENCES = 10_000, 5_000
"""On one page."""
_TYPES: dict[Form, str] = {
    "file": "application/octet-stream",
    "tar": "application/x-tar",
    "zip": "application/zip",
}


async def browse(parts: Parts, call: Call) -> Answer:
    """A directory as it was."""
    site = site_of(parts, call)
    path = checked_path(call.arguments.get("path", "/"))
    source = moment_of(parts, site, call.argument("snapshot"))
    limit = call.argument_int("limit", 1000, 1, MAX_ENTRIES)
    after = call.arguments.get("after", "")
    folder = await parts.hosting.browse(site.spec.id, source.guid, path, after, limit)
    now_s, view = parts.wall_s(), parts.view
    listing = schema.Listing(
        items=pastrender.entries(folder.entries),
        snapshot=pastrender.snapshot(site, source, now_s),
        path=path,
        after=folder.entries[-1].name if folder.more else None,
        as_of=rfc3339(now_s),
        from_node=node_name(view, view.me),
    )
    return json_answer(listing)


async def download(parts: Parts, call: Call) -> Answer:
    """A file as it was; or a file or folder as an archive, made while it is sent."""
    site = site_of(parts, call)
    path = checked_path(call.argument("path"))
    form = next((one for one in get_args(Form) if one == call.arguments.get("as", "file")), None)
    if form is None:
        raise BadRequest(f"?as={shown(call.arguments['as'])} is not valid", "one of " + ", ".join(get_args(Form)))
    source = moment_of(parts, site, call.argument("snapshot"))
    name = path.rstrip("/").rpartition("/")[2] or site.spec.name
    content = await parts.hosting.read(site.spec.id, source.guid, path, form)
    named = name if form == "file" else f"{name}.{form}"
    headers = _as_file(filenames.given(named), _TYPES[form])
    return Answer(200, headers={**headers, "x-hybrid-snapshot": f"{source.guid}"}, stream=content)


async def compare(parts: Parts, call: Call) -> Answer:
    """What is different between two moments."""
    site = site_of(parts, call)
    path = checked_path(call.arguments.get("path", "/"))
    old = moment_of(parts, site, call.argument("from"))
    new = moment_of(parts, site, call.arguments.get("to") or "now")
    start = call.argument_int("start", 0, 0, 10**9)
    limit = call.argument_int("limit", 1000, 1, MAX_DIFFERENCES)
    found = await parts.hosting.compare(site.spec.id, old.guid, new.guid, path)
    now_s, view = parts.wall_s(), parts.view
    answer = schema.DifferencePage(
        items=pastrender.differences(found.changes[start : start + limit]),
        old=pastrender.snapshot(site, old, now_s),
        new=pastrender.snapshot(site, new, now_s),
        total=len(found.changes),
        complete=found.complete,
        after=start + limit if start + limit < len(found.changes) else None,
        as_of=rfc3339(now_s),
        from_node=node_name(view, view.me),
    )
    return json_answer(answer)


async def restore(parts: Parts, call: Call) -> Answer:
    """Bring one file or folder back as it was, in place or as a copy beside it."""
    site = site_of(parts, call)
    wanted = decode(call.body, schema.RestorePath)
    path = checked_path(wanted.path)
    if not path.strip("/."):
        raise BadRequest("restore of everything is a rollback", "", "name a file or folder, or use rollback")
    source = moment_of(parts, site, wanted.snapshot)
    at = datetime.datetime.fromtimestamp(source.created_at_s, datetime.UTC).strftime("%Y-%m-%d %H.%M.%S")
    copy = at if wanted.copy else ""

    async def work(progress: Progress) -> dict[str, object]:
        files, where = await parts.hosting.restore(site.spec.id, source.guid, path, copy, progress)
        return {"files": files, "path": where, "snapshot": source.name}

    return begin(parts, call, "restore", site, site.spec.name, work)


async def list_extracts(parts: Parts, call: Call) -> Answer:
    """What the site's image can get out of a past moment."""
    found = await parts.hosting.extracts(site_of(parts, call).spec.id)
    answers = [
        schema.ExtractAnswer(name=name, description=one.description, file=one.file, parameters=one.parameters)
        for name, one in sorted(found.items())
    ]
    return page(parts, schema.ExtractAnswer, answers)


async def make_extract(parts: Parts, call: Call) -> Answer:
    """Run one on a clone of a moment; the operation's content is what came out."""
    site = site_of(parts, call)
    wanted = decode(call.body, schema.NewExtract)
    source = moment_of(parts, site, wanted.snapshot)
    token = f"{source.guid:016x}-{parts.wall_s():.6f}"
    known = await parts.hosting.extracts(site.spec.id)

    async def work(progress: Progress) -> dict[str, object]:
        await parts.hosting.extract(site.spec.id, source.guid, wanted.name, wanted.values, token, progress)
        return {"snapshot": source.name, "content": token, "file": known[wanted.name].file}

    return begin(parts, call, "extract", site, site.spec.name, work)


async def list_previews(parts: Parts, call: Call) -> Answer:
    """Past moments that can be looked at now, the one that ends first first."""
    view = parts.view
    answers = [
        schema.PreviewAnswer(
            id=one.id,
            guid=str(one.guid),
            host=one.host,
            node=node_name(view, one.node),
            until=rfc3339(one.until_s),
            by=one.by,
        )
        for one in parts.hosting.previews(site_of(parts, call).spec.id)
    ]
    return page(parts, schema.PreviewAnswer, answers)


async def make_preview(parts: Parts, call: Call) -> Answer:
    """Run a past moment apart from all others, reachable under a name of its own."""
    site = site_of(parts, call)
    wanted = decode(call.body, schema.NewPreview)
    source = moment_of(parts, site, wanted.snapshot)

    async def work(progress: Progress) -> dict[str, object]:
        made = await parts.hosting.preview(site.spec.id, source.guid, wanted.seconds, call.actor.name, progress)
        return {"preview": made.id, "host": made.host, "until": rfc3339(made.until_s), "snapshot": source.name}

    return begin(parts, call, "preview", site, site.spec.name, work)


async def end_preview(parts: Parts, call: Call) -> Answer:
    """End one before its time."""
    parts.hosting.end_preview(site_of(parts, call).spec.id, call.params["preview"])
    return Answer(204)


async def operation_content(parts: Parts, call: Call) -> Answer:
    """What an operation made, to be downloaded while it is kept."""
    operation_id = call.params["operation"]
    operation = parts.operations.get(operation_id)
    if operation is None or not may_see_id(call.actor, operation.site, parts.view):
        raise lookup.no_such_operation(operation_id)
    result = operation.result or {}
    if "content" not in result:
        hint = "wait for its end" if operation.state == "running" else "it is not one that makes something"
        raise NoSuchPath(f"operation {operation_id} has no content", f"it is {operation.state}", hint)
    content = await parts.hosting.content(str(result["content"]))
    return Answer(200, headers=_as_file(str(result.get("file", "content")).encode(), _TYPES["file"]), stream=content)


def _as_file(name: bytes, kind: str) -> dict[str, str]:
    """Of raw bytes that no browser shall run."""
    return {
        "content-type": kind,
        "content-disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
        "content-security-policy": "sandbox",
        "x-content-type-options": "nosniff",
    }


def checked_path(path: str) -> str:
    """A path inside a site; the time machine itself keeps it from leading out. Raises `BadRequest`."""
    name = filenames.given(path)
    if len(name) > MAX_PATH or b"\0" in name:
        raise BadRequest(f"{shown(path)} is not a path", f"at most {MAX_PATH} bytes, without NUL")
    if b".." in name.split(b"/"):
        raise BadRequest(f"{shown(path)} is not a path inside the site", "it contains ..", "give the path itself")
    return path
