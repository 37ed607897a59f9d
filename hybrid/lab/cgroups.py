"""Control groups that a lab left: found in every hierarchy of the machine and removed. Synchronous."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")


def remove(prefix: str) -> None:
    """Remove groups whose name begins with `prefix`, and those below. Groups that still hold processes stay."""
    for top in sorted(found(prefix)):
        for folder, _, _ in os.walk(top, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(folder)


def found(prefix: str) -> Iterator[Path]:
    """Groups, in each hierarchy (v1) or the one tree (v2), named `prefix…`, at most four levels down."""
    for depth in range(1, 5):
        yield from ROOT.glob("*/" * (depth - 1) + f"{prefix}*/")


def limit_cores(name: str, cores: float | None) -> None:
    """Give all groups below the one of that name `cores` together, or what they want. Not there, or not so: fine."""
    quota = -1 if cores is None else int(cores * 100_000)
    for group in found(name):
        for file, text in (("cpu.cfs_quota_us", str(quota)), ("cpu.max", "max" if cores is None else str(quota))):
            with contextlib.suppress(OSError):
                if (group / file).exists():
                    (group / file).write_text(text)
