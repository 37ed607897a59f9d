"""Signatures of nodes, real and of simulations: both kinds obey all tests of this file."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from hybrid.cluster.certificates import new_key, node_id
from hybrid.cluster.sealing import MAX_KEY, KeySeals, MemorySeals, Seals
from hybrid.model import NodeId


@dataclass(frozen=True)
class Node:
    """A node that signs."""

    id: NodeId
    seals: Seals


def real() -> Node:
    """A node as it is in production."""
    key = new_key()
    return Node(node_id(key.public_key()), KeySeals(key))


def simulated(name: str) -> Node:
    """A node of a simulation."""
    return Node(NodeId(name), MemorySeals(NodeId(name)))


PAIRS = {"real": (real(), real()), "memory": (simulated("n-a"), simulated("n-b"))}


@pytest.fixture(params=PAIRS)
def pair(request: pytest.FixtureRequest) -> tuple[Node, Node]:
    """Two nodes of one kind."""
    return PAIRS[request.param]


def test_a_nodes_word_is_known_as_its_own(pair: tuple[Node, Node]) -> None:
    """What a node signed is taken as its word, whoever brings it."""
    ours, theirs = pair
    assert ours.seals.valid(theirs.seals.key, b"free: 7", theirs.seals.sign(b"free: 7"))


def test_nobody_speaks_for_another(pair: tuple[Node, Node]) -> None:
    """Another node's signature, or one of another text, is not taken."""
    ours, theirs = pair
    assert not ours.seals.valid(theirs.seals.key, b"free: 7", ours.seals.sign(b"free: 7"))
    assert not ours.seals.valid(theirs.seals.key, b"free: 8", theirs.seals.sign(b"free: 7"))


def test_a_key_proves_its_node(pair: tuple[Node, Node]) -> None:
    """A register that carries its writer's key needs no directory of keys."""
    ours, theirs = pair
    assert ours.seals.belongs(theirs.seals.key, theirs.id)
    assert not ours.seals.belongs(theirs.seals.key, ours.id)
    assert len(theirs.seals.key) <= MAX_KEY


@given(st.sampled_from(sorted(PAIRS)), st.binary(max_size=300), st.binary(max_size=40), st.binary(max_size=80))
def test_garbage_is_no_signature(kind: str, key: bytes, payload: bytes, signature: bytes) -> None:
    """Whatever arrives as a key or a signature, the answer is no, never an error."""
    ours, theirs = PAIRS[kind]
    assert not ours.seals.valid(key, payload, signature)
    assert not ours.seals.valid(theirs.seals.key, payload, signature)
    assert not ours.seals.belongs(key, theirs.id)


def test_keys_of_other_kinds_are_none_of_ours() -> None:
    """Keys are P-256: another curve or kind of key signs nothing here."""
    ours, _ = PAIRS["real"]
    other_curve = ec.generate_private_key(ec.SECP384R1()).public_key()
    other_kind = ed25519.Ed25519PrivateKey.generate().public_key()
    for key in (other_curve, other_kind):
        der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        assert not ours.seals.valid(der, b"", b"")
        assert not ours.seals.belongs(der, ours.id)
