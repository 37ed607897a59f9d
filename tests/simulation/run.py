"""
Seeded histories of whole clusters: `python -m tests.simulation.run SEEDS [FROM]`, on every core of this machine.

Writes `build/simulate.json`. A seed that fails is printed with what happened and the command that replays it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from twisted.logger import globalLogBeginner

from tests.simulation.history import Outcome, history

LINES = 80
"""Of a failing history that are printed; all of them are in `build/`."""


def outcomes(seeds: range, processes: int) -> Iterator[Outcome]:
    """How each of `seeds` went, as they end."""
    if processes == 1:
        begin()
        yield from map(history, seeds)
        return
    with multiprocessing.get_context("fork").Pool(processes, begin) as pool:
        yield from pool.imap_unordered(history, seeds, chunksize=1)


def begin() -> None:
    """Nobody listens to the log but the histories themselves."""
    globalLogBeginner.beginLoggingTo([], redirectStandardIO=False, discardBuffer=True)


def report(done: list[Outcome], wall_s: float) -> dict[str, object]:
    """The content of `build/simulate.json`."""
    states: Counter[str] = Counter()
    for outcome in done:
        states.update(outcome.states)
    simulated_s = sum(outcome.at_s for outcome in done)
    return {
        "seeds": len(done),
        "failing": [{"seed": o.seed, "error": o.error, "at_s": round(o.at_s, 3)} for o in done if o.error],
        "simulated_s": round(simulated_s),
        "wall_s": round(wall_s, 1),
        "simulated_minutes_per_wall_second": round(simulated_s / 60 / wall_s, 1),
        "events": sum(outcome.events for outcome in done),
        "states": dict(sorted(states.items())),
    }


def show(outcome: Outcome, folder: Path) -> None:
    """Tell of a seed that failed."""
    path = folder / f"simulate-{outcome.seed}.txt"
    path.write_text("\n".join(outcome.story) + "\n")
    print("\n".join(outcome.story[-LINES:]))
    print(f"seed {outcome.seed} at {outcome.at_s:.3f} s: {outcome.error}")
    print(f"  all of it: {path}\n  replay: make simulate SEEDS=1 FROM={outcome.seed}\n", flush=True)


def main() -> int:
    """The command line. Returns 1 when a seed failed."""
    parser = argparse.ArgumentParser(description="Seeded histories of whole clusters.")
    parser.add_argument("seeds", type=int, nargs="?", default=100)
    parser.add_argument("first", type=int, nargs="?", default=0)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--output", type=Path, default=Path("build/simulate.json"))
    given = parser.parse_args()
    given.output.parent.mkdir(parents=True, exist_ok=True)
    began_s, done = time.monotonic(), []
    seeds = range(given.first, given.first + given.seeds)
    for outcome in outcomes(seeds, min(given.processes, given.seeds)):
        done.append(outcome)
        if outcome.error:
            show(outcome, given.output.parent)
        print(f"\r{len(done)} of {given.seeds} histories", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    result = report(done, time.monotonic() - began_s)
    given.output.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps({**result, "failing": [o.seed for o in done if o.error]}, indent=2))
    return 1 if result["failing"] else 0


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":  # sets of names have another order in each process otherwise
        os.execve(
            sys.executable,
            [sys.executable, "-m", "tests.simulation.run", *sys.argv[1:]],
            {**os.environ, "PYTHONHASHSEED": "0"},
        )
    raise SystemExit(main())
