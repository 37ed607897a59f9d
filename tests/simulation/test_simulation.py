"""Whole clusters of real nodes under seeded faults: nothing is lost, and in peace all is well again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent.parent.parent


def simulate(folder: Path, seeds: int, first: int = 0) -> dict[str, object]:
    """What `make simulate` writes; in processes of their own, whose sets have the same order each time."""
    output = folder / f"{first}.json"
    command = [sys.executable, "-m", "tests.simulation.run", str(seeds), str(first), "--output", str(output)]
    ended = subprocess.run(
        command, cwd=HERE, env={**os.environ, "PYTHONHASHSEED": "0"}, capture_output=True, text=True, timeout=600
    )
    assert ended.returncode == 0, ended.stdout
    result: dict[str, object] = json.loads(output.read_text())
    return result


def test_broken_rules_are_noticed(tmp_path: Path) -> None:
    """Each rule is there for a reason: without it an invariant falls. All of them: `make mutations`."""
    names = ("no quarantine", "the claim not on disk first", "an old claim served after a restart")
    output = tmp_path / "mutations.json"
    command = [sys.executable, "-m", "tests.simulation.mutants", *names, "--output", str(output)]
    ended = subprocess.run(
        command, cwd=HERE, env={**os.environ, "PYTHONHASHSEED": "0"}, capture_output=True, text=True, timeout=600
    )
    assert ended.returncode == 0, ended.stdout
    assert json.loads(output.read_text())["alive"] == []


def test_some_histories(tmp_path: Path) -> None:
    """Under cuts, crashes, pauses, full, hanging and lost disks nothing that was accepted is lost, and all recovers."""
    result = simulate(tmp_path, 3)
    assert result["failing"] == []


def test_a_history_is_the_same_each_time(tmp_path: Path) -> None:
    """A seed that failed fails again in exactly the same way."""
    one, other = simulate(tmp_path, 1, 5), simulate(tmp_path, 1, 5)
    assert [one[key] for key in ("events", "simulated_s", "states")] == [
        other[key] for key in ("events", "simulated_s", "states")
    ]
