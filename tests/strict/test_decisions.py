"""Who may own a strict site, and who must stop."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hybrid.model import NO_CLAIM, Claim, Guid, NodeId, Role, SiteId, SiteRegister
from hybrid.settings import Timing
from hybrid.strict.decisions import (
    Blocked,
    Decision,
    Look,
    Reclaim,
    Release,
    Resign,
    Stay,
    StrictElections,
    Take,
    Yield,
)
from hybrid.strict.tenure import Spans

SITE = SiteId("s-one")
A, B, C = NodeId("n-a"), NodeId("n-b"), NodeId("n-c")
TIMING = Timing(fail_s=8.0, settle_s=2.0, boot_s=10.0, fence_s=15.0)
LATE = 1000.0
"""Long after this process started."""
COUNTED = frozenset({A, B, C})


def copy(role: Role = "replica", claim: Claim | None = None, head: int = 5, **more: Any) -> SiteRegister:
    """What a node says."""
    return SiteRegister(
        role=role, claim=claim, seen=claim or NO_CLAIM, head=Guid(head), head_epoch=1, head_counter=head, **more
    )


class Case:
    """Node `B` looks at a site that was A's; B's copy is as good as C's."""

    def __init__(self, started_s: float = 0.0) -> None:
        self.elections = StrictElections(B, Spans(15.0), TIMING, started_s)
        registers = {A: copy("owner", Claim(42, A)), B: copy(head=5), C: copy(head=4)}
        self.look = Look(
            site=SITE, registers=registers, live=frozenset({B, C}), now_s=LATE, dcs={node: "" for node in (A, B, C)}
        )

    def at(self, now_s: float, **changes: Any) -> Decision:
        """The decision then."""
        self.look = replace(self.look, now_s=now_s, **changes)
        return self.elections.decide(self.look)

    def reads(self, now_s: float, node: NodeId | None, revision: int = 0, **more: Any) -> None:
        """etcd answers."""
        self.elections.read(SITE, node, revision, more.get("counted", COUNTED), now_s - 0.01, now_s)

    def first(self, decision: type[Decision], from_s: float, until_s: float, **changes: Any) -> float | None:
        """When, looking twice a second and reading that nobody owns it, it is decided so for the first time."""
        now_s = from_s
        while now_s < until_s:
            self.reads(now_s, None)
            if isinstance(self.at(now_s, **changes), decision):
                return now_s - from_s
            now_s += 0.5
        return None


def test_nobody_stands_while_the_lease_runs() -> None:
    """That the owner is silent is no reason, as long as etcd names it."""
    case = Case()
    for now_s in range(1000, 1060):
        case.reads(now_s, A, 42)
        assert isinstance(case.at(now_s), Stay)


def test_the_best_copy_stands_after_the_lock_delay() -> None:
    """7.6 s after etcd was first seen to name nobody: the last owner has stopped itself long ago."""
    assert Case().first(Take, LATE, LATE + 60) == 8.0


def test_an_etcd_without_memory_is_given_a_whole_ttl() -> None:
    """Built anew a moment ago: no lease had to run out first, and the last owner may still be running."""
    case = Case()
    for tenths in range(0, 151):
        case.reads(LATE + tenths / 10, None, counted=None)
        assert isinstance(case.at(LATE + tenths / 10), Stay)
    case.reads(LATE + 15.2, None, counted=None)
    assert case.at(LATE + 15.2) == Take()


def test_what_was_asked_earlier_is_no_news() -> None:
    """An answer that was on its way while this node claimed the site does not take it back."""
    case = owner_case()
    assert not case.elections.read(SITE, C, 40, COUNTED, LATE - 1.0, LATE + 0.5)
    assert case.at(LATE + 0.5) == Stay("owner")


def test_a_poorer_copy_stands_later() -> None:
    """History first; the second waits `fail_s` more, and one that is not fit as long again."""
    worse = {A: copy("owner", Claim(42, A)), B: copy(head=4), C: copy(head=5)}
    assert Case().first(Take, LATE, LATE + 60, registers=worse) == 16.0
    assert Case().first(Take, LATE, LATE + 60, registers=worse, fit=False) == 24.0


def test_who_cannot_hear_etcd_does_not_stand_and_says_why() -> None:
    """Without an answer, or with an old one, nothing is known about who owns it."""
    case = Case()
    assert case.at(LATE) == Blocked()
    case.reads(LATE, None)
    assert case.at(LATE + 60) == Blocked()


def test_a_pause_between_readings_starts_the_lock_delay_anew() -> None:
    """Somebody may have owned it meanwhile, and have lost it a moment ago."""
    case = Case()
    case.reads(LATE, None)
    case.reads(LATE + 60, None)
    assert isinstance(case.at(LATE + 60), Stay)
    assert case.first(Take, LATE + 60.5, LATE + 120) == 7.5


def test_a_process_that_just_started_keeps_what_it_does_not_remember_to_have_promised() -> None:
    """An earlier life may have agreed that the owner goes on: as long as such a promise lasts nobody stands."""
    case = Case(started_s=LATE)
    assert case.first(Take, LATE, LATE + 60) == 15.5


def test_a_promise_is_kept() -> None:
    """Who agreed that the owner goes on without etcd does not stand, though etcd is back and names nobody."""
    case = Case()
    assert case.first(Take, LATE, LATE + 60, may_stand=False) is None


def test_a_copy_its_owner_did_not_count_on_does_not_stand() -> None:
    """The owner may be going on without etcd, and did not ask this node."""
    case = Case()
    for second in range(30):
        case.reads(LATE + second, None, counted=frozenset({A, C}))
        assert isinstance(case.at(LATE + second), Stay)


def test_a_living_owner_is_left_alone_but_not_one_that_is_of_no_use() -> None:
    """Also when etcd names nobody: it may go on by agreement. One that gave its key back is replaced."""
    serving = {A: copy("owner", Claim(42, A), serving=True), B: copy()}
    ailing = {A: copy("owner", Claim(42, A), trouble="storage does not answer"), B: copy()}
    everybody = frozenset({A, B})
    assert Case().first(Take, LATE, LATE + 60, registers=serving, live=everybody) is None
    assert Case().first(Take, LATE, LATE + 60, registers=ailing, live=everybody) == 8.0


def test_a_node_that_etcd_still_names_opens_again_at_once() -> None:
    """It stopped itself and hears etcd again: nobody else can have been owner, so nothing has to be waited for."""
    case = Case()
    case.reads(LATE + 1, B, 50)
    assert isinstance(case.at(LATE + 1, may_stand=False), Stay)
    assert case.at(LATE + 1, may_stand=True) == Take()
    case.elections.failed(SITE, LATE + 1)
    assert isinstance(case.at(LATE + 2), Stay)
    case.reads(LATE + 6, B, 50)
    assert case.at(LATE + 6) == Take()


def owner_case(**more: Any) -> Case:
    """`B` owns it."""
    case = Case()
    mine = copy("owner", Claim(43, B), serving=True, **more)
    case.look = replace(case.look, registers={A: copy(), B: mine, C: copy()}, sure=True, in_etcd=True)
    case.reads(LATE, B, 43)
    return case


def test_an_owner_that_is_sure_goes_on() -> None:
    """As long as the lease is renewed nothing happens; nor when etcd is silent and the holders agree."""
    case = owner_case()
    assert case.at(LATE) == Stay("owner")
    assert case.at(LATE + 60) == Stay("owner")
    assert case.at(LATE + 60, in_etcd=False) == Stay("owner")


def test_an_owner_that_is_not_sure_any_more_stops_itself() -> None:
    """Whatever it last read: by now another may be the owner."""
    assert owner_case().at(LATE, sure=False) == Resign()


def test_an_owner_that_reads_another_name_stops() -> None:
    """There is nothing to settle between two claims of a strict site."""
    case = owner_case()
    case.reads(LATE, C, 50)
    assert case.at(LATE) == Yield(C, Claim(50, C))


def test_an_owner_whose_key_is_gone_claims_anew_and_goes_on() -> None:
    """After a time without etcd the lease ran out, but everybody agreed: no restart, no lock delay."""
    case = owner_case()
    case.reads(LATE, None)
    assert case.at(LATE, in_etcd=False) == Reclaim()


def test_a_ghost_of_a_larger_claim_is_outdone() -> None:
    """Receivers would refuse the smaller one for ever (rule R9)."""
    case = owner_case()
    ghost = {**case.look.registers, A: SiteRegister(role="replica", seen=Claim(99, C))}
    assert case.at(LATE, registers=ghost) == Reclaim()


def test_an_owner_that_cannot_run_it_gives_the_key_back() -> None:
    """Its storage died: after `fence_s` another holder in good order may take it; without one it goes on trying."""
    case = owner_case()
    broken = {**case.look.registers, B: copy("opening", Claim(43, B), trouble="storage does not answer")}
    alone = {B: broken[B], A: copy(trouble="pool full")}
    assert isinstance(case.at(LATE, registers=broken), Stay)
    assert case.at(LATE + 15, registers=broken) == Release()
    assert isinstance(case.at(LATE + 15, registers=alone), Stay)
    assert isinstance(case.at(LATE + 60, registers=alone), Stay)
