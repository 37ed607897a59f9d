"""Two nodes find what they do not both know: whatever was lost on the way, in messages of bounded size."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import TypeVar

from hypothesis import given
from hypothesis import strategies as st

from hybrid.cluster import comparing, parcels
from hybrid.cluster.comparing import Topic, topics
from hybrid.cluster.ledger import SHARED, Ledger
from hybrid.cluster.news import Word
from hybrid.cluster.sums import Sums, checksum
from hybrid.model import Guid, NodeId, NodeRegister, SiteId, SiteRegister, SiteSpec, Version
from hybrid.wire import Compare, Compared, Gossip, Pull, Pulled, decode, encode

A, B, C = (NodeId(name) for name in "abc")
ONE, TWO = SiteId("s-one"), SiteId("s-two")


def replica(head: int) -> SiteRegister:
    """A replica's register, distinguishable by its head."""
    return SiteRegister(role="replica", head=Guid(head))


M = TypeVar("M", Compare, Compared, Pull, Pulled, Gossip)


def wired(message: M) -> M:
    """`message` as it arrives."""
    arrived = decode(encode(message))
    assert isinstance(arrived, type(message))
    return arrived


def ask(asker: Ledger, peer: Ledger) -> Compared:
    """Begin to compare."""
    return wired(comparing.compared(peer, asker.me, wired(comparing.question(asker, peer.me))))


def discuss(asker: Ledger, peer: Ledger, about: list[Topic]) -> int:
    """Go through some topics; how many messages that took."""
    messages = 0
    for topic in about:
        more = True
        while more:
            answer = wired(comparing.pulled(peer, wired(comparing.pull(asker, topic))))
            more = bool(asker.merge(answer.news, peer.me)) and answer.more
            messages += 1
            for lacked in comparing.lacked(asker, answer):
                peer.merge(wired(lacked), asker.me)
                messages += 1
    return messages


def sync(asker: Ledger, peer: Ledger) -> int:
    """All of a comparison, as `hybrid.cluster.syncing` does it; how many messages with registers it took."""
    messages = discuss(asker, peer, topics(writers=comparing.differing(asker, ask(asker, peer))))
    if not ask(asker, peer).same_copies:
        messages += discuss(asker, peer, topics(copies=comparing.held_by_both(asker, peer.me)))
    return messages


def words_of(registers: Mapping[NodeId, SiteRegister]) -> dict[NodeId, SiteRegister]:
    """What everybody must know of a site."""
    return {who: register.word for who, register in registers.items()}


def test_nothing_to_find() -> None:
    """Nodes that know the same say so in two numbers."""
    one, other = Ledger(A, 1), Ledger(B, 1)
    one.publish(ONE, replica(1))
    sync(one, other)
    assert ask(one, other) == Compared(sums=None, same_copies=True)
    assert len(encode(comparing.question(one, B))) < 50
    assert sync(one, other) == 0


def test_one_side_asking_is_enough() -> None:
    """After a comparison both know everything: words, copies, nodes, shared values; whoever began it."""
    for asker in (0, 1):
        one, other = ledgers = Ledger(A, 1), Ledger(B, 1)
        one.publish(ONE, replica(1))
        one.publish(TWO, SiteRegister(role="owner", trouble="pool full"))
        one.publish_node(NodeRegister(id=A, name="a", dc="", address=""))
        one.share("key", "one", 5)
        other.publish(ONE, replica(2))
        other.share("key", "two", 9)
        other.share("gone", None, 3)
        sync(ledgers[asker], ledgers[1 - asker])
        assert one.registers(ONE) == other.registers(ONE)
        assert one.registers(ONE)[B].head == 2
        assert words_of(one.registers(TWO)) == words_of(other.registers(TWO))
        assert one.nodes() == other.nodes()
        assert one.shared_entries() == other.shared_entries()
        assert one.shared() == {"key": "two"}


def test_only_what_differs_is_looked_into() -> None:
    """One lost rumour costs the versions of one node's registers and the one register, not those of all."""
    one, other = Ledger(A, 1), Ledger(B, 1)
    for number in range(100):
        site = SiteId(f"s-{number}")
        for who in (C, NodeId("d")):
            gossip = Gossip(sites={who: {site: SiteRegister(role="replica", version=Version(1, number + 1))}})
            one.merge(gossip)
            other.merge(gossip)
    other.merge(Gossip(sites={C: {SiteId("s-7"): SiteRegister(role="owner", version=Version(1, 999))}}))
    assert comparing.differing(one, ask(one, other)) == [C]
    answer = comparing.pulled(other, comparing.pull(one, Topic(writers=(C,))))
    assert list(answer.news.sites[C]) == ["s-7"]
    assert sync(one, other) == 1
    assert one.registers(SiteId("s-7"))[C].role == "owner"


def test_very_many_come_in_parts_and_are_not_told_on() -> None:
    """A node that has missed everything is told it in messages far below the limit, and floods nobody with it."""
    one, other = Ledger(A, 1), Ledger(B, 1)
    count = 3 * parcels.MAX_PARTS
    for number in range(count):
        site = SiteId(f"s-{number}")
        word = SiteRegister(role="replica", version=Version(1, number + 1))
        other.merge(Gossip(sites={C: {site: word}}), spread=False)
    first = comparing.pulled(other, comparing.pull(one, Topic(writers=(C,))))
    assert first.more and first.news.quiet
    assert len(first.news.sites[C]) == parcels.MAX_PARTS
    assert sync(one, other) == 3
    assert len(list(one.sites())) == count
    assert sync(Ledger(NodeId("e"), 1), one) == 3


def test_large_registers_fill_a_message_sooner() -> None:
    """The limit is one of bytes too: a few very large specs do not make a frame that ends the link."""
    one, other = Ledger(A, 1), Ledger(B, 1)
    for number in range(30):
        site = SiteId(f"s-{number}")
        environment = {"TEXT": "x" * 100_000}
        spec = SiteSpec(
            id=site, version=Version(1, 1), name="n", domains=(), image="i@1", number=1, environment=environment
        )
        other.publish(site, SiteRegister(role="replica", spec=spec))
    names = [Word(B, site) for site in other.sites()]
    message, left = parcels.parcel(other, names)
    assert len(encode(message)) < parcels.MAX_BYTES + 200_000
    assert len(left) == 30 - len(message.sites[B])
    assert sync(one, other) >= 3
    assert len(list(one.sites())) == 30


def test_urgent_sites_come_first() -> None:
    """A node that starts asks about its own sites first, and is told what everybody says of these, and nothing else."""
    one, other = Ledger(A, 1), Ledger(B, 1)
    for who in (B, C):
        for site in (ONE, TWO):
            word = SiteRegister(role="replica", version=Version(1, 1 + (site == TWO)))
            other.publish(site, word) if who == B else other.merge(Gossip(sites={who: {site: word}}))
    discuss(one, other, topics(sites=[ONE]))
    assert set(one.registers(ONE)) == {B, C}
    assert list(one.sites()) == [ONE]


def test_what_is_not_believed_does_not_go_round_for_ever() -> None:
    """A peer that goes on telling what nobody takes is not asked again and again."""
    one, other = Ledger(A, 1), Ledger(B, 1)
    for number in range(parcels.MAX_PARTS + 1):
        other.merge(Gossip(sites={C: {SiteId(f"s-{number}"): SiteRegister(role="none", version=Version(1, 1))}}))
    answer = comparing.pulled(other, comparing.pull(one, Topic(writers=(C,))))
    assert answer.more
    again = comparing.pulled(other, comparing.pull(one, Topic(writers=(C,))))
    assert again == answer


def test_writers_without_owner_are_asked_for_together() -> None:
    """Shared values that differ are found, and nothing else is asked."""
    one, other = Ledger(A, 1), Ledger(B, 1)
    one.share("x", "1", 1)
    assert comparing.differing(one, ask(one, other)) == [SHARED]
    assert comparing.pull(one, Topic(writers=(SHARED,))) == Pull(shared={"x": (1, 0, A)})


parts = st.tuples(st.sampled_from(["s-1", "s-2", ""]), st.builds(Version, st.integers(1, 3), st.integers(0, 3)))


@given(st.lists(parts, unique_by=lambda part: part[0]), st.lists(parts), st.randoms(use_true_random=False))
def test_sums_do_not_depend_on_how_they_came_about(
    end: list[tuple[str, Version]], before: list[tuple[str, Version]], chance: random.Random
) -> None:
    """Equal knowledge has equal sums, whatever was known in between and in whatever order it came."""
    sums, known = Sums(), dict[str, Version]()
    final = dict(end)
    for about, version in [*before, *chance.sample(end, len(end))]:
        sums.replace("w", about, known.get(about), version)
        known[about] = version
    for about in known.keys() - final.keys():
        sums.replace("w", about, known[about], None)
    assert sums.each().get("w", 0) == checksum(final.items())


steps = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=40)


@given(steps, st.randoms(use_true_random=False))
def test_everybody_ends_with_the_same(moves: list[tuple[int, int]], chance: random.Random) -> None:
    """Three nodes publish, and half of what they tell is lost: when each has compared with a next, all know all."""
    ledgers = [Ledger(name, 1) for name in (A, B, C)]
    by_name = {ledger.me: ledger for ledger in ledgers}
    for count, (one, other) in enumerate(moves, 1):
        if one == other:
            register = SiteRegister(role="replica" if chance.random() < 0.5 else "none", head=Guid(count))
            ledgers[one].publish(chance.choice([ONE, TWO]), register)
            ledgers[one].share("key", str(count), chance.randint(0, 5))
        else:
            for peer, names in ledgers[one].news.round([ledgers[other].me]).items():
                if chance.random() < 0.5:
                    by_name[peer].merge(parcels.parcel(ledgers[one], names)[0], ledgers[one].me)
    for _ in range(2):
        for speaker, listener in ((0, 1), (1, 2), (2, 0)):
            sync(ledgers[speaker], ledgers[listener])
    for site in (ONE, TWO):
        said = [ledger.registers(site) for ledger in ledgers]
        assert words_of(said[0]) == words_of(said[1]) == words_of(said[2])
        informed = [of for ledger, of in zip(ledgers, said, strict=True) if role_in(of, ledger.me) == "replica"]
        assert all(of == informed[0] for of in informed)
    assert ledgers[0].shared_entries() == ledgers[1].shared_entries() == ledgers[2].shared_entries()
    assert len({ledger.sums.total() for ledger in ledgers}) == 1


def role_in(registers: Mapping[NodeId, SiteRegister], who: NodeId) -> str:
    """What `who` says to be."""
    return registers[who].role if who in registers else "none"
