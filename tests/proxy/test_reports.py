"""What front doors tell their node process: nothing of it is lost while that is away for a moment."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from twisted.internet.task import Clock

from hybrid.cluster.founding import create_cluster
from hybrid.model import Fact, Served, SiteId
from hybrid.settings import Settings
from hybrid.sitetraffic import Logged, Used
from hybrid_proxy.accesslog import MOST_IN_ALL, Journal
from hybrid_proxy.limits import Limits
from hybrid_proxy.service import FrontDoors, Reactor

SHOP = SiteId("s-shop")


@pytest.fixture
def doors(tmp_path: Path) -> Iterator[tuple[FrontDoors, Clock, list[Fact]]]:
    """Front doors on a clock, without a view; and what they told."""
    clock, told = Clock(), list[Fact]()
    settings = Settings(name="one", address="127.0.0.1", http_port=0, https_port=0, interior_port=0)
    identity = create_cluster(tmp_path / "state", "one", "127.0.0.1", time.time())
    doors = FrontDoors(cast(Reactor, clock), settings, identity, told.append, "127.0.0.1", Limits(drain_s=0.0))
    doors.startService()
    yield doors, clock, told
    doors.stopService()
    clock.pump([0.1] * 5)


def test_a_node_process_that_is_away(doors: tuple[FrontDoors, Clock, list[Fact]]) -> None:
    """Lines and counts wait for it; and it can tell that nothing is missing of which sites were in use."""
    front, clock, told = doors
    clock.pump([1.0] * 10)
    front.heard = lambda: False
    front.house.journal.add(SHOP, "one")
    front.house.traffic.served(SHOP, 100)
    clock.pump([1.0] * 30)
    front.house.journal.add(SHOP, "two")
    front.heard = lambda: True
    clock.pump([1.0] * 10)
    assert [fact for fact in told if isinstance(fact, Logged)] == [Logged(SHOP, ("one", "two"))]
    assert [fact.bytes for fact in told if isinstance(fact, Served)] == [100]
    assert [fact.number for fact in told if isinstance(fact, Used)] == [1, 2]


def test_lines_that_wait_are_bounded_in_all() -> None:
    """However many sites have a log."""
    journal, each = Journal(), 1000
    for number in range(MOST_IN_ALL // each + 5):
        for _ in range(each):
            journal.add(SiteId(f"s-{number}"), "x")
    told = list(journal.taken())
    assert sum(len(logged.lines) for logged in told) == MOST_IN_ALL
    journal.add(SHOP, "x")
    assert list(journal.taken()) == [Logged(SHOP, ("x",))]
