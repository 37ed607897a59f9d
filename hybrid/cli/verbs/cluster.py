"""`hybrid status`, `hybrid node …`, `hybrid cluster …`, `hybrid token …`: the cluster itself."""

from __future__ import annotations

import argparse
from typing import Any

from hybrid.cli.columns import Column, bytes_, in_use, seconds
from hybrid.cli.parser import add_command, add_noun, ask_option, long_options
from hybrid.cli.parser import seconds as duration
from hybrid.cli.paths import Json, segment, with_query
from hybrid.cli.session import Session
from hybrid.cli.verbs import configuration, placing, settings

NODES = (
    Column("name", "NODE"),
    Column("dc"),
    Column("state"),
    Column("draining"),
    Column("sites", align="right"),
    Column("copies", align="right"),
    Column("load", align="right"),
    Column("capacity", "HAS, AND USES", in_use),
    Column("free_bytes", "FREE", bytes_, "right"),
    Column("size_bytes", "POOL", bytes_, "right"),
    Column("storage_ok", "STORAGE"),
    Column("address"),
    Column("release"),
)
DECISIONS = (
    Column("kind"),
    Column("name", "SITE"),
    Column("nodes", "ON"),
    Column("text", "WHAT"),
    Column("hint", "TRY"),
)
TOKENS = (Column("id"), Column("name"), Column("rights"), Column("created_at", "CREATED"))
_HEALTH = {"ok": "32", "degraded": "33", "critical": "31"}


def add(nouns: argparse._SubParsersAction[Any], common: argparse.ArgumentParser) -> None:
    """All of them."""
    add_command(nouns, common, "status", "the cluster in one sentence, its nodes, what is wrong", show_status)
    add_command(nouns, common, "decisions", "what only a person can decide, and what to do about it", list_decisions)
    epilog = "`hybrid node` alone, or `hybrid node run --config FILE`, is the node's control process"
    node = add_noun(nouns, common, "node", "the servers of the cluster", epilog)
    node.add("list", "all nodes", list_nodes)
    node.add("show", "one node", show_node).add_argument("node", metavar="NODE", help="name or id")
    drain = node.add("drain", "move all sites away, and own none until resumed", placing.drain, "hybrid node drain n3")
    drain.add_argument("node", metavar="NODE", help="name or id")
    drain.add_argument("--plan", action="store_true", help="only say where its sites would go, and how long that takes")
    long_options(drain)
    node.add("resume", "let a drained node own sites again", placing.resume).add_argument(
        "node", metavar="NODE", help="name or id"
    )
    remove = node.add("remove", "remove a node for good", remove_node, "hybrid node remove n3")
    remove.add_argument("node", metavar="NODE", help="name or id")
    remove.add_argument("--force", action="store_true", help="also when something would be lost with it")
    ask_option(remove)
    settings.add(node)
    whole = add_noun(nouns, common, "cluster", "what all nodes have in common")
    rotate = whole.add("rotate-key", "replace the key that seals what nodes send each other by UDP", rotate_key)
    rotate.add_argument(
        "--now", action="store_true", help="within a minute, not within hours: somebody may know the key"
    )
    defaults = whole.add(
        "defaults",
        "what holds for sites of which nothing else is said",
        show_defaults,
        "hybrid cluster defaults --retention 'all for 1h, hourly for 7d, daily for 90d'",
    )
    defaults.add_argument("--retention", metavar="GRID", help="how histories are kept")
    defaults.add_argument("--bursting", choices=("on", "off"), help="whether neighbours of a busy site move away")
    configuration.add(whole)
    verification = whole.add(
        "verification",
        "how often copies of sites are started to see whether they work",
        verification_of_all,
        "hybrid cluster verification --every 12h",
    )
    verification.add_argument("--every", type=duration, metavar="TIME", help="change it; 0: never")
    token = add_noun(nouns, common, "token", "who may call the API, who may join")
    join = token.add("create-join", "a token with which one node may join", create_join_token)
    join.add_argument("--ttl", type=duration, default=1800.0, metavar="TIME", help="how long it is valid (30m)")
    join.add_argument("--dc", default="", help="only for a node of this data centre")
    join.add_argument("--name", default="", help="only for a node of this name")
    create = token.add("create", "a token for a program or a person, shown once", create_token)
    create.add_argument("name", metavar="NAME")
    create.add_argument("--read-only", action="store_true", help="it sees everything and changes nothing")
    token.add("list", "tokens, without their secrets", list_tokens)
    revoke = token.add("revoke", "make a token invalid", revoke_token)
    revoke.add_argument("token", metavar="ID", help="see `hybrid token list`")
    ask_option(revoke)


def show_defaults(session: Session) -> int:
    """`hybrid cluster defaults`."""
    path = "/v1/defaults"
    given: Json = {}
    if session.options.retention is not None:
        given["retention"] = session.options.retention
    if session.options.bursting is not None:
        given["bursting"] = session.options.bursting == "on"
    shown = session.api.call("PATCH", path, given).json() if given else session.api.get(path)
    session.out.one(shown, (Column("retention"), Column("bursting")))
    return 0


def verification_of_all(session: Session) -> int:
    """`hybrid cluster verification`."""
    path, every_s = "/v1/cluster/verification", session.options.every
    answer = session.api.get(path) if every_s is None else session.api.call("PATCH", path, {"every_s": every_s}).json()
    session.out.one(answer, (Column("every_s", "EVERY", seconds),))
    return 0


def show_status(session: Session) -> int:
    """`hybrid status`: exit code 0 unless the cluster is in a critical state."""
    status = session.api.get("/v1/status")
    code = 1 if status["health"] == "critical" else 0
    if session.out.format != "table" or session.options.quiet or session.out.columns:
        session.out.one(status, name="health")
        return code
    nodes = session.api.get("/v1/nodes")["items"]
    health = session.out.paint(status["health"], _HEALTH[status["health"]])
    session.out.data(f"{health}: {status['sentence']}  (as {status['from_node']} saw it at {status['as_of']})\n\n")
    session.out.items(nodes, NODES)
    for finding in status["findings"]:
        session.out.data(session.out.paint("! ", "33") + finding + "\n")
    return code


def list_decisions(session: Session) -> int:
    """`hybrid decisions`."""
    session.out.items(session.api.get("/v1/decisions")["items"], DECISIONS)
    return 0


def list_nodes(session: Session) -> int:
    """`hybrid node list`."""
    session.out.items(session.api.get("/v1/nodes")["items"], NODES)
    return 0


def show_node(session: Session) -> int:
    """`hybrid node show`."""
    session.out.one(session.api.get(f"/v1/nodes/{segment(session.options.node)}"), NODES)
    return 0


def remove_node(session: Session) -> int:
    """`hybrid node remove`."""
    options = session.options
    node = session.api.get(f"/v1/nodes/{segment(options.node)}")
    session.confirm(f"node {node['name']} is kept out for good; its API token is revoked", node["name"])
    session.api.call("DELETE", with_query(f"/v1/nodes/{segment(node['id'])}", {"force": 1 if options.force else None}))
    return 0


def rotate_key(session: Session) -> int:
    """`hybrid cluster rotate-key`."""
    path = with_query("/v1/cluster/keys", {"hurried": 1 if session.options.now else None})
    keys = session.api.call("POST", path).json()
    if session.out.format == "table" and not session.options.quiet:
        session.out.say(f"a new key is being spread; {keys['known']} are known until the old ones are dropped")
    else:
        session.out.one(keys, name="sealing_since")
    return 0


def create_join_token(session: Session) -> int:
    """`hybrid token create-join`."""
    options = session.options
    made = session.api.post("/v1/join-tokens", {"ttl_s": int(options.ttl), "dc": options.dc, "name": options.name})
    return _secret(session, made, f"valid until {made['expires_at']}, for one node; there: {made['command']}")


def create_token(session: Session) -> int:
    """`hybrid token create`."""
    rights = "read" if session.options.read_only else "admin"
    made = session.api.post("/v1/tokens", {"name": session.options.name, "rights": rights})
    return _secret(session, made, "shown this once; only its hash is kept")


def list_tokens(session: Session) -> int:
    """`hybrid token list`."""
    session.out.items(session.api.get("/v1/tokens")["items"], TOKENS, "id")
    return 0


def revoke_token(session: Session) -> int:
    """`hybrid token revoke`."""
    session.confirm(f"token {session.options.token} will not be valid any more")
    session.api.call("DELETE", f"/v1/tokens/{segment(session.options.token)}")
    return 0


def _secret(session: Session, made: Json, remark: str) -> int:
    """A token on standard output, what to know of it as talk."""
    if session.out.format == "table":
        session.out.data(made["token"] + "\n")
        if not session.options.quiet:
            session.out.say(remark)
    else:
        session.out.one(made, name="token")
    return 0
