"""
The fault campaign's short form on three real nodes: `make faults` has all of it.

Slowness is not failure here (a loaded machine is slow): a test fails on lost or wrong data, or where a person would
have to act.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from hybrid.lab.faults import catalogue
from hybrid.lab.faults.campaign import Theatre

pytestmark = [pytest.mark.cluster, pytest.mark.zfs, pytest.mark.lxc]
IMAGES = Path(os.environ.get("HYBRID_IMAGES", "/var/cache/hybrid/images"))


@pytest.fixture(scope="module")
def theatre() -> Iterator[Theatre]:
    """Three nodes and a guestbook; at the end everything that was ever acknowledged is counted once more."""
    if os.geteuid() != 0:
        pytest.skip("nodes need root")
    if not (IMAGES / "php.tar").exists():
        pytest.skip(f"no image in {IMAGES}: make images")
    with Theatre(3, IMAGES, print, budget_s=600.0) as theatre:
        theatre.open()
        yield theatre
        verdict = theatre.account()
        assert verdict.figures["acked_lost"] == 0 and verdict.score >= 2, verdict.detail


@pytest.mark.parametrize("name", ["F2", "F5-three", "F16-roll-stash-promoted", "F12-owner"])
def test_nothing_acknowledged_is_lost_and_nobody_has_to_act(theatre: Theatre, name: str) -> None:
    """Power cut of the owner, its isolation, its full pool: others serve, tails are in stashes, one owner at last."""
    (fault,) = catalogue.chosen(name)
    verdict = theatre.perform(fault)
    assert verdict.score >= 2, verdict.detail
    assert verdict.figures["acked_lost"] == 0
