"""Endpoints of a site's history as a whole: snapshots, those to keep, roll back, undo, stashes. Shell."""

from __future__ import annotations

from hybrid.api import moments, pastrender, timeline
from hybrid.api import pastschema as schema
from hybrid.api.calls import Answer, Call, json_answer
from hybrid.api.endpoints.pages import page
from hybrid.api.endpoints.sites import begin, site_of
from hybrid.api.jsonbody import decode
from hybrid.api.moments import rfc3339
from hybrid.api.names import nearest, node_name, shown, stash_reference
from hybrid.api.parts import Parts
from hybrid.api.problems import Refusal, problem
from hybrid.api.schema import Empty
from hybrid.deeds import Progress
from hybrid.errors import BadRequest, NoSuchSnapshot
from hybrid.history import History
from hybrid.model import Guid, Mark, Snapshot, Stash
from hybrid.view import SiteView

MAX_SHOWN = 1000


async def list_snapshots(parts: Parts, call: Call) -> Answer:
    """Moments one can go back to, newest first."""
    site, now_s = site_of(parts, call), parts.wall_s()
    per = next((one for one in timeline.PERS if one == call.arguments.get("per", "all")), None)
    if per is None:
        wrong = call.arguments["per"]
        raise BadRequest(
            f"?per={shown(wrong)} is not valid", "one of " + ", ".join(timeline.PERS), nearest(wrong, timeline.PERS)
        )
    history = parts.hosting.history(site.spec.id)
    alone = {mark.guid for mark in site.spec.marks} | {one.base for one in site.stashes if one.base is not None}
    lines = timeline.collapsed(history, per, alone | {one.guid for one in history[-1:]}, now_s)
    limit = call.argument_int("limit", MAX_SHOWN, 1, 100_000)
    answers = [pastrender.snapshot(site, line.snapshot, now_s, line.stands_for) for line in lines[:limit]]
    return page(parts, schema.SnapshotAnswer, answers)


async def take_snapshot(parts: Parts, call: Call) -> Answer:
    """Take one now, and keep it if it is to be kept."""
    wanted = decode(call.body, schema.NewSnapshot)
    site = site_of(parts, call)
    taken = await parts.hosting.snapshot(site.spec.id)
    if wanted.keep or wanted.name or wanted.note:
        return await _marked(parts, call, site, taken, wanted.name, wanted.note, 201)
    return json_answer(pastrender.snapshot(site, taken, parts.wall_s()), 201)


async def mark_snapshot(parts: Parts, call: Call) -> Answer:
    """Keep a snapshot until it is unlocked."""
    wanted = decode(call.body, schema.NewMark)
    site = site_of(parts, call)
    return await _marked(parts, call, site, moment_of(parts, site, wanted.snapshot), wanted.name, wanted.note, 200)


async def unmark_snapshot(parts: Parts, call: Call) -> Answer:
    """Let retention decide about a snapshot again, which may be gone already."""
    site, text = site_of(parts, call), call.params["mark"]
    by_name = next((mark.guid for mark in site.spec.marks if text in (mark.name, str(mark.guid))), None)
    await parts.hosting.unmark(site.spec.id, by_name or moment_of(parts, site, text).guid)
    return Answer(204)


async def _marked(
    parts: Parts, call: Call, site: SiteView, taken: Snapshot, name: str, note: str, status: int
) -> Answer:
    mark = Mark(guid=taken.guid, name=name, note=note, at_s=int(parts.wall_s()), by=call.actor.name)
    spec = await parts.hosting.mark(site.spec.id, mark)
    now = SiteView(spec=spec, state=site.state, stashes=site.stashes)
    return json_answer(pastrender.snapshot(now, taken, parts.wall_s()), status)


async def roll_back(parts: Parts, call: Call) -> Answer:
    """Make the whole site as it was; what came after is kept as a stash."""
    site = site_of(parts, call)
    to = moment_of(parts, site, decode(call.body, schema.RollbackTo).to)

    async def work(progress: Progress) -> dict[str, object]:
        stash = await parts.hosting.rollback(site.spec.id, to.guid, progress)
        return {"snapshot": to.name, "created_at": rfc3339(to.created_at_s), "stash": stash.id}

    return begin(parts, call, "rollback", site, site.spec.name, work)


async def undo(parts: Parts, call: Call) -> Answer:
    """Undo the newest rollback (or undo)."""
    decode(call.body, Empty)
    site = site_of(parts, call)

    async def work(progress: Progress) -> dict[str, object]:
        return {"stash": (await parts.hosting.undo(site.spec.id, progress)).id}

    return begin(parts, call, "undo", site, site.spec.name, work)


async def list_stashes(parts: Parts, call: Call) -> Answer:
    """History set aside, oldest first."""
    return page(parts, schema.StashAnswer, [pastrender.stash(kept) for kept in site_of(parts, call).stashes])


async def show_stash(parts: Parts, call: Call) -> Answer:
    """A stash with the snapshots in it."""
    site, now_s, view = site_of(parts, call), parts.wall_s(), parts.view
    stash = stash_of(site, call.params["stash"])
    history = parts.hosting.stash_history(site.spec.id, stash.id)
    if not history:
        raise NoSuchSnapshot(f"stash {stash.id} is not on {node_name(view, view.me)}", "", "ask a node that holds it")
    answer = schema.StashDetail(
        stash=pastrender.stash(stash),
        snapshots=tuple(pastrender.snapshot(site, one, now_s) for one in history[: -MAX_SHOWN - 1 : -1]),
        as_of=rfc3339(now_s),
        from_node=node_name(view, view.me),
    )
    return json_answer(answer)


async def adopt_stash(parts: Parts, call: Call) -> Answer:
    """Make a stash the main line; what was the main line becomes one."""
    decode(call.body, Empty)
    site = site_of(parts, call)
    stash = stash_of(site, call.params["stash"])

    async def work(progress: Progress) -> dict[str, object]:
        return {"adopted": stash.id, "stash": (await parts.hosting.adopt(site.spec.id, stash.id, progress)).id}

    return begin(parts, call, "adopt", site, site.spec.name, work)


async def discard_stash(parts: Parts, call: Call) -> Answer:
    """Put a stash into the trash, wherever it is."""
    stash = stash_of(site_of(parts, call), call.params["stash"])
    return json_answer(pastrender.discarded(parts.hosting.discard(stash, call.actor.name)), 202)


async def undiscard_stash(parts: Parts, call: Call) -> Answer:
    """Bring a stash back from the trash."""
    decode(call.body, Empty)
    parts.hosting.undiscard(site_of(parts, call).spec.id, stash_reference(call.params["stash"]), call.actor.name)
    return Answer(204)


async def list_discarded(parts: Parts, call: Call) -> Answer:
    """Stashes that can be brought back, newest discard first."""
    found = parts.hosting.discarded(site_of(parts, call).spec.id)
    return page(parts, schema.DiscardedStash, [pastrender.discarded(one) for one in found])


def stash_of(site: SiteView, text: str) -> Stash:
    """A stash of `site` by its id. Raises `BadRequest`, `Refusal` (404)."""
    wanted = stash_reference(text)
    found = next((kept for kept in site.stashes if kept.id == wanted), None)
    if found is None:
        title = f"site {site.spec.name} has no stash {shown(wanted)}"
        raise Refusal(problem(404, "no-such-stash", title, "", "`hybrid stash list` shows them"))
    return found


def moment_of(parts: Parts, site: SiteView, text: str) -> Snapshot:
    """
    The snapshot on this node that `text` means: of the main line, or of a stash by its id or a guid.

    Raises `BadRequest`, `NoSuchSnapshot`.
    """
    moment = moments.parse(text)
    if isinstance(moment, moments.ByName):
        moment = _named(site, moment)
    history = parts.hosting.history(site.spec.id)
    if isinstance(moment, moments.ByGuid) and all(one.guid != moment.guid for one in history):
        history = _aside(parts, site, moment.guid) or history
    return moments.find(history, moment, parts.wall_s())


def _named(site: SiteView, moment: moments.ByName) -> moments.Moment:
    """A name that people gave, or that of a stash, stands for a guid."""
    guids = {mark.name: mark.guid for mark in site.spec.marks if mark.name} | {
        kept.id: kept.head for kept in site.stashes
    }
    guid: Guid | None = guids.get(moment.name)
    return moments.ByGuid(guid) if guid is not None else moment


def _aside(parts: Parts, site: SiteView, guid: Guid) -> History:
    """The history of a stash here that has `guid`; empty if there is none."""
    lines = (parts.hosting.stash_history(site.spec.id, kept.id) for kept in site.stashes)
    return next((line for line in lines if any(one.guid == guid for one in line)), ())
