"""Which tests run in the guest, and how: in groups side by side, one for each of its processors. Pure."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

GROUP = "=="


@dataclass(frozen=True, slots=True)
class Selection:
    """Arguments of pytest."""

    options: tuple[str, ...]
    """Of every group."""
    groups: tuple[tuple[str, ...], ...]


def read(text: str) -> Selection:
    """
    Read `contrib/lab/guest/tests`: an argument a line, `#` begins a comment, a line `==` begins a group.

    Raises:
        ValueError: There is no group.
    """
    lines = [line for line in (line.partition("#")[0].strip() for line in text.splitlines()) if line]
    parts: list[list[str]] = [[]]
    for line in lines:
        if line == GROUP:
            parts.append([])
        else:
            parts[-1].append(line)
    if len(parts) == 1:
        raise ValueError(f"no line {GROUP} begins a group of tests")
    return Selection(tuple(parts[0]), tuple(tuple(part) for part in parts[1:]))


def junit(number: int) -> str:
    """The name of the file of results of a group, counted from 0."""
    return f"junit-{number}.xml"


def command(selection: Selection, results: str = "/results") -> list[str]:
    """
    What the guest runs: all groups at once, lines of each marked with its number; fails when one of them does.

    At SIGINT, which comes when there is no more time, all of them write into the folder `results` what they have.
    """
    begun = []
    for number, group in enumerate(selection.groups):
        words = ["pytest", *selection.options, *group, f"--junitxml={results}/{junit(number)}"]
        begun.append(f"({shlex.join(words)} 2>&1 | sed -u 's/^/{number}: /') & pids+=($!)")
    waiting = 'status=0; for pid in "${pids[@]}"; do wait $pid || status=1; done; wait; exit $status'
    return ["bash", "-c", "\n".join(["set -o pipefail; trap : INT; pids=()", *begun, waiting])]
