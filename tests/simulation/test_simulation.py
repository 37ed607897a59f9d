"""Whole clusters under seeded faults: nothing is lost, exactly one owner is left, and broken rules are noticed."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.simulation.run import history

SEEDS = 40
BROKEN = {
    "no re-affirm": (10, "L"),
    "ignore epoch": (16, "S7"),
    "no final snapshot": (17, "S2"),
    "force": (17, "S1"),
    "keep claim": (0, "S10"),
    "no quarantine": (17, "S10"),
}
"""A rule left out, a seed under which that shows, and how."""


def test_seeds() -> None:
    """Under cuts, crashes, pauses, sick storage and moves no acknowledged write is lost and every site recovers."""
    outcomes = [history(seed, nodes=3 + seed % 3, steps=30) for seed in range(SEEDS)]
    failing = {outcome.seed: outcome.error for outcome in outcomes if outcome.error}
    assert not failing, (
        f"replay with: python -m tests.simulation.run 1 SEED --nodes (3 + SEED % 3) --steps 30: {failing}"
    )
    states = sum((outcome.states for outcome in outcomes), Counter[str]())
    wanted = {"stood", "fenced", "conflict", "equal epochs", "stashed", "re-affirmed", "refused", "adopted", "moved"}
    wanted |= {"could not open", "move failed"}
    assert wanted <= set(states), f"states never reached: {wanted - set(states)}"


def test_replay() -> None:
    """A seed that failed fails again in exactly the same way."""
    assert history(5) == history(5)


@pytest.mark.parametrize("mutant", BROKEN)
def test_broken_rules_are_noticed(mutant: str) -> None:
    """Each rule is there for a reason: without it data or service is lost, and the simulation says so."""
    seed, invariant = BROKEN[mutant]
    assert history(seed, mutant=mutant).error.startswith(invariant)
