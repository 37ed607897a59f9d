"""
Seeded histories of whole clusters: `python -m tests.simulation.run SEEDS [FROM] [--mutant NAME] [--nodes N]`.

Writes `build/simulate.json`. A failing seed is printed with the command that replays it, step by step the same.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.simulation.invariants import STABLE_S, Invariants
from tests.simulation.world import World

STEPS = 50
MUTANTS = (
    "no re-affirm",
    "ignore epoch",
    "no final snapshot",
    "force",
    "keep claim",
    "no quarantine",
    "no confirmation",
    "no second look",
)
"""Rules that can be broken on purpose, to see whether anybody notices."""


@dataclass(slots=True)
class Outcome:
    """How a history went."""

    seed: int
    error: str = ""
    at_s: float = 0.0
    states: Counter[str] = field(default_factory=Counter)
    owners_s: float = 0.0
    none_s: float = 0.0
    total_s: float = 0.0


def history(seed: int, nodes: int = 4, mutant: str = "", steps: int = STEPS) -> Outcome:
    """Let a cluster live through faults drawn from `seed`, then through peace."""
    world = World(seed, nodes=nodes, copies=min(nodes, 3 + seed % 2), mutant=mutant)
    invariants = Invariants(world)
    outcome = Outcome(seed, states=world.states)
    try:
        _live(world, invariants, steps)
    except AssertionError as error:
        outcome.error = str(error)
    outcome.at_s = world.clock.seconds()
    outcome.owners_s, outcome.none_s, outcome.total_s = invariants.owners_s, invariants.none_s, invariants.total_s
    return outcome


def _live(world: World, invariants: Invariants, steps: int) -> None:
    rare = [world.kill, world.pause, world.sicken, world.one_way, world.move, world.move]
    common = [world.part, world.part, world.heal, world.heal, world.crash, world.restart_one, world.restart_one]
    healing = [world.resume, world.resume, world.cure, world.cure, world.wait, world.wait, world.wait]
    for _ in range(steps):
        world.chance.choice(rare + common + healing)()
        _pass(world, invariants, world.chance.choice([1, 2, 3, 5, 8, 13, 21, 34]))
    world.mend()
    _pass(world, invariants, int(2 * STABLE_S))
    epoch = max(disk.seen.epoch for disk in world.disks.values())
    _pass(world, invariants, int(STABLE_S))
    invariants.quiet(epoch)


def _pass(world: World, invariants: Invariants, halves: int) -> None:
    for _ in range(halves):
        world.step()
        invariants.check()


def report(outcomes: list[Outcome], wall_s: float) -> dict[str, object]:
    """The content of `build/simulate.json`."""
    states: Counter[str] = Counter()
    for outcome in outcomes:
        states.update(outcome.states)
    total_s = sum(outcome.total_s for outcome in outcomes) or 1.0
    return {
        "seeds": len(outcomes),
        "failing": [{"seed": o.seed, "error": o.error, "at_s": o.at_s} for o in outcomes if o.error],
        "simulated_s": sum(outcome.at_s for outcome in outcomes),
        "wall_s": round(wall_s, 1),
        "states": dict(sorted(states.items())),
        "two_owners_share": round(sum(outcome.owners_s for outcome in outcomes) / total_s, 4),
        "no_owner_share": round(sum(outcome.none_s for outcome in outcomes) / total_s, 4),
    }


def main() -> int:
    """The command line. Returns 1 when a seed failed."""
    parser = argparse.ArgumentParser(description="Seeded histories of whole clusters.")
    parser.add_argument("seeds", type=int, nargs="?", default=100)
    parser.add_argument("first", type=int, nargs="?", default=0)
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--mutant", choices=MUTANTS, default="")
    parser.add_argument("--output", type=Path, default=Path("build/simulate.json"))
    given = parser.parse_args()
    began_s = time.monotonic()
    outcomes = []
    for seed in range(given.first, given.first + given.seeds):
        outcome = history(seed, given.nodes, given.mutant, given.steps)
        outcomes.append(outcome)
        if outcome.error:
            print(f"seed {seed} at {outcome.at_s} s: {outcome.error}")
            print(f"  replay: python -m tests.simulation.run 1 {seed} --nodes {given.nodes} --steps {given.steps}")
    result = report(outcomes, time.monotonic() - began_s)
    given.output.parent.mkdir(parents=True, exist_ok=True)
    given.output.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps({**result, "failing": len([o for o in outcomes if o.error])}, indent=2))
    return 1 if result["failing"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
