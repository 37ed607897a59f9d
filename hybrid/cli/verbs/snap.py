"""`hybrid snap …` and `hybrid stash …`: the time machine."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from hybrid.cli.columns import Column, bytes_, seconds
from hybrid.cli.exits import USAGE, CliError
from hybrid.cli.follow import finish
from hybrid.cli.parser import add_noun, long_options
from hybrid.cli.paths import segment, with_query
from hybrid.cli.session import Session
from hybrid.cli.verbs.site import path_of

MOMENT = "a guid, a snapshot's name, a time (2026-11-20T14:05:00Z), or an age (60s, 10m, 2h, 1d)"
SNAPSHOTS = (
    Column("created_at", "TAKEN"),
    Column("age_s", "AGE", seconds, "right"),
    Column("name"),
    Column("guid"),
)
ENTRIES = (
    Column("kind"),
    Column("size_bytes", "SIZE", bytes_, "right"),
    Column("modified_at", "MODIFIED"),
    Column("name"),
)
STASHES = (Column("id"), Column("why"), Column("head_at", "NEWEST DATA"))


def add(nouns: argparse._SubParsersAction[Any], common: argparse.ArgumentParser) -> None:
    """Both nouns."""
    verbs = add_noun(nouns, common, "snap", "a site's history: roll back, undo, restore", f"a moment is {MOMENT}")
    listing = verbs.add(
        "list", "moments one can go back to, newest first", list_snapshots, "hybrid snap list blog -n 20"
    )
    _site(listing)
    listing.add_argument("-n", "--limit", type=int, default=100, help="how many (default: %(default)s)")
    _site(verbs.add("create", "take a snapshot now", take_snapshot))
    back = verbs.add("rollback", "make a whole site as it was", roll_back, "hybrid snap rollback blog 10m")
    _site(back)
    _moment(back)
    long_options(back, asks=True)
    undo = verbs.add("undo", "undo the newest rollback (or undo)", undo_rollback)
    _site(undo)
    long_options(undo)
    restore = verbs.add("restore", "bring one file or folder back", restore_path, "hybrid snap restore blog 1h /srv/a")
    _site(restore)
    _moment(restore)
    restore.add_argument("path", metavar="PATH")
    long_options(restore)
    browse = verbs.add("browse", "a directory as it was", browse_path, "hybrid snap browse blog 1h /var/www")
    _site(browse)
    _moment(browse)
    browse.add_argument("path", metavar="PATH", nargs="?", default="/")
    get = verbs.add("get", "a file as it was, without touching the site", get_file, "hybrid snap get blog 1h /etc/motd")
    _site(get)
    _moment(get)
    _download(get)
    stash = add_noun(nouns, common, "stash", "history set aside: what a rollback undid, one side of a partition")
    _site(stash.add("list", "stashes of a site", list_stashes))
    stashed = stash.add("get", "a file as it is in a stash", get_stash_file)
    _site(stashed)
    stashed.add_argument("stash", metavar="STASH", help="its id")
    _download(stashed)


def list_snapshots(session: Session) -> int:
    """`hybrid snap list`."""
    page = session.api.get(path_of(session, "/snapshots"), limit=session.options.limit)
    session.out.items(page["items"], SNAPSHOTS)
    return 0


def take_snapshot(session: Session) -> int:
    """`hybrid snap create`."""
    session.out.one(session.api.post(path_of(session, "/snapshots")), SNAPSHOTS)
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
    body = {"snapshot": session.options.moment, "path": session.options.path}
    return finish(session, session.api.post(path_of(session, "/restore"), body))


def browse_path(session: Session) -> int:
    """`hybrid snap browse`."""
    options = session.options
    listing = session.api.get(path_of(session, "/browse"), snapshot=options.moment, path=options.path)
    if not options.quiet and session.out.format == "table":
        session.out.say(f"{listing['path']} at {listing['snapshot']['created_at']}")
    session.out.items(listing["items"], ENTRIES)
    return 0


def get_file(session: Session) -> int:
    """`hybrid snap get`."""
    options = session.options
    return _get(session, path_of(session, "/files"), snapshot=options.moment, path=options.path)


def list_stashes(session: Session) -> int:
    """`hybrid stash list`."""
    session.out.items(session.api.get(path_of(session, "/stashes"))["items"], STASHES, "id")
    return 0


def get_stash_file(session: Session) -> int:
    """`hybrid stash get`."""
    rest = f"/stashes/{segment(session.options.stash)}/file"
    return _get(session, path_of(session, rest), path=session.options.path)


def _get(session: Session, path: str, /, **query: object) -> int:
    """Write a file to standard output, or to `--output`, which is never overwritten."""
    content = session.api.call("GET", with_query(path, query)).body
    target = session.options.output
    if target is None:
        session.out.data(content)
        return 0
    try:
        with Path(target).open("xb") as file:
            file.write(content)
    except FileExistsError as error:
        raise CliError(f"{target} exists", "", "choose another name", USAGE) from error
    except OSError as error:
        raise CliError(f"cannot write {target}", str(error.strerror)) from error
    return 0


def _site(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("site", metavar="SITE", help="name or id")


def _moment(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("moment", metavar="MOMENT", help=MOMENT)


def _download(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="PATH")
    parser.add_argument("-o", "--output", metavar="FILE", help="a new file (default: standard output)")
