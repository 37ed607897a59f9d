"""`hybrid site …`: sites as they are now."""

from __future__ import annotations

import argparse
import base64
import time
from typing import Any

from hybrid.cli.columns import Column, bytes_, ports, proof_sentence, proven, seconds, taken
from hybrid.cli.exits import USAGE, CliError
from hybrid.cli.follow import finish
from hybrid.cli.parser import add_noun, count_of_bytes, long_options
from hybrid.cli.parser import seconds as duration
from hybrid.cli.paths import Json, segment
from hybrid.cli.session import Session
from hybrid.cli.tail import unseen
from hybrid.cli.verbs import key, placing

FOLLOW_S = 1.0
FOLLOWED_LINES = 2000
"""Asked for at each look: more than are written in a second."""

LIST = (
    Column("name"),
    Column("state"),
    Column("owner"),
    Column("holders", "COPIES ON"),
    Column("lag_s", "LAG", seconds, "right"),
    Column("data_bytes", "DATA", bytes_, "right"),
    Column("history_bytes", "HISTORY", bytes_, "right"),
    Column("load", "TAKES", taken),
    Column("proof", "PROVEN", proven),
    Column("domains"),
    Column("trouble"),
)
TRAFFIC = (
    Column("site"),
    Column("node"),
    Column("requests_per_s", "REQ/S", align="right"),
    Column("bytes_per_s", "BYTES/S", bytes_, "right"),
    Column("requests", align="right"),
    Column("bytes", "SENT", bytes_, "right"),
    Column("errors", align="right"),
    Column("refused", align="right"),
    Column("waited", align="right"),
    Column("p50_s", "P50", seconds, "right"),
    Column("p95_s", "P95", seconds, "right"),
    Column("p99_s", "P99", seconds, "right"),
)
SHOW = (
    Column("name"),
    Column("id"),
    Column("state"),
    Column("wanted"),
    Column("trouble"),
    Column("domains"),
    Column("owner"),
    Column("holders"),
    Column("safe_copies"),
    Column("lag_s", show=seconds),
    Column("load", "TAKES", taken),
    Column("proof", "PROVEN", proof_sentence),
    Column("image"),
    Column("clone_of"),
    Column("consistency"),
    Column("sleep_after_s", "SLEEPS AFTER", seconds),
    Column("ports", show=ports),
    Column("memory_bytes", show=bytes_),
    Column("data_bytes", "YOUR DATA", bytes_),
    Column("quota_bytes", show=bytes_),
    Column("history_bytes", "HISTORY", bytes_),
    Column("history_budget_bytes", show=bytes_),
    Column("retention"),
)

DELETED = (
    Column("name"),
    Column("id"),
    Column("deleted_at", "DELETED"),
    Column("until", "CAN BE BROUGHT BACK UNTIL"),
    Column("by", "ON"),
)


def add(nouns: argparse._SubParsersAction[Any], common: argparse.ArgumentParser) -> None:
    """The noun."""
    verbs = add_noun(nouns, common, "site", "websites, databases, mail domains: one container on one dataset each")
    listing = verbs.add("list", "all sites", list_sites, "hybrid site list --format json")
    listing.add_argument("--state", help="only those serving, changing, asleep, stopped or unavailable")
    listing.add_argument("--node", help="only those this node owns")
    _site(verbs.add("show", "one site", show_site, "hybrid site show blog"))
    create = verbs.add("create", "create a site", create_site, "hybrid site create blog --image php --with mariadb")
    create.add_argument("site", metavar="NAME", help="a-z 0-9 and -, at most 63")
    create.add_argument("--image", required=True, help="see `hybrid image list`")
    create.add_argument("--node", help="its first owner (default: the best place)")
    create.add_argument(
        "--with",
        dest="database",
        metavar="IMAGE",
        help="make a database too, and tell the site how to log in: mariadb",
    )
    _limits(create)
    long_options(create)
    change = verbs.add("set", "change settings of a site", change_site, "hybrid site set blog --copies 3 --ttl 60s")
    _site(change)
    _limits(change)
    change.add_argument("--pin", dest="pinned", choices=("on", "off"), help="it stays where it is")
    change.add_argument("--apart", metavar="WORD", help="sites with one word are on different nodes; '' for none")
    http = verbs.add(
        "http", "how a site's HTTP is served", site_http, "hybrid site http blog --redirect on --hsts 180d"
    )
    _site(http)
    http.add_argument("--redirect", choices=("on", "off"), help="send who asks without TLS to https://")
    http.add_argument("--certificate", choices=("on", "off"), help="have one issued for each of its domains")
    http.add_argument("--log", choices=("off", "combined", "json"), help="its access log: /var/log/hybrid in the site")
    http.add_argument("--rate", type=float, metavar="N", help="requests a second each source may make (0: any)")
    http.add_argument("--rate-all", type=float, metavar="N", help="requests a second all together may make (0: any)")
    http.add_argument("--cache", choices=("on", "off"), help="keep answers that say for how long they are fresh")
    http.add_argument("--purge", action="store_true", help="throw away what the cache keeps")
    http.add_argument("--hsts", type=duration, metavar="TIME", help="browsers shall ask by HTTPS only for so long (0)")
    move = verbs.add("move", "hand a running site over to another node", move_site, "hybrid site move blog --to n2")
    _site(move)
    move.add_argument("--to", required=True, metavar="NODE")
    long_options(move)
    why = verbs.add(
        "why", "why a site is where it is, and what speaks against other nodes", placing.why, "hybrid site why blog"
    )
    _site(why)
    clone = verbs.add(
        "clone",
        "make a site that begins as another is, or was",
        clone_site,
        "hybrid site clone shop staging --at 1h --env DB_PASSWORD=…",
    )
    _site(clone)
    clone.add_argument("name", metavar="NAME", help="of the new site")
    clone.add_argument("--at", metavar="MOMENT", help="a snapshot, a time or an age (default: now)")
    clone.add_argument("--domain", action="append", dest="domains", metavar="NAME", help="may be given several times")
    clone.add_argument("--copies", type=int, metavar="N", help="replicas beyond the owner (default: as the other)")
    clone.add_argument(
        "--env", action="append", dest="environment", metavar="NAME=VALUE", help="of the new site's own, as secrets are"
    )
    long_options(clone)
    detach = verbs.add("detach", "have a clone share nothing any more with the other site", detach_site)
    _site(detach)
    long_options(detach)
    verify = verbs.add(
        "verify", "prove now that a copy works: start one apart from the world", verify_site, "hybrid site verify blog"
    )
    _site(verify)
    long_options(verify)
    _site(verbs.add("start", "have a site run", start_site))
    _site(verbs.add("stop", "have a site stopped; its data stays", stop_site))
    delete = verbs.add("delete", "stop a site and put its data into the trash", delete_site)
    _site(delete)
    long_options(delete, asks=True)
    verbs.add("deleted", "sites in the trash, which can be brought back", list_deleted)
    _site(verbs.add("undelete", "bring a deleted site back", undelete_site, "hybrid site undelete blog"))
    pick = verbs.add(
        "pick", "of several histories, choose the one to go on with", pick_history, "hybrid site pick blog n2"
    )
    _site(pick)
    pick.add_argument("node", metavar="NODE", help="whose history; see `hybrid decisions`")
    _site(
        verbs.add(
            "credentials",
            "how to log in to what runs in a site, such as its database",
            show_credentials,
            "hybrid site credentials blog-mariadb",
        )
    )
    run = verbs.add("exec", "run a command in a site's container", execute, "hybrid site exec blog -- php -v")
    _site(run)
    run.add_argument("-i", "--stdin", action="store_true", help="pass standard input on (at most 700 kB)")
    run.add_argument("argv", nargs="+", metavar="WORD", help="the command and its arguments, after --")
    key.add(verbs)
    top = verbs.add("top", "sites with the most visitors, by node", top_sites, "hybrid site top")
    top.add_argument("--node", help="default: all that are up")
    _site(verbs.add("stats", "a site's visitors: requests, bytes, errors, times", site_stats, "hybrid site stats blog"))
    access = verbs.add("access-log", "the end of a site's access log", access_log, "hybrid site access-log blog")
    _site(access)
    access.add_argument("-n", "--lines", type=int, default=200, help="how many (default: %(default)s)")
    logs = verbs.add("logs", "the end of a site's console log", show_log)
    _site(logs)
    logs.add_argument("-n", "--lines", type=int, default=200, help="how many (default: %(default)s)")
    logs.add_argument("-f", "--follow", action="store_true", help="go on with what is added, until Ctrl-C")
    linked = verbs.add("link", "a link to its time machine for one person, good for a minute, once", make_link)
    _site(linked)
    linked.add_argument("--for", dest="name", default="", metavar="NAME", help="who it is for, as operations name them")


def path_of(session: Session, rest: str = "") -> str:
    """The API's path of the site that was named."""
    return f"/v1/sites/{segment(session.options.site)}{rest}"


def list_sites(session: Session) -> int:
    """`hybrid site list`."""
    options = session.options
    session.out.items(session.api.get("/v1/sites", state=options.state, node=options.node)["items"], LIST)
    return 0


def show_site(session: Session) -> int:
    """`hybrid site show`."""
    session.out.one(session.api.get(path_of(session)), SHOW)
    return 0


def create_site(session: Session) -> int:
    """`hybrid site create`."""
    options = session.options
    body = {"name": options.site, "image": options.image, **_given(options)}
    if options.node:
        body["node"] = options.node
    if options.database:
        body["database"] = options.database
    return finish(session, session.api.post("/v1/sites", body))


def show_credentials(session: Session) -> int:
    """`hybrid site credentials`."""
    session.out.one(session.api.post(path_of(session, "/credentials"))["values"])
    return 0


def change_site(session: Session) -> int:
    """`hybrid site set`."""
    options = session.options
    body = _given(options)
    if options.pinned is not None:
        body["pinned"] = options.pinned == "on"
    if options.apart is not None:
        body["apart"] = options.apart
    if not body:
        raise CliError("nothing to change", "", "name a setting: `hybrid site set --help`", USAGE)
    session.out.one(session.api.call("PATCH", path_of(session), body).json(), SHOW)
    return 0


def site_http(session: Session) -> int:
    """`hybrid site http`."""
    options, path = session.options, path_of(session, "/http")
    given: Json = {}
    for name in ("redirect", "certificate", "cache"):
        if getattr(options, name) is not None:
            given[name] = getattr(options, name) == "on"
    if options.log is not None:
        given["log"] = options.log
    if options.rate is not None:
        given["requests_per_s"] = options.rate
    if options.rate_all is not None:
        given["requests_per_s_in_all"] = options.rate_all
    if options.purge:
        given["purge"] = True
    if options.hsts is not None:
        given["hsts_s"] = int(options.hsts)
    session.out.one(session.api.call("PATCH", path, given).json() if given else session.api.get(path))
    return 0


def move_site(session: Session) -> int:
    """`hybrid site move`."""
    return finish(session, session.api.post(path_of(session, "/move"), {"to": session.options.to}))


def clone_site(session: Session) -> int:
    """`hybrid site clone`."""
    options = session.options
    variables = [item.partition("=") for item in options.environment or ()]
    if any(not name or not equals for name, equals, _ in variables):
        raise CliError("--env is NAME=VALUE", "", "for example --env DB_PASSWORD=secret", USAGE)
    given = {name: value for name in ("at", "domains", "copies") if (value := getattr(options, name)) is not None}
    body = {"name": options.name, **given, "environment": {name: value for name, _, value in variables}}
    return finish(session, session.api.post(path_of(session, "/clone"), body))


def detach_site(session: Session) -> int:
    """`hybrid site detach`."""
    return finish(session, session.api.post(path_of(session, "/detach")))


def verify_site(session: Session) -> int:
    """`hybrid site verify`."""
    return finish(session, session.api.post(path_of(session, "/verify")))


def start_site(session: Session) -> int:
    """`hybrid site start`."""
    session.out.one(session.api.post(path_of(session, "/start")), SHOW)
    return 0


def stop_site(session: Session) -> int:
    """`hybrid site stop`."""
    session.out.one(session.api.post(path_of(session, "/stop")), SHOW)
    return 0


def delete_site(session: Session) -> int:
    """`hybrid site delete`."""
    site = session.api.get(path_of(session))
    session.confirm(f"site {site['name']} ({', '.join(site['domains'])}) will be stopped and deleted", site["name"])
    return finish(session, session.api.call("DELETE", path_of(session)).json())


def list_deleted(session: Session) -> int:
    """`hybrid site deleted`."""
    session.out.items(session.api.get("/v1/deleted-sites")["items"], DELETED)
    return 0


def undelete_site(session: Session) -> int:
    """`hybrid site undelete`."""
    site = session.api.post(path_of(session, "/undelete"))
    session.out.say(f"{site['name']} comes back: hybrid site show {site['name']}")
    return 0


def pick_history(session: Session) -> int:
    """`hybrid site pick`."""
    session.out.one(session.api.post(path_of(session, "/pick"), {"node": session.options.node}), SHOW)
    return 0


def execute(session: Session) -> int:
    """`hybrid site exec`: ends with the command's own exit code."""
    body: Json = {"argv": session.options.argv}
    if session.options.stdin:
        body["stdin"] = session.stdin.read()
    result = session.api.post(path_of(session, "/exec"), body)
    if session.out.format in ("json", "jsonl"):
        session.out.one(result)
        return int(result["status"])
    session.out.data(_output(result, "stdout"))
    session.out.stderr.write(_output(result, "stderr").decode("utf-8", "replace"))
    if result["truncated"]:
        session.out.say("the output was cut")
    return int(result["status"])


def top_sites(session: Session) -> int:
    """`hybrid site top`."""
    nodes = [session.options.node]
    if nodes == [None]:
        nodes = [one["name"] for one in session.api.get("/v1/nodes")["items"] if one["state"] == "up"]
    found = [item for node in nodes for item in session.api.get("/v1/traffic", node=node)["items"]]
    found.sort(key=lambda item: -float(item["requests_per_s"]))
    session.out.items(found, TRAFFIC, "site")
    return 0


def site_stats(session: Session) -> int:
    """`hybrid site stats`."""
    session.out.one(session.api.get(path_of(session, "/traffic")), TRAFFIC, "site")
    return 0


def access_log(session: Session) -> int:
    """`hybrid site access-log`."""
    found = session.api.get(path_of(session, "/access-log"), lines=str(session.options.lines))
    session.out.data("".join(line + "\n" for line in found["lines"]))
    if found["dropped"]:
        session.out.say(f"{found['dropped']} lines came too fast, and are not there")
    return 0


def show_log(session: Session) -> int:
    """`hybrid site logs`."""
    if session.options.follow:
        return _follow_log(session)
    answer = session.api.get(path_of(session, "/logs"), lines=session.options.lines)
    if session.out.format in ("json", "jsonl"):
        session.out.one(answer)
    else:
        text = answer["text"]
        session.out.data(text if not text or text.endswith("\n") else text + "\n")
    return 0


def _follow_log(session: Session) -> int:
    """The end, then what is added."""
    seen: list[str] | None = None
    try:
        while True:
            lines = session.api.get(path_of(session, "/logs"), lines=FOLLOWED_LINES)["text"].splitlines()
            new = lines[-session.options.lines :] if seen is None else unseen(seen, lines)
            session.out.data("".join(f"{line}\n" for line in new))
            session.out.stdout.flush()
            seen = lines
            time.sleep(FOLLOW_S)
    except KeyboardInterrupt:
        return 0


def make_link(session: Session) -> int:
    """`hybrid site link`."""
    made = session.api.post(path_of(session, "/links"), {"name": session.options.name})
    if session.out.format == "table":
        session.out.data(made["url"] + "\n")
    else:
        session.out.one(made, name="url")
    return 0


def _site(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("site", metavar="SITE", help="name or id")


def sleep_after(text: str) -> float:
    """Seconds; `off` is 0. Raises `ValueError`."""
    return 0.0 if text == "off" else duration(text)


def _limits(parser: argparse.ArgumentParser) -> None:
    """Settings a site may be created with and changed to."""
    parser.add_argument("--domain", action="append", dest="domains", metavar="NAME", help="may be given several times")
    parser.add_argument("--copies", type=int, metavar="N", help="replicas beyond the owner")
    parser.add_argument("--snapshot-every", type=duration, dest="snapshot_every_s", metavar="TIME", help="30s")
    parser.add_argument("--ttl", type=duration, dest="ttl_s", metavar="TIME", help="of its DNS records")
    parser.add_argument(
        "--quota", type=count_of_bytes, dest="quota_bytes", metavar="SIZE", help="of its data, its image included, 20G"
    )
    parser.add_argument(
        "--history-budget",
        type=count_of_bytes,
        dest="history_budget_bytes",
        metavar="SIZE",
        help="of its history, 50G: beyond it old history goes earlier",
    )
    parser.add_argument("--retention", metavar="GRID", help="'all for 1h, hourly for 24h, daily for 30d'")
    parser.add_argument("--memory", type=count_of_bytes, dest="memory_bytes", metavar="SIZE", help="256M")
    parser.add_argument("--cpus", type=float, metavar="N", help="processor cores, 0.5")
    parser.add_argument(
        "--verify-every", type=duration, dest="verify_every_s", metavar="TIME", help="start a copy so often; 0: never"
    )
    parser.add_argument(
        "--consistent-every",
        type=duration,
        dest="consistent_every_s",
        metavar="TIME",
        help="snapshot between the image's hooks so often; 0: never",
    )
    parser.add_argument(
        "--sleep-after",
        type=sleep_after,
        dest="sleep_after_s",
        metavar="TIME",
        help="stop its container when nobody asked for it for so long, start it when somebody does; off: never",
    )
    parser.add_argument("--pids", type=int, metavar="N", help="processes")
    parser.add_argument("--account", metavar="ACCOUNT", help="whose it is, see `hybrid account list`")
    parser.add_argument(
        "--policy", metavar="P", help="which history wins after a partition: value, epoch, prefer:DC, ask"
    )
    parser.add_argument(
        "--strict",
        dest="consistency",
        action="store_const",
        const="strict",
        help="stop it rather than have it written in two places (needs etcd)",
    )
    parser.add_argument(
        "--available",
        dest="consistency",
        action="store_const",
        const="available",
        help="keep it running on whatever server can, as sites are unless told otherwise",
    )


def _given(options: argparse.Namespace) -> Json:
    """The settings that were given, as the API wants them."""
    sizes = ("quota_bytes", "history_budget_bytes", "memory_bytes")
    intervals = ("snapshot_every_s", "ttl_s", "verify_every_s", "consistent_every_s", "sleep_after_s")
    names = ("domains", "copies", *intervals, *sizes, "cpus", "pids", "retention", "policy", "consistency", "account")
    given = {name: value for name in names if (value := getattr(options, name)) is not None}
    if "ttl_s" in given:
        given["ttl_s"] = int(given["ttl_s"])
    return given


def _output(result: Json, name: str) -> bytes:
    text = str(result[name])
    return base64.b64decode(text) if result["encoding"] == "base64" else text.encode()
