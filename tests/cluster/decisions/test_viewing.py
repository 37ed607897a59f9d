"""The view: what users, proxies and DNS are told of a site, drawn from what the nodes say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hybrid.cluster.ledger import Ledger
from hybrid.cluster.viewing import build, site_view
from hybrid.model import Guid, NodeId, NodeRegister, SiteId, SiteRegister, SiteSpec, Stash, Version
from hybrid.view import SiteView, View
from hybrid.wire import Gossip

MakeScene = Callable[..., Any]
MakeSpec = Callable[..., SiteSpec]
A, B, C = (NodeId(name) for name in "abc")
SITE = SiteId("s-one")


def seen(scene: MakeScene, spec: SiteSpec, facts: str, me: str = "a") -> SiteView | None:
    """What `me` sees of a site of which the first node knows the spec."""
    made = scene(me, facts)
    made.change(next(iter(made.registers)), spec=spec)
    return site_view(NodeId(me), made.registers, frozenset(made.live), "10.0.0.1")


STATES = [
    ("well", "a owner(3) 3.7 serving | b replica 3.7", "serving", "a"),
    ("coming up", "a opening(4) 3.7 | b replica 3.7", "changing", "a"),
    ("owner died", "!a owner(3) 3.7 serving | b replica 3.7", "changing", None),
    ("owner and all copies died", "!a owner(3) 3.7 serving | !b replica 3.7", "unavailable", None),
    ("cannot start", "a opening(4) 3.7 trouble=start | b replica 3.7", "unavailable", "a"),
    ("moving, before", "a leaving(3) 3.7 to=b | b replica 3.7", "changing", "a"),
    ("moving, after", "a leaving(3) 3.7 to=b | b opening(4) 3.7", "changing", "b"),
    ("two owners: the larger claim", "a owner(3) 3.7 serving | b owner(4) 4.7 serving", "serving", "b"),
    ("loser giving way", "a owner(3) 3.7 serving | b stashing 4.7", "serving", "a"),
]


@pytest.mark.parametrize("facts, state, owner", [row[1:] for row in STATES], ids=[row[0] for row in STATES])
def test_states(scene: MakeScene, spec: MakeSpec, facts: str, state: str, owner: str | None) -> None:
    """Requests go to the owner that serves, are held while one is found, and refused when nobody has the site."""
    site = seen(scene, spec(), facts)
    assert site is not None
    assert (site.state, site.owner) == (state, owner)


def test_stopped_by_wish(scene: MakeScene, spec: MakeSpec) -> None:
    """A site that was switched off is shown so, and still has a node that answers for it."""
    site = seen(scene, spec(wanted="stopped"), "a owner(3) 3.7 | b replica 3.7")
    assert site is not None
    assert (site.state, site.owner, site.upstream) == ("stopped", A, None)


def test_upstream_only_on_the_owner(scene: MakeScene, spec: MakeSpec) -> None:
    """Only the owner itself leads requests to its container, and only while it serves."""
    for me, facts, upstream in (
        ("a", "a owner(3) 3.7 serving | b replica 3.7", "10.0.0.1"),
        ("b", "a owner(3) 3.7 serving | b replica 3.7", None),
        ("a", "a opening(3) 3.7 | b replica 3.7", None),
    ):
        site = seen(scene, spec(), facts, me)
        assert site is not None
        assert site.upstream == upstream


def test_holders_and_safety(scene: MakeScene, spec: MakeSpec) -> None:
    """Holders are named owner first, best copy next; only living copies with the newest snapshot are safe ones."""
    site = seen(scene, spec(), "a owner(3) 3.7 serving | b replica 3.6 | c replica 3.7 | !d replica 3.7 | e none")
    assert site is not None
    assert site.holders == (A, C, B)
    assert site.safe_copies == 1


def test_from_afar_safety_is_coarse(scene: MakeScene, spec: MakeSpec) -> None:
    """A node that does not hold the site, and is told of no snapshots, shows what the owner says of its copies."""
    made = scene("e", "a owner(3) 3.7 serving | b replica | c replica | !d replica | e none", spec=spec())
    made.change("a", spec=spec(), head=None, safe_copies=3, late_s=120.0)
    site = site_view(NodeId("e"), made.registers, frozenset(made.live), None)
    assert site is not None
    assert (site.safe_copies, site.lag_s) == (2, 120.0)


def test_trouble_is_told(scene: MakeScene, spec: MakeSpec) -> None:
    """What is wrong is said: by the owner, or by the copies when there is none."""
    for facts, trouble in (
        ("a owner(3) 3.7 serving | b replica 3.7 trouble=full", ""),
        ("a opening(3) 3.7 trouble=start | b replica 3.7", "start"),
        ("!a owner(3) 3.7 serving | b replica 3.7 trouble=full", "full"),
        ("!a owner(3) 3.7 serving", "no server that is up holds it"),
    ):
        site = seen(scene, spec(), facts)
        assert site is not None
        assert site.trouble == trouble


def test_gone(scene: MakeScene, spec: MakeSpec) -> None:
    """A deleted site disappears; one that nobody described is not shown."""
    assert seen(scene, spec(), "a none | b none") is None
    made = scene("a", "a replica 3.7")
    assert site_view(A, made.registers, frozenset(made.live), None) is None


def test_newest_spec_and_all_stashes(scene: MakeScene, spec: MakeSpec) -> None:
    """The newest wish counts, whoever knows it; what is kept beside the main line is listed, also on silent nodes."""
    made = scene("a", "a owner(3) 3.7 serving | b replica 3.7 | !c replica 3.7")
    late = Stash(id="x", site=SITE, base=None, head=Guid(1), head_at_s=9, why="conflict")
    early = Stash(id="y", site=SITE, base=None, head=Guid(2), head_at_s=5, why="rollback")
    made.change("a", spec=spec(version=Version(3, 1), ttl_s=10), stashes=(late,))
    made.change("b", spec=spec(version=Version(3, 2), ttl_s=20), stashes=(late,))
    made.change("c", stashes=(early,))
    site = site_view(A, made.registers, frozenset(made.live), None)
    assert site is not None
    assert site.spec.ttl_s == 20
    assert site.stashes == (early, late)


def node(name: NodeId, dc: str = "p") -> NodeRegister:
    """A node's word about itself."""
    return NodeRegister(id=name, name=f"name-{name}", dc=dc, address="192.0.2.1", version=Version(1, 1))


def test_serial_grows_only_with_content(spec: MakeSpec) -> None:
    """Those who follow the view are not woken for nothing."""
    ledger = Ledger(A, 1)
    ledger.publish_node(node(A))
    ledger.merge(Gossip(heartbeats={}, nodes={B: node(B, "q")}))
    ledger.publish(SITE, SiteRegister(role="replica", head=Guid(1), spec=spec()))

    def now(live: set[NodeId], previous: View | None) -> View:
        return build(A, ledger, frozenset(live), {}, ("example.net",), previous)

    first = now({A, B}, None)
    assert first.serial == 1
    assert first.nodes[B].live and first.nodes[B].dc == "q" and first.nodes[A].name == "name-a"
    assert first.sites[SITE].state == "changing"
    assert now({A, B}, first) is first
    second = now({A}, first)
    assert second.serial == 2
    assert not second.nodes[B].live
    ledger.publish(SITE, SiteRegister(role="none"))
    assert now({A}, second).sites == {}


def test_who_is_away_and_who_is_lost(scene: MakeScene, spec: MakeSpec) -> None:
    """A silent holder counts as a place until it is lost; then it is shown as such."""
    made = scene("a", "a owner(3) 3.7 serving | !b replica 3.7 | !c replica 3.6 | !d none")
    made.change("a", spec=spec())
    live = frozenset(made.live)
    assert site_view(A, made.registers, live, None).away == (B, C)  # type: ignore[union-attr]  # a site is there
    assert site_view(A, made.registers, live, None, frozenset({C})).away == (B,)  # type: ignore[union-attr]
