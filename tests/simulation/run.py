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

from hybrid.core import Core
from tests.simulation.history import Outcome, Scene, cornered, history

SOMETIMES = (
    "conflict",
    "conflict of equal epochs",
    "conflict of three",
    "conflict in a hand-over",
    "crash in a stash before the rename",
    "crash in a stash before the clone",
    "crash in a stash before the promotion",
    "crash in a stash before the end",
    "elected",
    "elected while a better copy was dead",
    "election-called-off",
    "fenced",
    "forgotten",
    "full disk in a stash",
    "heal while receiving",
    "intent log replayed",
    "move done",
    "move not done",
    "picked",
    "re-affirmed",
    "rollback done",
    "stashed",
    "stashed again",
    "takeover-failed",
    "tombstone against a partitioned writer",
    "undo done",
    "waiting for a pick",
)
"""States that a long run must have reached: what never happened was not tested."""
ENOUGH = 300
"""Seeds from which on that is demanded."""
LINES = 80
"""Of a failing history that are printed; all of them are in `build/`."""


def outcomes(seeds: range, processes: int) -> Iterator[Outcome]:
    """How each of `seeds` went, as they end."""
    if processes == 1:
        begin()
        yield from map(told, seeds)
        return
    with multiprocessing.get_context("fork").Pool(processes, begin) as pool:
        yield from pool.imap_unordered(told, seeds, chunksize=1)


def told(seed: int) -> Outcome:
    """Three histories in which everything heals to one in which much stays broken for ever."""
    scene: Scene = cornered if seed % 4 == 3 else history
    return scene(seed, Core)


def begin() -> None:
    """Nobody listens to the log but the histories themselves; nor to what is left of a world that has ended."""
    globalLogBeginner.beginLoggingTo([], redirectStandardIO=False, discardBuffer=True)
    sys.unraisablehook = _unraisable


def _unraisable(problem: sys.UnraisableHookArgs) -> None:
    """A deed that hangs for ever in a world that ended may wait once more while it is thrown away: that is no news."""
    if str(problem.exc_value) != "coroutine ignored GeneratorExit":
        sys.__unraisablehook__(problem)


def progress(done: int, seeds: int) -> None:
    """How far it is: on a terminal with each history, in a log in ten lines."""
    if sys.stderr.isatty():
        print(f"\r{done} of {seeds} histories", end="\n" if done == seeds else "", file=sys.stderr, flush=True)
    elif done * 10 // seeds > (done - 1) * 10 // seeds:
        print(f"{done} of {seeds} histories", file=sys.stderr, flush=True)


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
        "never": [state for state in SOMETIMES if not states[state]],
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
        progress(len(done), given.seeds)
    result = report(done, time.monotonic() - began_s)
    given.output.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps({**result, "failing": [o.seed for o in done if o.error]}, indent=2))
    if result["never"] and given.seeds >= ENOUGH:
        print(f"states that were never reached: {result['never']}")
        return 1
    return 1 if result["failing"] else 0


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":  # sets of names have another order in each process otherwise
        os.execve(
            sys.executable,
            [sys.executable, "-m", "tests.simulation.run", *sys.argv[1:]],
            {**os.environ, "PYTHONHASHSEED": "0"},
        )
    raise SystemExit(main())
