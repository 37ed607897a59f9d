"""`hybrid stash …`: history that was set aside, what is in it, and what becomes of it."""

from __future__ import annotations

import argparse
from typing import Any

from hybrid.cli.columns import Column
from hybrid.cli.follow import finish
from hybrid.cli.parser import add_noun, ask_option, long_options
from hybrid.cli.paths import segment
from hybrid.cli.session import Session
from hybrid.cli.verbs import past
from hybrid.cli.verbs.site import path_of

DISCARDED = (
    Column("id"),
    Column("why"),
    Column("discarded_at", "DISCARDED"),
    Column("until", "KEPT UNTIL"),
    Column("by"),
)
STASHES = (Column("id"), Column("why"), Column("head_at", "NEWEST DATA"))


def add(nouns: argparse._SubParsersAction[Any], common: argparse.ArgumentParser) -> None:
    """The noun."""
    verbs = add_noun(nouns, common, "stash", "history set aside: what a rollback undid, one side of a partition")
    listing = verbs.add("list", "stashes of a site", list_stashes)
    past.site(listing)
    listing.add_argument("--discarded", action="store_true", help="those in the trash, which can be brought back")
    _of(verbs.add("show", "the moments that lie in a stash, newest first", show_stash))
    browse = _of(verbs.add("browse", "a directory as it is in a stash", browse_stash))
    past.path(browse, "/")
    past.limit(browse, 10_000)
    past.download_options(_of(verbs.add("get", "a file, or a folder as tar or zip, of a stash", get_stashed)))
    diff = _of(verbs.add("diff", "what is different in the site now from what is in a stash", diff_stash))
    past.path(diff, "/")
    past.limit(diff, 1000)
    past.restore_options(_of(verbs.add("restore", "bring one file or folder into the site", restore_stashed)))
    adopt = _of(verbs.add("adopt", "make a stash the site; what the site is now becomes a stash", adopt_stash))
    long_options(adopt, asks=True)
    ask_option(_of(verbs.add("discard", "put a stash into the trash, for a week", discard_stash)))
    _of(verbs.add("undiscard", "bring a stash back from the trash", undiscard_stash))


def _of(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    past.site(parser)
    parser.add_argument("stash", metavar="STASH", help="its id")
    return parser


def _path(session: Session, rest: str = "") -> str:
    return path_of(session, f"/stashes/{segment(session.options.stash)}{rest}")


def list_stashes(session: Session) -> int:
    """`hybrid stash list`."""
    if session.options.discarded:
        found = session.api.get(path_of(session, "/discarded-stashes"))["items"]
        items = [{**one["stash"], **{key: one[key] for key in ("discarded_at", "until", "by")}} for one in found]
        session.out.items(items, DISCARDED, "id")
        return 0
    session.out.items(session.api.get(path_of(session, "/stashes"))["items"], STASHES, "id")
    return 0


def show_stash(session: Session) -> int:
    """`hybrid stash show`."""
    found = session.api.get(_path(session))
    if session.out.format == "json" and not session.options.quiet:
        session.out.one(found)
        return 0
    if session.out.format == "table":
        session.out.say(f"{found['stash']['id']}: {found['stash']['why']}, newest data of {found['stash']['head_at']}")
    session.out.items(found["snapshots"], past.SNAPSHOTS)
    return 0


def browse_stash(session: Session) -> int:
    """`hybrid stash browse`."""
    return past.browse(session, session.options.stash)


def get_stashed(session: Session) -> int:
    """`hybrid stash get`."""
    return past.get(session, session.options.stash)


def diff_stash(session: Session) -> int:
    """`hybrid stash diff`."""
    return past.compare(session, session.options.stash, "now")


def restore_stashed(session: Session) -> int:
    """`hybrid stash restore`."""
    return past.restore(session, session.options.stash)


def adopt_stash(session: Session) -> int:
    """`hybrid stash adopt`."""
    options = session.options
    session.confirm(f"{options.stash} becomes site {options.site}; what the site is now is kept and can be undone")
    return finish(session, session.api.post(_path(session, "/adopt")))


def discard_stash(session: Session) -> int:
    """`hybrid stash discard`."""
    session.confirm(f"{session.options.stash} is put into the trash; what only it holds is gone in a week")
    found = session.api.call("DELETE", _path(session)).json()
    session.out.say(f"{session.options.stash} can be brought back until {found['until']}: hybrid stash undiscard")
    return 0


def undiscard_stash(session: Session) -> int:
    """`hybrid stash undiscard`."""
    session.api.call("POST", _path(session, "/undiscard"), {})
    return 0
