"""
Seeded histories of whole clusters: `python -m tests.simulation.run SEEDS [FROM] [--mutant NAME] [--nodes N]`.

Writes `build/simulate.json`. A failing seed is printed with the command that replays it, step by step the same.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable
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
    "history untold",
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
    failovers_s: list[float] = field(default_factory=list)
    """In `calm`: from each crash of an owner until another serves."""


def calm(seed: int, nodes: int = 3, mutant: str = "", crashes: int = 6) -> Outcome:
    """
    Let one node at a time crash, with nothing else wrong, and come back.

    Then nothing that was acknowledged may end in a stash, and there are never two owners.
    """
    world = World(seed, nodes=nodes, copies=nodes, mutant=mutant)
    world.flaky = 0.02
    invariants = Invariants(world)
    outcome = Outcome(seed, states=world.states)
    try:
        for _ in range(crashes):
            outcome.failovers_s += _crash_one(world, invariants)
        _main_line(world)
        assert not invariants.owners_s, f"C2 two owners for {invariants.owners_s} s"
    except AssertionError as error:
        outcome.error = str(error)
    outcome.at_s, outcome.total_s, outcome.none_s = world.clock.seconds(), invariants.total_s, invariants.none_s
    return outcome


def _crash_one(world: World, invariants: Invariants) -> list[float]:
    """Crash a node and let it come back. Returns how long its site was without an owner, if it was the owner."""
    _pass(world, invariants, 80)
    process = world.crash()
    was_owner, began_s = process.serving, world.clock.seconds()
    gaps: list[float] = []
    for _ in range(80):
        _pass(world, invariants, 1)
        if was_owner and not gaps and any(other.up and other.serving for other in world.processes.values()):
            gaps.append(world.clock.seconds() - began_s)
    world.restart(process)
    _pass(world, invariants, 80)
    return gaps


def _main_line(world: World) -> None:
    """C1: all that was acknowledged is on the owner's main line."""
    owner = next(process for process in world.processes.values() if process.up and process.serving)
    aside = world.oracle.acknowledged.keys() - set(owner.disk.line)
    assert not aside, f"C1 acknowledged snapshots {sorted(aside)} were set aside without need"


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
    rare: list[Callable[[], object]] = [world.kill, world.pause, world.sicken, world.one_way, world.move, world.move]
    common: list[Callable[[], object]] = [
        world.part,
        world.part,
        world.heal,
        world.heal,
        world.crash,
        world.restart_one,
        world.restart_one,
    ]
    healing: list[Callable[[], object]] = [
        world.resume,
        world.resume,
        world.cure,
        world.cure,
        world.wait,
        world.wait,
        world.wait,
    ]
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
        "failover_s": quantiles([gap for outcome in outcomes for gap in outcome.failovers_s]),
        "two_owners_share": round(sum(outcome.owners_s for outcome in outcomes) / total_s, 4),
        "no_owner_share": round(sum(outcome.none_s for outcome in outcomes) / total_s, 4),
    }


def quantiles(values: list[float]) -> dict[str, float]:
    """Median, 95th percentile and largest; empty without values."""
    ordered = sorted(values)
    if not ordered:
        return {}
    last = len(ordered) - 1
    return {name: round(ordered[int(last * share)], 1) for name, share in (("p50", 0.5), ("p95", 0.95), ("max", 1.0))}


def main() -> int:
    """The command line. Returns 1 when a seed failed."""
    parser = argparse.ArgumentParser(description="Seeded histories of whole clusters.")
    parser.add_argument("seeds", type=int, nargs="?", default=100)
    parser.add_argument("first", type=int, nargs="?", default=0)
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--calm", action="store_true", help="one crash at a time and nothing else")
    parser.add_argument("--mutant", choices=MUTANTS, default="")
    parser.add_argument("--output", type=Path, default=Path("build/simulate.json"))
    given = parser.parse_args()
    began_s = time.monotonic()
    outcomes = []
    for seed in range(given.first, given.first + given.seeds):
        if given.calm:
            outcome = calm(seed, given.nodes, given.mutant)
        else:
            outcome = history(seed, given.nodes, given.mutant, given.steps)
        outcomes.append(outcome)
        if outcome.error:
            print(f"seed {seed} at {outcome.at_s} s: {outcome.error}")
            how = "--calm" if given.calm else f"--steps {given.steps}"
            print(f"  replay: python -m tests.simulation.run 1 {seed} --nodes {given.nodes} {how}")
    result = report(outcomes, time.monotonic() - began_s)
    given.output.parent.mkdir(parents=True, exist_ok=True)
    given.output.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps({**result, "failing": len([o for o in outcomes if o.error])}, indent=2))
    return 1 if result["failing"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
