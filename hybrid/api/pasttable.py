"""The routes about the past of a site: see `hybrid.api.table`. Pure."""

from __future__ import annotations

from hybrid.api import pastschema as schema
from hybrid.api.endpoints import history, past
from hybrid.api.routes import SITE, Query, Route
from hybrid.api.schema import Empty, Operation, Page

_SNAPSHOT = Query("snapshot", "the moment, in any form", required=True)
_PATH = Query("path", "from the site's root", required=True)
_OR_ROOT = Query("path", "from the site's root; the root itself if not said")
_LIMIT = Query("limit", "how many at most", "integer")
_LOOK_S = 60.0
"""Where nobody looked yet, a clone has to be made and mounted."""

PAST = (
    Route(
        method="GET",
        template=f"{SITE}/snapshots",
        endpoint=history.list_snapshots,
        summary="Moments one can go back to, newest first",
        query=(
            _LIMIT,
            Query("per", "one of each minute, hour or day; age: of a minute, an hour, a day by age; all if not said"),
        ),
        answer=Page[schema.SnapshotAnswer],
        at="holder",
    ),
    Route(
        method="POST",
        template=f"{SITE}/snapshots",
        endpoint=history.take_snapshot,
        summary="Take a snapshot now, and keep it if it has a name or a note",
        body=schema.NewSnapshot,
        answer=schema.SnapshotAnswer,
        status=201,
        at="owner",
        deadline_s=60.0,
    ),
    Route(
        method="POST",
        template=f"{SITE}/marks",
        endpoint=history.mark_snapshot,
        summary="Keep a snapshot until it is unlocked, under a name or with a note",
        body=schema.NewMark,
        answer=schema.SnapshotAnswer,
        at="owner",
    ),
    Route(
        method="DELETE",
        template=f"{SITE}/marks/{{mark}}",
        endpoint=history.unmark_snapshot,
        summary="Let a snapshot be forgotten when its time comes",
        answer=None,
        status=204,
        at="owner",
    ),
    Route(
        method="POST",
        template=f"{SITE}/rollback",
        endpoint=history.roll_back,
        summary="Make a site as it was; what came after is kept",
        body=schema.RollbackTo,
        answer=Operation,
        status=202,
        at="owner",
    ),
    Route(
        method="POST",
        template=f"{SITE}/undo",
        endpoint=history.undo,
        summary="Undo the newest rollback (or undo)",
        body=Empty,
        answer=Operation,
        status=202,
        at="owner",
    ),
    Route(
        method="POST",
        template=f"{SITE}/restore",
        endpoint=past.restore,
        summary="Bring one file or folder back as it was, in its place or as a copy beside it",
        body=schema.RestorePath,
        answer=Operation,
        status=202,
        at="owner",
    ),
    Route(
        method="GET",
        template=f"{SITE}/browse",
        endpoint=past.browse,
        summary="A directory as it was",
        query=(_SNAPSHOT, _OR_ROOT, _LIMIT, Query("after", "only entries after this name")),
        answer=schema.Listing,
        at="moment",
        deadline_s=_LOOK_S,
    ),
    Route(
        method="GET",
        template=f"{SITE}/files",
        endpoint=past.download,
        summary="A file as it was; or a file or folder as an archive",
        query=(_SNAPSHOT, _PATH, Query("as", "file, tar or zip; file if not said")),
        answer=bytes,
        at="moment",
        deadline_s=_LOOK_S,
    ),
    Route(
        method="GET",
        template=f"{SITE}/diff",
        endpoint=past.compare,
        summary="What is different between two moments",
        query=(
            Query("from", "the earlier moment, in any form", required=True),
            Query("to", "the later one; now if not said"),
            _OR_ROOT,
            _LIMIT,
            Query("start", "how many to pass over", "integer"),
        ),
        answer=schema.DifferencePage,
        at="moment",
        deadline_s=600.0,
    ),
    Route(
        method="GET",
        template=f"{SITE}/stashes",
        endpoint=history.list_stashes,
        summary="History that was set aside",
        answer=Page[schema.StashAnswer],
    ),
    Route(
        method="GET",
        template=f"{SITE}/stashes/{{stash}}",
        endpoint=history.show_stash,
        summary="A stash, with the moments that lie in it",
        answer=schema.StashDetail,
        at="moment",
    ),
    Route(
        method="POST",
        template=f"{SITE}/stashes/{{stash}}/adopt",
        endpoint=history.adopt_stash,
        summary="Make a stash the main line; what was the main line is kept, and undo brings it back",
        body=Empty,
        answer=Operation,
        status=202,
        at="owner",
    ),
    Route(
        method="DELETE",
        template=f"{SITE}/stashes/{{stash}}",
        endpoint=history.discard_stash,
        summary="Put a stash into the trash wherever it is; it can be brought back for a week",
        answer=schema.DiscardedStash,
        status=202,
    ),
    Route(
        method="GET",
        template=f"{SITE}/discarded-stashes",
        endpoint=history.list_discarded,
        summary="Stashes that can be brought back, newest discard first",
        answer=Page[schema.DiscardedStash],
    ),
    Route(
        method="POST",
        template=f"{SITE}/stashes/{{stash}}/undiscard",
        endpoint=history.undiscard_stash,
        summary="Bring a stash back from the trash",
        body=Empty,
        answer=None,
        status=204,
    ),
)
