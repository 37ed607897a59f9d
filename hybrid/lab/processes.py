"""Processes as `/proc` shows them: trees, namespaces, command lines. Synchronous."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable
from pathlib import Path

from hybrid.lab.claimed import started


def children(pid: int) -> list[int]:
    """Direct children, of any of its threads."""
    found: list[int] = []
    for task in _tasks(pid):
        try:
            found += map(int, (task / "children").read_text().split())
        except OSError:
            continue
    return found


def _tasks(pid: int) -> list[Path]:
    try:
        return list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return []


def tree(pid: int) -> list[int]:
    """`pid` and all below it, parents first; empty when it is gone."""
    if started(pid) is None:
        return []
    found = [pid]
    for parent in found:
        found += children(parent)
    return found


def send(pids: Iterable[int], number: signal.Signals) -> None:
    """Send a signal to each of `pids`; one that ended meanwhile needs none."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def command_line(pid: int) -> list[str]:
    """Its arguments; empty when it is gone or of the kernel."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0")
    except OSError:
        return []


def pid_namespace(pid: int) -> str:
    """What identifies the PID namespace of `pid`; empty when it is gone."""
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return ""


def pid_inside(pid: int) -> int | None:
    """What `pid` is called in its own PID namespace; `None` when it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    return next((int(line.split()[-1]) for line in status.splitlines() if line.startswith("NSpid:")), None)
