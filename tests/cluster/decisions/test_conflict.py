"""Two or more owners see each other after a partition: exactly one goes on, and all agree on which. Rule R5."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid.cluster.conflict import bids_in_force, conflict_key, value
from hybrid.cluster.decisions import AwaitPick, Fence, PublishBid, Reaffirm, Resume, Stand, Stay
from hybrid.cluster.election import Elections
from hybrid.cluster.picks import Pick
from hybrid.model import Bid, Claim, Guid, NodeId, SiteId, SiteRegister, SiteSpec, Version
from hybrid.settings import Timing

MakeScene = Callable[..., Any]
MakeSpec = Callable[..., SiteSpec]

A, B, C = NodeId("a"), NodeId("b"), NodeId("c")
TWO = "a owner(3) 3.{} serving | b owner(4) 4.{} serving"


def contest(scene: MakeScene, facts: str, **options: Any) -> dict[str, Any]:
    """Let all nodes of `facts` publish what they bid, in turn; then what each decides."""
    first = scene("a", facts, **options)
    seen = {node: scene(node, facts, **options) for node in sorted(first.registers)}
    for _ in range(len(seen)):
        for node, mine in seen.items():
            decision = mine.decide()
            if isinstance(decision, PublishBid):
                for other in seen.values():
                    bids = {**other.registers[node].bids, decision.key: decision.bid}
                    other.change(node, bids=bids)
    return {node: mine.decide() for node, mine in seen.items()}


WORTH = [
    ("more changes win", TWO.format(9, 7), "a"),
    ("more changes win, either way", TWO.format(7, 9), "b"),
    ("equal: the later epoch", TWO.format(7, 7), "b"),
    ("who cannot serve loses", "a owner(3) 3.7 serving | b opening(4) 4.9 trouble=storage", "a"),
    ("three owners", "a owner(3) 3.7 serving | b owner(4) 4.8 serving | c owner(4) 4.6 serving", "b"),
    ("equal epochs", "a owner(4) 4.7 serving | b owner(4) 4.7 serving", "b"),
]


@pytest.mark.parametrize("facts, best", [row[1:] for row in WORTH], ids=[row[0] for row in WORTH])
def test_most_valuable_history_becomes_the_main_line(scene: MakeScene, facts: str, best: str) -> None:
    """After a partition the side on which more was written goes on; the others give way to it and nobody else."""
    decisions = contest(scene, facts)
    assert isinstance(decisions.pop(best), Stay)
    assert decisions
    for decision in decisions.values():
        assert isinstance(decision, Fence)
        assert decision.winner == best


def test_nobody_gives_way_before_both_have_bid(scene: MakeScene) -> None:
    """Comparing a bid with a guess could make both sides give way."""
    seen = scene("a", TWO.format(7, 9))
    decision = seen.decide()
    assert decision == PublishBid("3,a/4,b", Bid((1, 7, 3, 0), Claim(3, A)))
    seen.change("a", bids={decision.key: decision.bid})
    assert isinstance(seen.decide(), Stay)
    seen.change("b", bids={decision.key: Bid((1, 9, 4, 0), Claim(4, B))})
    assert seen.decide() == Fence(B, Claim(4, B))


def test_bid_stays_as_published(scene: MakeScene) -> None:
    """What is written after the bid does not change it: else both sides could think they lost."""
    seen = scene("a", TWO.format(7, 9))
    decision = seen.decide()
    seen.change("a", bids={decision.key: decision.bid}, head_counter=20)
    seen.change("b", bids={decision.key: Bid((1, 9, 4, 0), Claim(4, B))})
    assert seen.decide() == Fence(B, Claim(4, B))


def test_late_third_owner_gets_the_same_bid(scene: MakeScene) -> None:
    """An owner in two conflicts at once offers the same in both."""
    seen = scene("a", TWO.format(7, 9))
    first = seen.decide()
    seen.change("a", bids={first.key: first.bid}, head_counter=20)
    seen.say("c owner(5) 5.9 serving")
    second = seen.decide()
    assert isinstance(second, PublishBid)
    assert second.key == "3,a/5,c"
    assert second.bid == first.bid


def test_second_conflict_is_judged_anew(scene: MakeScene) -> None:
    """What an owner bid in a conflict that is over says nothing about the next."""
    seen = scene("a", TWO.format(7, 9))
    first = seen.decide()
    seen.change("a", bids={first.key: first.bid}, head_counter=20)
    seen.say("b replica 4.9 | c owner(5) 5.9 serving")
    second = seen.decide()
    assert isinstance(second, PublishBid)
    assert second.bid == Bid((1, 20, 3, 0), Claim(3, A))


def test_winner_waits_until_the_loser_gave_way(scene: MakeScene) -> None:
    """The winner with the smaller claim takes a larger one as soon as the loser is out, not before."""
    seen = scene("a", TWO.format(9, 7))
    decision = seen.decide()
    seen.change("a", bids={decision.key: decision.bid})
    seen.change("b", bids={decision.key: Bid((1, 7, 4, 0), Claim(4, B))})
    assert isinstance(seen.decide(130.0), Stay)
    seen.say("b stashing 4.7 seen=4b")
    assert seen.decide(131.0) == Reaffirm(Claim(5, A))


def test_dead_rival_is_none(scene: MakeScene) -> None:
    """An owner that is not there cannot be fought; its claim is outdone."""
    seen = scene("a", "a owner(3) 3.7 serving | !b owner(4) 4.9 serving")
    assert isinstance(seen.decide(100.0), Stay)
    assert seen.decide(102.0) == Reaffirm(Claim(5, A))


def test_policy_epoch(scene: MakeScene, spec: MakeSpec) -> None:
    """With policy `epoch` the newest election wins, whatever was written."""
    decisions = contest(scene, TWO.format(50, 7), spec=spec(policy="epoch"))
    assert decisions["a"] == Fence(B, Claim(4, B))


def test_policy_prefer(scene: MakeScene, spec: MakeSpec) -> None:
    """With `prefer:<dc>` the side in that data centre wins, whatever was written, unless it cannot serve."""
    there = {"spec": spec(policy="prefer:paris"), "dcs": {A: "paris", B: "london"}}
    assert contest(scene, TWO.format(7, 50), **there)["b"] == Fence(A, Claim(3, A))
    both = {"spec": spec(policy="prefer:paris"), "dcs": {A: "paris", B: "paris"}}
    assert contest(scene, TWO.format(7, 50), **both)["a"] == Fence(B, Claim(4, B))
    ill = "a opening(3) 3.9 trouble=start | b owner(4) 4.7 serving"
    assert contest(scene, ill, **there)["a"] == Fence(B, Claim(4, B))


def test_who_cannot_serve_gives_way_unasked(scene: MakeScene) -> None:
    """An owner that cannot serve need not write a bid, which a broken disk would not take."""
    seen = scene("a", "a opening(3) 3.9 trouble=storage | b owner(4) 4.7 serving")
    assert seen.decide() == Fence(B, Claim(4, B))


def test_who_has_bid_waits_for_the_other_bid(scene: MakeScene) -> None:
    """Falling ill after bidding changes nothing: the other may already have given way to the bid."""
    seen = scene("a", "a opening(3) 3.9 trouble=storage | b owner(4) 4.7 serving")
    seen.change("a", bids={"3,a/4,b": Bid((1, 9, 3, 0), Claim(3, A))})
    assert isinstance(seen.decide(), Stay)


def test_policy_ask(scene: MakeScene, spec: MakeSpec) -> None:
    """With policy `ask` both stop writing until a person has picked; then the picked one goes on."""
    facts, ask, both = TWO.format(50, 7), spec(policy="ask"), (Claim(3, A), Claim(4, B))
    assert contest(scene, facts, spec=ask) == {"a": AwaitPick(both), "b": AwaitPick(both)}
    third = scene("c", facts + " | c replica 3.7", spec=ask)
    third.decide()
    assert isinstance(third.decide(200.0), Stay)
    for_b = Pick(site=SiteId("s-one"), claim=Claim(4, B), over=(Claim(3, A),))
    decisions = contest(scene, facts, spec=ask, pick=for_b)
    assert decisions["a"] == Fence(B, Claim(4, B))
    assert isinstance(decisions["b"], Stay)


def test_nobody_is_asked_about_an_owner_without_storage(scene: MakeScene, spec: MakeSpec) -> None:
    """An owner whose storage is gone writes nothing and cannot be picked: who took over serves until it is back."""
    seen = scene("b", "a opening(3) 3.9 trouble=storage | b owner(4) 4.7 serving", spec=spec(policy="ask"))
    both = (Claim(3, A), Claim(4, B))
    assert seen.decide() == AwaitPick(both), "trouble with its container alone is no reason"
    seen.sick = frozenset({A})
    assert isinstance(seen.decide(), Stay)
    seen.change("a", awaiting=both)
    assert isinstance(seen.decide(), Stay)
    seen.sick = frozenset()
    assert seen.decide() == AwaitPick(both)


def test_who_waited_resumes_when_picked(scene: MakeScene, spec: MakeSpec) -> None:
    """The picked one serves again at once, also while the other is out of sight; the other goes on waiting."""
    facts = "a owner(3) 3.50 | !b owner(4) 4.7"
    for_a = Pick(site=SiteId("s-one"), claim=Claim(3, A), over=(Claim(4, B),))
    for_b = Pick(site=SiteId("s-one"), claim=Claim(4, B), over=(Claim(3, A),))
    for pick, expected in (
        (None, AwaitPick((Claim(3, A), Claim(4, B)))),
        (for_a, Resume()),
        (for_b, Stay("another history was picked; its owner is out of sight")),
    ):
        seen = scene("a", facts, spec=spec(policy="ask"), pick=pick)
        seen.change("a", awaiting=(Claim(3, A), Claim(4, B)))
        assert seen.decide() == expected


def test_who_just_started_listens_before_it_goes_on_as_picked(scene: MakeScene, spec: MakeSpec) -> None:
    """The pick may be old, and the site served elsewhere by now under a larger claim: a start is no reason to hurry."""
    pick = Pick(site=SiteId("s-one"), claim=Claim(3, A), over=(Claim(4, B),))
    seen = scene("a", "a owner(3) 3.50 | !b owner(4) 4.7", spec=spec(policy="ask"), pick=pick, now_s=1.0)
    seen.change("a", awaiting=(Claim(3, A), Claim(4, B)))
    assert isinstance(seen.decide(9.9), Stay)
    assert seen.decide(12.0) == Resume()


def test_picked_one_that_fell_is_the_next_owner(scene: MakeScene, spec: MakeSpec) -> None:
    """The picked server restarted before it could go on: the other gives way all the same, and it is the next owner."""
    pick = Pick(site=SiteId("s-one"), claim=Claim(3, A), over=(Claim(4, B),))
    facts = "a replica 3.9 seen=4b | b owner(4) 4.70"
    other = scene("b", facts, spec=spec(policy="ask"), pick=pick)
    other.change("b", awaiting=(Claim(3, A), Claim(4, B)))
    assert other.decide() == Fence(A, Claim(3, A))
    vacant = "a replica 3.9 seen=4b | b replica 4.70 seen=4b | c replica 4.80 seen=4b"
    for me, expected in (("a", True), ("b", False), ("c", False)):
        seen = scene(me, vacant, spec=spec(policy="ask"), pick=pick)
        seen.decide(100.0)
        assert isinstance(seen.decide(102.5), Stand) is expected, me
    later = scene("a", vacant.replace("seen=4b |", "seen=9c |"), spec=spec(policy="ask"), pick=pick)
    later.decide(100.0)
    assert isinstance(later.decide(102.5), Stay), "somebody claimed since: the pick is of the past"


def test_old_pick_decides_no_later_conflict(scene: MakeScene, spec: MakeSpec) -> None:
    """What a person said about two histories says nothing about a third, nor about the next partition's."""
    old = Pick(site=SiteId("s-one"), claim=Claim(3, A), over=(Claim(4, B),))
    for facts in (
        "a owner(3) 3.9 serving | b owner(6) 6.7 serving",
        "a owner(3) 3.9 serving | b owner(4) 4.7 serving | c owner(5) 5.2 serving",
        "b owner(4) 4.9 serving | c owner(5) 5.7 serving | a replica 3.9",
    ):
        decisions = contest(scene, facts, spec=spec(policy="ask"), pick=old)
        assert any(isinstance(decision, AwaitPick) for decision in decisions.values()), facts
        assert not any(isinstance(decision, Fence) for decision in decisions.values()), facts


def test_pick_holds_for_what_the_picked_went_on_to(scene: MakeScene, spec: MakeSpec) -> None:
    """The picked owner re-affirmed its claim before the other could give way: nobody is asked again."""
    pick = Pick(site=SiteId("s-one"), claim=Claim(3, A), over=(Claim(4, B),))
    decisions = contest(scene, "a owner(5) 3.9 serving | b owner(4) 4.70 serving", spec=spec(policy="ask"), pick=pick)
    assert decisions["b"] == Fence(A, Claim(5, A))
    assert isinstance(decisions["a"], Stay)


def test_policy_changed_on_one_side(scene: MakeScene, spec: MakeSpec) -> None:
    """Where either side asked for a person, a person is asked; else the policy that was set last counts for both."""
    asked = AwaitPick((Claim(3, A), Claim(4, B)))
    for mine, theirs, expected in (
        ("value", "ask", asked),
        ("ask", "value", asked),
        ("value", "prefer:paris", PublishBid("3,a/4,b", Bid((1, 1, 7, 3, 0), Claim(3, A)))),
    ):
        seen = scene("a", TWO.format(7, 9), spec=spec(policy=mine), dcs={A: "paris", B: "london"})
        seen.change("b", spec=spec(policy=theirs, version=Version(4, 2)))
        assert seen.decide() == expected


def test_a_pick_outweighs_all_figures(spec: MakeSpec) -> None:
    """An owner that bid before it heard that a person is asked is no harder to overrule, and no easier to prefer."""
    pick = Pick(site=SiteId("s-one"), claim=Claim(3, A), over=(Claim(4, B),))
    register = SiteRegister(role="owner", head_counter=10**9, serving=True)
    figures = value(register, Claim(4, B), spec(policy="value"))
    assert value(register, Claim(3, A), spec(policy="ask"), pick) > figures
    assert value(register, Claim(4, B), spec(policy="ask"), pick) < figures


def test_bids_of_the_past_may_be_dropped() -> None:
    """Registers do not grow with every conflict a site ever had."""
    old, new = conflict_key(Claim(3, A), Claim(4, B)), conflict_key(Claim(5, A), Claim(6, C))
    bid = Bid((1,), Claim(5, A))
    assert bids_in_force({old: bid, new: bid}, Claim(5, A)) == {new: bid}
    assert bids_in_force({old: bid}, None) == {}


def test_clocks_of_nodes_decide_nothing() -> None:
    """Wall clocks that differ by seconds do not make a difference in worth."""
    early = SiteRegister(role="owner", head_counter=3, head_at_s=6001)
    late = SiteRegister(role="owner", head_counter=3, head_at_s=6050)
    assert value(early, Claim(1, A), None) == value(late, Claim(1, A), None)


owners = st.dictionaries(
    st.sampled_from([NodeId(name) for name in "abcde"]),
    st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(0, 3), st.booleans()),
    min_size=2,
)


@given(owners)
def test_always_exactly_one_is_left(facts: Mapping[NodeId, tuple[int, int, int, bool]]) -> None:
    """However many owners meet, one and only one is never told to give way."""
    registers = {
        node: SiteRegister(
            role="owner",
            claim=Claim(epoch, node),
            head=Guid(1),
            head_epoch=head_epoch,
            head_counter=counter,
            trouble="" if well else "ill",
        )
        for node, (epoch, counter, head_epoch, well) in facts.items()
    }
    live = frozenset(registers)
    deciders = {node: Elections(node, Timing(), 0.0) for node in registers}

    def decide(node: NodeId) -> object:
        return deciders[node].decide(SiteId("s"), registers, live, None, 100.0, True, True, dict.fromkeys(live, ""))

    for _ in range(len(registers)):
        for node in registers:
            decision = decide(node)
            if isinstance(decision, PublishBid):
                register = registers[node]
                bids = {**register.bids, decision.key: decision.bid}
                registers[node] = SiteRegister(
                    role="owner",
                    claim=register.claim,
                    head=register.head,
                    head_epoch=register.head_epoch,
                    head_counter=register.head_counter,
                    trouble=register.trouble,
                    bids=bids,
                )
    left = [node for node in registers if not isinstance(decide(node), Fence)]
    assert len(left) == 1
