"""Queries good and bad: the DNS table of what must be answered how."""

from __future__ import annotations

from collections.abc import Callable

import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.update
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid.view import View
from hybrid_dns.answer import ELSEWHERE, Answers
from hybrid_dns.lookup import Zones
from hybrid_dns.table import UDP_SIZE
from hybrid_dns.zone import Hosts, contents

MakeView = Callable[..., View]


@pytest.fixture
def answers(make_view: MakeView) -> Answers:
    """Answers for the cluster of `make_view`, serial 42."""
    return Answers(Zones(contents(make_view()), 42))


def ask(answers: Answers, name: str, kind: str = "A", stream: bool = False, **options: object) -> dns.message.Message:
    """The parsed reply to a query; asked twice, to see that the table says the same as the slow path."""
    query = dns.message.make_query(name, kind, **options)  # type: ignore[arg-type]  # test options
    first = answers.answer(query.to_wire(), stream)
    second = answers.answer(query.to_wire(), stream)
    assert first is not None and second is not None
    reply = dns.message.from_wire(first)
    again = dns.message.from_wire(second)
    assert (reply, reply.flags, reply.edns, reply.ednsflags) == (again, again.flags, again.edns, again.ednsflags)
    assert reply.flags & dns.flags.QR and not reply.flags & dns.flags.RA
    return reply


@pytest.mark.parametrize("edns", [-1, 0])
@pytest.mark.parametrize("name", ["blog.hybrid.test", "bLoG.HyBrId.TeSt", "shop.example"])
def test_a_site_answers_with_its_addresses_owner_first(answers: Answers, name: str, edns: int) -> None:
    """Every name of a site leads to its owner first, in the order the zone says, with and without EDNS."""
    reply = ask(answers, name, use_edns=edns)
    assert reply.flags & dns.flags.AA
    assert [str(record) for record in reply.answer[0]] == ["10.0.0.1", "10.0.0.3", "10.0.0.2"]
    assert reply.answer[0].ttl == 30
    assert reply.edns == edns


@pytest.mark.parametrize("name", ["blog.hybrid.test", "nothing.hybrid.test", "elsewhere.org"])
def test_the_question_comes_back_in_its_own_letter_case(answers: Answers, name: str) -> None:
    """Resolvers that mix case against forgery (0x20) see theirs again, on each path."""
    mixed = "".join(c.upper() if i % 2 else c for i, c in enumerate(name))
    query = dns.message.make_query(mixed, "A").to_wire()
    for _ in range(2):
        reply = answers.answer(query)
        assert reply is not None
        end = 12 + len(name) + 2 + 4
        assert reply[12:end] == query[12:end]


@pytest.mark.parametrize(
    ("name", "kind", "rcode", "answers_", "authority"),
    [
        ("blog.hybrid.test", "AAAA", dns.rcode.NOERROR, "", "SOA"),
        ("blog.hybrid.test", "MX", dns.rcode.NOERROR, "", "SOA"),
        ("nodes.hybrid.test", "A", dns.rcode.NOERROR, "", "SOA"),
        ("none.hybrid.test", "A", dns.rcode.NXDOMAIN, "", "SOA"),
        ("none.shop.example", "A", dns.rcode.NXDOMAIN, "", "SOA"),
        ("n1.nodes.hybrid.test", "A", dns.rcode.NOERROR, "A", ""),
        ("hybrid.test", "SOA", dns.rcode.NOERROR, "SOA", ""),
        ("hybrid.test", "NS", dns.rcode.NOERROR, "NS", ""),
        ("shop.example", "NS", dns.rcode.NOERROR, "NS", ""),
        ("blog.hybrid.test", "ANY", dns.rcode.NOERROR, "HINFO", ""),
        ("none.hybrid.test", "ANY", dns.rcode.NXDOMAIN, "", "SOA"),
    ],
)
def test_in_our_zones(answers: Answers, name: str, kind: str, rcode: int, answers_: str, authority: str) -> None:
    """In the zones every answer is authoritative; "no" carries the SOA that says how long to believe it."""
    reply = ask(answers, name, kind)
    assert reply.flags & dns.flags.AA
    assert reply.rcode() == rcode
    assert " ".join(dns.rdatatype.to_text(rrset.rdtype) for rrset in reply.answer) == answers_
    assert " ".join(dns.rdatatype.to_text(rrset.rdtype) for rrset in reply.authority) == authority
    for rrset in reply.authority:
        assert (rrset.ttl, rrset[0].minimum, rrset[0].serial) == (30, 30, 42)


def test_name_servers_come_with_their_addresses(answers: Answers) -> None:
    """One question is enough to reach a name server."""
    assert len(ask(answers, "hybrid.test", "NS").additional) == 3


@pytest.mark.parametrize(
    ("name", "kind", "options"),
    [
        ("elsewhere.org", "A", {}),
        ("version.bind", "TXT", {"rdclass": dns.rdataclass.CH}),
        ("blog.hybrid.test", "A", {"rdclass": dns.rdataclass.CH}),
        ("hybrid.test", "AXFR", {}),
        ("hybrid.test", "AXFR", {"stream": True}),
        ("hybrid.test", "IXFR", {}),
        (".", "NS", {}),
        (".", "ANY", {}),
    ],
)
def test_refused(answers: Answers, name: str, kind: str, options: dict[str, object]) -> None:
    """Whatever is not ours, and the whole zone at once, is refused without a byte to amplify with."""
    reply = ask(answers, name, kind, **options)  # type: ignore[arg-type]  # options of dnspython
    assert reply.rcode() == dns.rcode.REFUSED
    assert not (reply.answer or reply.authority or reply.additional)


def test_an_unknown_edns_version_is_told_so(answers: Answers) -> None:
    """EDNS 1 gets BADVERS and our version (RFC 6891 §6.1.3), even for a name in the table."""
    ask(answers, "blog.hybrid.test")
    reply = ask(answers, "blog.hybrid.test", use_edns=1)
    assert (reply.rcode(), reply.edns, reply.answer) == (dns.rcode.BADVERS, 0, [])


@pytest.mark.parametrize("dnssec", [False, True])
def test_edns_is_answered_with_our_size_and_the_clients_do_bit(answers: Answers, dnssec: bool) -> None:
    """A validating resolver sees its DO bit again; nobody is told to expect more than 1232 bytes."""
    reply = ask(answers, "blog.hybrid.test", want_dnssec=dnssec, use_edns=0)
    assert (reply.payload, bool(reply.ednsflags & dns.flags.DO)) == (UDP_SIZE, dnssec)


def test_cookies_and_other_options_do_not_disturb(answers: Answers) -> None:
    """`dig` sends a cookie by default."""
    import dns.edns

    cookie = dns.edns.GenericOption(dns.edns.OptionType.COOKIE, b"12345678")
    assert ask(answers, "blog.hybrid.test", use_edns=0, options=[cookie]).answer


def test_rd_is_copied_and_ad_is_not(answers: Answers) -> None:
    """Flags of the reply are ours."""
    query = dns.message.make_query("blog.hybrid.test", "A", flags=dns.flags.RD | dns.flags.AD)
    for _ in range(2):
        wire = answers.answer(query.to_wire())
        assert wire is not None
        assert dns.message.from_wire(wire).flags == dns.flags.QR | dns.flags.AA | dns.flags.RD


@pytest.mark.parametrize(
    ("opcode", "rcode"),
    [
        (dns.opcode.NOTIFY, dns.rcode.REFUSED),
        (dns.opcode.UPDATE, dns.rcode.REFUSED),
        (dns.opcode.IQUERY, dns.rcode.NOTIMP),
        (dns.opcode.STATUS, dns.rcode.NOTIMP),
        (9, dns.rcode.NOTIMP),
    ],
)
def test_other_opcodes(answers: Answers, opcode: int, rcode: int) -> None:
    """Updates and notifies come back refused, as replies, in twelve bytes."""
    query = bytearray(dns.message.make_query("blog.hybrid.test", "SOA", use_edns=-1).to_wire())
    query[2] = opcode << 3
    reply = answers.answer(bytes(query))
    assert reply is not None and len(reply) == 12
    assert (reply[:2], reply[2], reply[3]) == (bytes(query[:2]), 0x80 | opcode << 3, rcode)


PLAIN = dns.message.make_query("blog.hybrid.test", "A", id=7, use_edns=-1).to_wire()
HEAD = PLAIN[:12]
QUESTION = PLAIN[12:]


@pytest.mark.parametrize(
    "query",
    [
        b"",
        b"\0" * 5,
        b"\0" * 11,
        PLAIN[:2] + b"\x81" + PLAIN[3:],
        HEAD + b"\xc0\x0c\0\1\0\1",
    ],
    ids=["empty", "five", "eleven", "a-reply", "pointer-loop"],
)
def test_dropped(answers: Answers, query: bytes) -> None:
    """What is no query gets no reply: two servers can never play ping-pong."""
    assert answers.answer(query) is None


@pytest.mark.parametrize(
    "query",
    [
        HEAD[:4] + b"\0\0" + HEAD[6:],
        HEAD[:4] + b"\0\2" + HEAD[6:] + QUESTION + QUESTION,
        HEAD + b"\x40" + b"x" * 64 + b"\0\0\1\0\1",
        HEAD + b"\x3f" + b"x" * 10,
        HEAD + QUESTION[:-2],
        PLAIN + b"junk",
        PLAIN[:10] + b"\0\1" + PLAIN[12:] + b"\0\0\x29\4\xd0\0\0\0\0\0\xff",
        PLAIN[:10] + b"\0\2" + PLAIN[12:] + b"\0\0\x29\4\xd0\0\0\0\0\0\0" * 2,
        PLAIN[:2] + b"\x03" + PLAIN[3:],
    ],
    ids=["no-question", "two", "long-label", "cut-label", "cut", "junk", "bad-opt", "two-opt", "truncated-query"],
)
def test_malformed(answers: Answers, query: bytes) -> None:
    """What is a query but a broken one is told so in twelve bytes, also after its name is in the table."""
    answers.answer(PLAIN)
    assert answers.answer(query) == query[:2] + bytes([0x80 | query[2] & 1, dns.rcode.FORMERR]) + bytes(8)


def test_before_the_first_view_the_server_says_so() -> None:
    """A resolver asks another name server instead of believing that the site is gone."""
    assert ask(Answers(None), "blog.hybrid.test").rcode() == dns.rcode.SERVFAIL


def test_what_does_not_fit_is_truncated_on_udp_only(make_view: MakeView) -> None:
    """Too many addresses for 512 bytes: TC and an empty answer, and all of them by TCP."""
    found = contents(make_view())
    found.hosts["big.hybrid.test"] = Hosts(30, tuple(f"10.1.0.{number}" for number in range(1, 80)))
    answers = Answers(Zones(found, 1))
    short = ask(answers, "big.hybrid.test", use_edns=-1)
    assert short.flags & dns.flags.TC and not short.answer
    assert ask(answers, "big.hybrid.test", use_edns=0, payload=4096).flags & dns.flags.TC
    assert len(ask(answers, "big.hybrid.test", stream=True).answer[0]) == 79


@given(st.binary(max_size=100), st.booleans())
def test_no_bytes_whatsoever_raise(tail: bytes, with_header: bool) -> None:
    """Garbage is dropped, refused, or for the node process to judge; it never stops the server."""
    from hybrid_dns.zone import Contents

    answers = Answers(Zones(Contents(("t",), {"t": ()}, {}), 1))
    reply = answers.answer((b"\0\1\1\0\0\1\0\0\0\0\0\1" if with_header else b"") + tail)
    assert reply in (None, ELSEWHERE) or (reply is not None and reply[2] & 0x80 and len(reply) >= 12)
