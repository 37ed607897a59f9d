"""`hybrid node check-config` and `hybrid node settings`: the settings of this machine's node. No API, no cluster."""

from __future__ import annotations

from pathlib import Path

from hybrid.cli.columns import Column
from hybrid.cli.exits import FAILED, CliError
from hybrid.cli.parser import Verbs
from hybrid.cli.session import Session

TROUBLES = (Column("key"), Column("wrong", "WHAT IS WRONG"), Column("allowed", "WHAT IS ALLOWED"))


def add(node: Verbs) -> None:
    """Both, below `hybrid node`."""
    check = node.add("check-config", "what is wrong with a settings file", check_config, "hybrid node check-config")
    check.add_argument(
        "file", nargs="?", metavar="FILE", help="default: %(default)s", default="/etc/hybrid/hybrid.toml"
    )
    node.add("settings", "a settings file with every key, its default and what it means", show_settings)


def check_config(session: Session) -> int:
    """Each mistake: which key, what is wrong, what is allowed. Exit code 1 when there is one."""
    from hybrid.settings import SettingsError, read, troubles

    path = Path(session.options.file)
    try:
        found = troubles(read(path))
    except SettingsError as error:
        raise CliError(error.what, error.why, error.try_, FAILED) from error
    if found or session.out.format != "table":
        session.out.items(
            [{"key": one.key, "wrong": one.wrong, "allowed": one.allowed} for one in found], TROUBLES, "key"
        )
    else:
        session.out.say(f"{path} is good")
    return FAILED if found else 0


def show_settings(session: Session) -> int:
    """The reference, as TOML."""
    from hybrid.cli.settingsdoc import reference

    session.out.data(reference())
    return 0
