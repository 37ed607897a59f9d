"""Finished replies: the same bytes as by the long way, and never those of another state of the zones."""

from __future__ import annotations

import random

import dns.flags
import dns.message
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_dns.answer import Answers
from hybrid_dns.lookup import Zones, changed_names
from hybrid_dns.records import RecordSet
from hybrid_dns.zone import Contents, Hosts

NAMES = ["t", "a.t", "b.a.t", "ns1.t", "x.ns1.t", "hostmaster.t", "o.example", "www.o.example", "sub.t", "a.sub.t"]
addresses = st.lists(
    st.sampled_from(["10.0.0.1", "10.0.0.2", "2001:db8::1", "nonsense", *(f"10.1.0.{n}" for n in range(30))]),
    max_size=32,
    unique=True,
).map(tuple)
hosts = st.dictionaries(st.sampled_from(NAMES), st.builds(Hosts, st.integers(0, 90000), addresses))
records = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(["TXT", "NS", "MX"]))
states = st.tuples(hosts, records, st.booleans(), st.integers(0, 2**32 - 1))
queries = st.tuples(
    st.sampled_from([*NAMES, "no.t", "A.T", "elsewhere.org", ".", "a.b.c.d.t"]),
    st.sampled_from(["A", "AAAA", "TXT", "MX", "NS", "SOA", "HTTPS", "ANY", "CNAME"]),
    st.sampled_from([-1, 0, 1]),
    st.booleans(),
    st.booleans(),
    st.integers(0, 255),
)

OPTIONS = [
    b"\0\3\0\0",
    b"\0\x0a\0\x08client!!",
    b"\0\x0a\0\x10client!!server!!\0\3\0\1x",
    b"\0\x0a\0\1x",
    b"\0\x0a\0\x08cut",
    b"\0\x0c\0\4\0\0\0\0",
]
"""A wish for our name, cookies, one too short, one that is cut, padding."""


def contents_of(found: dict[str, Hosts], kept: dict[str, str], has_server: bool) -> Contents:
    """Two zones; a delegation stands at no top."""
    data = {"TXT": '"x"', "NS": "ns.elsewhere.org.", "MX": "10 mail.elsewhere.org."}
    sets = {
        name: {kind: RecordSet(zone="t", name=name, type=kind, records=(data[kind],))}
        for name, kind in kept.items()
        if not (kind == "NS" and name in ("t", "o.example", *found))
    }
    all_hosts = {"ns1.t": Hosts(300, ("10.0.0.9",)), **found} if has_server else found
    return Contents(("t", "o.example"), {"t": ("ns1.t",), "o.example": ("ns1.t",)}, all_hosts, sets)


def wire_of(name: str, kind: str, edns: int, do: bool, rd: bool, id_: int) -> bytes:
    """A query."""
    query = dns.message.make_query(name, kind, use_edns=edns if not do else max(edns, 0), want_dnssec=do, id=id_)
    query.flags = dns.flags.Flag(dns.flags.RD if rd else 0)
    return query.to_wire()


@given(st.lists(states, min_size=1, max_size=3), st.lists(queries, min_size=1, max_size=12))
def test_both_ways_give_the_same_bytes(
    changes: list[tuple[dict[str, Hosts], dict[str, str], bool, int]],
    asked: list[tuple[str, str, int, bool, bool, int]],
) -> None:
    """For any contents and any plain query, also when the table is carried over from other contents."""
    answers = Answers(None)
    before: Zones | None = None
    for found, kept, has_server, serial in changes:
        zones = Zones(contents_of(found, kept, has_server), serial, before)
        answers, before = Answers(zones, answers, changed_names(before, zones)), zones
        for question in asked:
            query = wire_of(*question)
            slow = Answers(zones)._slow(query, False)
            assert answers.answer(query) == slow
            assert answers.answer(query) == slow
            assert answers.quick(query) in (None, slow)
            if question[2] == 0:
                for options in OPTIONS:
                    longer = query[:-2] + len(options).to_bytes(2, "big") + options
                    assert answers.answer(longer) == Answers(zones)._slow(longer, False)


@pytest.mark.parametrize("kind", ["A", "AAAA"])
def test_addresses_are_answered_without_the_long_way(kind: str) -> None:
    """Even the first question for a site costs little, so that nothing has to be made ready after a change."""
    answers = Answers(Zones(contents_of({"a.t": Hosts(30, ("10.0.0.1",))}, {}, True), 1))
    for edns in (-1, 0):
        assert answers.quick(wire_of("a.T", kind, edns, False, True, 1)) is not None


def test_garbage_is_left_to_the_long_way() -> None:
    """Whatever bytes: no reply, or one to that question."""
    answers = Answers(Zones(contents_of({"a.t": Hosts(30, ("10.0.0.1",))}, {}, True), 1))
    chance, good = random.Random(5), wire_of("a.t", "A", 0, False, True, 77)
    for _ in range(20_000):
        query = bytearray(good)
        for _ in range(chance.randrange(1, 4)):
            query[chance.randrange(len(query))] = chance.randrange(256)
        del query[chance.randrange(12, len(query) + 1) :]
        reply = answers.quick(bytes(query))
        assert reply is None or (reply == answers._slow(bytes(query), False) and reply[12:21] == query[12:21])
