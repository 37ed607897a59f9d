"""In which order a node takes over many sites at once."""

from __future__ import annotations

from hybrid.hosting.turns import AT_ONCE, JITTER_S, SPOKEN_FOR_S, Turns
from hybrid.model import Claim, Guid, NodeId, SiteId, SiteRegister

A, B = NodeId("a"), NodeId("b")
SITES = [SiteId(f"s-{number}") for number in range(10)]


def wanted(*numbers: int) -> dict[SiteId, Claim]:
    """Sites to be taken over by `a`."""
    return {SITES[number]: Claim(number + 1, A) for number in numbers}


def busy(site: SiteId) -> float:
    """The one with the larger number is busier."""
    return SITES.index(site)


def test_few_begin_at_once() -> None:
    """One node's few sites wait for nothing."""
    turns = Turns(lambda: 1.0)
    assert turns.next(wanted(1, 2, 3), 0, 100.0, busy) == [SITES[3], SITES[2], SITES[1]]


def test_of_many_the_busiest_go_first_and_few_at_a_time() -> None:
    """A place that becomes free is taken by the busiest site that still waits."""
    turns = Turns(lambda: 0.5)
    all_of_them = wanted(*range(10))
    assert turns.next(all_of_them, 0, 100.0, busy) == []
    begin_s = 100.0 + JITTER_S / 2
    assert turns.next(all_of_them, 0, begin_s, busy) == SITES[:-5:-1]
    rest = wanted(*range(6))
    assert turns.next(rest, AT_ONCE, begin_s + 1, busy) == []
    assert turns.next(rest, AT_ONCE - 1, begin_s + 2, busy) == [SITES[5]]
    assert turns.next(rest, AT_ONCE + 1, begin_s + 3, busy) == []


def test_a_site_that_waits_is_kept_from_a_poorer_copy() -> None:
    """While the best copy waits for its turn no node with less of the site takes it; one with as much may."""
    turns = Turns(lambda: 0.0)
    registers = {
        A: SiteRegister(role="replica", head=Guid(7), head_epoch=1, head_counter=7, length=7),
        B: SiteRegister(role="replica", head=Guid(6), head_epoch=1, head_counter=6, length=6),
    }
    turns.next(wanted(*range(10)), AT_ONCE, 100.0, busy)
    assert turns.spoken_for(SITES[1], A, B, registers, 101.0) == Claim(2, A)
    assert turns.spoken_for(SITES[1], A, NodeId("c"), registers, 101.0) == Claim(2, A)
    assert turns.spoken_for(SITES[1], A, B, {**registers, B: registers[A]}, 101.0) is None
    assert turns.spoken_for(SITES[1], A, B, registers, 101.0 + SPOKEN_FOR_S) is None
    turns.next(wanted(2), AT_ONCE, 102.0, busy)
    assert turns.spoken_for(SITES[1], A, B, registers, 102.0) is None
