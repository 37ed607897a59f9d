"""Crash points: nothing without the variable, death at the named step with it, and only once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from hybrid.crashpoint import VARIABLE

PROGRAM = "from hybrid import crashpoint\nfor step in ('one', 'two'): crashpoint.reached(step); print(step, flush=True)"


def run(environment: dict[str, str]) -> tuple[int, str]:
    """Exit status and output of a process that comes to the steps one and two."""
    clean = {name: value for name, value in os.environ.items() if name != VARIABLE}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env={**clean, **environment}, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout


def test_nobody_dies_who_was_not_asked_to(tmp_path: Path) -> None:
    """Without the variable, without the file, and at other steps."""
    assert run({}) == (0, "one\ntwo\n")
    assert run({VARIABLE: str(tmp_path / "none")}) == (0, "one\ntwo\n")
    (tmp_path / "other").write_text("three")
    assert run({VARIABLE: str(tmp_path / "other")}) == (0, "one\ntwo\n")


def test_death_at_the_named_step_and_only_once(tmp_path: Path) -> None:
    """The next life gets past it."""
    asked = tmp_path / "crash"
    asked.write_text("two\n")
    assert run({VARIABLE: str(asked)}) == (-signal.SIGKILL, "one\n")
    assert run({VARIABLE: str(asked)}) == (0, "one\ntwo\n")
