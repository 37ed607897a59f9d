"""`hybrid op …`, `hybrid events`, `hybrid api`: what is going on, and everything else."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from hybrid.cli.columns import Column, seconds
from hybrid.cli.exits import UNREACHABLE, USAGE, CliError
from hybrid.cli.follow import finish
from hybrid.cli.parser import add_command, add_noun
from hybrid.cli.parser import seconds as duration
from hybrid.cli.paths import segment
from hybrid.cli.session import Session

OPERATIONS = (
    Column("id"),
    Column("kind"),
    Column("site_name", "SITE"),
    Column("state"),
    Column("seconds", "TOOK", seconds, "right"),
    Column("node"),
    Column("created_at", "BEGUN"),
    Column("actor"),
)
EVENTS = (Column("at"), Column("kind"), Column("text"))


def add(nouns: argparse._SubParsersAction[Any], common: argparse.ArgumentParser) -> None:
    """All of them."""
    verbs = add_noun(nouns, common, "op", "operations: long calls with their steps")
    listing = verbs.add("list", "operations of a node, newest first", list_operations)
    listing.add_argument("--node", help="default: the one that answers")
    listing.add_argument("--site", help="name or id")
    listing.add_argument("--state", help="running, done, failed or interrupted")
    listing.add_argument("-n", "--limit", type=int, default=50, help="how many (default: %(default)s)")
    verbs.add("show", "one operation", show_operation).add_argument("operation", metavar="ID")
    wait = verbs.add("wait", "follow an operation to its end", wait_for)
    wait.add_argument("operation", metavar="ID")
    wait.add_argument("--timeout", type=duration, default=600.0, metavar="TIME", help="give up following after (10m)")
    events = add_command(nouns, common, "events", "what happened, as one node saw it", show_events, "hybrid events -f")
    events.add_argument("-f", "--follow", action="store_true", help="go on with what happens, until Ctrl-C")
    events.add_argument("--since", type=int, default=0, metavar="NUMBER", help="only events after this one")
    raw = add_command(nouns, common, "api", "any call of the API", call, "hybrid api GET /v1/status")
    raw.add_argument("method", metavar="METHOD", type=str.upper, choices=("GET", "POST", "PATCH", "DELETE"))
    raw.add_argument("path", metavar="PATH", help="see `hybrid api GET /v1/openapi.json`")
    raw.add_argument("body", metavar="JSON", nargs="?", help="the body; @FILE reads a file, @- standard input")


def list_operations(session: Session) -> int:
    """`hybrid op list`."""
    options = session.options
    page = session.api.get(
        "/v1/operations", node=options.node, site=options.site, state=options.state, limit=options.limit
    )
    session.out.items(page["items"], OPERATIONS, "id")
    return 0


def show_operation(session: Session) -> int:
    """`hybrid op show`."""
    session.out.one(session.api.get(f"/v1/operations/{segment(session.options.operation)}"), OPERATIONS, "id")
    return 0


def wait_for(session: Session) -> int:
    """`hybrid op wait`."""
    session.options.no_wait = False
    return finish(session, session.api.get(f"/v1/operations/{segment(session.options.operation)}"))


def show_events(session: Session) -> int:
    """`hybrid events`."""
    page = session.api.get("/v1/events", since=session.options.since)
    if page["missed"]:
        session.out.say("older events are gone: the log is bounded")
    if not session.options.follow:
        session.out.items(page["items"], EVENTS, "text")
        return 0
    for event in page["items"]:
        _line(session, event)
    try:
        _follow(session, page["newest"])
    except KeyboardInterrupt:
        return 0
    return UNREACHABLE


def call(session: Session) -> int:
    """`hybrid api`: prints the answer's body as it is."""
    options = session.options
    if not options.path.startswith("/"):
        raise CliError(f"{options.path!r} is not a path of the API", "it begins with /v1/", "", USAGE)
    body = _body(session, options.body)
    answer = session.api.call(options.method, options.path, raw=body)
    content = answer.body
    if answer.headers.get("content-type") == "application/json" and session.out.stdout.isatty():
        content = json.dumps(json.loads(content), indent=2).encode()
    session.out.data(content + (b"\n" if content and not content.endswith(b"\n") else b""))
    return 0


def _follow(session: Session, since: int) -> None:
    """Print events for ever; a broken connection is made again, on another node if need be."""
    last_id = ""
    while True:
        for event_id, event in session.api.events(last_id, since):
            last_id = event_id
            _line(session, event)
        time.sleep(1)


def _line(session: Session, event: dict[str, Any]) -> None:
    """One event, at once."""
    if session.out.format in ("json", "jsonl"):
        session.out.data(json.dumps(event) + "\n")
    else:
        cells = [column.cell(event) for column in EVENTS]
        session.out.data(f"{cells[0]}  {cells[1]:<12}  {cells[2]}\n")
    session.out.stdout.flush()


def _body(session: Session, text: str | None) -> bytes | None:
    if text is None or not text.startswith("@"):
        return None if text is None else text.encode()
    try:
        return session.stdin.read().encode() if text == "@-" else Path(text[1:]).read_bytes()
    except OSError as error:
        raise CliError(f"cannot read {text[1:]}", str(error.strerror), "", USAGE) from error
