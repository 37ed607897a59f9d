"""Contents of view after view, and the serial they go by."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from hybrid.leaves import Leaves
from hybrid.model import NodeId, SiteId, SiteSpec, Version
from hybrid.view import NodeView, SiteView, View
from hybrid_dns import serials
from hybrid_dns.book import Book
from hybrid_dns.publish import Publisher
from hybrid_dns.zone import contents
from tests.dns.world import World

MakeView = Callable[..., View]
NODES = [NodeId(f"n-{letter}") for letter in "abc"]
DOMAINS = ["a.t", "b.t", "x.example", "ns1.t", "www.x.example"]

node_facts = st.tuples(st.booleans(), st.floats(0, 9))
site_facts = st.tuples(
    st.sampled_from([None, *NODES]),
    st.lists(st.sampled_from(NODES), unique=True, max_size=3),
    st.lists(st.sampled_from(DOMAINS), unique=True, max_size=2),
    st.sampled_from([30, 60]),
)
views = st.tuples(st.lists(node_facts, min_size=3, max_size=3), st.dictionaries(st.sampled_from("123"), site_facts))


NodeFacts = tuple[bool, float]
SiteFacts = tuple[NodeId | None, list[NodeId], list[str], int]
Step = tuple[list[NodeFacts], dict[str, SiteFacts]]


def view_of(nodes: list[NodeFacts], sites: dict[str, SiteFacts], before: View | None) -> View:
    """As `hybrid.cluster.viewing` makes it: what has not changed is the same object."""
    seen = {
        node: NodeView(
            id=node,
            name=node[2:],
            dc="p" if node != NODES[2] else "q",
            address=f"10.0.0.{number}",
            cluster_port=1,
            interior_port=2,
            api_port=3,
            live=live,
            load=load,
        )
        for number, (node, (live, load)) in enumerate(zip(NODES, nodes, strict=True))
    }
    drawn = {
        SiteId(f"s-{number}"): SiteView(
            spec=SiteSpec(
                id=SiteId(f"s-{number}"),
                version=Version(1, 1),
                name=number,
                domains=tuple(domains),
                image="static@1",
                number=1,
                ttl_s=ttl_s,
            ),
            state="serving",
            owner=owner,
            holders=tuple(holders),
        )
        for number, (owner, holders, domains, ttl_s) in sites.items()
    }
    leaves = Leaves(drawn)
    if before is not None:
        changed, gone = leaves.unlike(before.sites)
        known = before.sites
        assert isinstance(known, Leaves)
        leaves = known.replaced(changed, gone)
    return View(me=NODES[0], serial=1, zones=("t",), nodes=seen, sites=leaves)


@given(st.lists(views, min_size=1, max_size=5))
def test_what_is_drawn_step_by_step_is_what_is_drawn_at_once(steps: list[Step]) -> None:
    """Whatever changes between two views; and what did not change is the same object."""
    publisher, view = Publisher(), None
    for nodes, sites in steps:
        view = view_of(nodes, sites, view)
        found = publisher.follow(view, Book())
        assert found == contents(view)
        loaded = {key: msgspec.structs.replace(node, load=77.0) for key, node in view.nodes.items()}
        assert publisher.follow(msgspec.structs.replace(view, nodes=loaded), Book()) == found


class Cluster:
    """Two nodes with their own view, each with its copy of the shared map."""

    def __init__(self, view: View) -> None:
        self.one, self.two = World(view), World(msgspec.structs.replace(view, me=NodeId("n-n2")))

    def see(self, view: View) -> None:
        """Both see this."""
        self.one.view, self.two.view = view, msgspec.structs.replace(view, me=NodeId("n-n2"))

    def spread(self, source: World, to: World) -> None:
        """What `source` wrote wins."""
        for key, value in source.shared.values.items():
            if to.shared.values.get(key) != value:
                to.shared.put(key, value)


def test_the_leader_alone_writes_the_serial(make_view: MakeView) -> None:
    """It grows with the contents, and with nothing else; all nodes serve the same."""
    view = make_view()
    cluster = Cluster(view)
    cluster.two.registry.look()
    assert cluster.two.shared.values == {} and not cluster.two.registry.is_settled
    cluster.one.registry.look()
    cluster.spread(cluster.one, cluster.two)
    first = cluster.one.registry.now.serial
    assert first == int(cluster.one.now_s) == cluster.two.registry.now.serial
    assert cluster.one.registry.is_settled and cluster.two.registry.is_settled
    cluster.one.registry.look()
    assert cluster.one.registry.now.serial == first
    cluster.see(make_view(owner="n3"))
    assert not cluster.two.registry.is_settled
    cluster.one.registry.look()
    assert cluster.one.registry.now.serial == first + 1


def test_the_serial_never_goes_back(make_view: MakeView) -> None:
    """Not when two sides of a partition counted apart, nor when a clock goes back; in the end they agree."""
    make = make_view
    cluster = Cluster(make())
    cluster.one.registry.look()
    cluster.spread(cluster.one, cluster.two)
    cluster.one.view = make(owner="n3", dead=frozenset({"n2", "n3"}))
    cluster.two.view = msgspec.structs.replace(
        make(owner="n3", dead=frozenset({"n1"})),
        me=NodeId("n-n2"),
    )
    cluster.one.now_s += 500
    cluster.one.registry.look()
    cluster.two.now_s -= 500
    cluster.two.registry.look()
    apart = cluster.one.registry.now.serial
    assert apart > cluster.two.registry.now.serial > int(cluster.one.now_s) - 500
    cluster.see(make(owner="n2"))
    cluster.spread(cluster.two, cluster.one)
    assert cluster.one.registry.now.serial == apart
    cluster.one.registry.look()
    cluster.spread(cluster.one, cluster.two)
    assert cluster.one.registry.now.serial == cluster.two.registry.now.serial > apart
    assert cluster.one.registry.is_settled and cluster.two.registry.is_settled


def test_an_entry_that_cannot_be_read_is_written_anew() -> None:
    """Nobody is stuck with it."""
    assert serials.read("{") == serials.read(None) == serials.Serial(0, "")
    nothing = contents(View(me=NODES[0], serial=1, zones=(), nodes={}, sites={}))
    assert serials.next_entry(serials.read("{"), 7, serials.digest(nothing), 3.0)
