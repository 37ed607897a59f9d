"""Which sites this node has to snapshot and send, and to whom."""

import msgspec

from hybrid.model import Claim, NodeId, SiteId, SiteSpec, Version
from hybrid.view import NodeView, SiteView, View
from hybrid_replicator.owned import AGAIN_S, Duty, Owned

ME, PEER = NodeId("n-me"), NodeId("n-peer")
SITE = SiteId("s-a")
SPEC = SiteSpec(id=SITE, version=Version(1, 0), name="shop", domains=(), image="php@1", number=1)
SEEN = SiteView(spec=SPEC, state="serving", owner=ME, claim=Claim(1, ME))


def view(*sites: SiteView, peer_live: bool = True, load: float = 0.0) -> View:
    """What this node knows."""
    peer = NodeView(
        id=PEER, name="p", dc="x", address="", cluster_port=1, interior_port=2, api_port=3, live=peer_live, load=load
    )
    return View(me=ME, serial=0, zones=(), nodes={PEER: peer}, sites={site.spec.id: site for site in sites})


def test_only_what_is_owned_here_under_a_claim() -> None:
    """Other servers' sites are theirs to look after."""
    owned = Owned(ME, lambda site: (PEER,))
    assert owned.follow(view(SEEN), 0.0) == {SITE: (Duty(SPEC, Claim(1, ME), (PEER,), frozenset({PEER})), True)}
    assert owned.follow(view(msgspec.structs.replace(SEEN, state="changing")), 0.0)[SITE][1] is False
    assert owned.follow(view(msgspec.structs.replace(SEEN, owner=PEER)), 0.0) == {}
    assert owned.follow(view(msgspec.structs.replace(SEEN, claim=None)), 0.0) == {}


def test_targets_are_asked_for_only_when_something_changed_or_now_and_then() -> None:
    """A view that changes many times a second costs next to nothing."""
    asked = []

    def targets(site: SiteView) -> tuple[NodeId, ...]:
        asked.append(site)
        return (PEER,)

    owned = Owned(ME, targets)
    for number in range(100):
        owned.follow(view(msgspec.structs.replace(SEEN), load=number), 1.0)
    assert len(asked) == 1
    owned.follow(view(msgspec.structs.replace(SEEN, claim=Claim(2, ME))), 1.0)
    assert len(asked) == 2
    owned.follow(view(msgspec.structs.replace(SEEN, claim=Claim(2, ME)), peer_live=False), 1.0)
    assert len(asked) == 3
    owned.follow(view(msgspec.structs.replace(SEEN, claim=Claim(2, ME)), peer_live=False), 1.0 + AGAIN_S)
    assert len(asked) == 4


def test_a_target_that_holds_it_gets_no_whole_copy() -> None:
    """Also when it is silent for the moment: only what nobody ever sent there counts as new."""
    other = NodeId("n-other")
    held = msgspec.structs.replace(SEEN, holders=(ME, PEER), away=(other,))
    owned = Owned(ME, lambda site: (PEER, other, NodeId("n-new")))
    assert owned.follow(view(held), 0.0)[SITE][0].new == {NodeId("n-new")}
