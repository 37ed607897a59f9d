"""Epochs that no healthy node says."""

from __future__ import annotations

import msgspec
import pytest

from hybrid.cluster.ledger import Ledger
from hybrid.cluster.sanity import MAX_EPOCH, MAX_LEAP, leaps, unreasonable
from hybrid.model import Claim, Copy, NodeId, SiteId, SiteRegister, SiteSpec, Version
from hybrid.wire import Gossip

A, B = NodeId("n-a"), NodeId("n-b")
SITE = SiteId("s-1")
SPEC = SiteSpec(id=SITE, version=Version(1, 0), name="shop", domains=("shop.test",), image="php@1", number=1)
STRICT = msgspec.structs.replace(SPEC, version=Version(1, 1), consistency="strict")


@pytest.fixture
def ledger() -> Ledger:
    """A node that holds a site whose epoch is 7."""
    ledger = Ledger(A, 1)
    ledger.publish(SITE, SiteRegister(role="owner", claim=Claim(7, A), spec=SPEC))
    return ledger


def says(register: SiteRegister) -> Gossip:
    """What node B sends."""
    return Gossip(sites={B: {SITE: register}})


@pytest.mark.parametrize(
    "register",
    [
        SiteRegister(role="owner", claim=Claim(2**63, B)),
        SiteRegister(role="owner", claim=Claim(7 + MAX_LEAP + 1, B)),
        SiteRegister(role="replica", seen=Claim(2**63, A)),
        SiteRegister(role="replica", seen=Claim(2_000_000, B)),
        SiteRegister(role="replica", head_epoch=2_000_000),
        SiteRegister(role="owner", claim=Claim(2**63, B), spec=STRICT),
    ],
)
def test_leaps_are_noticed_wherever_they_stand(ledger: Ledger, register: SiteRegister) -> None:
    """One bad node cannot use up the epochs of a site, with a claim, a rumour or a copy."""
    (leap,) = unreasonable(says(register), ledger)
    assert (leap.writer, leap.site, leap.part) == (B, SITE, register) and "epoch" in leap.text


def test_leap_of_a_copy(ledger: Ledger) -> None:
    """Copies travel apart from the words, and are looked at as well."""
    copy = Copy(version=Version(1, 1), head_epoch=2_000_000)
    assert [leap.part for leap in unreasonable(Gossip(copies={B: {SITE: copy}}), ledger)] == [copy]


@pytest.mark.parametrize("epoch", [0, 1, 8, 7 + MAX_LEAP])
def test_elections_are_no_leaps(ledger: Ledger, epoch: int) -> None:
    """However often a site was elected while this node was away."""
    assert not list(unreasonable(says(SiteRegister(role="owner", claim=Claim(epoch, B), seen=Claim(epoch, B))), ledger))


def test_strict_sites_count_as_etcd_does(ledger: Ledger) -> None:
    """Its revisions grow with whatever is written there: far, but not beyond all bounds."""
    assert not list(unreasonable(says(SiteRegister(role="owner", claim=Claim(10**12, B), spec=STRICT)), ledger))


def test_newcomer_believes_what_it_cannot_know(ledger: Ledger) -> None:
    """A node that never heard of a site has nothing to compare with; impossible is impossible all the same."""
    assert not leaps(0, 5_000_000, strict=False)
    assert leaps(0, MAX_EPOCH, strict=False)
    empty = Ledger(A, 1)
    assert not list(unreasonable(says(SiteRegister(role="replica", seen=Claim(5_000_000, B))), empty))
