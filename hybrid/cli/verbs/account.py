"""`hybrid account …`, `hybrid package …`: customers and what they may have."""

from __future__ import annotations

import argparse
from typing import Any

from hybrid.cli.columns import Column, bytes_
from hybrid.cli.follow import finish
from hybrid.cli.parser import add_noun, count_of_bytes, long_options
from hybrid.cli.paths import segment
from hybrid.cli.session import Session

ACCOUNTS = (
    Column("name"),
    Column("package"),
    Column("suspended"),
    Column("sites"),
    Column("data_bytes", "DATA", bytes_, "right"),
    Column("history_bytes", "HISTORY", bytes_, "right"),
    Column("quota_bytes", "MAY HAVE", bytes_, "right"),
    Column("email"),
    Column("reason"),
)
PACKAGES = (
    Column("name"),
    Column("sites", align="right"),
    Column("quota_bytes", "DATA", bytes_, "right"),
    Column("history_budget_bytes", "HISTORY", bytes_, "right"),
    Column("memory_bytes", "MEMORY", bytes_, "right"),
    Column("cpus", align="right"),
    Column("copies", align="right"),
    Column("bandwidth_bytes", "A MONTH", bytes_, "right"),
    Column("accounts", align="right"),
)


def add(nouns: argparse._SubParsersAction[Any], common: argparse.ArgumentParser) -> None:
    """Both nouns."""
    verbs = add_noun(nouns, common, "account", "customers: whose sites are")
    verbs.add("list", "all of them, with what they use", list_accounts)
    _account(verbs.add("show", "one of them", show_account))
    create = verbs.add("create", "make one", create_account, "hybrid account create acme --package small")
    _account(create)
    _told(create)
    change = verbs.add("set", "change one; another package changes the limits of its sites", change_account)
    _account(change)
    _told(change)
    long_options(change)
    suspend = verbs.add("suspend", "stop all its sites until it is resumed; their data stay", suspend_account)
    _account(suspend)
    suspend.add_argument("--reason", default="suspended by the operator", metavar="TEXT")
    long_options(suspend)
    resume = verbs.add("resume", "have its sites run again", resume_account)
    _account(resume)
    long_options(resume)
    end = verbs.add("delete", "put all its sites into the trash, and forget it", end_account)
    _account(end)
    long_options(end, asks=True)
    linked = verbs.add("link", "a link to the pages of its sites for one person, good for a minute, once", link_account)
    _account(linked)
    linked.add_argument("--for", dest="person", default="", metavar="NAME", help="as operations will name them")
    _add_packages(nouns, common)


def _add_packages(nouns: argparse._SubParsersAction[Any], common: argparse.ArgumentParser) -> None:
    verbs = add_noun(nouns, common, "package", "what accounts may have")
    verbs.add("list", "all of them", list_packages)
    put = verbs.add(
        "set", "make one, or say anew what it is", put_package, "hybrid package set small --sites 3 --quota 5G"
    )
    put.add_argument("package", metavar="PACKAGE")
    put.add_argument("--sites", type=int, metavar="N", help="how many; no bound if not said")
    for option, name in (("--quota", "quota_bytes"), ("--history-budget", "history_budget_bytes")):
        put.add_argument(option, type=count_of_bytes, dest=name, metavar="SIZE", help="of each site")
    put.add_argument("--memory", type=count_of_bytes, dest="memory_bytes", metavar="SIZE", help="of each site")
    put.add_argument("--cpus", type=float, default=1.0, metavar="N", help="processor cores of each site")
    put.add_argument("--copies", type=int, default=2, metavar="N", help="replicas beyond the owner")
    put.add_argument("--retention", default="", metavar="GRID", help="'all for 1h, hourly for 24h, daily for 30d'")
    put.add_argument(
        "--bandwidth", type=count_of_bytes, dest="bandwidth_bytes", metavar="SIZE", help="in a month, for bills"
    )
    put.add_argument(
        "--image", default="", metavar="IMAGE", help="of sites that a panel orders and says nothing of; php"
    )
    delete = verbs.add("delete", "take one away that no account has", delete_package)
    delete.add_argument("package", metavar="PACKAGE")


def list_accounts(session: Session) -> int:
    """`hybrid account list`."""
    session.out.items(session.api.get("/v1/accounts")["items"], ACCOUNTS)
    return 0


def show_account(session: Session) -> int:
    """`hybrid account show`."""
    session.out.one(session.api.get(_path(session)), ACCOUNTS)
    return 0


def create_account(session: Session) -> int:
    """`hybrid account create`."""
    made = session.api.post("/v1/accounts", {"name": session.options.account, **_given(session)})
    session.out.one(made, ACCOUNTS)
    return 0


def change_account(session: Session) -> int:
    """`hybrid account set`."""
    return finish(session, session.api.call("PATCH", _path(session), _given(session)).json())


def suspend_account(session: Session) -> int:
    """`hybrid account suspend`."""
    return finish(session, session.api.post(_path(session, "/suspend"), {"reason": session.options.reason}))


def resume_account(session: Session) -> int:
    """`hybrid account resume`."""
    return finish(session, session.api.post(_path(session, "/resume")))


def end_account(session: Session) -> int:
    """`hybrid account delete`."""
    account = session.options.account
    session.confirm(f"all sites of {account} are put into the trash, where they stay for a week", account)
    return finish(session, session.api.call("DELETE", _path(session)).json())


def link_account(session: Session) -> int:
    """`hybrid account link`."""
    made = session.api.post(_path(session, "/links"), {"name": session.options.person})
    if session.out.format == "table":
        session.out.data(made["url"] + "\n")
    else:
        session.out.one(made, name="url")
    return 0


def list_packages(session: Session) -> int:
    """`hybrid package list`."""
    session.out.items(session.api.get("/v1/packages")["items"], PACKAGES)
    return 0


def put_package(session: Session) -> int:
    """`hybrid package set`."""
    names = (
        "sites",
        "quota_bytes",
        "history_budget_bytes",
        "memory_bytes",
        "cpus",
        "copies",
        "retention",
        "bandwidth_bytes",
        "image",
    )
    body = {name: getattr(session.options, name) for name in names}
    session.out.one(session.api.post(f"/v1/packages/{segment(session.options.package)}", body), PACKAGES)
    return 0


def delete_package(session: Session) -> int:
    """`hybrid package delete`."""
    session.api.call("DELETE", f"/v1/packages/{segment(session.options.package)}")
    return 0


def _path(session: Session, rest: str = "") -> str:
    return f"/v1/accounts/{segment(session.options.account)}{rest}"


def _account(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("account", metavar="ACCOUNT")


def _told(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--package", metavar="PACKAGE", help="see `hybrid package list`")
    parser.add_argument("--email", metavar="ADDRESS")
    parser.add_argument("--reference", metavar="TEXT", help="what a panel calls it")


def _given(session: Session) -> dict[str, object]:
    """What was said."""
    said = {name: getattr(session.options, name) for name in ("package", "email", "reference")}
    return {name: value for name, value in said.items() if value is not None}
