"""Where the API is and how to get in: the file that `hybrid init` and `hybrid join` write. Reads one file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from hybrid.cli.exits import DENIED, CliError

PLACES = (Path("/etc/hybrid/admin.json"), Path("/var/lib/hybrid/admin.json"))
VARIABLE = "HYBRID_CREDENTIALS"


class Credentials(NamedTuple):
    """Any of the URLs will do."""

    urls: tuple[str, ...]
    token: str
    ca: str
    """PEM of the cluster's authority; `""` trusts what the system trusts."""


def find(option: str | None, environment: Mapping[str, str]) -> Credentials:
    """
    The credentials in the file named by `option`, else by the environment, else in the first place that has one.

    Raises:
        CliError: There is none, or it cannot be used.
    """
    named = option or environment.get(VARIABLE)
    paths = [Path(named)] if named else [path for path in PLACES if _there(path)]
    if not paths:
        places = " and ".join(map(str, PLACES))
        raise CliError(
            "no credentials were found",
            f"neither --credentials nor {VARIABLE} is given, and there is no {places}",
            "on a node run this as root; elsewhere copy a node's admin.json and name it with --credentials",
            DENIED,
        )
    return read(paths[0])


def read(path: Path) -> Credentials:
    """The credentials in `path`. Raises `CliError`."""
    try:
        found = json.loads(path.read_text())
        urls, token, ca = found["urls"], found["token"], found.get("ca", "")
    except OSError as error:
        why = os.strerror(error.errno or 0)
        hint = "run this as root, or use your own"
        raise CliError(f"cannot read the credentials in {path}", why, hint, DENIED) from error
    except (ValueError, KeyError, TypeError) as error:
        why = f"it should be JSON with urls, token and ca ({type(error).__name__}: {error})"
        raise CliError(f"{path} holds no credentials", why, "copy a node's admin.json again", DENIED) from error
    if not (isinstance(urls, list) and urls and all(isinstance(url, str) for url in urls) and isinstance(token, str)):
        raise CliError(f"{path} holds no credentials", "urls or token is not as it should be", "", DENIED)
    return Credentials(tuple(urls), token, str(ca))


def _there(path: Path) -> bool:
    """Whether the file exists; a directory that may not be looked into counts as none."""
    try:
        return path.exists()
    except PermissionError:
        return False
