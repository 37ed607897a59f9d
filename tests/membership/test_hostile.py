"""What a member with a bug, or a bad one, can say: nothing of it breaks another node or fills its memory."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from hybrid.cluster.beliefs import MAX_LEARNT
from hybrid.cluster.membership import Membership
from hybrid.cluster.packets import (
    ACK,
    ALIVE,
    CALL,
    GOSSIP,
    MAX_INCARNATION,
    MAX_UPDATES,
    NACK,
    PING,
    PING_REQ,
    SUSPECT,
    Packet,
    Update,
    decode,
    encode,
)
from hybrid.model import NodeId
from hybrid.settings import Timing

NAMES = [NodeId(f"n-{letter}") for letter in "abcdef"]
ME = NAMES[0]

names = st.sampled_from(NAMES)
incarnations = st.one_of(st.integers(0, 3), st.sampled_from([MAX_INCARNATION - 2, MAX_INCARNATION - 1]))
updates: st.SearchStrategy[Update] = st.tuples(names, st.sampled_from([ALIVE, SUSPECT]), incarnations, names)
packets = st.builds(
    Packet,
    st.sampled_from([PING, PING_REQ, ACK, NACK, GOSSIP]),
    st.integers(0, 2**40),
    incarnations,
    names,
    st.lists(updates, max_size=5).map(tuple),
)
steps = st.lists(st.tuples(names, packets, st.floats(0.0, 3.0)), max_size=60)


@given(steps, st.integers(0, 10))
def test_no_packet_breaks_a_node(said: list[tuple[NodeId, Packet, float]], seed: int) -> None:
    """Whatever members say, in any order: no error, only packets that others can read, and nobody alive unasked."""
    known = Membership(ME, 1, Timing(), 0.0, random.Random(seed))
    known.know(NAMES[1], 0.0)
    known.start(0.0)
    now_s, asked = 0.0, {ME}
    for sender, packet, wait_s in said:
        now_s += wait_s
        deeds = known.received(sender, packet, now_s)
        while known.due_s <= now_s:
            deeds += known.advance(now_s)
        for node, answer in deeds:
            asked |= {node} if answer.kind in (PING, CALL) else {NodeId(answer.target)}
            assert answer.kind == CALL or decode(encode(answer)) == answer
            assert len(answer.updates) <= MAX_UPDATES
        assert known.live(now_s) <= asked
        assert ME in known.live(now_s)


def test_invented_names_do_not_fill_memory() -> None:
    """A member that tells of ever new nodes is believed up to a bound."""
    known = Membership(ME, 1, Timing(), 0.0, random.Random(1))
    known.start(0.0)
    for number in range(0, 2 * MAX_LEARNT, MAX_UPDATES):
        told = tuple((NodeId(f"n-{number + more}"), ALIVE, 1, "") for more in range(MAX_UPDATES))
        known.received(NAMES[1], Packet(GOSSIP, 0, 1, "", told), 0.0)
    known.received(NodeId("n-late"), Packet(GOSSIP, 0, 1), 0.0)
    assert len(known.known) <= MAX_LEARNT + 1
    known.know(NodeId("n-configured"), 0.0)
    assert "n-configured" in known.known


def test_nobody_burns_the_incarnations_of_another() -> None:
    """Accused with the largest incarnation there is, a node stays understandable; a round trip shows that it lives."""
    known = Membership(ME, 1, Timing(), 0.0, random.Random(1))
    known.start(0.0)
    known.received(NAMES[1], Packet(GOSSIP, 0, 1, "", ((ME, SUSPECT, MAX_INCARNATION - 1, NAMES[1]),)), 0.0)
    assert known.incarnation < MAX_INCARNATION
    known.received(NAMES[1], Packet(GOSSIP, 0, 1, "", ((ME, SUSPECT, MAX_INCARNATION - 2, NAMES[1]),)), 0.0)
    assert known.incarnation < MAX_INCARNATION
