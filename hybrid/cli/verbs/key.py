"""`hybrid site key …`: who may log in to a site by SSH."""

from __future__ import annotations

from pathlib import Path

from hybrid.cli.columns import Column
from hybrid.cli.exits import USAGE, CliError
from hybrid.cli.parser import Verbs
from hybrid.cli.paths import segment
from hybrid.cli.session import Session

KEYS = (Column("name"), Column("kind"), Column("fingerprint"))
HOST_KEY = (Column("fingerprint"), Column("key"))
LONGEST = 16 * 1024


def add(sites: Verbs) -> None:
    """The noun below `site`."""
    verbs = sites.noun("key", "public keys of who may log in by SSH: ssh -p 2222 SITE@any-node")
    listing = verbs.add("list", "the keys of a site", list_keys, "hybrid site key list blog")
    listing.add_argument("site", metavar="SITE")
    adding = verbs.add("add", "let who has a key log in", add_key, "hybrid site key add blog ~/.ssh/id_ed25519.pub")
    adding.add_argument("site", metavar="SITE")
    adding.add_argument("file", metavar="FILE", help="that ends in .pub; - is standard input")
    adding.add_argument("--name", default="", help="what to call it (default: its comment)")
    removing = verbs.add(
        "remove", "let who has a key log in no more", remove_key, "hybrid site key remove blog ann@work"
    )
    removing.add_argument("site", metavar="SITE")
    removing.add_argument("key", metavar="KEY", help="its name or fingerprint")
    verbs.add("host", "the key by which all servers are known to clients", show_host_key)


def list_keys(session: Session) -> int:
    """`hybrid site key list`."""
    session.out.items(session.api.get(_path(session))["items"], KEYS)
    return 0


def add_key(session: Session) -> int:
    """`hybrid site key add`."""
    file = session.options.file
    try:
        text = session.stdin.read(LONGEST) if file == "-" else Path(file).expanduser().read_text()[:LONGEST]
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise CliError(f"{file} cannot be read", why, "give the file that ends in .pub", USAGE) from error
    body = {"key": text.strip(), "name": session.options.name}
    session.out.one(session.api.post(_path(session), body), KEYS)
    return 0


def remove_key(session: Session) -> int:
    """`hybrid site key remove`."""
    session.api.call("DELETE", f"{_path(session)}/{segment(session.options.key)}")
    return 0


def show_host_key(session: Session) -> int:
    """`hybrid site key host`."""
    session.out.one(session.api.get("/v1/ssh/host-key"), HOST_KEY)
    return 0


def _path(session: Session) -> str:
    return f"/v1/sites/{segment(session.options.site)}/keys"
