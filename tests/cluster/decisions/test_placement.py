"""Placement: copies go where they help most, and stay there."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from hybrid.cluster.placement import NUMBERS, first_owner, free_number, replicas
from hybrid.model import NodeId, SiteId, SiteSpec
from hybrid.view import NodeView, SiteView, View

MakeSpec = Callable[..., SiteSpec]
GB = 10**9


def view_of(nodes: str, *sites: SiteView) -> View:
    """A view of `name@dc free_gb` nodes; `!` dead, `?` sick storage."""
    views = {}
    for text in nodes.split("|"):
        where, free = text.split()
        name, dc = where.strip("!?").split("@")
        views[NodeId(name)] = NodeView(
            id=NodeId(name),
            name=name,
            dc=dc,
            address="",
            cluster_port=0,
            interior_port=0,
            api_port=0,
            live="!" not in where,
            storage_ok="?" not in where,
            free_bytes=int(free) * GB,
        )
    return View(me=NodeId("a"), serial=1, zones=(), nodes=views, sites={site.spec.id: site for site in sites})


def site_of(spec: SiteSpec, owner: str, holders: str = "") -> SiteView:
    """A site of `owner`, held by it and `holders`; those in capitals are away."""
    names = tuple(NodeId(name) for name in (owner + holders) if name.islower())
    away = tuple(NodeId(name.lower()) for name in holders if name.isupper())
    return SiteView(spec=spec, state="serving", owner=NodeId(owner) if owner else None, holders=names, away=away)


PLACES = [
    ("another data centre first", "a@p 10 | b@p 90 | c@q 10", "a", "", 2, "cb"),
    ("one copy goes to the other data centre", "a@p 10 | b@p 90 | c@q 10", "a", "", 1, "c"),
    ("who holds it already keeps it", "a@p 10 | b@q 10 | c@q 90", "a", "b", 1, "b"),
    ("but a second data centre is worth a move", "a@p 10 | b@p 10 | c@q 90", "a", "b", 1, "c"),
    ("a third data centre before a second copy", "a@p 10 | b@q 90 | c@q 90 | d@r 10", "a", "b", 2, "bd"),
    ("room", "a@p 10 | b@p 10 | c@p 100", "a", "", 1, "c"),
    ("no dead ones", "a@p 10 | b@p 10 | !c@q 90", "a", "", 1, "b"),
    ("one that is silent for a moment keeps its place", "a@p 10 | b@p 10 | !c@q 90", "a", "C", 1, "c"),
    ("but not with sick storage", "a@p 10 | b@p 10 | !?c@q 90", "a", "C", 1, "b"),
    ("a lost one is replaced", "a@p 10 | b@p 10 | !c@q 90 | d@q 10", "a", "b", 2, "bd"),
    ("a lost data centre too", "a@p 10 | b@p 10 | !c@q 90 | d@p 10", "a", "b", 2, "bd"),
    ("no sick ones", "a@p 10 | b@p 10 | ?c@q 90", "a", "c", 1, "b"),
    ("fewer than wished where there are no more", "a@p 10 | b@p 10", "a", "", 2, "b"),
    ("alone", "a@p 10", "a", "", 2, ""),
    ("none wished", "a@p 10 | b@p 10", "a", "b", 0, ""),
    ("without an owner", "a@p 10 | b@q 10", "", "ab", 2, "ab"),
]


@pytest.mark.parametrize(
    "nodes, owner, holders, copies, expected", [row[1:] for row in PLACES], ids=[row[0] for row in PLACES]
)
def test_places(spec: MakeSpec, nodes: str, owner: str, holders: str, copies: int, expected: str) -> None:
    """Copies survive the loss of a data centre where there are two, and move only for a reason."""
    chosen = replicas(site_of(spec(copies=copies), owner, holders), view_of(nodes))
    assert set(chosen) == set(expected)


FULLNESS = [
    ("no new copy where room is scarce", {"b": 91, "c": 10}, "", 1, "c"),
    ("also not where it would be another data centre", {"b": 10, "c": 91}, "", 1, "b"),
    ("who holds it keeps it while it takes increments", {"b": 10, "c": 96}, "c", 1, "c"),
    ("a full one is replaced where there is room", {"b": 10, "c": 98}, "c", 1, "b"),
    ("and not given up where there is none", {"b": 98, "c": 98}, "b", 2, "b"),
]


@pytest.mark.parametrize("full, holders, copies, expected", [row[1:] for row in FULLNESS], ids=[r[0] for r in FULLNESS])
def test_full_pools(spec: MakeSpec, full: dict[str, int], holders: str, copies: int, expected: str) -> None:
    """Copies go where there is room, and are made anew elsewhere when theirs is gone."""
    view = view_of("a@p 10 | b@p 10 | c@q 10")
    nodes = {
        key: msgspec.structs.replace(node, size_bytes=1000, free_bytes=1000 - 10 * full.get(node.name, 10))
        for key, node in view.nodes.items()
    }
    filled = msgspec.structs.replace(view, nodes=nodes)
    assert set(replicas(site_of(spec(copies=copies), "a", holders), filled)) == set(expected)
    short = msgspec.structs.replace(filled.nodes[NodeId("a")], free_bytes=40)
    able = [node for node in "bc" if full.get(node, 10) < 95]
    chosen = first_owner(msgspec.structs.replace(filled, nodes={**filled.nodes, NodeId("a"): short}))
    assert chosen in (able or ["a"])


def test_best_first(spec: MakeSpec) -> None:
    """The copy in the other data centre is the first to be made."""
    assert replicas(site_of(spec(copies=2), "a"), view_of("a@p 10 | b@p 90 | c@q 10")) == ("c", "b")


def test_choice_stays_when_room_changes_a_little(spec: MakeSpec) -> None:
    """Filling disks do not make copies wander."""
    site = site_of(spec(copies=1), "a", "c")
    assert replicas(site, view_of("a@p 10 | b@q 95 | c@q 90")) == ("c",)
    fresh = site_of(spec(copies=1), "a")
    choices = {replicas(fresh, view_of(f"a@p 10 | b@q {b} | c@q {c}")) for b in (70, 80, 90) for c in (70, 80, 90)}
    assert len(choices) == 1


def test_choices_are_spread(spec: MakeSpec) -> None:
    """Among equal servers, the copies of many sites are spread evenly."""
    view = view_of("a@p 10 | b@p 50 | c@p 50 | d@p 50")
    first = [replicas(site_of(spec(id=SiteId(f"s-{number}"), copies=1), "a"), view)[0] for number in range(300)]
    assert all(first.count(NodeId(name)) > 60 for name in "bcd")


def test_first_owner(spec: MakeSpec) -> None:
    """A new site begins where there is room, then where the fewest sites are."""
    assert first_owner(view_of("a@p 10 | b@p 90 | !c@p 900 | ?d@p 900")) == "b"
    busy = [site_of(spec(id=SiteId(f"s-{number}")), "b") for number in range(3)]
    assert first_owner(view_of("a@p 80 | b@p 80", *busy)) == "a"
    assert first_owner(view_of("!b@p 80")) == "a"


def test_numbers(spec: MakeSpec) -> None:
    """Each site gets a number of its own; sites made on both sides of a cut get different ones."""
    view = view_of("a@p 10")
    numbers = {free_number(view, SiteId(f"s-{number}")) for number in range(100)}
    assert len(numbers) > 95
    assert all(1 <= number <= NUMBERS for number in numbers)
    taken = free_number(view, SiteId("s-x"))
    other = view_of("a@p 10", site_of(spec(number=taken), "a"))
    assert free_number(other, SiteId("s-x")) == taken % NUMBERS + 1


def test_numbers_run_out(spec: MakeSpec) -> None:
    """The sixty-thousand-and-first site is refused, not given a number twice."""
    sites = [site_of(spec(id=SiteId(f"s-{number}"), number=number), "a") for number in range(1, NUMBERS + 1)]
    with pytest.raises(ValueError, match="in use"):
        free_number(view_of("a@p 10", *sites), SiteId("s-x"))
