"""Floating addresses: who has which, what neighbours are told, and what happens when the machine refuses."""

from __future__ import annotations

import ipaddress

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from hybrid.hosting.carrying import TELLINGS, Carrying
from hybrid.hosting.floating import held
from hybrid.hosting.interfaces import advertisement, arp_frames
from hybrid.model import NodeId
from hybrid.settings import Floating, troubles
from hybrid.view import NodeView, View

MAC = bytes.fromhex("020000000001")
FIRST = Floating(address="192.0.2.10/24", interface="e0", nodes=("n1", "n2"))
SECOND = Floating(address="2001:db8::10/64", interface="e0", nodes=("n2", "n1", "n9"))


def view_of(me: str, *live: str) -> View:
    """n1 to n3, some of them live."""
    nodes = {
        NodeId(f"n-{name}"): NodeView(
            id=NodeId(f"n-{name}"),
            name=name,
            dc="a",
            address="",
            cluster_port=1,
            interior_port=2,
            api_port=3,
            live=name in live,
        )
        for name in ("n1", "n2", "n3")
    }
    return View(me=NodeId(f"n-{me}"), serial=1, zones=(), nodes=nodes, sites={})


class Machine:
    """`Interfaces` that remember."""

    def __init__(self) -> None:
        self.has: set[str] = set()
        self.told: list[str] = []
        self.refuses = ""

    async def add(self, one: Floating) -> None:
        """See `Interfaces`."""
        self._check(one)
        self.has.add(one.address)

    async def remove(self, one: Floating) -> None:
        """See `Interfaces`."""
        self._check(one)
        self.has.discard(one.address)

    async def announce(self, one: Floating) -> None:
        """See `Interfaces`."""
        self._check(one)
        assert one.address in self.has
        self.told.append(one.address)

    def _check(self, one: Floating) -> None:
        if one.address == self.refuses:
            raise OSError("no such device")


class Node:
    """One of the nodes."""

    def __init__(self, me: str) -> None:
        self.me, self.clock, self.machine = me, Clock(), Machine()
        self.view = view_of(me, me)
        self.carrying = Carrying(self.clock, (FIRST, SECOND), lambda: self.view, self.machine, 10.0)

    def look(self, *live: str, times: int = 1) -> set[str]:
        """See so many live nodes; what it has then."""
        self.view = view_of(self.me, *live)
        for _ in range(times):
            done = Deferred.fromCoroutine(self.carrying.look())
            assert done.called
            done.addErrback(lambda failure: failure.raiseException())
        return self.machine.has


@pytest.mark.parametrize(
    ("live", "owners"),
    [
        (("n1", "n2", "n3"), ("n1", "n2")),
        (("n2", "n3"), ("n2", "n2")),
        (("n1",), ("n1", "n1")),
        (("n3",), ("", "")),
    ],
)
def test_the_first_live_node_has_it(live: tuple[str, ...], owners: tuple[str, str]) -> None:
    """Just one of those that may, as all of them see it; nobody else."""
    for name in live:
        ours = {one.address for one in held((FIRST, SECOND), view_of(name, *live))}
        expected = {one.address for one, owner in zip((FIRST, SECOND), owners, strict=True) if owner == name}
        assert ours == expected


def test_a_node_that_just_started_waits() -> None:
    """Before it knows who lives it takes nothing, and leaves what it finds."""
    node = Node("n2")
    node.machine.has = {FIRST.address}
    assert node.look("n2") == {FIRST.address} and node.machine.told == []
    node.clock.advance(10)
    assert node.look("n1", "n2") == {SECOND.address}


def test_neighbours_are_told_some_times_and_again_after_a_change() -> None:
    """A node that came back may have told them otherwise."""
    node = Node("n1")
    node.clock.advance(10)
    assert node.look("n1", "n2", times=10) == {FIRST.address}
    assert node.machine.told == [FIRST.address] * TELLINGS
    assert node.look("n1", times=10) == {FIRST.address, SECOND.address}
    assert node.machine.told.count(FIRST.address) == 2 * TELLINGS and SECOND.address in node.machine.told
    assert node.look("n1", "n2", times=10) == {FIRST.address}
    assert node.machine.told.count(FIRST.address) == 3 * TELLINGS


def test_one_that_cannot_be_had_does_not_hold_up_others() -> None:
    """It is tried again each time, and taken as soon as that works."""
    node = Node("n1")
    node.clock.advance(10)
    node.machine.refuses = FIRST.address
    assert node.look("n1", times=3) == {SECOND.address}
    node.machine.refuses = ""
    assert node.look("n1") == {FIRST.address, SECOND.address}


def test_a_node_that_stops_leaves_them() -> None:
    """So that another can have them without two at once."""
    node = Node("n1")
    node.clock.advance(10)
    node.look("n1")
    assert Deferred.fromCoroutine(node.carrying.leave()).called and node.machine.has == set()


def test_what_neighbours_are_told_is_well_formed() -> None:
    """RFC 5227: sender and target are the address; RFC 4861: the override flag, the target, our MAC."""
    for frame, kind in zip(arp_frames(MAC, ipaddress.IPv4Address("192.0.2.10")), (1, 2), strict=True):
        assert frame[:14] == b"\xff" * 6 + MAC + b"\x08\x06" and len(frame) == 42
        assert frame[14:22] == bytes([0, 1, 8, 0, 6, 4, 0, kind])
        assert frame[22:28] == MAC and frame[28:32] == frame[38:42] == bytes([192, 0, 2, 10])
    told = advertisement(MAC, ipaddress.IPv6Address("2001:db8::10"))
    assert (told[0], told[4], len(told)) == (136, 0x20, 32)
    assert told[8:24] == ipaddress.IPv6Address("2001:db8::10").packed and told[24:] == b"\2\1" + MAC


@pytest.mark.parametrize(
    "wrong",
    [
        {"address": "nonsense", "interface": "e0", "nodes": ["n1"]},
        {"address": "192.0.2.1/24", "interface": "e0", "nodes": []},
        {"address": "192.0.2.1/24", "interface": "no/such", "nodes": ["n1"]},
    ],
)
def test_settings_that_cannot_be_are_refused(wrong: dict[str, object]) -> None:
    """With the key that is wrong."""
    (trouble,) = troubles({"name": "n1", "address": "192.0.2.1", "floating": [wrong]})
    assert "floating" in str(trouble)
