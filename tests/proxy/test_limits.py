"""Bounds per source, and what the room and the deadlines promise."""

from __future__ import annotations

from hybrid_proxy.limits import Limits, Sources, network_of


def test_one_address_gets_so_many_connections() -> None:
    """The next one is refused, until one of them closes."""
    sources = Sources(Limits(per_source=2))
    assert [sources.enter("192.0.2.1") for _ in range(3)] == [True, True, False]
    sources.leave("192.0.2.1")
    assert sources.enter("192.0.2.1")


def test_one_network_gets_so_many_connections() -> None:
    """A /24 (IPv4) or /56 (IPv6) is counted as one."""
    sources = Sources(Limits(per_network=2))
    assert [sources.enter(f"192.0.2.{number}") for number in range(3)] == [True, True, False]
    assert sources.enter("192.0.3.1")
    assert [sources.enter(f"2001:db8:0:{number}::1") for number in range(3)] == [True, True, False]


def test_neighbours_get_more() -> None:
    """A website may open many connections to its database through the front door; not without end."""
    sources = Sources(Limits(per_source=1, per_network=1, per_neighbour=3, neighbours=("10.88.0.0/16",)))
    assert [sources.enter("10.88.0.5") for _ in range(4)] == [True, True, True, False]
    assert sources.refused == 1


def test_networks() -> None:
    """What is no address is a network of its own."""
    assert network_of("192.0.2.77") == "192.0.2.0/24"
    assert network_of("2001:db8:1:2ff::1") == "2001:db8:1:200::/56"
    assert network_of("") == "/"
