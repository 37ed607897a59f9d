"""The membership protocol in real processes, over real sealed UDP on loopback."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def test_real_processes_meet_and_miss_a_killed_one() -> None:
    """Five processes find each other, nobody is taken for dead wrongly, and all know when one was killed."""
    ran = subprocess.run(
        [sys.executable, "-m", "tests.bench.swim", "5", "2", "1"],
        capture_output=True,
        timeout=300,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    figures = json.loads(ran.stdout)
    assert figures["nodes"] == 5
    assert figures["false_deaths"] == 0
    assert {"meet_s", "known_max_s", "sent_bytes_per_s"} <= figures.keys()
    assert 3.0 <= figures["known_max_s"] <= 45.0
