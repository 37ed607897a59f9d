"""Where a request goes, by the view alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hybrid.model import NO_CLAIM, Claim, NodeId, Port, SiteId
from hybrid_proxy.route import Here, NotOwner, Routes, Stopped, There, Unavailable, Unknown, Wait

if TYPE_CHECKING:
    from tests.proxy.conftest import World

ME, OTHER, SHOP = NodeId("n-me"), NodeId("n-other"), SiteId("s-shop")
MAIL = (Port("http", 80), Port("imap", 143, "tcp", 1143))


def routes(world: World) -> Routes:
    """Those of the world's front doors."""
    return world.house.routes


def test_a_request_goes_to_the_owner(world: World) -> None:
    """On this node to the container, else to the owner's interior port."""
    assert routes(world).route("shop.test") == Here("10.88.0.5", 80, SHOP, Claim(1, ME))
    world.follow(world.site(owner=OTHER))
    assert routes(world).route("shop.test") == There(OTHER, "192.0.2.7", 7947, SHOP, Claim(1, OTHER))


def test_a_request_waits_while_the_owner_changes(world: World) -> None:
    """Also when the owner of the view is dead, unknown, or its container has no address yet."""
    world.follow(world.site("changing"))
    assert routes(world).route("shop.test") == Wait(SHOP)
    world.follow(world.site(upstream=""))
    assert routes(world).route("shop.test") == Wait(SHOP)
    world.follow(world.site(owner=NodeId("n-stranger")))
    assert routes(world).route("shop.test") == Wait(SHOP)
    world.dies(OTHER)
    world.follow(world.site(owner=OTHER))
    assert routes(world).route("shop.test") == Wait(SHOP)


def test_a_site_that_is_off_says_so(world: World) -> None:
    """Stopped and unavailable are told apart."""
    world.follow(world.site("stopped"))
    assert routes(world).route("shop.test") == Stopped(SHOP)
    world.follow(world.site("unavailable", owner=None))
    assert isinstance(routes(world).route("shop.test"), Unavailable)
    assert isinstance(routes(world).route("nobody.test"), Unknown)


def test_of_two_sites_with_one_name_the_smaller_id_has_it(world: World) -> None:
    """On every node the same, whatever order the sites became known in."""
    world.follow(world.site(site=SiteId("s-zoo"), upstream="10.88.0.9"), world.site(site=SiteId("s-aaa")))
    found = routes(world).route("shop.test")
    assert isinstance(found, Here) and found.site == "s-aaa"


def test_an_unchanged_route_stays_the_same_object(world: World) -> None:
    """Connections to a site survive news about other sites."""
    before = routes(world).route("shop.test")
    world.follow(world.site(), world.site(site=SiteId("s-zoo"), domains=("zoo.test",)))
    assert routes(world).route("shop.test") is before


def test_public_ports_lead_to_sites(world: World) -> None:
    """A TCP port of a site's manifest is the site's on every node; a second site does not get it."""
    world.follow(world.site(ports=MAIL), world.site(site=SiteId("s-zoo"), domains=(), ports=MAIL))
    assert list(routes(world).public_ports()) == [1143]
    assert routes(world).route_port(1143) == Here("10.88.0.5", 143, SHOP, Claim(1, ME))
    assert routes(world).shadowed == ((1143, SiteId("s-zoo")),)
    world.follow(world.site(ports=MAIL, owner=OTHER))
    assert routes(world).route_port(1143) == There(OTHER, "192.0.2.7", 7947, SHOP, Claim(1, OTHER), 1143)
    assert isinstance(routes(world).route_site(SiteId("s-zoo"), 1143), Unknown)


def test_a_site_without_a_web_port_is_no_website(world: World) -> None:
    """Its name answers like an unknown one."""
    world.follow(world.site(ports=(Port("db", 3306, "tcp", 3306),)))
    assert isinstance(routes(world).route("shop.test"), Unknown)


def test_another_node_is_served_only_by_the_owner(world: World) -> None:
    """Who is not the owner, or knows a newer claim than the sender, says so."""
    doors = routes(world)
    world.follow(world.site(epoch=5))
    assert isinstance(doors.admit(SHOP, Claim(5, ME)), Here)
    assert doors.admit(SHOP, Claim(4, ME)) == NotOwner(SHOP, Claim(5, ME))
    assert doors.admit(SHOP, Claim(6, ME)) == Wait(SHOP), "the sender has newer news of our own claim: wait for it"
    assert doors.admit(SiteId("s-none"), Claim(1, ME)) == NotOwner(SiteId("s-none"), NO_CLAIM)
    world.follow(world.site(owner=OTHER, epoch=6))
    assert doors.admit(SHOP, Claim(5, ME)) == NotOwner(SHOP, Claim(6, OTHER))
    assert doors.admit(SHOP, Claim(6, OTHER)) == NotOwner(SHOP, Claim(6, OTHER))
    world.follow(world.site("changing", epoch=7))
    assert doors.admit(SHOP, Claim(7, ME)) == Wait(SHOP)
