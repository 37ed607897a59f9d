"""`hybrid group …`: sites whose moments belong together."""

from __future__ import annotations

import argparse
from typing import Any

from hybrid.cli import moments
from hybrid.cli.columns import Column, seconds
from hybrid.cli.follow import finish
from hybrid.cli.parser import add_noun, long_options
from hybrid.cli.parser import seconds as duration
from hybrid.cli.paths import segment
from hybrid.cli.session import Session
from hybrid.cli.verbs.past import SNAPSHOTS

GROUPS = (
    Column("name"),
    Column("sites"),
    Column("owner"),
    Column("together"),
    Column("every_s", "EVERY", seconds, "right"),
    Column("busy"),
)


def add(nouns: argparse._SubParsersAction[Any], common: argparse.ArgumentParser) -> None:
    """The noun."""
    epilog = f"the sites of a group are kept on one node and snapshotted in one instant; a moment is {moments.HELP}"
    verbs = add_noun(nouns, common, "group", "sites whose moments belong together: a website and its database", epilog)
    verbs.add("list", "all groups", list_groups)
    create = verbs.add("create", "make a group", create_group, "hybrid group create blog web db --every 5m")
    create.add_argument("group", metavar="NAME")
    create.add_argument("sites", metavar="SITE", nargs="+", help="the first one leads: the others are moved to it")
    create.add_argument(
        "--every", type=duration, default=300.0, metavar="TIME", help="snapshot so often (5m); 0: only when asked to"
    )
    _group(verbs.add("delete", "let the sites of a group go their own ways", delete_group))
    _group(verbs.add("moments", "instants that all of them can go back to, newest first", list_moments))
    _group(verbs.add("snap", "snapshot all of them in one instant now", take_snapshot))
    back = verbs.add("rollback", "make all of them as they were, or none", roll_back, "hybrid group rollback blog 10m")
    _group(back)
    back.add_argument("moment", metavar="MOMENT", help=moments.HELP)
    long_options(back, asks=True)
    undo = verbs.add("undo", "undo the newest rollback (or undo) of all", undo_rollback)
    _group(undo)
    long_options(undo)


def list_groups(session: Session) -> int:
    """`hybrid group list`."""
    session.out.items(session.api.get("/v1/groups")["items"], GROUPS)
    return 0


def create_group(session: Session) -> int:
    """`hybrid group create`."""
    options = session.options
    body = {"name": options.group, "sites": options.sites, "every_s": options.every}
    session.out.one(session.api.post("/v1/groups", body), GROUPS)
    return 0


def delete_group(session: Session) -> int:
    """`hybrid group delete`."""
    session.api.call("DELETE", _path(session))
    return 0


def list_moments(session: Session) -> int:
    """`hybrid group moments`."""
    session.out.items(session.api.get(_path(session, "/snapshots"))["items"], SNAPSHOTS)
    return 0


def take_snapshot(session: Session) -> int:
    """`hybrid group snap`."""
    session.out.one(session.api.post(_path(session, "/snapshots")), SNAPSHOTS)
    return 0


def roll_back(session: Session) -> int:
    """`hybrid group rollback`."""
    name, to = session.options.group, session.options.moment
    session.confirm(f"all sites of group {name} will be as they were at {to}; what came after is kept")
    return finish(session, session.api.post(_path(session, "/rollback"), {"to": to}))


def undo_rollback(session: Session) -> int:
    """`hybrid group undo`."""
    return finish(session, session.api.post(_path(session, "/undo")))


def _path(session: Session, rest: str = "") -> str:
    return f"/v1/groups/{segment(session.options.group)}{rest}"


def _group(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("group", metavar="GROUP")
