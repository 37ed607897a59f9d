"""Elections: who stands, who waits, who gives way. Rules R0, R1, R2, R9, R10 by table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hybrid.cluster.confirming import confirmation, owner_seen, refuted
from hybrid.cluster.decisions import Decision, Fence, PublishBid, Reaffirm, Stand, Stay
from hybrid.cluster.election import Elections
from hybrid.model import Claim, NodeId, SiteSpec
from hybrid.settings import Timing

MakeScene = Callable[..., Any]
"""See the fixture `scene`."""
MakeSpec = Callable[..., SiteSpec]

A, B, C = NodeId("a"), NodeId("b"), NodeId("c")


def settled(scene: Any) -> Decision:
    """The decision of `scene` after a first look and `settle_s` more."""
    scene.decide()
    decision: Decision = scene.decide(scene.now_s + scene.timing.settle_s)
    return decision


VACANT = [
    ("newest epoch wins", "a replica 3.7 | b replica 4.1 | !c owner(4) 4.1", B),
    ("newest snapshot wins", "a replica 3.8 | b replica 3.7 | !c owner(3) 3.9", A),
    ("equal: the larger id, the same on all", "a replica 3.7 | b replica 3.7 | !c owner(3) 3.7", B),
    ("in trouble comes after its equals", "a replica 3.7 | b replica 3.7 trouble=full | !c owner(3) 3.7", A),
    ("and after poorer copies", "a replica 3.6 | b replica 3.7 trouble=start | !c owner(3) 3.7", A),
    (
        "all in trouble: the newest of them",
        "a replica 3.6 trouble=start | b replica 3.7 trouble=start | !c owner(3)",
        B,
    ),
    ("dead does not count", "a replica 3.6 | !b replica 3.9 | !c owner(3) 3.9", A),
    ("busy with a stash does not count", "a replica 3.6 | b stashing 3.9 | !c owner(3) 3.9", A),
    ("an empty copy does not count", "a replica 3.6 | b replica | !c owner(3) 3.9", A),
    ("all three dead but one", "a replica 3.6 | !b replica 3.6 | !c owner(3) 3.6", A),
]


@pytest.mark.parametrize("facts, best", [row[1:] for row in VACANT], ids=[row[0] for row in VACANT])
def test_best_copy_takes_over(scene: MakeScene, facts: str, best: NodeId) -> None:
    """When a server dies, exactly one other, the one with the newest data, takes each of its sites over."""
    for me in (A, B):
        seen = scene(me, facts)
        if me not in seen.live:
            continue
        decision = settled(seen)
        if me == best:
            assert decision == Stand(Claim(max(r.claim.epoch for r in seen.registers.values() if r.claim) + 1, me))
        else:
            assert isinstance(decision, Stay)


def test_no_haste(scene: MakeScene) -> None:
    """A site without an owner is left alone for `settle_s`: the owner's word may be on its way."""
    seen = scene("a", "a replica 3.7 | !b owner(3) 3.7")
    assert isinstance(seen.decide(100.0), Stay)
    assert isinstance(seen.decide(101.9), Stay)
    assert seen.decide(102.0) == Stand(Claim(4, A))


def test_owner_back_in_time(scene: MakeScene) -> None:
    """An owner heard again begins the wait anew."""
    seen = scene("a", "a replica 3.7 | !b owner(3) 3.7")
    seen.decide(100.0)
    seen.say("b owner(3) 3.7")
    assert seen.decide(101.0) == Stay("it has an owner")
    seen.say("!b owner(3) 3.7")
    assert isinstance(seen.decide(101.5), Stay)
    assert isinstance(seen.decide(103.4), Stay)
    assert seen.decide(103.5) == Stand(Claim(4, A))


def test_claims_above_everything_heard_of(scene: MakeScene) -> None:
    """A new claim is above all ever seen, also those of nodes that are gone."""
    seen = scene("a", "a replica 3.7 seen=6x | b replica 3.6 seen=9y | !c owner(7) 3.7")
    assert settled(seen) == Stand(Claim(10, A))


def test_equal_copies_prefer_home(scene: MakeScene, spec: MakeSpec) -> None:
    """Between equally good copies, the site goes to its home data centre."""
    facts = "a replica 3.7 | b replica 3.7 | !c owner(3) 3.7"
    dcs = {A: "paris", B: "london", C: "paris"}
    assert settled(scene("a", facts, dcs=dict(dcs), spec=spec(home_dc="paris"))) == Stand(Claim(4, A))
    assert isinstance(settled(scene("b", facts, dcs=dict(dcs), spec=spec(home_dc="paris"))), Stay)


def test_history_before_home(scene: MakeScene, spec: MakeSpec) -> None:
    """No acknowledged change is left behind for the sake of a data centre."""
    facts = "a replica 3.7 | b replica 3.8 | !c owner(3) 3.8"
    dcs = {A: "paris", B: "london"}
    assert isinstance(settled(scene("a", facts, dcs=dict(dcs), spec=spec(home_dc="paris"))), Stay)


def test_next_candidate_when_best_does_not_stand(scene: MakeScene) -> None:
    """A best candidate that hangs delays a site, but does not keep it down."""
    seen = scene("a", "a replica 3.6 | b replica 3.7 | !c owner(3) 3.7")
    seen.decide(100.0)
    assert seen.decide(109.9) == Stay("others come first")
    assert seen.decide(110.0) == Stand(Claim(4, A))


def test_next_candidate_at_once_when_best_failed(scene: MakeScene) -> None:
    """A candidate that tried and says it could not, its term's first snapshot taken, gives way at once to the next."""
    seen = scene("a", "a replica 3.6 | b replica 3.7 | !c owner(3) 3.7")
    seen.decide(100.0)
    assert isinstance(seen.decide(103.0), Stay)
    seen.say("b opening(4) 4.8")
    assert isinstance(seen.decide(110.0), Stay)
    seen.say("b replica 4.8 seen=4b trouble=mount")
    assert isinstance(seen.decide(110.5), Stay)
    assert seen.decide(112.5) == Stand(Claim(5, A))


def test_failed_rests_longer_each_time(scene: MakeScene) -> None:
    """A site that cannot be opened is tried again, but less and less often, at least every five minutes."""
    seen = scene("a", "a replica 3.6 | !c owner(3) 3.7")
    assert isinstance(settled(seen), Stand)
    rests = []
    for _ in range(10):
        failed_s = seen.now_s
        seen.elections.failed("s-one", failed_s)
        while isinstance(seen.decide(seen.now_s + 0.5), Stay):
            pass
        rests.append(seen.now_s - failed_s)
    assert rests[:3] == [4.0, 8.0, 16.0]
    assert rests[-1] == 300.0


def test_called_off_waits_anew(scene: MakeScene) -> None:
    """A candidate that is told of a living owner does not insist at once."""
    seen = scene("a", "a replica 3.6 | !c owner(3) 3.7")
    assert isinstance(settled(seen), Stand)
    seen.elections.called_off("s-one", seen.now_s)
    assert isinstance(seen.decide(), Stay)
    assert isinstance(settled(seen), Stand)


def test_boot_quarantine(scene: MakeScene) -> None:
    """A server that just started first listens: it may simply not have heard the owner yet."""
    seen = scene("a", "a replica 3.7 | !b owner(3) 3.7", now_s=1.0)
    for at_s in (1.0, 5.0, 9.9, 10.0, 11.9):
        assert isinstance(seen.decide(at_s), Stay), at_s
    assert isinstance(seen.decide(12.0), Stand)


def test_quarantine_begins_with_the_first_look(scene: MakeScene) -> None:
    """A server that was long busy with its storage before it began to listen still listens first."""
    seen = scene("a", "a replica 3.7 | !b owner(3) 3.7")
    seen.elections = Elections(A, seen.timing, 0.0)
    seen.decide(100.0)
    assert isinstance(seen.decide(111.5), Stay)
    assert isinstance(seen.decide(112.0), Stand)


def test_single_server_need_not_listen(scene: MakeScene) -> None:
    """On a cluster of one, sites are up again two seconds after the start."""
    seen = scene("a", "a replica 3.7 seen=3a", now_s=1.0)
    assert isinstance(seen.decide(1.0), Stay)
    assert seen.decide(3.0) == Stand(Claim(4, A))


def test_single_server_listens_when_a_lost_cluster_begins_again(scene: MakeScene) -> None:
    """Others may come with newer copies: for so long not even a server without others starts anything."""
    seen = scene("a", "a replica 3.7 seen=3a", now_s=1.0, timing=Timing(boot_s=60.0, alone=True))
    for at_s in (1.0, 5.0, 30.0, 59.0):
        assert isinstance(seen.decide(at_s), Stay), at_s
    seen.decide(60.0)
    assert seen.decide(63.0) == Stand(Claim(4, A))


def test_configured_node_not_heard_yet_counts(scene: MakeScene) -> None:
    """A configured peer that was never heard of since the start is reason enough to listen."""
    seen = scene("a", "a replica 3.7 seen=3a", now_s=1.0, dcs={B: ""})
    seen.decide(1.0)
    assert isinstance(seen.decide(9.0), Stay)


def test_late_node_waits_longer(scene: MakeScene) -> None:
    """A server whose event loop was late mistrusts what it takes for the death of others, but not for ever."""
    seen = scene("a", "a replica 3.7 | !b owner(3) 3.7", fit=False)
    seen.decide()
    assert isinstance(seen.decide(109.5), Stay)
    assert isinstance(seen.decide(110.0), Stand)


def test_time_asleep_does_not_count(scene: MakeScene) -> None:
    """A server that was stopped for a minute first listens again before it takes anything over."""
    seen = scene("a", "a replica 3.7 | !b owner(3) 3.7")
    seen.decide()
    seen.now_s += 60
    assert isinstance(seen.decide(), Stay)
    assert isinstance(settled(seen), Stand)


def test_full_node_comes_last(scene: MakeScene) -> None:
    """A server without room takes a site over only when nobody else does."""
    seen = scene("a", "a replica 3.7 | b replica 3.6 | !c owner(3) 3.7", free_space_ok=False)
    seen.decide(100.0)
    assert isinstance(seen.decide(110.0), Stay)
    assert isinstance(seen.decide(118.0), Stand)


def test_stays_owner(scene: MakeScene) -> None:
    """Nothing happens to a site whose owner is well."""
    seen = scene("a", "a owner(3) 3.7 serving | b replica 3.7 seen=3a")
    assert settled(seen) == Stay("owner")
    assert isinstance(settled(scene("b", "a owner(3) 3.7 serving | b replica 3.7 seen=3a")), Stay)


def test_reaffirms_above_a_ghost(scene: MakeScene) -> None:
    """Rule R9: after somebody claimed and vanished, replicas accept the owner's changes again."""
    seen = scene("a", "a owner(3) 3.7 serving | b replica 3.7 seen=5c | !c owner(5) 3.7")
    assert isinstance(seen.decide(100.0), Stay)
    assert seen.decide(102.0) == Reaffirm(Claim(6, A))


def test_reaffirms_at_once_above_a_loser(scene: MakeScene) -> None:
    """The winner of a conflict need not wait where the loser itself says that it gave up."""
    seen = scene("a", "a owner(3) 3.7 serving | b stashing 3.7 seen=5b")
    assert seen.decide(100.0) == Reaffirm(Claim(6, A))


def test_reaffirms_beside_a_claimant_without_storage(scene: MakeScene) -> None:
    """A server whose disk hangs can give nothing up: copies elsewhere are not kept from the owner by it."""
    seen = scene("b", "a opening(3) 3.7 trouble=storage | b owner(4) 4.8 serving | c replica 3.7 seen=4c")
    assert isinstance(seen.decide(), PublishBid)
    seen.sick = frozenset({A})
    assert seen.decide() == Reaffirm(Claim(5, B))


def test_does_not_reaffirm_while_unsure(scene: MakeScene) -> None:
    """A server that just started does not outbid somebody it may not have heard."""
    seen = scene("a", "a owner(3) 3.7 serving | b replica 3.7 seen=5c", now_s=1.0)
    assert isinstance(settled(seen), Stay)


# --------------------------------------------------------------------------------------------- hand-over (R10)


def test_hand_over_is_left_alone(scene: MakeScene) -> None:
    """While a site is moved, nobody else takes it, however long its last changes travel."""
    for me in ("b", "c"):
        seen = scene(me, "a leaving(3) 3.7 to=b | b replica 3.7 | c replica 3.7")
        seen.decide(100.0)
        assert isinstance(seen.decide(200.0), Stay)


def test_old_owner_gives_way_to_successor(scene: MakeScene) -> None:
    """Once the successor has claimed, the old owner lets go, and the two never take it for a conflict."""
    facts = "a leaving(3) 3.7 to=b | b opening(4) 3.7"
    assert scene("a", facts).decide() == Fence(B, Claim(4, B))
    assert isinstance(settled(scene("b", facts)), Stay)


def test_hung_hand_over_ends(scene: MakeScene) -> None:
    """A hand-over that hangs for minutes is overruled: by its own owner where that has the newest data."""
    facts = "a leaving(3) 3.8 to=b | b replica 3.7"
    for me, best in (("a", True), ("b", False)):
        seen = scene(me, facts)
        seen.decide(100.0)
        assert isinstance(seen.decide(219.0), Stay)
        assert isinstance(seen.decide(220.0), Stand) is best


def test_leaving_owner_dies(scene: MakeScene) -> None:
    """When the old owner dies during a move, the site comes up where the newest data is."""
    seen = scene("b", "!a leaving(3) 3.8 to=b | b replica 3.7 | c replica 3.6")
    assert settled(seen) == Stand(Claim(4, B))


# ---------------------------------------------------------------------------------------------- ailing owners


def test_owner_in_trouble_is_relieved(scene: MakeScene) -> None:
    """An owner that lives but cannot serve (its storage died) loses the site to a healthy replica after a while."""
    seen = scene("b", "a opening(3) 3.7 trouble=storage | b replica 3.7")
    seen.decide(100.0)
    assert isinstance(seen.decide(114.0), Stay)
    assert seen.decide(115.0) == Stand(Claim(4, B))


def test_lost_storage_is_not_waited_out(scene: MakeScene) -> None:
    """An owner whose storage is gone loses the site as soon as a dead one would."""
    seen = scene("b", "a opening(3) 3.7 trouble=storage | b replica 3.7", sick=frozenset({A}))
    seen.decide(100.0)
    assert isinstance(seen.decide(101.9), Stay)
    assert seen.decide(102.0) == Stand(Claim(4, B))


def test_waiting_for_a_pick_is_no_trouble(scene: MakeScene, spec: MakeSpec) -> None:
    """Nobody takes a site over because its owner waits for a person to decide."""
    seen = scene("b", "a owner(3) 3.7 trouble=asks | b replica 3.7", spec=spec(policy="ask"))
    seen.change("a", awaiting=(Claim(3, A), Claim(4, C)))
    seen.decide(100.0)
    assert isinstance(seen.decide(200.0), Stay)


def test_lost_storage_waits_for_no_pick(scene: MakeScene, spec: MakeSpec) -> None:
    """Where the server that waits for a pick lost its storage, the site is served from a copy: no pick could help."""
    seen = scene("b", "a owner(3) 3.7 trouble=storage | b replica 3.7", spec=spec(policy="ask"), sick=frozenset({A}))
    seen.change("a", awaiting=(Claim(3, A), Claim(4, C)))
    assert owner_seen(seen.registers, frozenset({A, B}), B) == Claim(3, A)
    assert owner_seen(seen.registers, frozenset({A, B}), B, seen.sick) is None
    seen.decide(100.0)
    assert seen.decide(102.0) == Stand(Claim(4, B))


def test_switched_off_is_no_trouble(scene: MakeScene, spec: MakeSpec) -> None:
    """A site that is off by its user's wish stays where it is, even if its owner complains about something."""
    seen = scene("b", "a owner(3) 3.7 trouble=full | b replica 3.7")
    seen.change("a", spec=spec(wanted="stopped"))
    seen.decide(100.0)
    assert isinstance(seen.decide(200.0), Stay)


def test_sites_own_fault_does_not_wander(scene: MakeScene) -> None:
    """A site that fails to start on the replica too is not passed round."""
    seen = scene("b", "a opening(3) 3.7 trouble=start | b replica 3.7 trouble=start")
    seen.decide(100.0)
    assert isinstance(seen.decide(500.0), Stay)


def test_slow_start_is_no_trouble(scene: MakeScene) -> None:
    """An owner that is just coming up is given its time."""
    seen = scene("b", "a opening(3) 3.7 | b replica 3.7")
    seen.decide(100.0)
    assert isinstance(seen.decide(200.0), Stay)


# ----------------------------------------------------------------------------------------------- confirmation


def test_asks_last_owner_and_holders(scene: MakeScene) -> None:
    """Before a take-over the last owner is asked, though it seems dead, and everybody who holds the site."""
    seen = scene("a", "a replica 3.7 | b replica 3.7 | !c owner(3) 3.7 | d none | !e replica 3.7")
    assert confirmation(seen.registers, frozenset(seen.live), A) == [C, B]


def test_one_yes_calls_it_off() -> None:
    """One node that still sees an owner is enough; silence is not."""
    assert refuted([None, Claim(3, C)], Claim(4, A))
    assert not refuted([None, None], Claim(4, A))
    assert not refuted([], Claim(4, A))


def test_answer_names_living_owner(scene: MakeScene) -> None:
    """A node says "yes" only for an owner that lives, is of use, and is not the one who asks."""
    for facts, answer in (
        ("a replica | b replica | c owner(3) serving", Claim(3, C)),
        ("a replica | b replica | c opening(3)", Claim(3, C)),
        ("a replica | b owner(4) serving | c owner(3) serving", Claim(4, B)),
        ("a replica | b replica | !c owner(3) serving", None),
        ("a owner(3) serving | b replica", None),
        ("a replica | c leaving(3) to=a", None),
        ("a replica | c opening(3) trouble=storage", None),
    ):
        seen = scene("b", facts)
        assert owner_seen(seen.registers, frozenset(seen.live), A) == answer, facts
