"""Going on without etcd: all holders agree, or it stops."""

from __future__ import annotations

from hybrid.model import Claim, NodeId, Role, SiteId, SiteRegister
from hybrid.strict.failsafe import Counted, Promises, holders, unanimous
from hybrid.strict.tenure import Spans

SITE = SiteId("s-one")
A, B, C, D = NodeId("n-a"), NodeId("n-b"), NodeId("n-c"), NodeId("n-d")
CLAIM = Claim(42, A)


def copy(role: Role = "replica", claim: Claim | None = None, seen: Claim = CLAIM) -> SiteRegister:
    """What a node says."""
    return SiteRegister(role=role, claim=claim, seen=seen)


def test_a_holder_that_agrees_does_not_stand_for_a_whole_ttl() -> None:
    """The promise outlasts what the owner makes of it: fenced at 7.5 s, frozen at 11.25 s."""
    promises = Promises(Spans(15.0))
    assert promises.kept(SITE, 100.0)
    assert promises.ask(SITE, CLAIM, copy(), None, busy=False, now_s=100.0) == ""
    assert not promises.kept(SITE, 115.0)
    assert promises.kept(SITE, 115.2)


def test_a_holder_that_knows_better_does_not_agree() -> None:
    """One that owns it, is about to, saw a newer claim, or reads another name in etcd says no, and promises nothing."""
    promises = Promises(Spans(15.0))
    assert promises.ask(SITE, CLAIM, copy("owner", Claim(43, B)), None, busy=False, now_s=1.0)
    assert promises.ask(SITE, CLAIM, copy(), None, busy=True, now_s=1.0)
    assert promises.ask(SITE, CLAIM, copy(seen=Claim(43, B)), None, busy=False, now_s=1.0)
    assert promises.ask(SITE, CLAIM, copy(), C, busy=False, now_s=1.0)
    assert promises.kept(SITE, 1.0)
    assert promises.ask(SITE, CLAIM, copy(), A, busy=False, now_s=1.0) == ""
    assert promises.ask(SITE, CLAIM, None, None, busy=False, now_s=1.0) == ""


def test_all_means_all() -> None:
    """A majority is not enough, silence is no agreement; where nobody else holds it there is nobody to ask."""
    assert unanimous({B, C}, {B: True, C: True})
    assert not unanimous({B, C}, {B: True})
    assert not unanimous({B, C}, {B: True, C: False})
    assert unanimous(set(), {})


def test_who_was_counted_once_is_asked_until_it_says_that_it_holds_nothing() -> None:
    """A holder that fell silent could stand elsewhere: it is not forgotten. A target may hold it at any moment."""
    registers = {A: copy("owner", CLAIM), B: copy()}
    assert holders({C}, registers, [D], A) == {A, B, C, D}
    assert holders({C}, {**registers, C: copy("none")}, [], A) == {A, B}


def test_what_is_not_written_down_for_sure_is_not_relied_on() -> None:
    """After a restart without etcd nobody knows who may stand; a writing in doubt counts both ways."""
    assert Counted().asked(A) is None
    assert Counted(frozenset({A, B})).asked(A) == frozenset({B})
    assert Counted(frozenset({A, B}), frozenset({A, C})).asked(A) == frozenset({B, C})
