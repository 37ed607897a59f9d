"""What is published for a cluster, by its view."""

from __future__ import annotations

from collections.abc import Callable

import dns.name
import pytest
from dns.rdatatype import RdataType
from hypothesis import given
from hypothesis import strategies as st

from hybrid.model import NodeId, SiteId, SiteSpec, Version
from hybrid.view import NodeView, SiteView, View
from hybrid_dns.lookup import Zones
from hybrid_dns.zone import MAX_ADDRESSES, contents

MakeView = Callable[..., View]


def addresses(view: View, domain: str = "blog.hybrid.test") -> list[str]:
    """Last parts of the addresses given for `domain`, in order."""
    return [address.rpartition(".")[2] for address in contents(view).hosts[domain].addresses]


def test_owner_comes_first_then_the_other_data_centre(make_view: MakeView) -> None:
    """Clients reach the owner directly, and when its data centre is gone the second address is elsewhere."""
    assert addresses(make_view(owner="n1")) == ["1", "3", "2"]
    assert addresses(make_view(owner="n3", holders=("n3", "n2"))) == ["3", "2", "1"]


@pytest.mark.parametrize("owner", ["n1", "n2", "n3", None])
def test_a_dead_node_is_never_given(make_view: MakeView, owner: str | None) -> None:
    """Nobody is sent to a dead server, even in the moment before ownership has moved."""
    assert "1" not in addresses(make_view(owner=owner, dead=frozenset({"n1"})))


def test_without_an_owner_the_holders_are_given_first(make_view: MakeView) -> None:
    """While a new owner is being found, clients already wait at the likely one."""
    assert addresses(make_view(owner=None, holders=("n3",), dead=frozenset({"n1"}))) == ["3", "2"]


places = st.lists(st.tuples(st.sampled_from(["", "p", "q"]), st.booleans()), min_size=1, max_size=30)


@given(places, st.lists(st.integers(0, 29), max_size=4, unique=True), st.booleans())
def test_very_many_nodes_are_given_in_the_order_of_few(
    said: list[tuple[str, bool]], holding: list[int], owned: bool
) -> None:
    """Holders, then other data centres, then the rest, each by name: as if all live nodes had been sorted."""
    names = [NodeId(f"n-{number:02d}") for number in range(len(said))]
    nodes = {
        name: NodeView(
            id=name,
            name=f"n{number:02d}",
            dc=dc,
            address=f"10.0.0.{number}",
            cluster_port=1,
            interior_port=2,
            api_port=3,
            live=live,
        )
        for number, (name, (dc, live)) in enumerate(zip(names, said, strict=True))
    }
    holders = [names[number] for number in holding if number < len(names) and nodes[names[number]].live]
    site = SiteView(
        spec=SiteSpec(
            id=SiteId("s-1"), version=Version(1, 1), name="a", domains=("a.example",), image="static@1", number=1
        ),
        state="serving",
        holders=tuple(holders),
        owner=holders[0] if owned and holders else None,
    )
    view = View(me=names[0], serial=1, zones=(), nodes=nodes, sites={site.spec.id: site})
    live = [name for name in dict.fromkeys([*holders, *names]) if nodes[name].live]
    rest = sorted(live[1:], key=lambda name: nodes[name].dc == nodes[live[0]].dc)
    expected = [nodes[name].address for name in [*live[:1], *rest][:MAX_ADDRESSES]]
    assert list(contents(view).hosts["a.example"].addresses) == expected


def test_name_servers_alternate_between_data_centres(make_view: MakeView) -> None:
    """The loss of one data centre leaves a name server; names stay with their node when another dies."""
    hosts = contents(make_view()).hosts
    assert [hosts[f"ns{i}.hybrid.test"].addresses for i in (1, 2, 3)] == [("10.0.0.1",), ("10.0.0.3",), ("10.0.0.2",)]
    dead = contents(make_view(dead=frozenset({"n1"})))
    assert dead.servers["hybrid.test"] == ("ns2.hybrid.test", "ns3.hybrid.test")
    assert dead.hosts["ns2.hybrid.test"].addresses == ("10.0.0.3",)


def test_a_tenant_cannot_take_names_of_the_cluster(make_view: MakeView) -> None:
    """A site that asks for `ns1.<zone>` or `n1.nodes.<zone>` does not get it."""
    stolen = ("ns1.hybrid.test", "n2.nodes.hybrid.test")
    hosts = contents(make_view(owner="n3", domains=stolen)).hosts
    assert hosts["ns1.hybrid.test"].addresses == ("10.0.0.1",)
    assert hosts["n2.nodes.hybrid.test"].addresses == ("10.0.0.2",)


@pytest.mark.parametrize("domain", ["com", "", "a..b", "x" * 64 + ".test", "UPPER.example", "."])
def test_a_domain_that_is_none_is_left_out(make_view: MakeView, domain: str) -> None:
    """A bad name in one site's spec disturbs neither its other names nor the other sites."""
    found = contents(make_view(domains=("blog.hybrid.test", domain)))
    assert found.origins == ("hybrid.test",)
    assert "blog.hybrid.test" in found.hosts
    Zones(found, 1)


def test_foreign_domains_become_zones_of_their_own(make_view: MakeView) -> None:
    """A customer's own domain can be delegated to the cluster; `www` below it belongs to the same zone."""
    found = contents(make_view(domains=("www.shop.example", "shop.example", "a.hybrid.test")))
    assert found.origins == ("hybrid.test", "shop.example")
    assert found.servers["shop.example"] == found.servers["hybrid.test"]


def test_equal_contents_for_views_that_differ_elsewhere(make_view: MakeView) -> None:
    """Load, lag and space of nodes change each second and must not renew any answer."""
    import msgspec

    view = make_view()
    loaded = {key: msgspec.structs.replace(node, load=3.0, free_bytes=1) for key, node in view.nodes.items()}
    assert contents(view) == contents(msgspec.structs.replace(view, serial=9, nodes=loaded))


def test_a_cluster_without_zones_still_serves_customers_domains(make_view: MakeView) -> None:
    """SOA and NS then live below the domain itself."""
    zones = Zones(contents(make_view(zones=(), domains=("shop.example",))), 7)
    name = dns.name.from_text("shop.example")
    match = zones.find(name)
    assert match is not None
    assert str(zones.soa(name)[0]).startswith("ns1.shop.example. hostmaster.shop.example. 7 ")
    servers = zones.rrset(name, match, RdataType.NS)
    assert servers is not None and len(zones.glue(servers)) == 3


def test_an_empty_view_publishes_nothing_and_raises_nothing(make_view: MakeView) -> None:
    """A node that knows no sites and no zones answers, with refusals."""
    view = make_view(zones=(), domains=())
    zones = Zones(contents(view), 1)
    assert zones.find(dns.name.from_text("blog.hybrid.test")) is None
