"""What a node says of itself, and how seldom."""

from __future__ import annotations

import pytest

from hybrid.description import settled


@pytest.mark.parametrize(
    "before, now, step, said",
    [(1.0, 1.4, 0.5, 1.0), (1.0, 1.5, 0.5, 1.5), (8.0, 6.1, 2.0, 8.0), (8.0, 6.0, 2.0, 6.0), (0, 16, 16, 16)],
)
def test_small_moves_are_no_news(before: float, now: float, step: float, said: float) -> None:
    """Load and free space move all the time; every node of the cluster is told only when it matters."""
    assert settled(before, now, step) == said
