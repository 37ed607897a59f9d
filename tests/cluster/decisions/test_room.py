"""How full a pool is, and what people are told of it."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import pytest

from hybrid.api.changes import between
from hybrid.api.status import summarise
from hybrid.cluster.room import MEANS, SHRINKS, Level, level, percent
from hybrid.model import NodeId
from hybrid.view import View
from tests.api.test_status import view_of


@pytest.mark.parametrize(
    ("size", "free", "expected"),
    [
        (0, 0, Level.ROOMY),
        (-1, 0, Level.ROOMY),
        (1000, 1000, Level.ROOMY),
        (1000, 201, Level.ROOMY),
        (1000, 200, Level.FILLING),
        (1000, 101, Level.FILLING),
        (1000, 100, Level.SCARCE),
        (1000, 50, Level.SHORT),
        (1000, 31, Level.SHORT),
        (1000, 30, Level.FULL),
        (1000, 0, Level.FULL),
    ],
)
def test_levels(size: int, free: int, expected: Level) -> None:
    """80, 90, 95 and 97 %; a pool of which nothing is known is not taken for full."""
    assert level(size, free) is expected


def test_fuller_never_keeps_more() -> None:
    """The fuller, the earlier old history goes; every level but the lowest has words for people."""
    assert [SHRINKS[one] for one in Level] == sorted((SHRINKS[one] for one in Level), reverse=True)
    assert set(MEANS) == set(Level) - {Level.ROOMY}
    assert (percent(1000, 995), percent(1000, 0), percent(0, 0)) == (1, 100, 0)


def filled(view: View, node: str, free: int) -> View:
    """The view in which that node's pool of 1000 bytes has so much room."""
    old = view.nodes[NodeId(node)]
    new = msgspec.structs.replace(old, size_bytes=1000, free_bytes=free)
    return msgspec.structs.replace(view, serial=view.serial + 1, nodes={**view.nodes, old.id: new})


def test_the_status_names_full_pools_first() -> None:
    """What does harm now makes the cluster critical; what will do so is told with what to do about it."""
    view = filled(filled(view_of("a@p b@q", "ab"), "a", 150), "b", 20)
    status = summarise(view, 0.0)
    assert status.health == "critical"
    assert status.findings[0] == f"the pool of b is 98 % full: {MEANS[Level.FULL]}"
    assert f"the pool of a is 85 % full: {MEANS[Level.FILLING]}" in status.findings
    assert summarise(filled(view, "b", 900), 0.0).health == "degraded"


def test_reaching_a_level_is_an_event_once() -> None:
    """An operator who follows the events reads of each step up and down, and nothing in between."""
    views = [filled(view_of("a@p", "a"), "a", free) for free in (900, 150, 140, 90, 600)]
    told = [event.text for old, new in pairwise(views) for event in between(old, new)]
    assert told == [
        f"the pool of a is 85 % full: {MEANS[Level.FILLING]}",
        f"the pool of a is 91 % full: {MEANS[Level.SCARCE]}",
        "the pool of a is 40 % full again",
    ]
    assert between(view_of("a@p", "a"), views[2]) == []
