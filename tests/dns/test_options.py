"""Cookies and the server's name, in the options of EDNS."""

from __future__ import annotations

import dns.edns
import dns.message
import dns.rcode
import pytest

from hybrid_dns.answer import Answers
from hybrid_dns.lookup import Zones
from hybrid_dns.options import CLIENT_BYTES, Cookies, siphash24
from hybrid_dns.respond import Responder
from hybrid_dns.table import UDP_SIZE
from hybrid_dns.zone import Contents, Hosts

SECRET = bytes.fromhex("e5e973e5a6b2a43f48e7dc849e37bfcf")
CLIENT = bytes.fromhex("2464c4abcf10c957")
SOURCE = "198.51.100.100"
NOW_S = 1_559_731_985.0
HOSTS = {"a.t": Hosts(30, ("10.0.0.1",)), "big.t": Hosts(30, tuple(f"10.1.0.{number}" for number in range(1, 250)))}


class Server:
    """A name server at a time that the test sets."""

    def __init__(self, *secrets: bytes) -> None:
        self.now_s = NOW_S
        answers = Answers(Zones(Contents(("t",), {"t": ()}, HOSTS), 1))
        self._respond = Responder(
            lambda query, stream, source: answers.answer(query, stream),
            b"node-1",
            Cookies(secrets or [SECRET]),
            lambda: self.now_s,
        )

    def become(self, secret: bytes) -> None:
        """Make cookies with this from now on."""
        self._respond.cookies = self._respond.cookies.replaced(secret)

    def ask(
        self, name: str = "a.t", source: str = SOURCE, stream: bool = False, **options: bytes
    ) -> tuple[dns.message.Message, bool]:
        """The parsed reply and whether we are known; `cookie=`, `nsid=`: options of the query."""
        codes = {"cookie": dns.edns.OptionType.COOKIE, "nsid": dns.edns.OptionType.NSID}
        asked: list[dns.edns.Option] = [dns.edns.GenericOption(codes[option], data) for option, data in options.items()]
        found = self._respond(dns.message.make_query(name, "A", use_edns=0, options=asked).to_wire(), source, stream)
        assert found is not None
        return dns.message.from_wire(found[0]), found[1]


def cookie_of(reply: dns.message.Message) -> bytes:
    """The cookie in a reply."""
    (found,) = [option for option in reply.options if option.otype == dns.edns.OptionType.COOKIE]
    return found.to_wire() or b""


def test_siphash_is_that_of_its_paper() -> None:
    """The value of appendix A of the paper."""
    assert siphash24(bytes(range(16)), bytes(range(15))).hex() == "e545be4961ca29a1"


def test_a_cookie_is_that_of_the_standard() -> None:
    """RFC 9018 appendix A.1: other servers at one address would know ours."""
    reply, known = Server().ask(cookie=CLIENT)
    assert cookie_of(reply).hex() == "2464c4abcf10c957010000005cf79f111f8130c3eee29480"
    assert not known and reply.answer


def test_who_returns_its_cookie_is_known() -> None:
    """For an hour, and by both secrets while they change; it gets a fresh one after half of that."""
    server = Server()
    cookie = cookie_of(server.ask(cookie=CLIENT)[0])
    again, known = server.ask(cookie=cookie)
    assert known and cookie_of(again) == cookie
    assert Server(bytes(16), SECRET).ask(cookie=cookie)[1]
    server.now_s += 2400
    later, known = server.ask(cookie=cookie)
    assert known and cookie_of(later) != cookie
    server.now_s += 1300
    assert not server.ask(cookie=cookie)[1]


def test_secrets_follow_one_another() -> None:
    """The servers of a node share one that its node process makes; cookies of the one before stay good."""
    server = Server()
    cookie = cookie_of(server.ask(cookie=CLIENT)[0])
    server.become(bytes(16))
    assert server.ask(cookie=cookie)[1]
    assert cookie_of(server.ask(cookie=CLIENT)[0]) != cookie
    server.become(bytes(16))
    assert server.ask(cookie=cookie)[1]
    server.become(b"x" * 16)
    assert not server.ask(cookie=cookie)[1]


@pytest.mark.parametrize("change", ["source", "client", "secret", "version", "future"])
def test_nobody_else_can_use_it(change: str) -> None:
    """A cookie proves one address only, and only to who made it."""
    server = Server(bytes(16)) if change == "secret" else Server()
    cookie = bytearray(cookie_of(Server().ask(cookie=CLIENT)[0]))
    if change == "client":
        cookie[0] ^= 1
    if change == "version":
        cookie[CLIENT_BYTES] = 2
    if change == "future":
        server.now_s -= 400
    source = "198.51.100.101" if change == "source" else SOURCE
    reply, known = server.ask(source=source, cookie=bytes(cookie))
    assert not known and reply.answer and cookie_of(reply)[:CLIENT_BYTES] == cookie[:CLIENT_BYTES]


@pytest.mark.parametrize("length", [1, 7, 9, 15, 41])
def test_a_cookie_of_impossible_length_is_a_malformed_query(length: int) -> None:
    """RFC 7873 section 5.2.2."""
    reply, known = Server().ask(cookie=bytes(length))
    assert reply.rcode() == dns.rcode.FORMERR and not known


def test_the_server_tells_its_name_when_asked() -> None:
    """RFC 5001: which node answered; nobody is told who did not ask."""
    named, _ = Server().ask(nsid=b"")
    assert [option.to_wire() for option in named.options] == [b"node-1"]
    assert not Server().ask()[0].options


@pytest.mark.parametrize("name", ["a.t", "none.t", "elsewhere.org", "big.t"])
def test_options_go_with_every_reply_and_never_over_the_size(name: str) -> None:
    """Answers, refusals and truncated ones: asked twice, by UDP within what clients take."""
    server = Server()
    for _ in range(2):
        reply, _ = server.ask(name, cookie=CLIENT, nsid=b"")
        assert len(reply.options) == 2 and len(reply.to_wire()) <= UDP_SIZE
    assert len(server.ask("big.t", stream=True, cookie=CLIENT)[0].answer[0]) == 249


def test_over_tcp_a_cookie_is_given_too() -> None:
    """A client that came by TCP because of TC can go on by UDP."""
    assert len(cookie_of(Server().ask(stream=True, cookie=CLIENT)[0])) == 24
