"""Long commands of the build: what they say goes to a log, they end at a deadline, and nothing of them stays behind."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from hybrid.errors import ImageError

LAST_LINES = 15
HEARTBEAT_S = 30.0

Say = Callable[[str], None]


def run(
    argv: Sequence[str], log: Path, deadline_s: float, say: Say, environment: Mapping[str, str] | None = None
) -> None:
    """
    Run a command with both of its streams appended to `log`; say every half minute that it still runs.

    Raises:
        ImageError: It cannot be started, failed, or took longer than `deadline_s`: with its last lines.
    """
    begun_s = time.monotonic()
    with log.open("ab") as out:
        try:
            child = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *argv],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=None if environment is None else {**os.environ, **environment},
                start_new_session=True,
            )
        except OSError as error:
            raise ImageError(f"cannot run {argv[0]}", str(error)) from error
    try:
        _await(child, argv[0], begun_s, deadline_s, lambda text: say(f"{text}: {tail(log, 1).strip()}"))
    except BaseException:
        end(child)
        raise
    if child.returncode != 0:
        raise ImageError(f"{argv[0]} ended with status {child.returncode}", f"\n{tail(log)}\n", f"see {log}")


def _await(child: subprocess.Popen[bytes], name: str, begun_s: float, deadline_s: float, say: Say) -> None:
    while child.poll() is None:
        left_s = begun_s + deadline_s - time.monotonic()
        if left_s <= 0:
            raise ImageError(f"{name} did not end", f"stopped after {deadline_s:.0f} s", "is the machine overloaded?")
        try:
            child.wait(min(HEARTBEAT_S, left_s))
        except subprocess.TimeoutExpired:
            say(f"{name}, after {time.monotonic() - begun_s:.0f} s")


def end(child: subprocess.Popen[bytes]) -> None:
    """Kill it and all of its process group, and reap it."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    child.wait(10)


def processor_s() -> float:
    """Processor seconds of all children of this process that have ended, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def tail(log: Path, lines: int = LAST_LINES) -> str:
    """The last lines of a file, indented; empty when there is none."""
    try:
        text = log.read_bytes()[-8000:].decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(f"  {line.rstrip()}" for line in text.splitlines()[-lines:])
