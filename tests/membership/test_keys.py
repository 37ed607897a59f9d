"""The cluster's keys and what they seal: rotation without a gap, and nothing believed of who has no key."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid.cluster import keyring
from hybrid.cluster.envelope import MAX_DATAGRAM, Envelopes, Unreadable
from hybrid.cluster.keyring import DROP_MS, HURRIED_DROP_MS, HURRIED_SPREAD_MS, KEYRING, MAX_KEYS, SPREAD_MS, Keyring
from hybrid.cluster.replay import WINDOW, Window
from hybrid.cluster.rotation import Rotation
from hybrid.model import NodeId

A, B = NodeId("n-a"), NodeId("n-b")
DAY_MS = 86_400_000


def secret(number: int) -> bytes:
    """A secret that is none."""
    return bytes([number]) * keyring.SECRET_BYTES


def envelopes(node: NodeId, *rings: Keyring, incarnation: int = 1) -> Envelopes:
    """Of a node that holds the last of `rings`."""
    return Envelopes(node, incarnation, b"salt", lambda: rings[-1] if rings else None)


def refusal(receiver: Envelopes, datagram: bytes) -> str:
    """Why it is not taken."""
    with pytest.raises(Unreadable) as refused:
        receiver.open(datagram)
    return refused.value.what


# ------------------------------------------------------------------------------------------------------ envelopes


def test_sealed_and_opened() -> None:
    """What one node seals another opens, and knows who sent it."""
    ring = keyring.first(secret(1), 0)
    datagram = envelopes(A, ring).seal(b"hello")
    assert datagram is not None
    assert b"hello" not in datagram
    assert envelopes(B, ring).open(datagram) == (A, b"hello")


@given(st.integers(0, 70), st.integers(0, 7))
def test_any_flipped_bit_is_noticed(place: int, bit: int) -> None:
    """A datagram changed on the way, its header included, is dropped."""
    ring = keyring.first(secret(1), 0)
    datagram = bytearray(envelopes(A, ring).seal(b"x" * 60) or b"")
    datagram[place] ^= 1 << bit
    assert refusal(envelopes(B, ring), bytes(datagram)) in {
        "not authentic",
        "another version",
        "an unknown key",
        "not one of ours",
    }


@given(st.binary(max_size=MAX_DATAGRAM + 100))
def test_noise_is_dropped(noise: bytes) -> None:
    """Whatever else arrives at the port is refused, never an error of another kind."""
    refusal(envelopes(B, keyring.first(secret(1), 0)), noise)


def test_other_clusters_versions_and_own_name() -> None:
    """Each kind of foreign datagram has its reason, for the counters."""
    ring = keyring.first(secret(1), 0)
    datagram = envelopes(A, ring).seal(b"x") or b""
    receiver = envelopes(B, ring)
    assert refusal(envelopes(B, keyring.first(secret(2), 0)), datagram) == "an unknown key"
    assert refusal(receiver, b"\x02" + datagram[1:]) == "another version"
    assert refusal(receiver, envelopes(B, ring).seal(b"x") or b"") == "our own name"
    assert refusal(receiver, datagram[:20]) == "not one of ours"
    assert envelopes(A).seal(b"x") is None
    assert refusal(envelopes(B), datagram) == "an unknown key"


def test_a_replayed_datagram_is_dropped() -> None:
    """Recorded and sent again, once or a thousand times, in any order: each is taken once."""
    ring = keyring.first(secret(1), 0)
    sender, receiver = envelopes(A, ring), envelopes(B, ring)
    datagrams = [sender.seal(bytes([number])) or b"" for number in range(50)]
    random.Random(1).shuffle(datagrams)
    for datagram in datagrams:
        receiver.open(datagram)
    assert {refusal(receiver, datagram) for datagram in datagrams} == {"seen before"}


def test_a_restarted_sender_is_heard_its_earlier_life_is_not() -> None:
    """Counters go on with the incarnation: a new start is newer than everything sealed before it."""
    ring = keyring.first(secret(1), 0)
    before, receiver = envelopes(A, ring, incarnation=1_700_000_000), envelopes(B, ring)
    recorded = [before.seal(b"old") or b"" for _ in range(2 * WINDOW)]
    after = envelopes(A, ring, incarnation=1_700_000_001)
    assert receiver.open(after.seal(b"new") or b"") == (A, b"new")
    assert refusal(receiver, recorded[-1]) == "seen before"


def test_a_datagram_has_a_largest_size() -> None:
    """What would not fit is not sent: no fragments."""
    sender = envelopes(A, keyring.first(secret(1), 0))
    assert len(sender.seal(b"x" * 1350) or b"") <= MAX_DATAGRAM
    assert sender.seal(b"x" * 1400) is None


def test_a_packet_of_an_earlier_life_costs_nothing() -> None:
    """Counters of two starts are thousands of millions apart: an old packet is refused at once, not counted down to."""
    window = Window()
    assert window.fresh(2**63)
    for counter in (0, 5, 2**62, 2**63 - 2**40):
        assert not window.fresh(counter)


@given(st.lists(st.integers(0, 3 * WINDOW), max_size=200))
def test_window_takes_each_counter_once(counters: list[int]) -> None:
    """No counter is taken twice, and one ahead of all is always taken."""
    window, taken = Window(), set[int]()
    for counter in counters:
        if window.fresh(counter):
            assert counter not in taken
            taken.add(counter)
        else:
            assert counter in taken or counter <= max(taken) - WINDOW


# ------------------------------------------------------------------------------------------------------- rotation


def steps(ring: Keyring, from_ms: int, hurried: bool = False) -> Iterator[Keyring]:
    """The rings of a rotation, oldest first, looked at each second."""
    ring = keyring.begun(ring, secret(9), from_ms, hurried)
    yield ring
    since_ms = from_ms
    for now_ms in range(from_ms, from_ms + SPREAD_MS + DROP_MS + 10_000, 1000):
        stepped = keyring.stepped(ring, now_ms - since_ms, now_ms)
        if stepped is not ring:
            since_ms = now_ms
            yield stepped
        ring = stepped


@pytest.mark.parametrize("hurried", [False, True])
def test_neighbouring_steps_understand_each_other(hurried: bool) -> None:
    """While a key is replaced, nodes one step apart read each other in both directions: no gap."""
    rings = [keyring.first(secret(1), 0), *steps(keyring.first(secret(1), 0), DAY_MS, hurried)]
    assert [(len(ring.keys), ring.primary) for ring in rings] == [(1, 0), (2, 0), (2, 1), (1, 0)]
    for one, other in itertools.pairwise(rings):
        assert envelopes(B, other).open(envelopes(A, one).seal(b"x") or b"")
        assert envelopes(B, one).open(envelopes(A, other).seal(b"x") or b"")
    assert rings[-1].keys[0] == rings[1].keys[1]
    assert not rings[-1].hurried


def test_hurried_steps_take_seconds() -> None:
    """After a removal the old key is worth nothing within a minute."""
    ring = keyring.begun(keyring.first(secret(1), 0), secret(2), DAY_MS, hurried=True)
    ring = keyring.stepped(ring, HURRIED_SPREAD_MS, DAY_MS + HURRIED_SPREAD_MS)
    ring = keyring.stepped(ring, HURRIED_DROP_MS, DAY_MS + HURRIED_SPREAD_MS + HURRIED_DROP_MS)
    assert [key.raw for key in ring.keys] == [secret(2)]
    assert HURRIED_SPREAD_MS + HURRIED_DROP_MS <= 60_000


def test_many_rotations_at_once_keep_the_key_in_use() -> None:
    """Somebody who asks for a new key a hundred times neither fills memory nor silences the cluster."""
    ring = keyring.first(secret(1), 0)
    for number in range(2, 102):
        ring = keyring.begun(ring, secret(number), number)
    assert len(ring.keys) == MAX_KEYS
    assert ring.sealing.raw == secret(1)
    assert ring.keys[-1].raw == secret(101)


@pytest.mark.parametrize(
    "value", [None, "", "{}", '{"keys": []}', '{"keys": [{"secret": "AAAA", "made_ms": 1}]}', "[]"]
)
def test_what_is_no_ring_is_none(value: str | None) -> None:
    """A damaged value in the shared map is told from a ring."""
    assert keyring.loads(value) is None


class Values:
    """A shared map."""

    def __init__(self) -> None:
        self.values: dict[str, str | None] = {}

    def get(self, key: str) -> str | None:
        """The value."""
        return self.values.get(key)

    def put(self, key: str, value: str | None) -> None:
        """Write it."""
        self.values[key] = value


def test_a_life_of_keys() -> None:
    """The founder makes the first key; each month a new one follows by itself, made by one node alone."""
    values, now_s = Values(), [0.0]
    chance = random.Random(1)
    leader = Rotation(values, chance.randbytes, lambda: now_s[0], lambda: now_s[0], lambda: True)
    other = Rotation(values, chance.randbytes, lambda: now_s[0], lambda: now_s[0], lambda: False)
    assert leader.ring() is None
    leader.ensure()
    other.ensure()
    first = leader.ring()
    assert first is not None and other.ring() == first
    for day in range(1, 100):
        now_s[0] = day * 86_400.0
        other.look()
        leader.look()
    last = other.ring()
    assert last is not None and last.sealing not in first.keys
    assert 70 * DAY_MS < last.sealing.made_ms < 100 * DAY_MS


@pytest.mark.parametrize("wrong_s", [-365 * 86_400.0, 365 * 86_400.0])
def test_a_wrong_clock_delays_no_rotation(wrong_s: float) -> None:
    """A key made by a node whose clock is a year off is spread, used and replaced like any other."""
    values, now_s = Values(), [1e9]
    chance = random.Random(1)
    wrong = Rotation(values, chance.randbytes, lambda: now_s[0] + wrong_s, lambda: now_s[0], lambda: False)
    right = Rotation(values, chance.randbytes, lambda: now_s[0], lambda: now_s[0], lambda: True)
    wrong.ensure()
    wrong.rotate()
    made = wrong.ring()
    for _ in range(3):
        right.look()
        now_s[0] += DROP_MS / 1000
    used = right.ring()
    assert made is not None and used is not None
    assert used.keys == made.keys[1:]
    right.look()
    after = right.ring()
    assert after is not None and len(after.keys) == 2


def test_who_knows_others_waits_for_their_key() -> None:
    """A node of a cluster does not make a key of its own because it was told late; only if for a minute nobody did."""
    rotation = Rotation(Values(), random.Random(1).randbytes, lambda: 0.0, lambda: 0.0, lambda: True)
    rotation.ensure(founder=False)
    for _ in range(5):
        rotation.look()
        assert rotation.ring() is None
    rotation.look()
    assert rotation.ring() is not None


def test_a_damaged_ring_changes_nothing() -> None:
    """When the shared value cannot be read, the keys known before go on sealing."""
    values = Values()
    rotation = Rotation(values, random.Random(1).randbytes, lambda: 0.0, lambda: 0.0, lambda: True)
    rotation.ensure()
    before = rotation.ring()
    values.put(KEYRING, "garbage")
    rotation.refresh()
    assert rotation.ring() is before
