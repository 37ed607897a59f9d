"""Mail from other servers: to the site of its recipients, and never lost because a site is away."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hybrid.model import NodeId, Port, SiteId
from hybrid_proxy.guest import GuestFactory
from hybrid_proxy.smtp import Smtp

if TYPE_CHECKING:
    from tests.proxy.conftest import Wire, World

ME, SHOP, ZOO = NodeId("n-me"), SiteId("s-shop"), SiteId("s-zoo")
PORTS = (Port("s", 25, "smtp"),)


@pytest.fixture
def mail(world: World) -> World:
    """Front doors of a node with the mail of `shop.test` and `zoo.test`."""
    world.follow(
        world.site(ports=PORTS), world.site(site=ZOO, ports=PORTS, domains=("mail.zoo.test",), upstream="10.88.0.6")
    )
    return world


def sender(world: World) -> Wire:
    """Another mail server that said EHLO and from whom a message is."""
    wire = world.plug(GuestFactory(world.house, world.connect, "smtp", Smtp, False))
    assert wire.taken() == b"220 ESMTP ready\r\n"
    assert said(wire, b"EHLO mx.example.org").startswith(b"250-ready\r\n250-PIPELINING\r\n")
    assert said(wire, b"MAIL FROM:<bob@example.org> BODY=8BITMIME") == b"250 2.1.0 go on\r\n"
    return wire


def said(wire: Wire, text: bytes) -> bytes:
    """What is answered to a line."""
    wire.send(text + b"\r\n")
    return wire.taken()


def server(world: World) -> Wire:
    """The site's server, up to the recipient."""
    site = world.call().accept()
    site.send(b"220 mail\r\n")
    assert site.taken() == b"EHLO mx.example.org\r\n"
    site.send(b"250-mail\r\n250 PIPELINING\r\n")
    assert site.taken() == b"MAIL FROM:<bob@example.org> BODY=8BITMIME\r\n"
    site.send(b"250 2.1.0 Ok\r\n")
    return site


def delivered(world: World, wire: Wire, to: bytes = b"RCPT TO:<ann@shop.test>") -> Wire:
    """A message on its way, up to 354."""
    assert said(wire, to) == b""
    site = server(world)
    assert site.taken() == to + b"\r\n"
    site.send(b"250 2.1.5 Ok\r\n")
    assert wire.taken() == b"250 2.1.5 Ok\r\n"
    assert said(wire, b"DATA") == b""
    assert site.taken() == b"DATA\r\n"
    site.send(b"354 go\r\n")
    assert wire.taken() == b"354 go\r\n"
    return site


@pytest.mark.parametrize("piece", [1, 3, 1000])
def test_a_message_goes_to_the_site_of_its_recipient(mail: World, piece: int) -> None:
    """Unchanged, however it is cut; the connection serves the next message too, for another site."""
    wire = sender(mail)
    site = delivered(mail, wire)
    text = b"Subject: x\r\n\r\n..\r\n.a\r\n\r\n.\r\nMAIL FROM:<bob@example.org> BODY=8BITMIME\r\n"
    for at in range(0, len(text), piece):
        wire.send(text[at : at + piece])
    assert site.taken() == b"Subject: x\r\n\r\n..\r\n.a\r\n\r\n.\r\n"
    site.send(b"250 2.0.0 queued\r\n")
    assert wire.taken() == b"250 2.0.0 queued\r\n250 2.1.0 go on\r\n"
    zoo = delivered(mail, wire, b"RCPT TO:<keeper@zoo.test>")
    assert site.closed and not zoo.closed
    wire.send(b".\r\n")
    assert zoo.taken() == b".\r\n"


def test_the_next_message_to_the_same_site_takes_the_same_connection(mail: World) -> None:
    """No new one is made."""
    wire = sender(mail)
    site = delivered(mail, wire)
    wire.send(b".\r\n")
    site.taken()
    site.send(b"250 queued\r\n")
    wire.taken()
    assert said(wire, b"MAIL FROM:<>") == b"250 2.1.0 go on\r\n"
    said(wire, b"RCPT TO:<eve@SHOP.test>")
    assert site.taken() == b"MAIL FROM:<>\r\n" and not mail.calls


def test_recipients_of_other_sites_come_again(mail: World) -> None:
    """451 for them alone; the others of the same site are taken, and what its server refuses it refuses itself."""
    wire = sender(mail)
    wire.send(b"RCPT TO:<ann@shop.test>\r\nRCPT TO:<keeper@zoo.test>\r\nRCPT TO:<nobody@shop.test>\r\nDATA\r\n")
    site = server(mail)
    site.send(b"250 2.1.5 Ok\r\n")
    answer = wire.taken()
    assert answer.startswith(b"250 2.1.5 Ok\r\n451 4.3.0 ")
    assert site.taken() == b"RCPT TO:<ann@shop.test>\r\nRCPT TO:<nobody@shop.test>\r\n"
    site.send(b"550 5.1.1 no such user\r\n")
    assert wire.taken() == b"550 5.1.1 no such user\r\n"
    assert site.taken() == b"DATA\r\n"


def test_no_mail_is_taken_for_strangers(mail: World) -> None:
    """No open relay; not a permanent error either, as a view may lag."""
    wire = sender(mail)
    assert said(wire, b"RCPT TO:<a@elsewhere.test>").startswith(b"451 4.4.3 ")
    assert said(wire, b"RCPT TO:<postmaster>").startswith(b"451 4.4.3 ")
    assert said(wire, b"DATA").startswith(b"503 ") and not mail.calls


@pytest.mark.parametrize("state", ["stopped", "unavailable", "changing"])
def test_mail_for_a_site_that_is_away_is_kept_by_its_sender(mail: World, state: str) -> None:
    """451, never 5xx, and another site's recipient can still be told."""
    mail.follow(mail.site(state, owner=None, ports=PORTS))  # type: ignore[arg-type]  # a SiteState
    wire = sender(mail)
    wire.send(b"RCPT TO:<ann@shop.test>\r\n")
    mail.pass_time(21)
    assert wire.taken().startswith(b"451 4.3.2 ")
    delivered(mail, wire, b"RCPT TO:<keeper@zoo.test>")


@pytest.mark.parametrize("greeting", [b"554 no\r\n", b"421 busy\r\n", b"220 a\r\n502 no\r\n"])
def test_a_server_that_takes_no_mail_now(mail: World, greeting: bytes) -> None:
    """Even when it says so for good: it is not what the sender asked."""
    wire = sender(mail)
    said(wire, b"RCPT TO:<ann@shop.test>")
    site = mail.call().accept()
    site.send(greeting)
    assert wire.taken().startswith(b"451 4.3.2 ") and site.closed and not wire.closed
    said(wire, b"RCPT TO:<ann@shop.test>")
    mail.call()


@pytest.mark.parametrize("when", ["recipient", "data", "end"])
def test_a_server_that_is_gone_amidst_a_message(mail: World, when: str) -> None:
    """421: the sender keeps the message and sends it again."""
    wire = sender(mail)
    if when == "recipient":
        said(wire, b"RCPT TO:<ann@shop.test>")
        site = server(mail)
    else:
        site = delivered(mail, wire)
        wire.send(b"text" + (b"\r\n.\r\n" if when == "end" else b""))
    site.hang_up()
    assert wire.taken().startswith(b"421 4.3.2 ") and wire.closed


def test_a_server_that_is_gone_between_messages(mail: World) -> None:
    """Nobody notices."""
    wire = sender(mail)
    site = delivered(mail, wire)
    wire.send(b".\r\n")
    site.send(b"250 queued\r\n")
    wire.taken()
    site.send(b"421 idle for too long\r\n")
    assert site.closed and not wire.closed and wire.taken() == b""
    said(wire, b"MAIL FROM:<bob@example.org> BODY=8BITMIME")
    delivered(mail, wire)


@pytest.mark.parametrize("end", [b"\n.\r\n", b"\r\n.\n", b"\n.\n", b"\r.\r", b"\r.\r\n", b"\n.\r"])
@pytest.mark.parametrize("piece", [1, 1000])
def test_a_message_cannot_end_twice(mail: World, end: bytes, piece: int) -> None:
    """What some servers take for the end of a message is refused, and the server never sees the true end."""
    wire = sender(mail)
    site = delivered(mail, wire)
    text = b"x" + end + b"MAIL FROM:<root@shop.test>\r\n.\r\n"
    for at in range(0, len(text), piece):
        if not wire.closed:
            wire.send(text[at : at + piece])
    assert wire.taken().startswith(b"550 5.6.0 ") and wire.closed and site.closed
    assert not site.taken().endswith(b"\r\n.\r\n")


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (b"MAIL FROM:<x@y>", b"503"),
        (b"RCPT TO:ann@shop.test", b"501"),
        (b"RCPT TO:<ann@shop.test", b"501"),
        (b"RCPT TO:<>", b"501"),
        (b"RCPT FROM:<ann@shop.test>", b"501"),
        (b"RCPT TO:<a b@shop.test>", b"501"),
        (b"EHLO", b"501"),
        (b"EHLO a b", b"501"),
        (b"AUTH PLAIN x", b"503"),
        (b"BDAT 10 LAST", b"502"),
        (b"STARTTLS", b"503"),
        (b"GET / HTTP/1.1", b"500"),
        (b"\xff\xfe", b"500"),
    ],
)
def test_bad_commands(mail: World, bad: bytes, code: bytes) -> None:
    """Each gets its code, and the connection goes on."""
    wire = sender(mail)
    assert said(wire, bad)[:4] == code + b" " and not wire.closed and not mail.calls


def test_bare_line_feeds_and_endless_lines(mail: World) -> None:
    """500 and the end."""
    for bad in (b"NOOP\nNOOP", b"x" * 5000, b"NOOP \0"):
        wire = sender(mail)
        assert said(wire, bad)[:4] == b"500 " and wire.closed


def test_idle_commands_come_to_an_end(mail: World) -> None:
    """421 after two hundred without a message, or a minute without a recipient."""
    wire = sender(mail)
    for _ in range(200):
        answer = said(wire, b"NOOP")
        if wire.closed:
            break
    assert answer.startswith(b"421 ") and wire.closed
    wire = sender(mail)
    mail.pass_time(61)
    assert wire.taken().startswith(b"421 4.4.2 ") and wire.closed


def test_a_long_message_has_all_the_time_it_needs(mail: World) -> None:
    """As long as something comes every few minutes."""
    wire = sender(mail)
    site = delivered(mail, wire)
    for _ in range(6):
        mail.clock.pump([10] * 20)
        wire.send(b"more\r\n")
    assert site.taken() == b"more\r\n" * 6 and not wire.closed
    mail.clock.pump([10] * 65)
    assert wire.closed


def test_the_server_is_told_who_the_sender_is(mail: World) -> None:
    """By XCLIENT, where it listens to that."""
    wire = sender(mail)
    said(wire, b"RCPT TO:<ann@shop.test>")
    site = mail.call().accept()
    site.send(b"220 mail\r\n")
    site.taken()
    site.send(b"250-mail\r\n250 XCLIENT NAME ADDR\r\n")
    assert site.taken() == b"XCLIENT ADDR=198.51.100.9\r\n"
    site.send(b"220 mail\r\n")
    assert site.taken() == b"EHLO mx.example.org\r\n"
    site.send(b"250 mail\r\n")
    assert site.taken().startswith(b"MAIL FROM:")


def test_a_message_given_up(mail: World) -> None:
    """RSET and EHLO leave nothing of it at the site."""
    for verb in (b"RSET", b"EHLO mx.example.org"):
        wire = sender(mail)
        said(wire, b"RCPT TO:<ann@shop.test>")
        site = server(mail)
        site.send(b"250 Ok\r\n")
        wire.taken()
        assert said(wire, verb).startswith(b"250") and site.closed
        assert said(wire, b"DATA").startswith(b"503 ")
    assert said(wire, b"QUIT").startswith(b"221 ") and wire.closed
