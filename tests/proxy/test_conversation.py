"""The end of a WebSocket whose site goes away: said in its own words, where a frame may stand."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid.model import NodeId
from hybrid_proxy.conversation import RESTART, Frames

if TYPE_CHECKING:
    from tests.proxy.conftest import Wire, World

UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: shop.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + base64.b64encode(bytes(16)) + b"\r\n\r\n"
)
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"


def talk(world: World) -> tuple[Wire, Wire]:
    """A client and a site with a WebSocket between them."""
    client = world.client()
    client.send(UPGRADE)
    site = world.call().accept()
    site.send(SWITCHING)
    client.taken()
    return client, site


@pytest.mark.parametrize("clean", [True, False])
def test_a_site_that_goes_away_is_said_to_restart(world: World, clean: bool) -> None:
    """The client learns that it may come back at once, after all the site had said."""
    client, site = talk(world)
    site.send(b"\x81\x02hi")
    site.hang_up(clean=clean)
    assert client.taken() == b"\x81\x02hi" + RESTART and client.closed


def test_a_site_that_ends_its_side(world: World) -> None:
    """The same; what the client still says reaches it."""
    client, site = talk(world)
    site.taken()
    site._it.readConnectionLost()  # type: ignore[attr-defined]  # an upstream is half-closeable
    assert client.taken() == RESTART and client.half_closed
    client.send(b"\x88\x80abcd")
    assert site.taken() == b"\x88\x80abcd"


def test_an_owner_that_dies(world: World) -> None:
    """A WebSocket to a dead node ends so, too."""
    other = NodeId("n-other")
    world.follow(world.site(owner=other, epoch=2))
    client, _ = talk(world)
    world.dies(other)
    world.follow(world.site("changing", owner=other, epoch=2))
    assert client.taken() == RESTART and client.closed


@pytest.mark.parametrize("said", [b"\x88\x02\x03\xe8", b"\x81\x7e\x01\x00half", b"\x81"])
def test_nothing_is_said_twice_or_within_a_frame(world: World, said: bytes) -> None:
    """A site that said good-bye itself, or broke off in a frame."""
    client, site = talk(world)
    site.send(said)
    site.hang_up()
    assert client.taken() == said and client.closed


def test_a_client_that_leaves_is_told_nothing(world: World) -> None:
    """It is gone."""
    client, site = talk(world)
    client.hang_up()
    assert client.taken() == b"" and site.closed


@given(st.lists(st.tuples(st.integers(0, 255), st.sampled_from([0, 1, 125, 126, 300, 65535, 65536]), st.booleans())))
def test_frames_are_followed_however_they_are_cut(frames: list[tuple[int, int, bool]]) -> None:
    """Of any length, masked or not; between two of them, and only there, is a place for one more."""
    whole = Frames()
    for first, length, masked in frames:
        size = bytes((length,)) if length < 126 else b"\x7e" + length.to_bytes(2) if length < 65536 else b""
        size = size or b"\x7f" + length.to_bytes(8)
        size = bytes((size[0] | 0x80 * masked,)) + size[1:]
        data = bytes((first,)) + size + bytes(4 * masked) + bytes(length)
        for piece in (data[:1], data[1:3], data[3:-1], data[-1:] if len(data) > 3 else b""):
            whole.feed(piece)
        assert whole.between
    assert whole.closed == any(first & 0x0F == 8 for first, _, _ in frames)
