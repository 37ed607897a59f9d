"""The view: what users, proxies and DNS are told of a site, drawn from what the nodes say."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid.cluster.ledger import Ledger
from hybrid.cluster.viewing import Views, site_view
from hybrid.model import Claim, Guid, NodeId, NodeRegister, Role, SiteId, SiteRegister, SiteSpec, Stash, Version
from hybrid.view import SiteView
from hybrid.wire import Gossip

MakeScene = Callable[..., Any]
MakeSpec = Callable[..., SiteSpec]
A, B, C = (NodeId(name) for name in "abc")
SITE = SiteId("s-one")
ROLES = get_args(Role)


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
    ledger.merge(Gossip(nodes={B: node(B, "q")}))
    ledger.publish(SITE, SiteRegister(role="replica", head=Guid(1), spec=spec()))

    views = Views(A, ledger, ("example.net",), lambda site: None)
    ledger.follow(views.touch)
    nobody: frozenset[NodeId] = frozenset()
    first = views.renew(frozenset({A, B}), nobody)
    assert first.serial == 1
    assert first.nodes[B].live and first.nodes[B].dc == "q" and first.nodes[A].name == "name-a"
    assert first.sites[SITE].state == "changing"
    assert views.renew(frozenset({A, B}), nobody) is first
    second = views.renew(frozenset({A}), nobody)
    assert second.serial == 2
    assert not second.nodes[B].live
    assert second.sites[SITE] is first.sites[SITE]
    ledger.publish(SITE, SiteRegister(role="none"))
    assert views.renew(frozenset({A}), nobody).sites == {}


def test_only_what_changed_is_drawn_again(spec: MakeSpec) -> None:
    """In a cluster of very many sites a change costs what it concerns: the sites of a node that died, or one site."""
    ledger = Ledger(A, 1)
    sites = [SiteId(f"s-{number}") for number in range(200)]
    for number, site in enumerate(sites):
        word = SiteRegister(role="replica", version=Version(1, number + 1), spec=spec(id=site))
        ledger.merge(Gossip(sites={(B, C)[number % 2]: {site: word}}))
    drawn: list[SiteId] = []

    def upstream(site: SiteId) -> None:
        drawn.append(site)

    views = Views(A, ledger, (), upstream)
    ledger.follow(views.touch)
    views.renew(frozenset({A, B, C}), frozenset())
    assert len(drawn) == 200
    drawn.clear()
    views.renew(frozenset({A, C}), frozenset())
    assert drawn == sorted(sites[::2])
    drawn.clear()
    ledger.publish(sites[7], SiteRegister(role="replica", spec=spec(id=sites[7])))
    views.renew(frozenset({A, C}), frozenset())
    assert drawn == [sites[7]]


facts = st.lists(
    st.one_of(
        st.tuples(st.just("live"), st.sampled_from([A, B, C]), st.booleans()),
        st.tuples(st.just("lost"), st.sampled_from([B, C]), st.booleans()),
        st.tuples(st.just("node"), st.sampled_from([A, B, C]), st.sampled_from(["p", "q"])),
        st.tuples(st.sampled_from(["one", "two"]), st.sampled_from([A, B, C]), st.sampled_from(ROLES)),
    ),
    max_size=30,
)


@given(facts, st.randoms(use_true_random=False))
def test_renewed_is_the_same_as_drawn_anew(steps: list[tuple[str, NodeId, Any]], chance: random.Random) -> None:
    """Whatever happens, and however much of it between two looks: nothing that matters is missed."""
    ledger, live, lost = Ledger(A, 1), {A}, set[NodeId]()
    views = Views(A, ledger, ("z",), lambda site: "10.0.0.1")
    ledger.follow(views.touch)
    for count, (what, who, how) in enumerate(steps, 1):
        version = Version(1, count)
        if what in ("live", "lost"):
            told = live if what == "live" else lost
            (told.add if how else told.discard)(who)
        elif what == "node":
            said = msgspec.structs.replace(node(who, how), version=version)
            ledger.publish_node(said) if who == A else ledger.merge(Gossip(nodes={who: said}))
        else:
            site = SiteId(f"s-{what}")
            word = SiteRegister(role=how, version=version, claim=Claim(count, who), spec=site_spec(site))
            ledger.publish(site, word) if who == A else ledger.merge(Gossip(sites={who: {site: word}}))
        if chance.random() < 0.5:
            views.renew(frozenset(live), frozenset(lost))
    renewed = views.renew(frozenset(live), frozenset(lost))
    anew = Views(A, ledger, ("z",), lambda site: "10.0.0.1").renew(frozenset(live), frozenset(lost))
    assert (renewed.nodes, renewed.sites, renewed.zones) == (anew.nodes, anew.sites, anew.zones)


def site_spec(site: SiteId) -> SiteSpec:
    """Some spec of `site`."""
    return SiteSpec(id=site, version=Version(1, 1), name=site, domains=(), image="static@1", number=1)
