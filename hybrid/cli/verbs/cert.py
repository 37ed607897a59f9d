"""`hybrid cert …`: certificates of sites, which every node shows."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from hybrid.cli.columns import Column, seconds
from hybrid.cli.exits import USAGE, CliError
from hybrid.cli.parser import add_noun, ask_option
from hybrid.cli.paths import segment
from hybrid.cli.session import Session

LIST = (
    Column("name"),
    Column("sites"),
    Column("source"),
    Column("left_s", "ENDS IN", seconds, "right"),
    Column("issuer"),
)

WANTED = (
    Column("name"),
    Column("state"),
    Column("failures", align="right"),
    Column("why"),
    Column("hint", "TRY"),
    Column("next_at", "NEXT TRY"),
)


def add(nouns: argparse._SubParsersAction[Any], common: argparse.ArgumentParser) -> None:
    """The noun."""
    verbs = add_noun(nouns, common, "cert", "certificates of sites, shown by every node")
    verbs.add("list", "all certificates", list_certificates)
    _certificate(verbs.add("show", "one certificate", show_certificate))
    upload = verbs.add(
        "upload",
        "show a certificate that you have",
        upload_certificate,
        "hybrid cert upload --chain fullchain.pem --key privkey.pem",
    )
    upload.add_argument("--chain", type=Path, required=True, metavar="FILE", help="PEM: the certificate, its issuers")
    upload.add_argument("--key", type=Path, required=True, metavar="FILE", help="PEM: its private key")
    upload.add_argument("--site", help="show it for this site's domains only")
    issue = verbs.add(
        "issue",
        "have one issued for a host name, and renewed; once more if it failed",
        issue_certificate,
        "hybrid cert issue www.example.org",
    )
    issue.add_argument("certificate", metavar="NAME", help="a domain of a site, or *. and a zone of this cluster")
    verbs.add("wanted", "names that want an issued certificate, and what keeps them from it", list_wanted)
    account = verbs.add(
        "account",
        "who issues certificates; or agree to an authority's terms",
        authority,
        "hybrid cert account --agree --contact me@example.org",
    )
    account.add_argument("--agree", action="store_true", help="to its terms of service; it issues from then on")
    account.add_argument("--directory", metavar="URL", help="its ACME directory (Let's Encrypt)")
    account.add_argument("--contact", metavar="ADDRESS", help="a mail address, told to it")
    account.add_argument("--ca", type=Path, metavar="FILE", help="PEM: what its own server is trusted by")
    remove = verbs.add("remove", "show a certificate no more", remove_certificate, "hybrid cert remove www.example.org")
    _certificate(remove)
    ask_option(remove)


def _certificate(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("certificate", metavar="NAME", help="the first of its host names; see `hybrid cert list`")


def _path(session: Session) -> str:
    return f"/v1/certificates/{segment(session.options.certificate)}"


def list_certificates(session: Session) -> int:
    """`hybrid cert list`."""
    session.out.items(session.api.get("/v1/certificates")["items"], LIST)
    return 0


def show_certificate(session: Session) -> int:
    """`hybrid cert show`."""
    session.out.one(session.api.get(_path(session)), LIST)
    return 0


def upload_certificate(session: Session) -> int:
    """`hybrid cert upload`."""
    options = session.options
    body = {"chain": _read(options.chain), "key": _read(options.key)}
    if options.site:
        body["site"] = options.site
    session.out.one(session.api.post("/v1/certificates", body), LIST)
    return 0


def issue_certificate(session: Session) -> int:
    """`hybrid cert issue`."""
    session.api.post(f"{_path(session)}/issue", {})
    session.out.say("it is asked for now: hybrid cert wanted")
    return 0


def list_wanted(session: Session) -> int:
    """`hybrid cert wanted`."""
    session.out.items(session.api.get("/v1/authority")["wanted"], WANTED)
    return 0


def authority(session: Session) -> int:
    """`hybrid cert account`."""
    options = session.options
    given = {"directory": options.directory, "contact": options.contact, "ca": options.ca and _read(options.ca)}
    body = {name: value for name, value in given.items() if value}
    if body and not options.agree:
        raise CliError("nobody agreed to the terms", "an authority issues to nobody else", "--agree", USAGE)
    if options.agree:
        found = session.api.call("PATCH", "/v1/authority", {"agree": True, **body}).json()
    else:
        found = session.api.get("/v1/authority")
    session.out.one({name: value for name, value in found.items() if name != "wanted"}, name="directory")
    return 0


def remove_certificate(session: Session) -> int:
    """`hybrid cert remove`."""
    name = session.options.certificate
    session.confirm(f"{name} will be shown no more; its sites have to do without, or with another one", name)
    session.api.call("DELETE", _path(session))
    return 0


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise CliError(f"cannot read {path}", str(error), "", USAGE) from error
