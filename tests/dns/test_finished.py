"""Finished replies and counts: both forms keep the same promises, and say the same to anything."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator

import dns.message
import pytest

from hybrid_dns import finished
from hybrid_dns.answer import Answers
from hybrid_dns.finished import BATCH, BEST, COMPILED, MAX_KEY, MAX_REPLY, PLAIN, Counts, Form, Replies
from hybrid_dns.limits import Limits, truncated
from hybrid_dns.lookup import Zones
from hybrid_dns.zone import Contents, Hosts
from tests.dns.fuzz import changed

UNBUILT = "the compiled form is not built: make native needs a compiler"
HEADS = b"\x84\0\0\1\0\1\0\0\0\0", b"\x85\0\0\1\0\1\0\0\0\0"
NAMES = [f"{letter}.t" for letter in "abcdefghijkl"]
ZONES = Zones(Contents(("t",), {"t": ()}, {name: Hosts(30, ("10.0.0.1", "10.0.0.2")) for name in NAMES}), 1)


@pytest.fixture(params=["plain", pytest.param("compiled", marks=pytest.mark.skipif(not COMPILED, reason=UNBUILT))])
def form(request: pytest.FixtureRequest) -> Form:
    """Each form."""
    return PLAIN if request.param == "plain" else BEST


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A server's, which does not block, and a client's that is connected to it."""
    with socket.socket(type=socket.SOCK_DGRAM) as server, socket.socket(type=socket.SOCK_DGRAM) as client:
        server.bind(("127.0.0.1", 0))
        server.setblocking(False)
        client.bind(("127.0.0.1", 0))
        client.connect(server.getsockname())
        client.settimeout(10)
        yield server, client


def query_of(name: str, kind: str = "A", edns: int = -1, number: int = 7) -> bytes:
    """A query."""
    return dns.message.make_query(name, kind, id=number, use_edns=edns).to_wire()


def known(form: Form) -> Replies:
    """To questions for all addresses of all names, without and with EDNS."""
    answers = Answers(ZONES, form=form)
    for name in NAMES:
        for edns in (-1, 0):
            assert answers.answer(query_of(name, "A", edns)) is not None
    return answers.exact


def test_a_reply_has_the_letters_and_the_id_of_its_query(form: Form) -> None:
    """Who mixes upper and lower case to tell forged replies (0x20) gets back what was sent."""
    replies = known(form)
    for name in ("a.t", "A.t", "a.T"):
        query = query_of(name, number=999)
        assert replies.reply(query) == Answers(ZONES)._slow(query, False)
    for other in (
        query_of("no.t"),
        query_of("a.t", "MX"),
        query_of("a.t")[:-1],
        query_of("a.t") + b"\0",
        b"",
        b"\0\0\0",
    ):
        assert replies.reply(other) is None


def test_only_plain_queries_are_known(form: Form) -> None:
    """Replies, updates, notifications, authoritative or truncated ones: all are looked at by others."""
    replies, query = known(form), query_of("a.t")
    for flags in range(256):
        assert (replies.reply(query[:2] + bytes([flags]) + query[3:]) is None) == (flags > 1)


def test_what_is_too_long_is_left_out(form: Form) -> None:
    """No length of anything leads beyond its place."""
    replies = form.replies()
    for key, end, tail in (
        (bytes(7), 11, b""),
        (bytes(MAX_KEY + 1), 12, b""),
        (bytes(20), 11, b""),
        (bytes(20), 25, b""),
        (bytes(20), 24, bytes(MAX_REPLY - 23)),
        (bytes(20), -1, b""),
        (bytes(20), 2**40, b""),
    ):
        replies.put(key, HEADS, end, tail)
    assert len(replies) == 0
    replies.put(bytes(20), HEADS, 24, bytes(MAX_REPLY - 24))
    replies.put(bytes(MAX_KEY), HEADS, MAX_KEY + 4, b"x" * (MAX_REPLY - MAX_KEY - 4))
    for length in (20, MAX_KEY):
        reply = replies.reply(b"\1\2\1\0" + bytes(length))
        assert reply is not None and len(reply) == MAX_REPLY and reply[:12] == b"\1\2" + HEADS[1]
    replies.put(bytes(20), HEADS, 12, b"again")
    assert replies.reply(bytes(24)) == b"\0\0" + HEADS[0] + b"again" and len(replies) == 2
    replies.clear()
    assert len(replies) == 0 and replies.reply(bytes(24)) is None


def test_a_great_many_are_known(form: Form) -> None:
    """As many as there are names, each with its own reply, said twice or not."""
    replies = form.replies()
    for number in [*range(20_000), *range(500)]:
        replies.put(b"question%012d" % number, HEADS, 20, b"%d" % number)
    assert len(replies) == 20_000
    for number in range(0, 20_000, 7):
        reply = replies.reply(b"id\0\0question%012d" % number)
        assert reply is not None and reply[20:] == b"%d" % number


@pytest.mark.skipif(not COMPILED, reason=UNBUILT)
def test_both_forms_say_the_same_to_anything() -> None:
    """Good queries, and those with bytes changed, gone, or more."""
    chance, plain, compiled = random.Random(5), known(PLAIN), known(BEST)
    good = [query_of(name, "A", edns) for name in NAMES for edns in (-1, 0)]
    found = 0
    for _ in range(20_000):
        query = changed(chance.choice(good), chance)
        reply = plain.reply(query)
        assert compiled.reply(query) == reply
        found += reply is not None
    assert found > 2000


@pytest.mark.skipif(not COMPILED, reason=UNBUILT)
def test_both_forms_count_the_same() -> None:
    """Any networks and kinds, beyond what there is room for, and the next second anew."""
    chance = random.Random(6)
    forms: list[Counts] = [PLAIN.counts(40), BEST.counts(40)]
    for number in range(20_000):
        network, kind = f"10.0.{chance.randrange(9)}", chance.choice((b"", b"\5", b"?" + bytes(chance.randrange(9))))
        if number % 500 == 499:
            for counts in forms:
                counts.clear()
        if chance.random() < 0.3:
            assert len({counts.add(network, kind) for counts in forms}) == 1
        else:
            assert len({counts.passes(network, kind or b"q", 5, 50) for counts in forms}) == 1
        assert len({len(counts) for counts in forms}) == 1


def test_datagrams_are_answered_in_order(form: Form, sockets: tuple[socket.socket, socket.socket]) -> None:
    """Each to who sent it; those that are not known come back as they were, with their source, a very long one cut."""
    server, client = sockets
    replies, counts = known(form), form.counts(10)
    odd = [b"", b"x", query_of("no.t"), bytes(5000)]
    odd_before = dict(zip((0, 11, 12, 29), odd, strict=True))
    for number in range(30):
        if number in odd_before:
            client.send(odd_before[number])
        client.send(query_of(NAMES[number % 12].upper(), number=number))
    rest = replies.drain(server, counts, 0, 0)
    assert rest == [(query[: finished.MAX_QUERY], client.getsockname()) for query in odd] and len(counts) == 0
    for number in range(30):
        query = query_of(NAMES[number % 12].upper(), number=number)
        assert client.recv(600) == Answers(ZONES)._slow(query, False)
    assert replies.drain(server, counts, 0, 0) == []


def test_a_turn_has_an_end(form: Form, sockets: tuple[socket.socket, socket.socket]) -> None:
    """However many datagrams wait, others have their turn."""
    server, client = sockets
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**20)
    for number in range(BATCH + 10):
        client.send(query_of("a.t", number=number))
    replies = known(form)
    replies.drain(server, form.counts(10), 0, 0)
    client.setblocking(False)
    with pytest.raises(BlockingIOError):
        for number in range(BATCH + 10):
            assert client.recv(600)[:2] == number.to_bytes(2, "big")
            got = number + 1
    assert got == BATCH
    replies.drain(server, form.counts(10), 0, 0)
    assert client.recv(600)[:2] == BATCH.to_bytes(2, "big")


def test_limits_hold_at_the_socket(form: Form, sockets: tuple[socket.socket, socket.socket]) -> None:
    """The first few answers to a question go out at once; the others, and all beyond a network's share, are judged."""
    server, client = sockets
    replies, counts = known(form), form.counts(100)
    for _ in range(8):
        client.send(query_of("a.t"))
    assert len(replies.drain(server, counts, 5, 1000)) == 3
    assert len(counts) == 2 and counts.add("127.0.0", b"") == 6
    for name in NAMES:
        client.send(query_of(name))
    assert len(replies.drain(server, counts, 5, 10)) == 12 - 4


def test_a_forged_source_gets_hardly_more_than_was_sent_in_its_name(
    form: Form, sockets: tuple[socket.socket, socket.socket]
) -> None:
    """What goes out at the socket and what is judged after it: together less than 1.5 bytes for each byte sent."""
    server, client = sockets
    limits, replies = Limits(form=form), known(form)
    sent = got = 0
    for number in range(6000):
        query = query_of(NAMES[number % 12], number=number)
        sent += client.send(query)
        rest = replies.drain(server, limits.counts(1), limits.errors, limits.answers)
        for one, (source, _) in rest:
            reply = Answers(ZONES).answer(one)
            assert reply is not None
            verdict = limits.judge(source, reply, 1.0 + number / 6001)
            got += {"send": len(reply), "slip": len(truncated(reply)), "drop": 0}[verdict]
        got += 0 if rest else len(client.recv(600))
    assert got <= 1.5 * sent


def test_a_closed_socket_is_no_loop(form: Form) -> None:
    """It ends, with or without a word."""
    with socket.socket(type=socket.SOCK_DGRAM) as server:
        server.setblocking(False)
    try:
        assert form.replies().drain(server, form.counts(1), 0, 0) == []
    except ValueError:
        assert form is not PLAIN


@pytest.mark.skipif(not COMPILED, reason=UNBUILT)
def test_the_compiled_form_takes_nothing_else() -> None:
    """Other types, keys and sizes are errors, not crashes."""
    assert COMPILED is not None
    replies = COMPILED.replies()
    for wrong in (
        lambda: COMPILED.counts(-1),
        lambda: COMPILED.counts(2**40),
        lambda: replies.put(bytes(20), (b"short", b"short"), 12, b""),
        lambda: COMPILED.counts(1).add("x" * 65, b""),
        lambda: COMPILED.counts(1).add("x", bytes(513)),
    ):
        with pytest.raises(ValueError):
            wrong()
    with socket.socket(type=socket.SOCK_DGRAM) as server, pytest.raises(TypeError):
        replies.drain(server, PLAIN.counts(1), 0, 0)
    with pytest.raises(TypeError):
        replies.reply("text")  # type: ignore[arg-type]  # not bytes
