"""`hybrid dns zone|record|key …`: what the cluster's name servers answer, and people's own records."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from hybrid.cli.columns import Column
from hybrid.cli.exits import USAGE, CliError
from hybrid.cli.parser import Verbs, add_noun, ask_option
from hybrid.cli.parser import seconds as duration
from hybrid.cli.paths import segment
from hybrid.cli.session import Session
from hybrid.cli.verbs import dnscheck

ZONES = (
    Column("name"),
    Column("kind"),
    Column("sets", "RECORDS", align="right"),
    Column("serial", align="right"),
    Column("servers"),
    Column("secondaries"),
    Column("primaries"),
    Column("trouble"),
    Column("ds", "DS FOR THE PARENT"),
)
KEYS = (Column("name"), Column("algorithm"), Column("may"), Column("zones"), Column("sources", "FROM"))
RECORDS = (
    Column("name"),
    Column("type"),
    Column("ttl_s", "TTL", align="right"),
    Column("records"),
    Column("managed"),
)


def add(nouns: argparse._SubParsersAction[Any], common: argparse.ArgumentParser) -> None:
    """The noun, with nouns of its own."""
    epilog = "`hybrid dns --config FILE` is the name server itself: a process of a node"
    inner = add_noun(nouns, common, "dns", "DNS zones and records", epilog)
    dnscheck.add(inner)
    _zones(inner.noun("zone", "zones that the cluster answers for"))
    _records(inner.noun("record", "records in a zone"))
    _keys(inner.noun("key", "keys with which programs sign updates and transfers (TSIG)"))


def _zones(verbs: Verbs) -> None:
    verbs.add("list", "all zones", list_zones)
    _zone(verbs.add("add", "make a zone", add_zone, "hybrid dns zone add example.org"))
    change = verbs.add("set", "who else serves a zone", set_zone, "hybrid dns zone set a.example --secondary 192.0.2.1")
    _zone(change)
    change.add_argument("--secondary", action="append", metavar="ADDRESS[:PORT]", help="told of changes; '' for none")
    change.add_argument("--primary", action="append", metavar="ADDRESS[:PORT]", help="copy it from there; '' for none")
    change.add_argument("--transfer-key", metavar="NAME", help="with which primaries are asked; '' for none")
    change.add_argument("--catalog", choices=("on", "off"), help="list the cluster's zones in it (RFC 9432)")
    change.add_argument("--dnssec", choices=("on", "off", "roll", "finish"), help="sign it; roll: replace the key")
    change.add_argument("--server", action="append", metavar="NAME", help="named as a name server; '' for none")
    remove = verbs.add("remove", "remove a zone and the records in it", remove_zone)
    _zone(remove)
    ask_option(remove)
    _zone(verbs.add("export", "a zone as a zone file", export_zone, "hybrid dns zone export example.org > zone"))
    load = verbs.add(
        "import", "take the records of a zone file", import_zone, "hybrid dns zone import example.org zone"
    )
    _zone(load)
    load.add_argument("file", metavar="FILE", help="a zone file, or - for standard input")


def _records(verbs: Verbs) -> None:
    _zone(verbs.add("list", "what is answered in a zone", list_records, "hybrid dns record list example.org"))
    example = "hybrid dns record {} example.org @ MX '10 mail.example.org.'"
    for do, text in (
        ("add", "add records to those there are"),
        ("set", "have these records in place of those there are"),
        ("remove", "remove these records, or all of a name and type"),
    ):
        verb = verbs.add(do, text, edit_record, example.format(do))
        verb.set_defaults(do="replace" if do == "set" else do)
        _zone(verb)
        verb.add_argument("name", metavar="NAME", help="in full or below the zone; @ is the zone itself")
        verb.add_argument("type", metavar="TYPE", type=str.upper, help="A, AAAA, CNAME, MX, TXT, SRV, CAA, …")
        verb.add_argument("data", metavar="DATA", nargs="*" if do == "remove" else "+", help="as in a zone file")
        if do != "remove":
            verb.add_argument("--ttl", type=duration, metavar="TIME", help="default: as it is, else 5m")


def _keys(verbs: Verbs) -> None:
    verbs.add("list", "all keys", list_keys)
    new = verbs.add("add", "make a key", add_key, "hybrid dns key add lego.example.org --zone example.org --may update")
    new.add_argument("key", metavar="NAME", help="a domain name")
    new.add_argument("--zone", action="append", default=[], metavar="ZONE", help="only in this one and those below")
    new.add_argument("--may", choices=("update", "transfer", "both"), default="both", help="default: %(default)s")
    new.add_argument("--from", dest="sources", action="append", default=[], metavar="NETWORK", help="only from there")
    new.add_argument("--algorithm", default="hmac-sha256", help="default: %(default)s")
    new.add_argument("--secret-file", type=Path, metavar="FILE", help="base64; default: a new one")
    verbs.add("remove", "make a key useless", remove_key).add_argument("key", metavar="NAME")


def _zone(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("zone", metavar="ZONE")


def _path(session: Session, rest: str = "") -> str:
    return f"/v1/dns/zones/{segment(session.options.zone)}{rest}"


def list_zones(session: Session) -> int:
    """`hybrid dns zone list`."""
    session.out.items(session.api.get("/v1/dns/zones")["items"], ZONES)
    return 0


def add_zone(session: Session) -> int:
    """`hybrid dns zone add`."""
    session.out.one(session.api.post("/v1/dns/zones", {"name": session.options.zone}), ZONES)
    return 0


def set_zone(session: Session) -> int:
    """`hybrid dns zone set`."""
    options = session.options
    given = {"secondaries": options.secondary, "servers": options.server, "primaries": options.primary}
    body: dict[str, object] = {key: [one for one in value if one] for key, value in given.items() if value is not None}
    if options.transfer_key is not None:
        body["key"] = options.transfer_key
    if options.catalog:
        body["catalog"] = options.catalog == "on"
    if options.dnssec:
        body["dnssec"] = options.dnssec
    session.out.one(session.api.call("PATCH", _path(session), body).json(), ZONES)
    return 0


def remove_zone(session: Session) -> int:
    """`hybrid dns zone remove`."""
    zone = session.options.zone
    session.confirm(f"zone {zone} and the records in it will be gone", zone)
    session.api.call("DELETE", _path(session))
    return 0


def export_zone(session: Session) -> int:
    """`hybrid dns zone export`."""
    session.out.data(session.api.get(_path(session, "/file"))["text"])
    return 0


def import_zone(session: Session) -> int:
    """`hybrid dns zone import`."""
    found = session.api.post(_path(session, "/file"), {"text": _read(session.options.file)})
    for skipped in found["skipped"]:
        session.out.say(f"left out, the platform keeps it: {skipped}")
    session.out.one(found, (Column("sets", "CHANGED"), Column("skipped")))
    return 0


def list_records(session: Session) -> int:
    """`hybrid dns record list`."""
    session.out.items(session.api.get(_path(session, "/records"))["items"], RECORDS)
    return 0


def edit_record(session: Session) -> int:
    """`hybrid dns record add`, `set` and `remove`."""
    options = session.options
    do = "replace" if options.do == "remove" and not options.data else options.do
    edit: dict[str, object] = {"name": options.name, "type": options.type, "records": options.data, "do": do}
    if getattr(options, "ttl", None) is not None:
        edit["ttl_s"] = int(options.ttl)
    session.out.one(session.api.call("PATCH", _path(session, "/records"), {"edits": [edit]}).json())
    return 0


def list_keys(session: Session) -> int:
    """`hybrid dns key list`."""
    session.out.items(session.api.get("/v1/dns/keys")["items"], KEYS)
    return 0


def add_key(session: Session) -> int:
    """`hybrid dns key add`."""
    options = session.options
    body = {
        "name": options.key,
        "algorithm": options.algorithm,
        "may": options.may,
        "zones": options.zone,
        "sources": options.sources,
        "secret": _read(str(options.secret_file)).strip() if options.secret_file else "",
    }
    session.out.one(session.api.post("/v1/dns/keys", body), (*KEYS, Column("secret")))
    return 0


def remove_key(session: Session) -> int:
    """`hybrid dns key remove`."""
    session.api.call("DELETE", f"/v1/dns/keys/{segment(session.options.key)}")
    return 0


def _read(name: str) -> str:
    if name == "-":
        return sys.stdin.read()
    try:
        return Path(name).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise CliError(f"cannot read {name}", str(error), "", USAGE) from error
