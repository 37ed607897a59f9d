"""The parts of the membership protocol alone: timers, order, rumours, health, packets."""

from __future__ import annotations

import random

import msgspec
import pytest

from hybrid.cluster.agenda import Agenda
from hybrid.cluster.awareness import WORST, Awareness
from hybrid.cluster.membership import Membership
from hybrid.cluster.packets import ACK, ALIVE, GOSSIP, PING, SUSPECT, Malformed, Packet, decode, encode
from hybrid.cluster.ring import Ring
from hybrid.cluster.rumours import Rumours
from hybrid.cluster.suspicion import LAN, WAN, profile, timeout_s
from hybrid.model import NodeId
from hybrid.settings import Timing

A, B, C, D = (NodeId(f"n-{letter}") for letter in "abcd")


def membership(*others: NodeId) -> Membership:
    """Of node a, begun at 0 with incarnation 3, knowing `others`."""
    known = Membership(A, 3, Timing(), 0.0, random.Random(1))
    for node in others:
        known.know(node, 0.0)
    known.start(0.0)
    return known


def meet(known: Membership, node: NodeId, now_s: float, incarnation: int = 1) -> None:
    """`node` answers what it is asked, once."""
    for to, packet in known.received(node, Packet(GOSSIP, 0, incarnation), now_s):
        if to == node and packet.kind == PING:
            known.received(node, Packet(ACK, packet.number, incarnation), now_s)


# ---------------------------------------------------------------------------------------------------- suspicion


@pytest.mark.parametrize(
    ("nodes", "confirmed", "possible", "seconds"),
    [
        (2, 0, 0, 4.0),
        (3, 0, 1, 24.0),
        (3, 1, 1, 4.0),
        (4, 0, 2, 24.0),
        (4, 1, 2, 11.381),
        (4, 2, 2, 4.0),
        (9, 2, 7, 4.0),
        (100, 2, 98, 8.0),
        (1000, 2, 998, 12.0),
    ],
)
def test_suspicion_shortens_with_accusers(nodes: int, confirmed: int, possible: int, seconds: float) -> None:
    """Lifeguard's formula: from six times the shortest down to it, as independent accusers come."""
    assert timeout_s(LAN, nodes, confirmed, possible) == pytest.approx(seconds, abs=0.001)


def test_profiles_by_pair() -> None:
    """Far is what the settings say is far, in both directions, never within a data centre."""
    far = [("paris", "tokyo"), ("moon", "*")]
    pairs = [("tokyo", "paris"), ("paris", "london"), ("london", "moon"), ("moon", "moon"), ("", "")]
    assert [profile(a, b, far) for a, b in pairs] == [WAN, LAN, WAN, LAN, LAN]


# ------------------------------------------------------------------------------------------------------- the rest


def test_agenda_keeps_order() -> None:
    """What is due comes in order of time, and what was asked for first comes first."""
    agenda, done = Agenda(), []
    for time_s, name in ((2.0, "late"), (1.0, "one"), (1.0, "two"), (3.0, "never")):
        agenda.at(time_s, lambda now_s, name: done.append((now_s, name)), name)
    agenda.run(2.0)
    assert done == [(2.0, "one"), (2.0, "two"), (2.0, "late")]
    assert agenda.due_s == 3.0


def test_ring_gives_each_once_a_round() -> None:
    """Every node is probed once before one is probed twice; newcomers take part at once, those gone do not."""
    ring = Ring(random.Random(3))
    for node in (A, B, C):
        ring.add(node)
    first = {ring.next(lambda node: True) for _ in range(3)}
    assert first == {A, B, C}
    ring.discard(B)
    ring.add(D)
    assert {ring.next(lambda node: True) for _ in range(4)} == {A, C, D}
    assert ring.next(lambda node: False) is None


def test_rumours_are_told_a_bounded_number_of_times() -> None:
    """A rumour is told four times in a small cluster and then no more; newer word of a node replaces the older."""
    rumours = Rumours()
    rumours.spread((B, SUSPECT, 1, "n-a"))
    rumours.spread((B, SUSPECT, 1, "n-c"))
    assert len(rumours.take(20, 3)) == 2
    rumours.spread((B, ALIVE, 2, ""))
    told = []
    while rumours:
        told.append(rumours.take(20, 3))
    assert told == [((B, ALIVE, 2, ""),)] * 4


def test_the_least_told_come_first() -> None:
    """Fresh news is not held up by old news where a packet has no room for all."""
    rumours = Rumours()
    for number in range(30):
        rumours.spread((NodeId(f"n-{number}"), ALIVE, 1, ""))
    first = rumours.take(20, 3)
    rumours.spread((A, ALIVE, 9, ""))
    second = rumours.take(20, 3)
    assert (len(first), len(second), (A, ALIVE, 9, "") in second) == (20, 20, True)
    assert len({*first, *second}) == 31


def test_health_is_bounded() -> None:
    """A node that misses everything waits eight times as long, not for ever; answers make it well again."""
    health = Awareness()
    health.worse(50)
    assert (health.score, health.scale(1.0)) == (WORST, 8.0)
    for _ in range(WORST + 2):
        health.better()
    assert health.scale(1.0) == 1.0


# ------------------------------------------------------------------------------------------------- a node's answers


def test_a_configured_node_is_not_alive_before_it_answers() -> None:
    """Static seeds are known from the start, and alive only after a round trip."""
    known = membership(B)
    assert known.live(0.0) == {A}
    assert known.known == {A, B}
    assert known.silent_s(B, 5.0) is None
    meet(known, B, 1.0)
    assert known.live(1.0) == {A, B}
    assert known.silent_s(B, 1.5) == pytest.approx(0.5, abs=0.3)


def test_it_answers_pings_meant_for_it() -> None:
    """A ping is answered with its number; one for another node (an address that was taken over) is not."""
    known = membership(B)
    kinds = [packet for node, packet in known.received(B, Packet(PING, 7, 1, A), 0.1) if packet.kind == ACK]
    assert [(packet.number, packet.incarnation) for packet in kinds] == [(7, 3)]
    assert not [packet for _, packet in known.received(B, Packet(PING, 8, 1, C), 0.2) if packet.kind == ACK]


def test_it_refutes_and_outdoes() -> None:
    """Accused, or told of a life it never had, a node raises its incarnation above that and says so at once."""
    known = membership(B)
    meet(known, B, 0.1)
    (answer,) = [
        packet
        for _, packet in known.received(B, Packet(PING, 9, 1, A, ((A, SUSPECT, 3, B),)), 0.2)
        if packet.kind == ACK
    ]
    assert known.incarnation == answer.incarnation == 4
    assert (A, ALIVE, 4, "") in answer.updates
    known.received(B, Packet(GOSSIP, 0, 1, "", ((A, ALIVE, 90, ""),)), 0.3)
    assert known.incarnation == 91
    known.received(B, Packet(GOSSIP, 0, 1, "", ((A, SUSPECT, 5, B),)), 0.4)
    assert known.incarnation == 91


def test_outdated_word_is_corrected() -> None:
    """Who tells of a life long past is told of the present one, in one packet."""
    known = membership(B, C)
    meet(known, B, 0.1)
    meet(known, C, 0.1, incarnation=5)
    answers = known.received(B, Packet(GOSSIP, 0, 1, "", ((C, SUSPECT, 4, D),)), 0.2)
    assert [(node, (C, ALIVE, 5, "") in packet.updates) for node, packet in answers] == [(B, True)]
    assert known.live(0.2) == {A, B, C}


def test_an_answer_counts_only_from_whom_was_asked() -> None:
    """A stray or forged answer, with a number that was never given or from a node never asked, revives nobody."""
    known = membership(B, C)
    (ping,) = [packet for node, packet in known.received(B, Packet(GOSSIP, 0, 1), 0.1) if packet.kind == PING]
    known.received(C, Packet(ACK, ping.number, 1), 0.15)
    known.received(B, Packet(ACK, ping.number + 1000, 1), 0.15)
    assert known.live(0.2) == {A}
    known.received(B, Packet(ACK, ping.number, 1), 0.2)
    assert known.live(0.2) == {A, B}


def test_its_own_packets_are_nothing() -> None:
    """A packet in this node's own name (a second node with its key) is not believed."""
    known = membership()
    assert known.received(A, Packet(GOSSIP, 0, 99), 0.1) == []
    assert known.incarnation == 3


@pytest.mark.parametrize(("lag_s", "unfit_s"), [(0.2, 0.0), (0.3, 2.3), (5.0, 7.0), (600.0, 10.0)])
def test_lag_makes_unfit(lag_s: float, unfit_s: float) -> None:
    """An event loop that was late keeps a node from standing, in measure."""
    known = Membership(A, 1, Timing(), 0.0, random.Random(1))
    known.lagged(lag_s, 100.0)
    assert known.fit(100.0 + unfit_s)
    if unfit_s:
        assert not known.fit(100.0 + unfit_s - 0.01)


def test_unfit_from_the_moment_it_is_late() -> None:
    """Asked right after it was stopped, before it did anything else, a node does not trust itself either."""
    known = membership(B)
    known.advance(known.due_s)
    assert known.fit(known.due_s)
    assert not known.fit(known.due_s + 5.0)


# --------------------------------------------------------------------------------------------------------- packets


def test_packets_survive_their_encoding() -> None:
    """What is sent is what arrives."""
    packet = Packet(PING, 2**40, 1_800_000_000, B, ((C, SUSPECT, 7, A), (D, ALIVE, 0, "")))
    assert decode(encode(packet)) == packet


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00" * 50,
        b"\x95\x01\x02\x03",
        encode(Packet(6, 1, 1)),
        encode(Packet(0, 1, 1)),
        encode(Packet(PING, 1, -1)),
        encode(Packet(PING, 1, 2**48)),
        encode(Packet(GOSSIP, 1, 1, "", ((B, ALIVE, 2**63, ""),))),
        encode(Packet(GOSSIP, 1, 1, "", ((B, 3, 1, ""),))),
        encode(Packet(GOSSIP, 1, 1, "", ((NodeId("n" * 25), ALIVE, 1, ""),))),
        encode(Packet(GOSSIP, 1, 1, "", ((B, ALIVE, 1, ""),) * 21)),
        encode(Packet(PING, 1, 1, "t" * 500)),
        msgspec.msgpack.encode([1, "2", 3]),
        msgspec.msgpack.encode({"kind": 1}),
    ],
)
def test_what_is_no_packet_is_refused(data: bytes) -> None:
    """Truncated, foreign and absurd ones: nothing of them is believed."""
    with pytest.raises(Malformed):
        decode(data)
