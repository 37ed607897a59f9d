"""What one node passes on of another is taken only if that one signed it: by each kind of register, by each way."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from hybrid.cluster.ledger import Ledger
from hybrid.cluster.news import CopyOf, Self, Word
from hybrid.cluster.parcels import parcel
from hybrid.cluster.sealing import MemorySeals
from hybrid.model import Claim, Guid, NodeId, NodeRegister, SiteId, SiteRegister, Version
from hybrid.wire import Gossip

A, B, C = (NodeId(name) for name in "abc")
SITE, OTHER = SiteId("s-one"), SiteId("s-two")


def member(node: NodeId) -> Ledger:
    """A node that said who it is and what it holds."""
    ledger = Ledger(node, 1, MemorySeals(node))
    ledger.publish_node(NodeRegister(id=node, name=node, dc="", address="", key=MemorySeals(node).key))
    ledger.publish(SITE, SiteRegister(role="owner", claim=Claim(3, node), head=Guid(7)))
    return ledger


def all_of(ledger: Ledger, node: NodeId) -> Gossip:
    """What `ledger` tells of `node`."""
    return parcel(ledger, [Self(node), Word(node, SITE), CopyOf(node, SITE)])[0]


def test_relayed_registers_prove_themselves() -> None:
    """What A said is taken from B, and from B through C, as if A had said it; later words of its own too."""
    writer, relay, listener = member(A), member(B), member(C)
    relay.merge(all_of(writer, A), A)
    listener.merge(all_of(relay, A), B)
    assert listener.registers(SITE)[A] == writer.registers(SITE)[A]
    assert listener.nodes()[A] == writer.nodes()[A]
    writer.publish(SITE, SiteRegister(role="replica", head=Guid(8)))
    relay.merge(all_of(writer, A), A)
    listener.merge(all_of(relay, A), B)
    assert listener.registers(SITE)[A] == writer.registers(SITE)[A]
    assert not listener.vouching.ignored


Forgery = Callable[[Gossip], Gossip]


def changed(**fields: object) -> Forgery:
    """Fields of A's word replaced by a node that passes it on."""

    def forge(gossip: Gossip) -> Gossip:
        word = msgspec.structs.replace(gossip.sites[A][SITE], version=Version(9, 9), **fields)
        return msgspec.structs.replace(gossip, sites={A: {SITE: word}}, copies={})

    return forge


def other_site(gossip: Gossip) -> Gossip:
    """A's word about one site, passed on as one about another."""
    return msgspec.structs.replace(gossip, sites={A: {OTHER: gossip.sites[A][SITE]}}, copies={})


def other_writer(gossip: Gossip) -> Gossip:
    """A's word passed on as that of D, who has the same key in what is told of it."""
    node = msgspec.structs.replace(gossip.nodes[A], id=NodeId("d"))
    return Gossip(nodes={NodeId("d"): node}, sites={NodeId("d"): {SITE: gossip.sites[A][SITE]}})


def other_head(gossip: Gossip) -> Gossip:
    """A's copy with another head."""
    copy = msgspec.structs.replace(gossip.copies[A][SITE], version=Version(9, 9), head=Guid(666))
    return Gossip(nodes=gossip.nodes, copies={A: {SITE: copy}})


def other_key(gossip: Gossip) -> Gossip:
    """A's register of itself with the key of B, and A's word signed by that."""
    node = msgspec.structs.replace(gossip.nodes[A], version=Version(9, 9), key=MemorySeals(B).key)
    forger = Ledger(A, 9, MemorySeals(B))
    forger.publish(SITE, SiteRegister(role="none"))
    return Gossip(nodes={A: forger.publish_node(node)}, sites={A: {SITE: forger.registers(SITE)[A].word}})


def unknown_writer(gossip: Gossip) -> Gossip:
    """A's word without anything that tells A's key."""
    return msgspec.structs.replace(gossip, nodes={})


FORGERIES: list[Forgery] = [
    changed(role="none"),
    changed(claim=Claim(99, B)),
    changed(seal=b""),
    changed(seal=b"x" * 10_000),
    other_site,
    other_writer,
    other_head,
    other_key,
    unknown_writer,
]


@pytest.mark.parametrize("forge", FORGERIES)
def test_forged_registers_are_ignored_and_counted(forge: Forgery) -> None:
    """No node can put words into another's mouth: nothing of it is taken, nothing told on, and it shows."""
    listener = member(C)
    before = listener.snapshot()
    listener.news.round([B])
    honest = all_of(member(A), A)
    merged = listener.merge(forge(honest), B)
    assert not merged.sites and not merged.disputed
    assert listener.snapshot().sites == before.sites
    assert listener.vouching.ignored.total() >= 1
    listener.merge(honest, B)
    assert listener.registers(SITE)[A].claim == Claim(3, A)


def test_an_earlier_word_is_ignored_however_it_comes() -> None:
    """A replayed register, correctly signed, never replaces a later one."""
    writer, listener = member(A), member(C)
    old = all_of(writer, A)
    writer.publish(SITE, SiteRegister(role="replica", head=Guid(8)))
    listener.merge(all_of(writer, A), B)
    assert not listener.merge(old, B)
    assert listener.registers(SITE)[A].role == "replica"


def test_nobody_can_push_this_node_to_outdo_a_forgery() -> None:
    """A false word of this node itself does not raise its incarnation; a true one from an earlier life does."""
    ledger = member(A)
    forged = Ledger(A, 10**12, MemorySeals(B))
    forged.publish(SITE, SiteRegister(role="none"))
    assert not ledger.merge(all_of(forged, A), B)
    assert ledger.incarnation == 1
    earlier = Ledger(A, 7, MemorySeals(A))
    earlier.publish(SITE, SiteRegister(role="none"))
    assert ledger.merge(all_of(earlier, A), B).disputed == {SITE}
    assert ledger.incarnation == 8
    listener = member(C)
    listener.merge(all_of(ledger, A), B)
    assert listener.registers(SITE)[A].role == "owner"


def test_from_the_writer_itself_nothing_is_checked() -> None:
    """TLS proves who speaks: in a cluster in which everybody hears everybody no signature is ever looked at."""

    class Blind(MemorySeals):
        def valid(self, key_der: bytes, payload: bytes, signature: bytes) -> bool:
            raise AssertionError("checked")

    listener = Ledger(C, 1, Blind(C))
    writer = member(A)
    listener.merge(all_of(writer, A), A)
    assert listener.merge(all_of(writer, A), B).sites == set()
    assert listener.registers(SITE)[A] == writer.registers(SITE)[A]
