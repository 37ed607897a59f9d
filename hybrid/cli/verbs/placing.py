"""`hybrid site why`, `hybrid node drain|resume`: where sites are, and what moves them."""

from __future__ import annotations

from hybrid.cli.columns import Column, seconds, taken
from hybrid.cli.follow import finish
from hybrid.cli.paths import segment
from hybrid.cli.session import Session

MOVES = (Column("at"), Column("on"), Column("came"), Column("why"))
OTHERS = (Column("node", "OTHER NODE"), Column("against", "SPEAKS AGAINST IT"))
LEFT = (Column("site", "LEFT FOR IT"), Column("to"), Column("at"), Column("why"))


PLACES = (Column("site"), Column("to"))
STUCK = (Column("site", "NO PLACE FOR"), Column("why"))


def drain(session: Session) -> int:
    """`hybrid node drain`."""
    path = f"/v1/nodes/{segment(session.options.node)}/drain"
    if not session.options.plan:
        return finish(session, session.api.post(path))
    answer = session.api.get(path)
    if session.out.format != "table" or session.options.quiet:
        session.out.one(answer, name="node")
        return 0
    session.out.say(f"{len(answer['sites'])} sites, about {seconds(answer['seconds'])}")
    session.out.items(answer["sites"], PLACES, "site")
    if answer["stuck"]:
        session.out.items(answer["stuck"], STUCK, "site")
    return 1 if answer["stuck"] else 0


def resume(session: Session) -> int:
    """`hybrid node resume`."""
    session.api.post(f"/v1/nodes/{segment(session.options.node)}/resume")
    session.out.say(f"{session.options.node} may own sites again")
    return 0


def why(session: Session) -> int:
    """`hybrid site why`."""
    answer = session.api.get(f"/v1/sites/{segment(session.options.site)}/why")
    if session.out.format != "table" or session.options.quiet:
        session.out.one(answer, name="sentence")
        return 0
    session.out.data(f"{answer['sentence']}\nit takes {taken(answer['load'])}\n")
    for said in (answer["hot"], f"it stays: {answer['stays']}" if answer["stays"] else ""):
        if said:
            session.out.data(said + "\n")
    for items, columns in ((answer["moves"], MOVES), (answer["others"], OTHERS), (answer["made_room"], LEFT)):
        if items:
            session.out.data("\n")
            session.out.items(items, columns)
    return 0
