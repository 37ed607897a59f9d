"""`hybrid snap …`: a site's history, and its files as they were."""

from __future__ import annotations

import argparse
from typing import Any

from hybrid.cli import moments
from hybrid.cli.columns import Column
from hybrid.cli.exits import USAGE, CliError
from hybrid.cli.follow import Follower, failed, finish
from hybrid.cli.parser import add_noun, long_options, seconds
from hybrid.cli.paths import segment
from hybrid.cli.session import Session
from hybrid.cli.verbs import past
from hybrid.cli.verbs.past import SNAPSHOTS
from hybrid.cli.verbs.site import path_of

PREVIEWS = (Column("id"), Column("host"), Column("node"), Column("until"), Column("by"))
EXTRACTS = (Column("name"), Column("description"), Column("parameters", show=past.parameters), Column("file"))


def add(nouns: argparse._SubParsersAction[Any], common: argparse.ArgumentParser) -> None:
    """The noun."""
    verbs = add_noun(nouns, common, "snap", "a site's history: roll back, undo, restore", f"a moment is {moments.HELP}")
    listing = verbs.add(
        "list", "moments one can go back to, newest first", list_snapshots, "hybrid snap list blog -n 20"
    )
    past.site(listing)
    past.limit(listing, 100)
    listing.add_argument("--all", action="store_true", help="each snapshot, not one of each minute, hour or day")
    listing.add_argument("--per", choices=("minute", "hour", "day"), help="one of each, whatever their age")
    create = verbs.add(
        "create", "take a snapshot now", take_snapshot, "hybrid snap create blog --name before-the-update"
    )
    past.site(create)
    create.add_argument("--keep", action="store_true", help="until it is unlocked; so are those with a name or a note")
    _naming(create)
    lock = verbs.add("lock", "keep a snapshot until it is unlocked", lock_snapshot, "hybrid snap lock blog 1d")
    _at(lock)
    _naming(lock)
    unlock = verbs.add("unlock", "let a snapshot be forgotten when its time comes", unlock_snapshot)
    past.site(unlock)
    unlock.add_argument("mark", metavar="NAME", help="the name under which it is kept, its guid, or its own name")
    back = verbs.add("rollback", "make a whole site as it was", roll_back, "hybrid snap rollback blog 10m")
    _at(back)
    long_options(back, asks=True)
    undo = verbs.add("undo", "undo the newest rollback (or undo)", undo_rollback)
    past.site(undo)
    long_options(undo)
    _add_files(verbs)
    _add_extracts(verbs)
    _add_previews(verbs)


def _add_files(verbs: Any) -> None:
    restore = verbs.add("restore", "bring one file or folder back", restore_path, "hybrid snap restore blog 1h /srv/a")
    _at(restore)
    past.restore_options(restore)
    browse = verbs.add("browse", "a directory as it was", browse_path, "hybrid snap browse blog 1h /var/www")
    _at(browse)
    past.path(browse, "/")
    past.limit(browse, 10_000)
    get = verbs.add("get", "a file, or a folder as tar or zip", get_path, "hybrid snap get blog 1h /srv -o srv.tar")
    _at(get)
    past.download_options(get)
    diff = verbs.add("diff", "what changed since a moment", diff_moments, "hybrid snap diff blog 'monday 14:00' /srv")
    _at(diff)
    past.path(diff, "/")
    past.limit(diff, 1000)
    diff.add_argument("--to", metavar="MOMENT", type=past.in_zone, default="now", help="until when (default: now)")


def _add_previews(verbs: Any) -> None:
    preview = verbs.add(
        "preview",
        "run a past moment behind a host name of its own, for a while",
        preview_moment,
        "hybrid snap preview blog 1d --for 30m",
    )
    _at(preview)
    preview.add_argument("--for", dest="lasts", type=seconds, default=3600.0, metavar="TIME", help="how long (1h)")
    long_options(preview)
    past.site(verbs.add("previews", "past moments that can be looked at now", list_previews))
    end = verbs.add("end-preview", "end a preview before its time", end_preview)
    past.site(end)
    end.add_argument("preview", metavar="ID", help="of `hybrid snap previews`")


def _add_extracts(verbs: Any) -> None:
    past.site(verbs.add("extracts", "what can be got out of a past moment besides files", list_extracts))
    extract = verbs.add(
        "extract",
        "get something out of a past moment that is no file: a table, a dump",
        extract_moment,
        "hybrid snap extract blog 1h table table=entries -o entries.sql",
    )
    _at(extract)
    extract.add_argument("extract", metavar="NAME", help="one of `hybrid snap extracts`")
    extract.add_argument("values", metavar="KEY=VALUE", nargs="*", help="its parameters")
    extract.add_argument("-o", "--output", metavar="FILE", help="a new file (default: standard output)")
    long_options(extract)


def _at(parser: argparse.ArgumentParser) -> None:
    past.site(parser)
    past.moment(parser)


def _naming(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", default="", help="under which to find it again")
    parser.add_argument("--note", default="", help="for people")


def list_snapshots(session: Session) -> int:
    """`hybrid snap list`."""
    options = session.options
    per = options.per or ("all" if options.all else "age")
    page = session.api.get(path_of(session, "/snapshots"), limit=options.limit, per=per)
    session.out.items(page["items"], SNAPSHOTS)
    return 0


def take_snapshot(session: Session) -> int:
    """`hybrid snap create`."""
    options = session.options
    body = {"name": options.name, "note": options.note, "keep": options.keep}
    session.out.one(session.api.post(path_of(session, "/snapshots"), body), SNAPSHOTS)
    return 0


def lock_snapshot(session: Session) -> int:
    """`hybrid snap lock`."""
    options = session.options
    body = {"snapshot": options.moment, "name": options.name, "note": options.note}
    session.out.one(session.api.post(path_of(session, "/marks"), body), SNAPSHOTS)
    return 0


def unlock_snapshot(session: Session) -> int:
    """`hybrid snap unlock`."""
    session.api.call("DELETE", path_of(session, f"/marks/{segment(session.options.mark)}"))
    return 0


def roll_back(session: Session) -> int:
    """`hybrid snap rollback`."""
    options = session.options
    question = f"site {options.site} will be as it was at {options.moment}; what came after is kept and can be undone"
    session.confirm(question)
    return finish(session, session.api.post(path_of(session, "/rollback"), {"to": options.moment}))


def undo_rollback(session: Session) -> int:
    """`hybrid snap undo`."""
    return finish(session, session.api.post(path_of(session, "/undo")))


def restore_path(session: Session) -> int:
    """`hybrid snap restore`."""
    return past.restore(session, session.options.moment)


def browse_path(session: Session) -> int:
    """`hybrid snap browse`."""
    return past.browse(session, session.options.moment)


def get_path(session: Session) -> int:
    """`hybrid snap get`."""
    return past.get(session, session.options.moment)


def preview_moment(session: Session) -> int:
    """`hybrid snap preview`."""
    body = {"snapshot": session.options.moment, "seconds": int(session.options.lasts)}
    return finish(session, session.api.post(path_of(session, "/previews"), body))


def list_previews(session: Session) -> int:
    """`hybrid snap previews`."""
    session.out.items(session.api.get(path_of(session, "/previews"))["items"], PREVIEWS, "id")
    return 0


def end_preview(session: Session) -> int:
    """`hybrid snap end-preview`."""
    session.api.call("DELETE", path_of(session, f"/previews/{segment(session.options.preview)}"))
    return 0


def list_extracts(session: Session) -> int:
    """`hybrid snap extracts`."""
    session.out.items(session.api.get(path_of(session, "/extracts"))["items"], EXTRACTS)
    return 0


def extract_moment(session: Session) -> int:
    """`hybrid snap extract`."""
    options = session.options
    values = dict(_pair(text) for text in options.values)
    body = {"snapshot": options.moment, "name": options.extract, "values": values}
    operation = session.api.post(path_of(session, "/extracts"), body)
    if options.no_wait:
        return finish(session, operation)
    ended = Follower(session).follow(operation)
    if ended["state"] != "done":
        raise failed(ended)
    return past.download(session, f"/v1/operations/{segment(ended['id'])}/content")


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise CliError(f"{text!r} is no parameter", "", "write KEY=VALUE", USAGE)
    return name, value


def diff_moments(session: Session) -> int:
    """`hybrid snap diff`."""
    return past.compare(session, session.options.moment, session.options.to)
