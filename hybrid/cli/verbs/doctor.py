"""`hybrid doctor`: what is wrong here and in the cluster, why that matters, and what mends it."""

from __future__ import annotations

import argparse
import time
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hybrid.cli.columns import Column
from hybrid.cli.exits import FAILED, CliError
from hybrid.cli.parser import add_command
from hybrid.cli.session import Session

if TYPE_CHECKING:
    from hybrid.doctor.findings import Finding

COLUMNS = (Column("level"), Column("about"), Column("what"), Column("why"), Column("try"))
_COLOURS = {"bad": "31", "warn": "33", "ok": "32"}


def add(nouns: argparse._SubParsersAction[Any], common: argparse.ArgumentParser) -> None:
    """The verb."""
    text = "what is wrong here and in the cluster, why that matters, and what mends it"
    doctor = add_command(nouns, common, "doctor", text, examine, "hybrid doctor --local")
    doctor.add_argument("--config", metavar="FILE", help="settings of the node here (default: /etc/hybrid/hybrid.toml)")
    doctor.add_argument("--local", action="store_true", help="look at this machine only")
    doctor.add_argument("--all", action="store_true", help="tell also what is as it should be")


def examine(session: Session) -> int:
    """Exit code 1 when something is bad; what is only worth a warning is none."""
    from hybrid.doctor.findings import by_level

    options = session.options
    found = _here(Path(options.config) if options.config else None)
    if not options.local:
        found += _cluster(session)
    shown = [one for one in by_level(found) if options.all or one.level != "ok"]
    if session.out.format == "table" and not session.out.quiet and not session.out.columns:
        _tell(session, shown)
        session.out.say("" if shown else f"all {len(found)} things looked at are as they should be")
    else:
        session.out.items([_item(one) for one in shown], COLUMNS, "what")
    return FAILED if any(one.level == "bad" for one in found) else 0


def _item(finding: Finding) -> dict[str, str]:
    return {
        "level": finding.level,
        "about": finding.about,
        "what": finding.what,
        "why": finding.why,
        "try": finding.try_,
    }


def _tell(session: Session, findings: list[Finding]) -> None:
    for one in findings:
        mark = session.out.paint(f"{one.level:<4}", _COLOURS[one.level])
        session.out.data(f"{mark} {one.about}: {one.what}\n")
        for word, text in (("why", one.why), ("try", one.try_)):
            if text:
                session.out.data(f"       {word}: {text}\n")


def _here(config: Path | None) -> list[Finding]:
    """What can be seen on this machine, with the settings of its node, as far as they can be read."""
    from hybrid.doctor.findings import Finding
    from hybrid.doctor.look import look
    from hybrid.doctor.machine import examine
    from hybrid.settings import DEFAULT_FILE, Settings, SettingsError, load

    file = config or DEFAULT_FILE
    if config is None and not file.exists():
        why = "only the cluster is looked at, nothing of this machine"
        return [Finding("warn", "membership", "this machine is no node", why, "hybrid init, or hybrid join TOKEN")]
    try:
        settings, found = load(file), [Finding("ok", "settings", f"{file} is good")]
    except SettingsError as error:
        settings = Settings(name="none", address="127.0.0.1")
        found = [Finding("bad", "settings", str(error), "no process of the node starts", "hybrid node check-config")]
    return [*found, *examine(look(settings), settings)]


def _cluster(session: Session) -> list[Finding]:
    """What the API tells, and what each node's clock says; that it cannot be asked is a finding too."""
    from hybrid.doctor.cluster import examine
    from hybrid.doctor.findings import Finding

    try:
        status = session.api.get("/v1/status")
        nodes = session.api.get("/v1/nodes")["items"]
        certificates = session.api.get("/v1/certificates")["items"]
    except CliError as error:
        why = "nothing of the cluster can be said"
        return [Finding("bad", "API", f"{error.what}: {error.why}"[:300], why, error.try_ or "hybrid doctor --local")]
    offsets = {node["name"]: _offset(session, node) for node in nodes if node["state"] == "up"}
    return [*examine(status, nodes, offsets, certificates), *_delegations(session)]


def _offset(session: Session, node: dict[str, Any]) -> float | str:
    """How far its clock is ahead of ours, in seconds; or why it cannot be told."""
    from hybrid.cli.client import Client

    there = session.credentials._replace(urls=(f"https://{node['address']}:{node['api_port']}",))
    before_s = time.time()
    try:
        date = Client(there, 5.0).call("GET", "/v1/status").headers.get("date", "")
        told_s = parsedate_to_datetime(date).timestamp() + 0.5  # it tells whole seconds
    except CliError as error:
        return error.why or error.what
    except ValueError:
        return "it does not tell its time"
    return told_s - (before_s + time.time()) / 2


def _delegations(session: Session) -> list[Finding]:
    """Whether the world is led to the cluster's zones."""
    from hybrid.cli.verbs.dnscheck import looked_at
    from hybrid.doctor.findings import Finding

    found = []
    for zone in session.api.get("/v1/dns/zones")["items"][:8]:
        wrong = looked_at(session, zone["name"], "SOA", None, 53).findings
        why = "visitors find its sites through it"
        found += [Finding("warn", "DNS", one.what, why, one.try_) for one in wrong]
        if not wrong:
            found.append(Finding("ok", "DNS", f"{zone['name']} is delegated to this cluster"))
    return found
