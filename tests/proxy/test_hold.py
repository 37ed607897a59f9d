"""A site changes its owner, and nobody who asks for it gets an error."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hybrid.model import NodeId
from hybrid_proxy.limits import Limits

if TYPE_CHECKING:
    from tests.proxy.conftest import Wire, World

OTHER, THIRD = NodeId("n-other"), NodeId("n-third")
GET = b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 2\r\n\r\nhi"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
NOT_OWNER = (
    b"HTTP/1.1 421 Misdirected Request\r\nX-Hybrid-Not-Owner: 2,n-third\r\nContent-Length: 0\r\n"
    b"Connection: close\r\n\r\n"
)


def asked(world: World, request: bytes = GET) -> Wire:
    """A client that sent `request`."""
    client = world.client()
    client.send(request)
    return client


def test_a_held_request_is_completed_by_the_new_owner(world: World) -> None:
    """While an owner comes up requests wait; then they are answered as if nothing had been."""
    world.follow(world.site("changing"))
    clients = [asked(world), asked(world, POST)]
    world.pass_time(12)
    assert world.calls == [] and all(client.taken() == b"" for client in clients)
    world.follow(world.site(epoch=2))
    for call in world.calls:
        call.accept().send(OK)
    assert all(client.taken().endswith(b"ok") for client in clients)


def test_nobody_waits_for_ever(world: World) -> None:
    """After twenty seconds there is a page that says when to come back, and the next request may wait again."""
    world.follow(world.site("changing"))
    client = asked(world)
    world.pass_time(21)
    answer = client.taken()
    assert answer.startswith(b"HTTP/1.1 503 ") and b"Retry-After: 5\r\n" in answer
    assert world.house.room.held == 0 and not client.closed


def test_a_client_that_stops_waiting_is_forgotten(world: World) -> None:
    """Its request is not sent when the owner is there."""
    world.follow(world.site("changing"))
    client = asked(world)
    client.hang_up()
    assert world.house.room.held == 0
    world.follow(world.site(epoch=2))
    assert world.calls == []


def test_a_long_upload_waits_unread(world: World) -> None:
    """While it waits, no more of a body is read than may be kept."""
    world.follow(world.site("changing"))
    client = asked(world, b"POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 300000\r\n\r\n")
    client.send(b"x" * 70_000)
    assert client.producerState == "paused"
    world.follow(world.site(epoch=2))
    site = world.call().accept()
    assert client.producerState == "producing"
    client.send(b"y" * 230_000)
    assert site.taken().endswith(b"x" * 70_000 + b"y" * 230_000)


def test_an_owner_that_does_not_answer_is_waited_for(world: World) -> None:
    """A request that meets a dead owner goes to the next one as soon as the view has it."""
    world.follow(world.site(owner=OTHER))
    client = asked(world)
    world.call().refuse()
    assert client.taken() == b"" and world.house.room.held == 1
    world.dies(OTHER)
    world.follow(world.site("changing", owner=None))
    world.follow(world.site(owner=THIRD, epoch=2))
    call = world.call()
    assert getattr(call.destination, "node", None) == THIRD
    call.accept().send(OK)
    assert client.taken().endswith(b"ok")


def test_a_dead_owner_is_probed_by_one_request_at_a_time(world: World) -> None:
    """A crowd that waits does not storm a node that does not answer; when it answers again, all go on."""
    world.follow(world.site(owner=OTHER))
    clients = [asked(world)]
    world.call().refuse()
    clients += [asked(world) for _ in range(20)]
    assert world.calls == [] and world.house.room.held == 21
    for _ in range(8):
        world.pass_time(0.5)
    tried = len(world.calls)
    assert 1 <= tried <= 9
    for call in world.calls[:-1]:
        call.refuse()
    scout = world.calls[-1].accept()
    world.calls.clear()
    assert world.house.room.held == 20, "a connection alone does not show that a node is well"
    scout.send(OK)
    assert world.house.room.held == 0
    scout.send(OK)  # the first of the others took the connection of the scout
    for call in world.calls:
        call.accept().send(OK)
    assert all(client.taken().endswith(b"ok") for client in clients)


def test_a_safe_request_is_sent_again_when_the_owner_dies_under_it(world: World) -> None:
    """GET without an answer yet: nobody notices. The owner's connections are cut as soon as it is known to be dead."""
    world.follow(world.site(owner=OTHER))
    client = asked(world)
    site = world.call().accept()
    world.dies(OTHER)
    world.follow(world.site("changing", owner=None))
    assert site.aborted and client.taken() == b""
    world.follow(world.site(epoch=2))
    world.call().accept().send(OK)
    assert client.taken().endswith(b"ok")


def test_a_request_that_may_have_had_effect_is_not_sent_twice(world: World) -> None:
    """POST that was sent: 502, because nobody knows what became of it."""
    world.follow(world.site(owner=OTHER))
    client = asked(world, POST)
    world.call().accept().hang_up()
    assert client.taken().startswith(b"HTTP/1.1 502 ")
    assert world.calls == []


def test_a_response_that_began_is_not_begun_again(world: World) -> None:
    """Half a download that breaks is seen by the client as broken."""
    client = asked(world)
    site = world.call().accept()
    site.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    site.hang_up()
    assert client.aborted


def test_an_idle_connection_the_site_closed_is_no_error(world: World) -> None:
    """A keep-alive race is invisible for GET; a POST does not take a connection that was idle for long."""
    client = asked(world)
    site = world.call().accept()
    site.send(OK)
    client.taken()
    client.send(GET)
    site.hang_up()
    world.call().accept().send(OK)
    assert client.taken().endswith(b"ok")
    world.pass_time(3)
    client.send(POST)
    world.call()


def test_a_site_that_starts_is_waited_for_a_little(world: World) -> None:
    """A container whose web server is not up yet gets some seconds, then it is a bad gateway."""
    client = asked(world)
    world.call().refuse()
    world.pass_time(0.25)
    world.call().accept().send(OK)
    assert client.taken().endswith(b"ok")
    client.send(b"GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n")
    other = asked(world)
    for _ in range(24):
        for call in world.calls:
            call.refuse()
        world.calls.clear()
        world.pass_time(0.25)
    assert other.taken().startswith(b"HTTP/1.1 502 ")


def test_an_owner_that_hangs_is_given_up_in_time(world: World) -> None:
    """A node that takes no connection, nor refuses it, does not hold a request longer than it waits for an owner."""
    world.follow(world.site(owner=OTHER))
    client = asked(world)
    world.pass_time(30)
    assert client.taken().startswith(b"HTTP/1.1 503 ")
    assert all(call.cancelled for call in world.calls)


def test_another_node_may_say_it_is_not_the_owner(world: World) -> None:
    """Then the request waits for a better view; even a POST, since that node did nothing with it."""
    world.follow(world.site(owner=OTHER))
    client = asked(world, POST)
    world.call().accept().send(NOT_OWNER)
    assert client.taken() == b""
    world.follow(world.site(owner=THIRD, epoch=2))
    site = world.call().accept()
    assert site.taken().endswith(b"\r\n\r\nhi")
    site.send(OK)
    assert client.taken().endswith(b"ok")


def test_a_site_cannot_say_it_is_elsewhere(world: World) -> None:
    """From a container of this node the same answer is just a response, without that field."""
    client = asked(world)
    world.call().accept().send(NOT_OWNER)
    answer = client.taken()
    assert answer.startswith(b"HTTP/1.1 421 ") and b"Hybrid" not in answer


def test_a_planned_move_lets_requests_under_way_end(world: World) -> None:
    """The old owner, alive, finishes what it began; new requests wait and go to the new one."""
    world.follow(world.site(owner=OTHER))
    old = asked(world)
    site = world.call().accept()
    world.follow(world.site("changing", owner=OTHER))
    new = asked(world)
    assert world.calls == []
    site.send(OK)
    assert old.taken().endswith(b"ok")
    world.follow(world.site(owner=THIRD, epoch=2))
    world.call().accept().send(OK)
    assert new.taken().endswith(b"ok")


class TestFull:
    """The waiting room has an end."""

    @pytest.fixture
    def limits(self) -> Limits:
        """Room for two."""
        return Limits(held_per_site=2)

    def test_a_full_room_says_so_at_once(self, world: World) -> None:
        """The third of two that may wait is told to come back."""
        world.follow(world.site("changing"))
        clients = [asked(world) for _ in range(3)]
        assert [client.taken()[9:12] for client in clients] == [b"", b"", b"503"]


@pytest.mark.parametrize("limits", [Limits(idle_upstreams_per_site=1)])
def test_a_wave_of_requests_leaves_its_connections_for_the_next_one(world: World) -> None:
    """They are kept for a second beyond the usual number, which stay longer; then only those are left."""
    clients = [asked(world) for _ in range(3)]
    sites = [call.accept() for call in world.calls]
    world.calls.clear()
    for site in sites:
        site.send(OK)
    clients += [asked(world, POST) for _ in range(3)]
    assert world.calls == [], "the second wave opens none"
    for site in sites:
        site.send(OK)
    assert all(client.taken().endswith(b"ok") for client in clients)
    world.pass_time(2)
    assert [site.closed for site in sites].count(False) == 1
    world.pass_time(8)
    assert all(site.closed for site in sites)
