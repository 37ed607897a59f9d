"""The sentence that says what a cluster can still stand."""

from __future__ import annotations

import pytest

from hybrid.api.status import can_lose_dcs, can_lose_nodes, summarise
from hybrid.model import NodeId, SiteId, SiteSpec, Version
from hybrid.view import NodeView, SiteView, View


def view_of(nodes: str, *held: str) -> View:
    """A view of nodes `a@paris` (`!` dead, `?` lost), and one site for each string of holders."""
    views, sites = {}, {}
    for text in nodes.split():
        name, dc = text.strip("!?").split("@")
        views[NodeId(name)] = NodeView(
            id=NodeId(name),
            name=name,
            dc=dc,
            address="",
            cluster_port=0,
            interior_port=0,
            api_port=0,
            live=text[0] not in "!?",
            lost=text[0] == "?",
        )
    for number, holders in enumerate(held):
        spec = SiteSpec(
            id=SiteId(f"s-{number}"), version=Version(1, 0), name=f"site{number}", domains=(), image="", number=number
        )
        names = tuple(NodeId(name) for name in holders)
        sites[spec.id] = SiteView(spec=spec, state="serving", owner=names[0] if names else None, holders=names, lag_s=0)
    return View(me=NodeId("a"), serial=1, zones=(), nodes=views, sites=sites)


SENTENCES = [
    ("alone", "a@p", ["a"], "can lose no node"),
    ("one place", "a@p b@p c@p", ["abc", "ab"], "can lose 1 node"),
    ("two places, all well", "a@p b@q", ["ab"], "can lose any 1 node, or either data centre"),
    ("three places, all well", "a@p b@q c@r", ["abc", "ab"], "can lose any 1 node, or any data centre"),
    ("not in both places", "a@p b@p c@q d@q", ["ab"], "can lose any 1 node, or all of q"),
    ("each place holds one alone", "a@p b@p c@q d@q", ["ab", "cd"], "can lose any 1 node, but no data centre"),
    ("a copy is missing", "a@p b@q", ["a", "ab"], "can lose no node for certain, or all of q"),
    ("a place is gone already", "a@p b@p !c@q", ["ab"], "can lose 1 node"),
    ("no site yet", "a@p b@q", [], "can lose any 1 node, or either data centre"),
    ("a site that nobody holds is lost already, not at risk", "a@p b@q", ["", "ab"], "or either data centre"),
]


@pytest.mark.parametrize("nodes, held, expected", [row[1:] for row in SENTENCES], ids=[row[0] for row in SENTENCES])
def test_what_it_can_lose(nodes: str, held: list[str], expected: str) -> None:
    """Nodes, whichever they are; and data centres, by name where it makes a difference."""
    assert summarise(view_of(nodes, *held), 0.0).sentence.endswith(expected)


def test_figures_say_the_same() -> None:
    """Programs read what people read."""
    view = view_of("a@p b@p c@q d@q", "ab", "abc")
    assert (can_lose_nodes(view), can_lose_dcs(view)) == (1, ("q",))


def test_a_copy_that_is_kept_no_more_saves_nobody() -> None:
    """A stand-in that was made while another node was away holds an old copy once that node is back."""
    view = view_of("a@p b@p c@q d@q", "abcd")
    assert (can_lose_nodes(view), can_lose_dcs(view)) == (2, ("p", "q"))


def test_a_lost_node_is_told_apart_from_one_that_is_away() -> None:
    """Once a node is given up, the operator sees that its copies are made again."""
    findings = summarise(view_of("a@p !b@p ?c@q", "a"), 0.0).findings
    assert findings[:2] == ("node b (p) is down", "node c (q) is down: its copies are made again elsewhere")
