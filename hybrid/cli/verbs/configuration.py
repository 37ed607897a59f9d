"""`hybrid cluster export` and `hybrid cluster import`: the configuration of a cluster as a file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hybrid.cli.exits import USAGE, CliError
from hybrid.cli.parser import Verbs, ask_option
from hybrid.cli.session import Session

PATH = "/v1/cluster/configuration"
MAX_PART = 400_000
"""Characters; quoted they are at most twice as many bytes for ASCII, and the API reads a mebibyte."""


def add(cluster: Verbs) -> None:
    """Both, below `hybrid cluster`."""
    text = "zones, accounts, records, tokens, certificates …: all but the sites, as a file"
    export = cluster.add("export", text, export_all, "hybrid cluster export -o cluster.json")
    export.add_argument("-o", "--output", type=Path, metavar="FILE", help="readable by its owner only (default: shown)")
    imports = cluster.add(
        "import", "take in what another export holds", import_all, "hybrid cluster import cluster.json"
    )
    imports.add_argument("file", type=Path, metavar="FILE")
    imports.add_argument("--overwrite", action="store_true", help="also where this cluster says otherwise")
    ask_option(imports)


def export_all(session: Session) -> int:
    """`hybrid cluster export`."""
    answer = session.api.call("POST", f"{PATH}/export", {})
    text = json.dumps(answer.json(), indent=2) + "\n"
    output = session.options.output
    if output is None:
        session.out.data(text)
        return 0
    fd = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(text)
    session.out.say(f"{output} holds secrets: keep it as safe as the servers")
    return 0


def _parts(values: dict[str, str]) -> Iterator[dict[str, str]]:
    """`values` in parts, each of which the API takes in one body."""
    part: dict[str, str] = {}
    size = 0
    for key, value in values.items():
        if part and size + len(key) + len(value) > MAX_PART:
            yield part
            part, size = {}, 0
        part[key], size = value, size + len(key) + len(value)
    if part:
        yield part


def import_all(session: Session) -> int:
    """`hybrid cluster import`."""
    options = session.options
    try:
        values = json.loads(options.file.read_text())["values"]
    except OSError as error:
        raise CliError(f"cannot read {options.file}", os.strerror(error.errno or 0), "", USAGE) from error
    except (ValueError, KeyError, TypeError) as error:
        raise CliError(f"{options.file} is no export", str(error), "hybrid cluster export -o FILE", USAGE) from error
    session.confirm(f"{len(values)} values are taken into the cluster")
    answer: dict[str, Any] = {"added": [], "replaced": [], "differing": [], "same": 0}
    for part in _parts(values):
        body = {"values": part, "overwrite": options.overwrite}
        for key, found in session.api.call("POST", f"{PATH}/import", body).json().items():
            answer[key] += found
    if session.out.format == "table" and not session.out.quiet:
        count = {key: len(answer[key]) for key in ("added", "replaced", "differing")}
        session.out.say(f"{count['added']} added, {count['replaced']} replaced, {answer['same']} are so already")
        if count["differing"]:
            session.out.say(
                f"{count['differing']} are different here and were left: {', '.join(answer['differing'][:9])}"
            )
    else:
        session.out.one(answer, name="same")
    return 0
