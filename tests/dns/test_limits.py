"""Response rate limiting: forged sources get little, real resolvers their answers."""

from __future__ import annotations

import dns.message
import pytest

from hybrid_dns.answer import Answers
from hybrid_dns.limits import Limits, truncated
from hybrid_dns.lookup import Zones
from hybrid_dns.zone import Contents, Hosts

ANSWERS = Answers(
    Zones(Contents(("t",), {"t": ()}, {f"{letter}.t": Hosts(30, ("10.0.0.1",)) for letter in "abcdefghijkl"}), 1)
)


def reply(name: str, kind: str = "A") -> bytes:
    """Our reply to a query for `name`."""
    wire = ANSWERS.answer(dns.message.make_query(name, kind).to_wire())
    assert wire is not None
    return wire


@pytest.mark.parametrize(("name", "kind"), [("no.t", "A"), ("other", "A"), ("a.t", "AAAA")])
def test_equal_errors_are_limited_with_every_second_one_truncated(name: str, kind: str) -> None:
    """Five a second to one network, then nothing and TC in turn; the next second starts afresh."""
    limits, wire = Limits(), reply(name, kind)
    verdicts = [limits.judge(f"192.0.2.{i}", wire, 10.0 + i / 100) for i in range(9)]
    assert verdicts == ["send"] * 5 + ["drop", "slip", "drop", "slip"]
    assert limits.judge("192.0.2.1", wire, 11.0) == "send"


def test_another_network_is_not_punished() -> None:
    """Limits hold per /24 and per /56."""
    limits, wire = Limits(errors=1), reply("no.t")
    sources = ["192.0.2.1", "192.0.3.1", "2001:db8::1", "2001:db8:0:100::1"]
    assert [limits.judge(source, wire, 1.0) for source in sources] == ["send"] * 4
    assert [limits.judge(source, wire, 1.0) for source in sources] == ["drop"] * 4


def test_a_resolver_of_many_sites_is_served() -> None:
    """Good answers are nearly free, and "no such data" counts per name."""
    limits = Limits(answers=48)
    for letter in "abcdefghijkl" * 4:
        assert limits.judge("192.0.2.1", reply(f"{letter}.t"), 1.0) == "send"
    assert {limits.judge("192.0.2.1", reply(f"{letter}.t", "AAAA"), 1.0) for letter in "abcdefghijkl"} == {"send"}
    assert limits.judge("192.0.2.1", reply("a.t"), 1.0) == "drop"


def test_one_answer_over_and_over_is_limited() -> None:
    """What is cached for its TTL is not needed fifty times a second by one network."""
    limits, wire = Limits(), reply("a.t")
    assert [limits.judge("192.0.2.1", wire, 1.0) for _ in range(54)] == ["send"] * 50 + ["drop", "slip"] * 2
    assert limits.judge("192.0.2.1", reply("b.t"), 1.0) == "send"


@pytest.mark.parametrize("names", [["a.t"], ["no.t"], ["other"], list("abcdefghijkl")])
def test_a_forged_source_gets_hardly_more_than_was_sent_in_its_name(names: list[str]) -> None:
    """6,000 queries a second in somebody's name, for one name or many: less than 1.5 bytes for each byte sent."""
    limits = Limits()
    sent = got = 0
    full = [name if "." in name else f"{name}.t" for name in names]
    replies = [(len(dns.message.make_query(name, "A").to_wire()), reply(name)) for name in full]
    for number in range(6000):
        length, wire = replies[number % len(replies)]
        sent += length
        verdict = limits.judge("192.0.2.1", wire, 1.0 + number / 6001)
        got += {"send": len(wire), "slip": len(truncated(wire)), "drop": 0}[verdict]
    assert got <= 1.5 * sent


def test_memory_is_bounded() -> None:
    """An attack from a million forged networks costs no memory and limits nobody."""
    limits, wire = Limits(errors=1, size=10), reply("no.t")
    assert {limits.judge(f"10.{i}.0.1", wire, 1.0) for i in range(200)} == {"send"}
    assert limits.judge("10.0.0.1", wire, 1.0) == "drop"
    assert len(limits.counts(1)) == 10


def test_zero_turns_it_off() -> None:
    """For benchmarks and private networks."""
    limits = Limits(errors=0)
    assert {limits.judge("10.0.0.1", reply("no.t"), 1.0) for _ in range(50)} == {"send"}


def test_a_truncated_reply_parses_and_has_tc() -> None:
    """The resolver behind a limited address is told to use TCP."""
    short = dns.message.from_wire(truncated(reply("a.t")))
    assert short.flags & dns.flags.TC and short.question and not short.answer
