"""What stands in etcd about a site: claimed once, epochs that never fall, holders written by the owner alone."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from hybrid.errors import Conflict
from hybrid.model import NO_CLAIM, Claim, NodeId, SiteId
from hybrid.strict.memory import MemoryEtcd
from hybrid.strict.ports import EtcdUnreachable
from hybrid.strict.records import Record, Records

T = TypeVar("T")
SITE = SiteId("s-one")
A, B = NodeId("n-a"), NodeId("n-b")


class Place:
    """An etcd, and how `a` and `b` see it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.etcd = MemoryEtcd(self.clock)
        self.a, self.b = (Records(self.etcd.client(name), "c-test") for name in ("a", "b"))

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Its result; time passes until it is there."""
        results: list[T | Failure] = []
        Deferred.fromCoroutine(coroutine).addBoth(results.append)
        for _ in range(100_000):
            if results:
                break
            self.clock.advance(0.01)
        result = results[0]
        if isinstance(result, Failure):
            result.raiseException()
            raise AssertionError
        return result

    def record(self) -> Record:
        """As it stands."""
        return self.run(self.a.read([SITE]))[SITE]

    def lease(self) -> int:
        """A new one."""
        return self.etcd.grant(60)


def test_of_two_that_read_the_same_one_gets_it() -> None:
    """The other is told whose it is, and what it wanted to write is not written."""
    place = Place()
    before, lease = place.record(), place.lease()
    epoch = place.run(place.a.take(SITE, before, A, lease, NO_CLAIM))
    with pytest.raises(Conflict, match="n-a owns s-one"):
        place.run(place.b.take(SITE, before, B, place.lease(), NO_CLAIM))
    now = place.record()
    assert (now.owner, now.revision, now.lease) == (A, epoch, lease)


def test_an_epoch_is_larger_than_any_that_was_seen() -> None:
    """A site that was available for long becomes strict in an etcd that is young."""
    place = Place()
    assert place.run(place.a.take(SITE, place.record(), A, place.lease(), Claim(40, B))) == 41


def test_an_etcd_that_is_far_behind_is_refused_with_the_reason() -> None:
    """Built anew after years: a claim from it would be older than what replicas hold. A person is told what to do."""
    place = Place()
    with pytest.raises(Conflict, match=r"epoch 5000 was seen.*younger than the site.*etcdctl"):
        place.run(place.a.take(SITE, place.record(), A, place.lease(), Claim(5000, B)))
    assert place.record().owner is None


def test_who_did_not_hear_the_answer_finds_its_own_name() -> None:
    """The first request was done and its answer lost; the second finds that, and gets the epoch of the first."""
    place = Place()
    before, lease = place.record(), place.lease()
    place.etcd.deafen("a")
    with pytest.raises(EtcdUnreachable):
        place.run(place.a.take(SITE, before, A, lease, NO_CLAIM))
    place.etcd.heal("a")
    assert place.run(place.a.take(SITE, before, A, lease, NO_CLAIM)) == place.record().revision


def test_a_name_found_under_another_lease_is_no_claim() -> None:
    """What an earlier life of this node wrote may run out at any moment."""
    place = Place()
    before = place.record()
    place.run(place.a.take(SITE, before, A, place.lease(), NO_CLAIM))
    with pytest.raises(Conflict):
        place.run(place.a.take(SITE, before, A, place.lease(), NO_CLAIM))


def test_holders_are_written_by_the_owner_alone_and_outlive_it() -> None:
    """Not by one that was the owner; and the next one, and every candidate, finds them."""
    place = Place()
    lease = place.lease()
    place.run(place.a.take(SITE, place.record(), A, lease, NO_CLAIM))
    mine = place.record()
    assert place.run(place.a.count(SITE, mine, [B, A]))
    assert not place.run(place.a.count(SITE, mine, [A]))
    assert place.record().counted == frozenset({A, B})
    old = place.record()
    place.etcd.revoke(lease)
    assert not place.run(place.a.count(SITE, old, [A]))
    assert (place.record().owner, place.record().counted) == (None, frozenset({A, B}))


def test_a_key_is_given_back_by_who_holds_it() -> None:
    """Not by one whose claim was replaced meanwhile."""
    place = Place()
    epoch = place.run(place.a.take(SITE, place.record(), A, place.lease(), NO_CLAIM))
    later = place.run(place.b.take(SITE, place.record(), B, place.lease(), NO_CLAIM))
    assert not place.run(place.a.give_back(SITE, epoch))
    assert place.record().owner == B
    assert place.run(place.b.give_back(SITE, later))
    assert place.record().owner is None
