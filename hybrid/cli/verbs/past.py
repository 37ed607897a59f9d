"""What `hybrid snap …` and `hybrid stash …` have in common: moments, paths, downloads, comparisons."""

from __future__ import annotations

import argparse
import datetime
import os
from pathlib import Path

from hybrid import filenames
from hybrid.cli import moments
from hybrid.cli.columns import Column, bytes_, seconds
from hybrid.cli.exits import USAGE, CliError
from hybrid.cli.follow import finish
from hybrid.cli.parser import long_options
from hybrid.cli.paths import Json, with_query
from hybrid.cli.session import Session
from hybrid.cli.verbs.site import path_of

SNAPSHOTS = (
    Column("created_at", "TAKEN"),
    Column("age_s", "AGE", seconds, "right"),
    Column("stands_for", "OF", align="right"),
    Column("kind"),
    Column("name"),
    Column("guid"),
    Column("locked"),
    Column("label"),
    Column("note"),
    Column("branches"),
)
ENTRIES = (
    Column("kind"),
    Column("size_bytes", "SIZE", bytes_, "right"),
    Column("modified_at", "MODIFIED"),
    Column("name"),
)
DIFFERENCES = (
    Column("change"),
    Column("kind"),
    Column("old_bytes", "WAS", bytes_, "right"),
    Column("new_bytes", "IS", bytes_, "right"),
    Column("path"),
    Column("was", "FROM"),
)
PAGE = 1000


def parameters(value: object) -> str:
    """Those of an extract."""
    return ", ".join(f"{name}: {text}" for name, text in value.items()) if isinstance(value, dict) else "-"


def site(parser: argparse.ArgumentParser) -> None:
    """`SITE`."""
    parser.add_argument("site", metavar="SITE", help="name or id")


def moment(parser: argparse.ArgumentParser) -> None:
    """`MOMENT`."""
    parser.add_argument("moment", metavar="MOMENT", type=in_zone, help=moments.HELP)


def in_zone(text: str) -> str:
    """A moment; times are read in the user's time zone."""
    return moments.spelled(text, datetime.datetime.now().astimezone())


def path(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    """`PATH`, as any listing shows it or as it is."""
    parser.add_argument(
        "path", metavar="PATH", type=_path, nargs="?" if default else None, default=default, help="from the site's root"
    )


def _path(text: str) -> str:
    """A name that the terminal gave as bytes that are no text is escaped; text may have been copied from a listing."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return filenames.shown(os.fsencode(text))
    return text


def limit(parser: argparse.ArgumentParser, default: int) -> None:
    """`-n`."""
    parser.add_argument("-n", "--limit", type=int, default=default, help="how many (default: %(default)s)")


def download_options(parser: argparse.ArgumentParser) -> None:
    """Where to put it, and in which form."""
    path(parser)
    parser.add_argument("-o", "--output", metavar="FILE", help="a new file (default: standard output)")
    parser.add_argument("--as", dest="form", choices=("file", "tar", "zip"), help="default: by FILE's ending, or file")


def restore_options(parser: argparse.ArgumentParser) -> None:
    """What, and whether beside what is there."""
    path(parser)
    parser.add_argument("--copy", action="store_true", help="beside what is there, under a name that says when it was")
    long_options(parser)


def browse(session: Session, at: str) -> int:
    """A directory at a moment, all of it or the first `--limit`."""
    options = session.options
    found: list[Json] = []
    after: str | None = None
    while len(found) < options.limit:
        size = min(PAGE, options.limit - len(found))
        listing = session.api.get(path_of(session, "/browse"), snapshot=at, path=options.path, after=after, limit=size)
        found += listing["items"]
        after = listing["after"]
        if after is None:
            break
    if not options.quiet and session.out.format == "table":
        session.out.say(f"{listing['path']} at {listing['snapshot']['created_at']}")
        if after is not None:
            session.out.say(f"only the first {len(found)}; -n shows more")
    session.out.items(found, ENTRIES)
    return 0


def compare(session: Session, old: str, new: str) -> int:
    """What is different between two moments, all of it or the first `--limit`."""
    options = session.options
    found: list[Json] = []
    start: int | None = 0
    while start is not None and len(found) < options.limit:
        query = {"from": old, "to": new, "path": options.path, "start": start}
        query["limit"] = min(PAGE, options.limit - len(found))
        page = session.api.call("GET", with_query(path_of(session, "/diff"), query)).json()
        found += page["items"]
        start = page["after"]
    if not options.quiet and session.out.format == "table":
        session.out.say(_summary(page, len(found)))
    session.out.items(found, DIFFERENCES, "path")
    return 0


def _summary(page: Json, shown: int) -> str:
    more = "" if page["complete"] else " or more"
    cut = f"; the first {shown} of them, -n shows more" if shown < page["total"] else ""
    return f"{page['total']}{more} differences from {page['old']['created_at']} to {page['new']['created_at']}{cut}"


def restore(session: Session, at: str) -> int:
    """Bring a file or folder back."""
    options = session.options
    body: Json = {"snapshot": at, "path": options.path, "copy": options.copy}
    return finish(session, session.api.post(path_of(session, "/restore"), body))


def get(session: Session, at: str) -> int:
    """Write a file or an archive to standard output, or to `--output`, which is never overwritten."""
    options = session.options
    query = {"snapshot": at, "path": options.path, "as": _form(options)}
    return download(session, with_query(path_of(session, "/files"), query))


def download(session: Session, url: str) -> int:
    """What is at `url`, to `--output` or standard output."""
    options = session.options
    if not options.output:
        for data in session.api.stream(url):
            session.out.data(data)
        return 0
    target = Path(options.output)
    try:
        file = target.open("xb")
    except FileExistsError as error:
        raise CliError(f"{target} exists", "", "choose another name", USAGE) from error
    except OSError as error:
        raise CliError(f"cannot write {target}", str(error.strerror)) from error
    try:
        with file:
            for data in session.api.stream(url):
                file.write(data)
    except OSError as error:
        target.unlink()
        raise CliError(f"cannot write {target}", str(error.strerror)) from error
    except BaseException:
        target.unlink()
        raise
    return 0


def _form(options: argparse.Namespace) -> str:
    ending = Path(options.output or "").suffix
    return options.form or {".tar": "tar", ".zip": "zip"}.get(ending, "file")
