"""The ledger: registers reach all nodes in whatever order, and all end with the same."""

from __future__ import annotations

import random

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from hybrid.cluster.ledger import Ledger, Saved
from hybrid.cluster.news import CopyOf, Name, Self, Value, Word
from hybrid.cluster.parcels import parcel
from hybrid.model import NO_CLAIM, Claim, Copy, Guid, NodeId, NodeRegister, Shared, SiteId, SiteRegister, Version
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


def everything(ledger: Ledger) -> Gossip:
    """All of it, as one message."""
    saved = ledger.snapshot()
    pairs = [(who, site) for site, registers in saved.sites.items() for who in registers]
    names: list[Name] = [*(Self(who) for who in saved.nodes), *(Value(key) for key in saved.shared)]
    names += [kind(*pair) for kind in (Word, CopyOf) for pair in pairs]
    return parcel(ledger, names)[0]


def news(ledger: Ledger, *targets: NodeId) -> dict[NodeId, Gossip]:
    """What is told to whom."""
    return {peer: parcel(ledger, names)[0] for peer, names in ledger.news.round(targets).items()}


def trouble(text: str) -> SiteRegister:
    """A replica's word, distinguishable by its trouble."""
    return SiteRegister(role="replica", trouble=text)


def test_versions_grow() -> None:
    """Each publication outdoes the one before in the part that differs; saying the same again is no news."""
    ledger = Ledger(A, 3)
    first = ledger.publish(ONE, replica(1))
    second = ledger.publish(ONE, replica(2))
    third = ledger.publish(ONE, trouble("pool full").with_copy(replica(2).copy))
    assert (first.version, first.copy_version) == (Version(3, 1), Version(3, 2))
    assert (second.version, second.copy_version) == (Version(3, 1), Version(3, 3))
    assert (third.version, third.copy_version) == (Version(3, 4), Version(3, 3))
    assert ledger.publish(ONE, third) is third
    assert ledger.publish_node(node(A, 7)).version == Version(3, 5)
    assert ledger.publish_node(node(A, 7)).version == Version(3, 5)


def test_next_life_outdoes_the_last() -> None:
    """After a restart what a node says is later than what it said before."""
    before = Ledger(A, 3)
    before.publish(ONE, replica(1))
    after = Ledger(A, 4)
    after.restore(before.snapshot())
    assert after.registers(ONE)[A].head == 1
    assert after.publish(ONE, trouble("x")).version > before.registers(ONE)[A].version
    assert after.publish(ONE, replica(2)).copy_version > before.registers(ONE)[A].copy_version


def test_restore_survives_a_repeated_incarnation() -> None:
    """Even when the incarnation was not raised, no version is given twice."""
    before = Ledger(A, 3)
    before.publish(ONE, replica(1))
    after = Ledger(A, 3)
    after.restore(before.snapshot())
    assert after.publish(ONE, trouble("x")).version > before.registers(ONE)[A].version


def test_nobody_else_writes_mine() -> None:
    """What others remember of a node never changes what it says; but it says it again, louder."""
    old = Ledger(A, 9)
    old.publish(ONE, replica(7))
    old.publish_node(node(A, 7))
    ledger = Ledger(A, 3)
    ledger.publish(ONE, replica(1))
    ledger.publish_node(node(A, 1))
    merged = ledger.merge(everything(old))
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
    assert ledger.merge(everything(old)).disputed == {ONE}
    assert A not in ledger.registers(ONE)
    assert ledger.publish(ONE, replica(1)).version > old.registers(ONE)[A].version


def test_a_claim_of_an_earlier_life_is_not_forgotten_with_its_word() -> None:
    """A node that comes back with an empty disk outdoes what it said before, and still never uses a claim twice."""
    old = Ledger(A, 9)
    old.publish(ONE, SiteRegister(role="owner", claim=Claim(4, A)))
    ledger = Ledger(A, 10)
    other = Ledger(B, 1)
    other.merge(everything(old))
    ledger.merge(everything(other))
    said = ledger.publish(ONE, SiteRegister(role="none"))
    assert (said.seen, ledger.seen(ONE)) == (Claim(4, A), Claim(4, A))


def test_seen_is_the_largest_anywhere() -> None:
    """The largest claim is known even if only hearsay of it is left, and goes into what a node says."""
    ledger = Ledger(A, 1)
    assert ledger.seen(ONE) == NO_CLAIM
    other = Ledger(B, 1)
    other.publish(ONE, SiteRegister(role="replica", seen=Claim(7, C)))
    ledger.merge(everything(other))
    assert ledger.seen(ONE) == Claim(7, C)
    assert ledger.publish(ONE, replica()).seen == Claim(7, C)
    assert ledger.publish(TWO, SiteRegister(role="owner", claim=Claim(2, A))).seen == Claim(2, A)


def test_what_changed_is_told_once() -> None:
    """A register is told to everybody when it changed, and not again when it did not."""
    ledger = Ledger(A, 1)
    ledger.publish(ONE, replica())
    ledger.publish_node(node(A))
    ledger.share("key", "value", 1)
    said = news(ledger, B, C)
    assert said[B] == said[C] == msgspec.structs.replace(everything(ledger), copies={})
    ledger.publish(ONE, replica())
    assert news(ledger, B, C) == {}
    ledger.publish(TWO, replica())
    assert list(news(ledger, B)[B].sites[A]) == [TWO]


def test_no_echo() -> None:
    """What a peer said is not said back to it, but told on to others; what was found by comparing is not told on."""
    ledger, other = Ledger(A, 1), Ledger(B, 1)
    other.publish(ONE, replica())
    assert ledger.merge(everything(other), B).sites == {ONE}
    assert news(ledger, B, C) == {C: Gossip(sites={B: {ONE: other.registers(ONE)[B].word}})}
    other.publish(TWO, replica())
    assert ledger.merge(everything(other), B, spread=False).sites == {TWO}
    assert news(ledger, B, C) == {}


def meet(*ledgers: Ledger) -> None:
    """Everybody tells everybody, until nobody has news."""
    by_name = {ledger.me: ledger for ledger in ledgers}
    while any(ledger.news for ledger in ledgers):
        for speaker in ledgers:
            for listener, said in news(speaker, *(by_name.keys() - {speaker.me})).items():
                if listener in by_name:
                    by_name[listener].merge(said, speaker.me)


def test_snapshots_concern_only_those_who_hold_the_site() -> None:
    """A head goes to the nodes that hold the site, and no byte of it to others; what all must know goes to all."""
    owner, holder, other = Ledger(A, 1), Ledger(B, 1), Ledger(C, 1)
    owner.publish(ONE, SiteRegister(role="owner", claim=Claim(1, A), head=Guid(1)))
    holder.publish(ONE, replica(1))
    meet(owner, holder, other)
    assert other.registers(ONE)[A].word == owner.registers(ONE)[A].word
    assert other.registers(ONE)[A].head is None
    owner.publish(ONE, SiteRegister(role="owner", claim=Claim(1, A), head=Guid(2)))
    said = news(owner, B, C)
    assert said == {B: Gossip(copies={A: {ONE: owner.registers(ONE)[A].copy}})}
    holder.merge(said[B], A)
    assert news(holder, A, C) == {}
    assert holder.registers(ONE) == owner.registers(ONE)


def test_a_word_goes_at_once_to_those_who_hold_the_site() -> None:
    """However large the cluster: whoever may have to act on a claim does not wait for a rumour."""
    owner, holder = Ledger(A, 1), Ledger(B, 1)
    owner.publish(ONE, replica(1))
    holder.publish(ONE, replica(1))
    meet(owner, holder)
    owner.publish(ONE, SiteRegister(role="owner", claim=Claim(1, A), head=Guid(1)))
    said = news(owner, C)
    assert said[B].sites == said[C].sites == {A: {ONE: owner.registers(ONE)[A].word}}


def test_a_new_holder_is_told_all_copies() -> None:
    """A node that begins to hold a site hears of everybody's copy, of silent nodes' too, and tells of its own."""
    owner, holder, newcomer, gone = Ledger(A, 1), Ledger(B, 1), Ledger(C, 1), Ledger(NodeId("d"), 1)
    owner.publish(ONE, SiteRegister(role="owner", claim=Claim(1, A), head=Guid(1)))
    holder.publish(ONE, replica(1))
    gone.publish(ONE, replica(7))
    meet(owner, holder, newcomer, gone)
    newcomer.publish(ONE, replica(1))
    meet(owner, holder, newcomer)
    assert newcomer.registers(ONE) == owner.registers(ONE) == holder.registers(ONE)
    assert newcomer.registers(ONE)[gone.me].head == 7
    assert owner.registers(ONE)[C].head == 1


def test_a_copy_may_come_before_its_word() -> None:
    """Parts of a register arrive in any order: until the word is there its writer counts as holding nothing."""
    ledger = Ledger(A, 1)
    assert ledger.merge(Gossip(copies={B: {ONE: Copy(version=Version(1, 2), head=Guid(4))}})).sites
    assert ledger.registers(ONE)[B].role == "none"
    assert everything(ledger).sites == {}
    ledger.merge(Gossip(sites={B: {ONE: SiteRegister(role="replica", version=Version(1, 1))}}))
    assert (ledger.registers(ONE)[B].role, ledger.registers(ONE)[B].head) == ("replica", 4)


def test_followers_hear_of_every_change() -> None:
    """Whoever follows the ledger looks only at what changed: own words, others' words, and copies."""
    ledger, changed = Ledger(A, 1), list[SiteId]()
    ledger.follow(changed.append)
    ledger.publish(ONE, replica(1))
    ledger.publish(ONE, replica(1))
    ledger.merge(Gossip(sites={B: {TWO: SiteRegister(role="replica", version=Version(1, 1))}}))
    ledger.merge(Gossip(copies={B: {TWO: Copy(version=Version(1, 2), head=Guid(4))}}))
    assert changed == [ONE, TWO, TWO]
    assert list(ledger.sites_of(B)) == [TWO]


def test_shared_newest_wins() -> None:
    """A value without an owner is that of the last write, also where a wall clock stands still or goes back."""
    ledger = Ledger(A, 1)
    ledger.share("key", "one", 5000)
    ledger.share("key", "two", 5000)
    ledger.share("key", "three", 4000)
    assert ledger.shared() == {"key": "three"}
    other = Ledger(B, 1)
    other.merge(everything(ledger))
    other.share("key", None, 1000)
    assert other.shared() == {}
    ledger.merge(everything(other))
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
    assert decode(encode(everything(ledger))) == everything(ledger)


# ------------------------------------------------------------------------------------------------- hypothesis

names = st.sampled_from([A, B, C])
versions = st.builds(Version, st.integers(1, 3), st.integers(1, 3))


def content(version: Version) -> int:
    """One writer gives a version once: so the version determines the content."""
    return version.major * 10 + version.minor


words = st.builds(lambda v: SiteRegister(role="replica", version=v, trouble=str(content(v))), versions)
copies = st.builds(lambda v: Copy(version=v, head=Guid(content(v))), versions)
node_registers = st.builds(
    lambda n, v: NodeRegister(id=n, name=n, dc="", address="", version=v, free_bytes=content(v)), names, versions
)
stamps = st.tuples(st.integers(1, 3), st.integers(0, 2), names)
shared = stamps.map(lambda stamp: Shared(stamp=stamp, value=str(stamp)))

gossips = st.builds(
    Gossip,
    nodes=st.lists(node_registers).map(lambda registers: {register.id: register for register in registers}),
    sites=st.dictionaries(names, st.dictionaries(st.sampled_from([ONE, TWO]), words)),
    copies=st.dictionaries(names, st.dictionaries(st.sampled_from([ONE, TWO]), copies)),
    shared=st.dictionaries(st.sampled_from(["x", "y"]), shared),
)


def holder(name: str) -> Ledger:
    """A node that holds both sites, and so is told all."""
    ledger = Ledger(NodeId(name), 1)
    ledger.publish(ONE, replica())
    ledger.publish(TWO, replica())
    return ledger


def merged(parts: list[Gossip]) -> tuple[object, ...]:
    """What a holder of the sites knows after `parts`, of others than `y` and itself."""
    ledger = holder("z")
    for part in parts:
        ledger.merge(part)
    nodes, _, shared = told(ledger)
    others = {
        site: {who: ledger.registers(site)[who] for who in (A, B, C) if who in ledger.registers(site)}
        for site in (ONE, TWO)
    }
    return nodes, others, shared


@given(st.lists(gossips, max_size=5), st.randoms(use_true_random=False))
def test_order_and_repetition_do_not_matter(parts: list[Gossip], chance: random.Random) -> None:
    """Whatever order registers arrive in, and however often, all nodes end with the same (commutative, idempotent)."""
    again = parts + chance.sample(parts, len(parts) // 2)
    chance.shuffle(again)
    assert merged(parts) == merged(again)


@given(gossips, gossips, gossips)
def test_by_way_of_others_is_the_same(one: Gossip, two: Gossip, three: Gossip) -> None:
    """What comes through a third node has the same effect as directly (associative)."""
    relay = holder("y")
    for part in (two, three):
        relay.merge(part)
    assert merged([one, everything(relay)]) == merged([one, two, three])


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
