"""Whenever the power goes, between any two steps of any deed: nothing is lost, and all is finished in the end."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import pytest

from hybrid.storage.memory import MemoryPool
from hybrid_replicator.names import JOURNAL
from tests.crashes.deeds import DEEDS, TWICE, Deed
from tests.crashes.points import Point, pairs, points, run, sample
from tests.crashes.stage import Stage
from tests.node.lives import Cut

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the coroutines of the dead

BY_NAME = {deed.name: deed for deed in DEEDS}


@pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: deed.name)
def test_no_crash_loses_anything(deed: Deed) -> None:
    """A node that loses power in the middle of a deed comes back, and the site is whole, served, and nobody's lost."""
    tried = [run(point) for point in sample(deed)]
    assert tried != []


@pytest.mark.parametrize("name", sorted(TWICE))
def test_a_second_crash_in_the_recovery_loses_nothing_either(name: str) -> None:
    """A server in a reboot loop is no worse than one that crashed once."""
    tried = [run(point) for point in pairs(BY_NAME[name], apart=9)]
    assert tried != []


class Forgetful(MemoryPool):
    """A pool that never writes the journal down."""

    async def set_properties(self, name: str, properties: Mapping[str, str | None]) -> None:
        """See `hybrid.ports.Pool`."""
        if name != JOURNAL:
            await super().set_properties(name, properties)


def test_a_missing_journal_is_noticed() -> None:
    """These tests are worth something: without the journal, a crash within a rollback leaves the site in pieces."""
    with pytest.raises(AssertionError, match="rollback"):
        for point in points(BY_NAME["rollback"]):
            run(point, partial(Stage, Forgetful))


def test_a_point_that_is_not_there_is_noticed() -> None:
    """Nor do they pass by cutting nothing."""
    with pytest.raises(AssertionError, match="there are only"):
        run(Point(BY_NAME["edit"], (Cut(1000, False),)))
