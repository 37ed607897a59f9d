"""Reading a container's console log: what a tenant's programs printed, made safe to show. Does I/O (a bounded read)."""

from __future__ import annotations

import os
import re
from pathlib import Path

MAX_READ = 256 * 1024
_ESCAPES = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|.)?")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def tail(directory: Path, lines: int) -> str:
    """The last `lines` lines of `console.log` in `directory` and of `console.log.1` before it; maybe empty."""
    data = _end_of(directory / "console.log", MAX_READ)
    if data.count(b"\n") < lines:
        data = _end_of(directory / "console.log.1", MAX_READ - len(data)) + data
    return clean("\n".join(data.decode("utf-8", "replace").splitlines()[-lines:])) if lines > 0 else ""


def clean(text: str) -> str:
    """Without terminal escapes and control characters: a log must not drive the terminal of who reads it. Pure."""
    return _CONTROLS.sub("", _ESCAPES.sub("", text.replace("\r\n", "\n")))


def last_errors(log: Path, count: int = 2) -> str:
    """The last errors in LXC's own log, without its decoration; empty when there is none."""
    lines = _end_of(log, 16 * 1024).decode("utf-8", "replace").splitlines()
    errors = [": ".join(reversed(line.split(" - ")[2:])).strip() for line in lines if " ERROR " in line]
    told = [error for error in errors if not _NOISE.search(error)] or errors
    return clean("; ".join(dict.fromkeys(told[:count])))


_NOISE = re.compile(
    r"Received container state|Failed to receive|expected sequence number|Failed to spawn container|lxc\.seccomp"
)


def _end_of(path: Path, size: int) -> bytes:
    """The last `size` bytes of a regular file of ours."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        os.lseek(descriptor, max(0, os.fstat(descriptor).st_size - size), os.SEEK_SET)
        return os.read(descriptor, size)
    finally:
        os.close(descriptor)
