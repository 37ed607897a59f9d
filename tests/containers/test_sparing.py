"""Sites are not spared with their node where memory is short."""

from __future__ import annotations

from pathlib import Path

import pytest

from hybrid_containers.sparing import like_any_other


@pytest.mark.parametrize(("before", "after"), [("-900\n", "0"), ("0\n", "0\n"), ("200\n", "200\n")])
def test_what_is_spared_is_not_any_more(tmp_path: Path, before: str, after: str) -> None:
    """And nothing is made harder to kill than it was, which takes a right that not every process has."""
    score = tmp_path / "oom_score_adj"
    score.write_text(before)
    like_any_other(str(score))
    assert score.read_text() == after
