"""The ledger: registers reach all nodes in whatever order, and all end with the same."""

from __future__ import annotations

import random

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from hybrid.cluster import news
from hybrid.cluster.ledger import Ledger, Saved
from hybrid.model import NO_CLAIM, Claim, Guid, NodeId, NodeRegister, Shared, SiteId, SiteRegister, Version
from hybrid.wire import Gossip, decode, encode

A, B, C = (NodeId(name) for name in "abc")
ONE, TWO = SiteId("s-one"), SiteId("s-two")


def replica(head: int = 1) -> SiteRegister:
    """A replica's word, distinguishable by its head."""
    return SiteRegister(role="replica", head=Guid(head))


def node(name: NodeId, free_bytes: int = 0) -> NodeRegister:
    """A node's word about itself."""
    return NodeRegister(id=name, name=name, dc="", address="", free_bytes=free_bytes)


def told(ledger: Ledger) -> tuple[object, ...]:
    """All that a ledger holds, to compare."""
    saved = ledger.snapshot()
    return saved.nodes, saved.sites, saved.shared


def test_versions_grow() -> None:
    """Each publication outdoes the one before; saying the same again is no news."""
    ledger = Ledger(A, 3)
    first = ledger.publish(ONE, replica(1))
    second = ledger.publish(ONE, replica(2))
    assert first.version == Version(3, 1)
    assert second.version == Version(3, 2)
    assert ledger.publish(ONE, replica(2)) is second
    assert ledger.publish_node(node(A, 7)).version == Version(3, 3)
    assert ledger.publish_node(node(A, 7)).version == Version(3, 3)


def test_next_life_outdoes_the_last() -> None:
    """After a restart what a node says is later than what it said before."""
    before = Ledger(A, 3)
    before.publish(ONE, replica(1))
    after = Ledger(A, 4)
    after.restore(before.snapshot())
    assert after.registers(ONE)[A].head == 1
    assert after.publish(ONE, replica(2)).version > before.registers(ONE)[A].version


def test_restore_survives_a_repeated_incarnation() -> None:
    """Even when the incarnation was not raised, no version is given twice."""
    before = Ledger(A, 3)
    before.publish(ONE, replica(1))
    after = Ledger(A, 3)
    after.restore(before.snapshot())
    assert after.publish(ONE, replica(2)).version > before.registers(ONE)[A].version


def test_nobody_else_writes_mine() -> None:
    """What others remember of a node never changes what it says; but it says it again, louder."""
    old = Ledger(A, 9)
    old.publish(ONE, replica(7))
    old.publish_node(node(A, 7))
    ledger = Ledger(A, 3)
    ledger.publish(ONE, replica(1))
    ledger.publish_node(node(A, 1))
    merged = ledger.merge(old.news_for(B))
    assert merged.disputed == {ONE}
    assert not merged.sites and not merged.nodes
    assert ledger.registers(ONE)[A].head == 1
    assert ledger.registers(ONE)[A].version > old.registers(ONE)[A].version
    assert ledger.nodes()[A].free_bytes == 1
    assert ledger.nodes()[A].version > old.nodes()[A].version


def test_forgotten_site_is_disputed() -> None:
    """A node that lost its memory is told of which sites it has to speak again, and says nothing by itself."""
    old = Ledger(A, 9)
    old.publish(ONE, replica(7))
    ledger = Ledger(A, 3)
    assert ledger.merge(old.news_for(B)).disputed == {ONE}
    assert A not in ledger.registers(ONE)
    assert ledger.publish(ONE, replica(1)).version > old.registers(ONE)[A].version


def test_seen_is_the_largest_anywhere() -> None:
    """The largest claim is known even if only hearsay of it is left, and goes into what a node says."""
    ledger = Ledger(A, 1)
    assert ledger.seen(ONE) == NO_CLAIM
    other = Ledger(B, 1)
    other.publish(ONE, SiteRegister(role="replica", seen=Claim(7, C)))
    ledger.merge(other.news_for(A))
    assert ledger.seen(ONE) == Claim(7, C)
    assert ledger.publish(ONE, replica()).seen == Claim(7, C)
    assert ledger.publish(TWO, SiteRegister(role="owner", claim=Claim(2, A))).seen == Claim(2, A)


def test_news_once_per_link() -> None:
    """A register travels over a link once, and again after the link broke."""
    ledger = Ledger(A, 1)
    ledger.publish(ONE, replica())
    assert ONE in ledger.news_for(B, {A: (1, 1)}).sites[A]
    assert ledger.news_for(B, {A: (1, 2)}) == Gossip(heartbeats={A: (1, 2)})
    ledger.publish(TWO, replica())
    assert list(ledger.news_for(B).sites[A]) == [TWO]
    ledger.forget_peer(B)
    assert set(ledger.news_for(B).sites[A]) == {ONE, TWO}
    assert set(ledger.news_for(C).sites[A]) == {ONE, TWO}


def test_no_echo() -> None:
    """What a peer said is not said back to it, but passed on to others."""
    ledger, other = Ledger(A, 1), Ledger(B, 1)
    for peer in (B, C):
        ledger.news_for(peer)
    other.publish(ONE, replica())
    assert ledger.merge(other.news_for(A), B).sites == {ONE}
    assert ledger.news_for(B).sites == {}
    assert ledger.news_for(C).sites == {B: {ONE: other.registers(ONE)[B]}}


def test_large_news_in_parts() -> None:
    """A node with very many sites stays below the largest frame: the rest goes with the next heartbeats."""
    ledger, other = Ledger(A, 1), Ledger(B, 1)
    for number in range(news.AT_ONCE * 2 + 1):
        ledger.publish(SiteId(f"s-{number}"), replica())
    sizes = []
    while part := ledger.news_for(B).sites:
        sizes.append(len(part[A]))
        other.merge(Gossip(heartbeats={}, sites=part))
    assert sizes == [news.AT_ONCE, news.AT_ONCE, 1]
    assert told(ledger) == told(other)


def test_shared_newest_wins() -> None:
    """A value without an owner is that of the last write, also where a wall clock stands still or goes back."""
    ledger = Ledger(A, 1)
    ledger.share("key", "one", 5000)
    ledger.share("key", "two", 5000)
    ledger.share("key", "three", 4000)
    assert ledger.shared() == {"key": "three"}
    other = Ledger(B, 1)
    other.merge(ledger.news_for(B))
    other.share("key", None, 1000)
    assert other.shared() == {}
    ledger.merge(other.news_for(A))
    assert "key" not in ledger.shared()


def test_tombstones_are_pruned() -> None:
    """Removed values are remembered for a while, then dropped."""
    ledger = Ledger(A, 1)
    ledger.share("gone", None, 1000)
    ledger.share("kept", "value", 1000)
    ledger.share("young", None, 9000)
    assert ledger.prune(5000) == ["gone"]
    assert set(ledger.snapshot().shared) == {"kept", "young"}


def test_saved_crosses_a_disk() -> None:
    """What is kept over a restart can be written down and read."""
    ledger = Ledger(A, 1)
    ledger.publish(ONE, replica())
    ledger.publish_node(node(A))
    ledger.share("key", "value", 1)
    saved = ledger.snapshot()
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(saved), type=Saved) == saved
    gossip = ledger.news_for(B, {A: (1, 1)})
    assert decode(encode(gossip)) == gossip


# ------------------------------------------------------------------------------------------------- hypothesis

names = st.sampled_from([A, B, C])
versions = st.builds(Version, st.integers(1, 3), st.integers(1, 3))


def content(version: Version) -> int:
    """One writer gives a version once: so the version determines the content."""
    return version.major * 10 + version.minor


site_registers = st.builds(lambda v: SiteRegister(role="replica", version=v, head=Guid(content(v))), versions)
node_registers = st.builds(
    lambda n, v: NodeRegister(id=n, name=n, dc="", address="", version=v, free_bytes=content(v)), names, versions
)
stamps = st.tuples(st.integers(1, 3), st.integers(0, 2), names)
shared = stamps.map(lambda stamp: Shared(stamp=stamp, value=str(stamp)))

gossips = st.builds(
    Gossip,
    heartbeats=st.just({}),
    nodes=st.lists(node_registers).map(lambda registers: {register.id: register for register in registers}),
    sites=st.dictionaries(names, st.dictionaries(st.sampled_from([ONE, TWO]), site_registers)),
    shared=st.dictionaries(st.sampled_from(["x", "y"]), shared),
)


def merged(parts: list[Gossip]) -> tuple[object, ...]:
    """What a bystander holds after `parts`."""
    ledger = Ledger(NodeId("z"), 1)
    for part in parts:
        ledger.merge(part)
    return told(ledger)


@given(st.lists(gossips, max_size=5), st.randoms(use_true_random=False))
def test_order_and_repetition_do_not_matter(parts: list[Gossip], chance: random.Random) -> None:
    """Whatever order registers arrive in, and however often, all nodes end with the same (commutative, idempotent)."""
    again = parts + chance.sample(parts, len(parts) // 2)
    chance.shuffle(again)
    assert merged(parts) == merged(again)


@given(gossips, gossips, gossips)
def test_by_way_of_others_is_the_same(one: Gossip, two: Gossip, three: Gossip) -> None:
    """What comes through a third node has the same effect as directly (associative)."""
    relay = Ledger(NodeId("y"), 1)
    for part in (two, three):
        relay.merge(part)
    assert merged([one, relay.news_for(NodeId("z"))]) == merged([one, two, three])


@given(st.lists(gossips, max_size=5))
def test_changes_are_told(parts: list[Gossip]) -> None:
    """A merge names exactly what it changed."""
    ledger = Ledger(NodeId("z"), 1)
    for part in parts:
        before = ledger.snapshot()
        changed = ledger.merge(part)
        after = ledger.snapshot()
        assert changed.sites == {site for site in after.sites if after.sites[site] != before.sites.get(site)}
        assert changed.nodes == {name for name in after.nodes if after.nodes[name] != before.nodes.get(name)}
        assert changed.shared == {key for key in after.shared if after.shared[key] != before.shared.get(key)}
        assert bool(changed) == (told_of(before) != told_of(after))


def told_of(saved: Saved) -> tuple[object, ...]:
    """What a saved ledger holds."""
    return saved.nodes, saved.sites, saved.shared


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=40), st.randoms(use_true_random=False))
def test_everybody_hears_everything(steps: list[tuple[int, int]], chance: random.Random) -> None:
    """Three nodes that publish, talk, and lose links hold the same once all links have spoken again."""
    ledgers = [Ledger(name, 1) for name in (A, B, C)]
    for count, (one, other) in enumerate(steps):
        if one == other:
            ledgers[one].publish(chance.choice([ONE, TWO]), replica(count))
        elif chance.random() < 0.5:
            ledgers[one].news_for(ledgers[other].me)
            ledgers[one].forget_peer(ledgers[other].me)
        else:
            ledgers[other].merge(ledgers[one].news_for(ledgers[other].me), ledgers[one].me)
    for _ in range(2):
        for speaker in ledgers:
            for listener in ledgers:
                if speaker is not listener:
                    listener.merge(speaker.news_for(listener.me), speaker.me)
    assert told(ledgers[0]) == told(ledgers[1]) == told(ledgers[2])
