"""Following a log: nothing twice, nothing left out."""

from __future__ import annotations

import signal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from hybrid.cli.tail import unseen


@given(st.lists(st.integers().map(str), unique=True, max_size=30), st.integers(0, 30), st.integers(1, 30))
def test_every_line_is_shown_once(log: list[str], first: int, window: int) -> None:
    """However the log grew between two looks, as long as they overlap or nothing was missed."""
    before, now = log[:first][-window:], log[-window:]
    missed = first < len(log) - window
    assert unseen(before, now) == (now if missed else log[first:])


def test_a_line_that_repeats() -> None:
    """Equal lines are as many as were written, where that can be told."""
    assert unseen(["a", "b"], ["b", "b"]) == ["b"]
    assert unseen([], ["a"]) == ["a"]
    assert unseen(["a"], ["a"]) == []


def test_following_ends_with_a_signal(hybrid: Any) -> None:
    """The end of the log is there at once, and Ctrl-C is no error."""
    following = hybrid.terminal("site", "logs", "blog", "-f")
    following.read_until("started")
    following.process.send_signal(signal.SIGINT)
    assert following.read_to_end().strip() == ""
    assert following.process.returncode == 0
