"""`hybrid away …`: copies in an object store far away, and what comes back from there."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from hybrid.cli.columns import Column, bytes_, seconds
from hybrid.cli.exits import USAGE, CliError
from hybrid.cli.follow import finish
from hybrid.cli.parser import add_noun, long_options
from hybrid.cli.parser import seconds as duration
from hybrid.cli.paths import segment
from hybrid.cli.session import Session

SECRET = "HYBRID_AWAY_SECRET_KEY"
STORES = (
    Column("name"),
    Column("endpoint"),
    Column("bucket"),
    Column("folder"),
    Column("every_s", "EVERY", seconds, "right"),
    Column("keep_s", "KEEPS", seconds, "right"),
)
SITES = (
    Column("name"),
    Column("newest_at", "NEWEST"),
    Column("age_s", "AGE", seconds, "right"),
    Column("moments", align="right"),
    Column("bytes", "SIZE", bytes_, "right"),
    Column("site", "ID"),
)


def add(nouns: argparse._SubParsersAction[Any], common: argparse.ArgumentParser) -> None:
    """The noun."""
    verbs = add_noun(nouns, common, "away", "copies in an S3-compatible store, sealed, for when the cluster is lost")
    verbs.add("list", "stores that sites are copied to", list_stores)
    new = verbs.add(
        "add",
        "copy all sites to a store, or read what a lost cluster put there",
        add_store,
        "hybrid away add vault --endpoint https://s3.example.net --bucket copies --access-key AK --secret-key-file sk",
    )
    new.add_argument("store", metavar="NAME", help="a-z 0-9 and -, at most 32")
    new.add_argument("--endpoint", required=True, help="https://HOST or https://HOST:PORT")
    new.add_argument("--bucket", required=True)
    new.add_argument("--folder", help="what the names of all objects begin with")
    new.add_argument("--region", help="default: us-east-1")
    new.add_argument("--access-key", required=True, metavar="ID")
    new.add_argument("--secret-key-file", type=Path, metavar="FILE", help=f"default: ${SECRET}")
    new.add_argument("--recovery-key-file", type=Path, metavar="FILE", help="of the cluster that filled it (a new one)")
    new.add_argument("--every", type=duration, metavar="TIME", help="how often each site goes there (1h)")
    new.add_argument("--keep", type=duration, metavar="TIME", help="how long moments stay there (30d)")
    new.add_argument(
        "--follow", action="store_true", default=None, help="keep sites there that are not here on standby"
    )
    _store(verbs.add("remove", "copy there no more; what lies there stays", remove_store))
    _store(verbs.add("sites", "what a store holds", list_sites, "hybrid away sites vault"))
    ship = verbs.add("ship", "copy a site now", ship_site, "hybrid away ship vault shop")
    _store(ship)
    ship.add_argument("site", metavar="SITE", help="name or id")
    long_options(ship)
    back = verbs.add(
        "restore", "bring a site back that this cluster does not have", restore_site, "hybrid away restore vault shop"
    )
    _store(back)
    back.add_argument("site", metavar="SITE", help="its id, or its name then")
    back.add_argument("--at", metavar="MOMENT", help="a time or an age; default: the newest there is")
    back.add_argument("--node", help="to which node (default: the one that answers)")
    long_options(back)
    demote = verbs.add("demote", "give a site to another cluster", demote_site, "hybrid away demote vault shop")
    _store(demote)
    demote.add_argument("site", metavar="SITE", help="name or id")
    long_options(demote, asks=True)


def _store(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("store", metavar="STORE", help="see `hybrid away list`")


def list_stores(session: Session) -> int:
    """`hybrid away list`."""
    session.out.items(session.api.get("/v1/away")["items"], STORES)
    return 0


def add_store(session: Session) -> int:
    """`hybrid away add`."""
    options = session.options
    body = {
        "name": options.store,
        "endpoint": options.endpoint,
        "bucket": options.bucket,
        "access_key": options.access_key,
        "secret_key": _secret(options.secret_key_file),
        "folder": options.folder,
        "region": options.region,
        "every_s": options.every,
        "keep_s": options.keep,
        "follow": options.follow,
    }
    if options.recovery_key_file:
        body["recovery_key"] = _read(options.recovery_key_file)
    added = session.api.post("/v1/away", {name: value for name, value in body.items() if value is not None})
    if session.out.format != "table":
        session.out.one(added, (*STORES, Column("recovery_key")))
        return 0
    session.out.one(added, STORES)
    if not options.recovery_key_file:
        session.out.data(f"\nrecovery key: {added['recovery_key']}\n")
        session.out.say(
            "Keep it outside the cluster: without it nobody can read what lies there. It is not shown again."
        )
    return 0


def remove_store(session: Session) -> int:
    """`hybrid away remove`."""
    session.api.call("DELETE", f"/v1/away/{segment(session.options.store)}")
    return 0


def list_sites(session: Session) -> int:
    """`hybrid away sites`."""
    session.out.items(session.api.get(f"/v1/away/{segment(session.options.store)}/sites")["items"], SITES)
    return 0


def ship_site(session: Session) -> int:
    """`hybrid away ship`."""
    options = session.options
    path = f"/v1/sites/{segment(options.site)}/away"
    return finish(session, session.api.post(path, {"store": options.store}))


def demote_site(session: Session) -> int:
    """`hybrid away demote`."""
    options = session.options
    session.confirm(f"site {options.site} will be stopped here, once all of it is in {options.store}", options.site)
    path = f"/v1/sites/{segment(options.site)}/demote"
    return finish(session, session.api.post(path, {"store": options.store}))


def restore_site(session: Session) -> int:
    """`hybrid away restore`."""
    options = session.options
    body = {"site": options.site, **({"at": options.at} if options.at else {})}
    path = f"/v1/away/{segment(options.store)}/restore"
    return finish(session, session.api.post(path, body, node=options.node))


def _secret(path: Path | None) -> str:
    if path is not None:
        return _read(path)
    if not os.environ.get(SECRET):
        hint = f"--secret-key-file FILE, or set {SECRET}"
        raise CliError("the store's secret key is missing", "it is not taken from the command line", hint, USAGE)
    return os.environ[SECRET]


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError as error:
        raise CliError(f"cannot read {path}", str(error.strerror), "", USAGE) from error
