"""Whole clusters under seeded faults: nothing is lost, exactly one owner is left, and broken rules are noticed."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.simulation.run import calm, history, quantiles

SEEDS = 40
BROKEN = {
    "no re-affirm": (2, "L"),
    "ignore epoch": (5, "S7"),
    "no final snapshot": (0, "S2"),
    "force": (1, "S"),
    "keep claim": (0, "S10"),
    "no quarantine": (1, "S10"),
}
"""A rule left out, from which seed on to look, and which invariant falls."""
ENOUGH = 30
"""Seeds under which it must show."""


def test_seeds() -> None:
    """Under cuts, crashes, pauses, sick storage and moves no acknowledged write is lost and every site recovers."""
    outcomes = [history(seed, nodes=3 + seed % 3, steps=25) for seed in range(SEEDS)]
    failing = {outcome.seed: outcome.error for outcome in outcomes if outcome.error}
    assert not failing, (
        f"replay with: python -m tests.simulation.run 1 SEED --nodes (3 + SEED % 3) --steps 25: {failing}"
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
    first, invariant = BROKEN[mutant]
    errors = (history(seed, mutant=mutant).error for seed in range(first, first + ENOUGH))
    assert any(error.startswith(invariant) for error in errors)


def test_single_crashes() -> None:
    """When one server at a time fails, nothing acknowledged leaves the main line, and there are never two owners."""
    outcomes = [calm(seed, nodes=2 + seed % 3, crashes=4) for seed in range(8)]
    assert not {outcome.seed: outcome.error for outcome in outcomes if outcome.error}
    gaps = [gap for outcome in outcomes for gap in outcome.failovers_s]
    assert gaps and quantiles(gaps)["p50"] <= 15.0


def test_elections_by_history_are_noticed_missing() -> None:
    """Were the owner chosen without regard to history, acknowledged changes would be set aside without need."""
    errors = (calm(seed, mutant="history untold").error for seed in range(14, 14 + ENOUGH))
    assert any(error.startswith("C1") for error in errors)
