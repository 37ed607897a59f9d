"""`hybrid audit …`: who asked for what change, what nodes decided, and whether the logs are what they were."""

from __future__ import annotations

import argparse
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from hybrid.cli.columns import Column
from hybrid.cli.exits import FAILED
from hybrid.cli.parser import add_noun
from hybrid.cli.session import Session

if TYPE_CHECKING:
    from hybrid.audit import Entry, Witness

AT_ONCE = 10_000
ENTRIES = (
    Column("number", align="right"),
    Column("at"),
    Column("actor"),
    Column("what"),
    Column("site"),
    Column("outcome"),
)
CHECKED = (Column("node"), Column("entries", align="right"), Column("ok"), Column("fault"))


def add(nouns: argparse._SubParsersAction[Any], common: argparse.ArgumentParser) -> None:
    """The noun."""
    verbs = add_noun(nouns, common, "audit", "who asked for what change, and what nodes decided")
    listing = verbs.add("list", "the newest entries of a node's log", list_entries, "hybrid audit list --node n2")
    listing.add_argument("--node", help="default: the one that answers")
    listing.add_argument("--actor", help="only of this token, or of this node's decisions")
    listing.add_argument("--site", help="only of the site with this id, or name as it was asked for")
    listing.add_argument("-n", "--limit", type=int, default=50, help="how many (default: %(default)s)")
    verbs.add("check", "whether no entry was changed, removed or put in", check)


def list_entries(session: Session) -> int:
    """`hybrid audit list`."""
    options = session.options
    newest: deque[Entry] = deque(maxlen=max(1, options.limit))
    for entry in _log(session, options.node)[1]:
        if options.actor in (None, entry.actor) and options.site in (None, entry.site):
            newest.append(entry)
    session.out.items([_shown(entry) for entry in newest], ENTRIES, "number")
    return 0


def check(session: Session) -> int:
    """`hybrid audit check`: every node that is up."""
    from hybrid.audit import first_fault

    rows = []
    for node in session.api.get("/v1/nodes")["items"]:
        if node["state"] != "up":
            rows.append({"node": node["name"], "entries": 0, "ok": False, "fault": "it cannot be asked: it is down"})
            continue
        witness, log = _log(session, node["name"])
        entries = list(log)
        fault = first_fault(entries, witness)
        told = "" if fault is None else f"entry {fault.number}: {fault.why}"
        rows.append({"node": node["name"], "entries": len(entries), "ok": fault is None, "fault": told})
    session.out.items(rows, CHECKED, "node")
    return 0 if all(row["ok"] for row in rows) else FAILED


def _log(session: Session, node: str | None) -> tuple[Witness | None, Iterator[Entry]]:
    """What the cluster was told before, and all there is now."""
    import msgspec

    from hybrid.audit import Entry, Witness

    page = session.api.get("/v1/audit", node=node, limit=AT_ONCE)
    witness = msgspec.convert(page["witness"], Witness | None)

    def rest() -> Iterator[Entry]:
        items = page["items"]
        while items:
            found = msgspec.convert(items, list[Entry])
            yield from found
            items = session.api.get("/v1/audit", node=node, after=found[-1].number, limit=AT_ONCE)["items"]

    return witness, rest()


def _shown(entry: Entry) -> dict[str, Any]:
    import msgspec

    at = datetime.fromtimestamp(entry.at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {**msgspec.to_builtins(entry), "at": at}
