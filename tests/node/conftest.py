"""Whole nodes on one clock; a failure logged anywhere fails the test."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping

import pytest
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogPublisher
from zope.interface import provider

from tests.node.cluster import PLACES, Cluster


@pytest.fixture
def found() -> Iterator[Callable[[Mapping[str, str]], Cluster]]:
    """`found(places)`: a cluster whose nodes know each other."""
    failures: list[str] = []
    made: list[Cluster] = []

    @provider(ILogObserver)
    def watch(event: LogEvent) -> None:
        if event["log_level"] >= LogLevel.critical:
            failures.append(f"{formatEvent(event)}: {event['log_failure'].getTraceback()}")

    def make(places: Mapping[str, str]) -> Cluster:
        cluster = Cluster(places)
        made.append(cluster)
        cluster.start()
        return cluster

    gc.collect()  # what an earlier test left unfinished ends before anybody watches, not in the middle of this one
    globalLogPublisher.addObserver(watch)
    yield make
    globalLogPublisher.removeObserver(watch)
    for cluster in made:
        cluster.bury()
    assert failures == []


@pytest.fixture
def cluster(found: Callable[[Mapping[str, str]], Cluster]) -> Cluster:
    """Nodes a and b in paris, c in london."""
    return found(PLACES)
