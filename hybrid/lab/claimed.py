"""
Who owns what a lab puts on the machine: a folder in `/run/hybrid-lab` for each lab, naming the process that made it.

Everything of a lab carries the lab's name, so that a later run finds and removes what a killed one left. Synchronous.
"""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

REGISTER = Path("/run/hybrid-lab")
PREFIX = "hyb"
_numbers = itertools.count()


def claim_name() -> str:
    """A name for a new lab of this process, at most eleven characters (an interface may have fifteen)."""
    name = f"{PREFIX}{os.getpid()}{chr(ord('a') + next(_numbers) % 26)}"
    folder = REGISTER / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "owner").write_text(json.dumps({"pid": os.getpid(), "started": started(os.getpid())}))
    return name


def note(name: str, key: str, value: str) -> None:
    """Remember something of the lab `name` that its removal needs (`base_dir`, `subnet`)."""
    (REGISTER / name / key).write_text(value)


def noted(name: str, key: str) -> str | None:
    """What was noted."""
    try:
        return (REGISTER / name / key).read_text()
    except OSError:
        return None


def release_name(name: str) -> None:
    """The lab is gone."""
    shutil.rmtree(REGISTER / name, ignore_errors=True)


def dead_labs() -> list[str]:
    """Names of labs whose process is gone, by name."""
    folders = sorted(REGISTER.iterdir()) if REGISTER.is_dir() else []
    return [folder.name for folder in folders if (folder / "owner").exists() and not _owner_lives(folder)]


def _owner_lives(folder: Path) -> bool:
    try:
        owner = json.loads((folder / "owner").read_text())
        return started(int(owner["pid"])) == str(owner["started"])
    except (OSError, ValueError, KeyError):
        return False


def started(pid: int) -> str | None:
    """When a process started, in ticks since boot (proc(5), field 22): with the pid, its identity. `None`: no such."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = state.rpartition(")")[2].split()
    return None if fields[0] == "Z" else fields[19]


@contextmanager
def exclusive() -> Iterator[None]:
    """One lab at a time looks for a free subnet or removes leftovers."""
    REGISTER.mkdir(parents=True, exist_ok=True)
    with (REGISTER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
