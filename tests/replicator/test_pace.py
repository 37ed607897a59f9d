"""How long bytes wait: limits of the operator, and what the pool can bear."""

from __future__ import annotations

import pytest

from hybrid.model import NodeId
from hybrid.settings import RateLimit
from hybrid_replicator.berths import Berths
from hybrid_replicator.pace import FEW, FLOOR_BYTES_PER_S, Bucket, Paces, Strain, holds_at

A, B, C = (NodeId(f"n-{letter}") for letter in "abc")
PIECE = 250_000
PLACES = {A: ("berlin", "alpha"), B: ("tokyo", "beta"), C: ("tokyo", "gamma")}


def paces(*limits: RateLimit, way: str = "send", minute: int = 0) -> Paces:
    """Of a node that knows where the others are."""
    return Paces(way, limits, lambda node: PLACES.get(node, ()), lambda: minute)


def test_no_faster_than_the_rate_but_a_moment_at_once() -> None:
    """A small change passes at once; a large stream takes as long as the rate says."""
    bucket, now_s = Bucket(), 100.0
    assert bucket.take(PIECE, 1e6, now_s) == 0.0
    for _ in range(39):
        now_s += bucket.take(PIECE, 1e6, now_s)
    assert now_s - 100.0 == pytest.approx(40 * PIECE / 1e6 - 1.0)


def test_what_was_not_used_is_not_saved_for_ever() -> None:
    """After an hour of rest no hour's worth of bytes comes at once."""
    bucket = Bucket()
    bucket.take(PIECE, 1e6, 0.0)
    waits = [bucket.take(PIECE, 1e6, 3600.0) for _ in range(6)]
    assert waits == pytest.approx([0.0, 0.0, 0.0, 0.0, 0.25, 0.5])


def test_two_streams_share_a_limit_piece_by_piece() -> None:
    """A small change beside a large copy waits for a few pieces, not for the copy."""
    bucket = Bucket()
    for _ in range(4):
        bucket.take(PIECE, 1e6, 0.0)
    large = bucket.take(PIECE, 1e6, 0.0)
    small = bucket.take(PIECE, 1e6, 0.0)
    assert (large, small) == pytest.approx((0.25, 0.5))


def test_without_limits_nothing_waits() -> None:
    """Nobody set a limit: as fast as can be."""
    assert paces().take(A, 10**12, 0.0) == 0.0


def test_limits_of_the_node_of_a_data_centre_and_of_one_other() -> None:
    """All that apply count; those of others, of the other way, and of other hours do not."""
    far = RateLimit(bytes_per_s=1_000_000, to="tokyo")
    assert paces(far).take(A, 5_000_000, 0.0) == 0.0
    tokyo = paces(far)
    assert tokyo.take(B, 2_000_000, 0.0) == pytest.approx(1.0)
    assert tokyo.take(C, 1_000_000, 0.0) == pytest.approx(2.0)
    named = paces(RateLimit(bytes_per_s=100_000, to="gamma"), far)
    assert named.take(B, 1_000_000, 0.0) == 0.0
    assert named.take(C, 1_000_000, 0.0) == pytest.approx(9.0)
    assert paces(RateLimit(bytes_per_s=100_000, way="receive")).take(A, 10**9, 0.0) == 0.0
    all_of_it = paces(RateLimit(bytes_per_s=100_000, way="receive"), way="receive")
    assert all_of_it.take(A, 300_000, 0.0) == pytest.approx(2.0)


def test_hours_of_the_day_also_over_midnight() -> None:
    """Slow while people work, fast at night; or the other way round."""
    day = RateLimit(bytes_per_s=100_000, hours="08:00-18:30")
    night = RateLimit(bytes_per_s=100_000, hours="22:00-06:00")
    assert [holds_at(day, hour * 60) for hour in (0, 7, 8, 18, 19)] == [False, False, True, True, False]
    assert holds_at(day, 18 * 60 + 29) and not holds_at(day, 18 * 60 + 30)
    assert [holds_at(night, hour * 60) for hour in (21, 22, 0, 5, 6)] == [False, True, True, True, False]
    assert paces(day, minute=60).take(A, 10**9, 0.0) == 0.0
    assert paces(day, minute=600).take(A, 200_000, 0.0) == pytest.approx(1.0)


def test_receives_slow_down_until_the_writes_of_others_are_as_fast_as_before() -> None:
    """A site's commits take at most twice as long while a large copy comes in; the copy gets what is left."""
    strain, limit = Strain(), 30e6
    for number in range(40):
        strain.at_rest(0.004 + 0.0001 * (number % 5))
    seen = []
    for _ in range(200):
        for _ in range(FEW):
            strain.under_load(0.005 if strain.bytes_per_s < limit else 0.040)
        seen.append(strain.bytes_per_s)
    settled = seen[100:]
    assert max(settled) < 1.2 * limit
    assert min(settled) > 0.5 * limit


def test_the_first_step_down_is_from_what_really_came() -> None:
    """A pool that suffers is relieved within a second or two, not after many small steps from "as fast as can be"."""
    strain = Strain()
    for _ in range(FEW):
        strain.at_rest(0.004)
    for tenth in range(20):
        strain.take(10_000_000, tenth / 10)
    for _ in range(FEW):
        strain.under_load(0.100)
    assert 50e6 < strain.bytes_per_s < 70e6


def test_a_copy_always_goes_on() -> None:
    """However slow the pool, a copy ends some time; and nothing is concluded before the pool was seen at rest."""
    strain = Strain()
    for _ in range(100):
        strain.under_load(1.0)
    unknown = strain.bytes_per_s
    for _ in range(FEW):
        strain.at_rest(0.001)
    for _ in range(1000):
        strain.under_load(1.0)
    assert (unknown > 1e9, strain.bytes_per_s) == (True, FLOOR_BYTES_PER_S)


def test_a_slow_sender_takes_its_own_berths_only() -> None:
    """Others go on; whole copies leave half of all berths to the newest changes."""
    berths = Berths(in_all=6, per_sender=2, whole=3)
    with berths.taken(A, True), berths.taken(A, True):
        assert berths.full(A, False)
        assert not berths.full(B, True)
        with berths.taken(B, True):
            assert berths.full(C, True)
            assert not berths.full(C, False)
            with berths.taken(C, False), berths.taken(C, False), berths.taken(B, False):
                assert berths.full(NodeId("n-d"), False)
        assert not berths.full(B, True)
    assert not berths.full(A, True)
