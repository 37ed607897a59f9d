"""Running commands of the machine for the lab: each with a deadline, each failure with what was said. Synchronous."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from hybrid.errors import HybridError


class LabError(HybridError):
    """The lab cannot do what it was asked."""


def run(*argv: str, stdin: str = "", deadline_s: float = 30.0) -> str:
    """
    Run a command and return its standard output.

    Raises:
        LabError: It could not be started, ended with another status than 0, or not in `deadline_s` (it is killed then).
    """
    try:
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=deadline_s, check=False)
    except OSError as error:
        raise LabError(f"cannot run {argv[0]}", str(error.strerror), "is its package installed?") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"`{' '.join(argv)}` did not end", f"killed after {deadline_s:.0f} s") from error
    if done.returncode:
        raise LabError(f"`{' '.join(argv)}` failed", (done.stderr or done.stdout).strip()[-500:])
    return done.stdout


def succeeds(argv: Sequence[str], deadline_s: float = 30.0) -> bool:
    """Whether the command ends with status 0; what it says is nobody's business."""
    try:
        run(*argv, deadline_s=deadline_s)
    except LabError:
        return False
    return True
