"""IMAP, POP3 and submission at shared ports: logins here, made again at the server of the user's domain."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest

from hybrid.model import NodeId, Port, SiteId
from hybrid_proxy.body import chunk
from hybrid_proxy.dialogue import Secure, Setting, ToClient
from hybrid_proxy.guest import GuestFactory
from hybrid_proxy.imap import Imap, read_strings
from hybrid_proxy.lines import Credentials, read_plain
from hybrid_proxy.pop3 import Pop3
from hybrid_proxy.shared import DIALOGUES
from hybrid_proxy.submission import Submission
from hybrid_proxy.tcp import JOINED

if TYPE_CHECKING:
    from hybrid_proxy.guest import New
    from tests.proxy.conftest import Wire, World

ME, MAIL = NodeId("n-me"), SiteId("s-shop")
PORTS = (Port("i", 143, "imap"), Port("p", 110, "pop3"), Port("s", 587, "submission"))
PLAIN = Credentials("ann@shop.test", "se cret").plain()


@pytest.fixture
def mail(world: World) -> World:
    """Front doors of a node with the mail of `shop.test`, whose site is called `mail.shop.test`."""
    world.follow(world.site(ports=PORTS, domains=("mail.shop.test",)))
    return world


def client(world: World, service: str) -> Wire:
    """Somebody who was greeted."""
    wire = world.plug(GuestFactory(world.house, world.connect, service, DIALOGUES[service], False))
    wire.greeting = wire.taken()  # type: ignore[attr-defined]  # for whom it concerns
    return wire


def said(wire: Wire, text: bytes) -> bytes:
    """What is answered to a line."""
    wire.send(text + b"\r\n")
    return wire.taken()


# ---------------------------------------------------------------------------------------------------------- IMAP


@pytest.mark.parametrize(
    "login",
    [
        b'a LOGIN ann@shop.test "se cret"\r\n',
        b"a login {13}\r\nann@shop.test {7}\r\nse cret\r\n",
        b"a LOGIN {13+}\r\nann@shop.test {7+}\r\nse cret\r\n",
        b"a AUTHENTICATE PLAIN " + PLAIN + b"\r\n",
        b"a authenticate plain\r\n" + PLAIN + b"\r\n",
    ],
)
@pytest.mark.parametrize("piece", [1, 1000])
def test_an_imap_login(mail: World, login: bytes, piece: int) -> None:
    """In all its forms, cut anywhere; then bytes only pass, with the client's own tag."""
    wire = client(mail, "imap")
    for at in range(0, len(login), piece):
        wire.send(login[at : at + piece])
    site = mail.call().accept()
    wire.taken()
    site.send(b"* OK Dovecot ready\r\n")
    assert site.taken() == b"hybrid AUTHENTICATE PLAIN\r\n"
    site.send(b"+ \r\n")
    assert site.taken() == PLAIN + b"\r\n"
    site.send(b"* CAPABILITY IMAP4rev1 IDLE\r\nhybrid OK [X] Logged in\r\n* early\r\n")
    assert wire.taken() == b"* CAPABILITY IMAP4rev1 IDLE\r\na OK [X] Logged in\r\n* early\r\n"
    assert said(wire, b"b SELECT INBOX") == b"" and site.taken() == b"b SELECT INBOX\r\n"


def test_an_imap_client_before_its_login(mail: World) -> None:
    """It is told what can be done, and what cannot."""
    wire = client(mail, "imap")
    assert wire.greeting.startswith(b"* OK [CAPABILITY IMAP4rev1 ")  # type: ignore[attr-defined]  # set above
    assert b"AUTH=PLAIN" in said(wire, b"a CAPABILITY") and wire.closed is False
    assert said(wire, b'a ID ("name" "x")') == b"* ID NIL\r\na OK done\r\n"
    assert said(wire, b"a SELECT INBOX") == b"a BAD log in first\r\n"
    assert said(wire, b"a STARTTLS") == b"a BAD no TLS now\r\n"
    assert said(wire, b"a LOGOUT").endswith(b"a OK done\r\n") and wire.closed


def test_a_wrong_password_may_be_corrected(mail: World) -> None:
    """Twice; each time at a new connection to the server. What the client said meanwhile is kept."""
    wire = client(mail, "imap")
    for attempt in range(3):
        wire.send(b"a%d LOGIN ann@shop.test no\r\nb NOOP\r\n" % attempt)
        site = mail.call().accept()
        site.send(b"* OK\r\n+ \r\nhybrid NO [AUTHENTICATIONFAILED] wrong\r\n")
        answer = wire.taken()
        assert answer.startswith(b"a%d NO [AUTHENTICATIONFAILED] wrong\r\n" % attempt) and site.closed
        assert (b"b OK done\r\n" in answer) == (attempt < 2)
    assert wire.closed


def test_imap_of_an_unknown_domain(mail: World) -> None:
    """Not told apart from a wrong password but by its text; nobody is connected."""
    wire = client(mail, "imap")
    assert said(wire, b"a LOGIN ann@other.test x").startswith(b"a NO [AUTHENTICATIONFAILED] ")
    assert not mail.calls


@pytest.mark.parametrize(
    ("state", "text"), [("stopped", b"switched off"), ("unavailable", b"cannot be reached"), ("changing", b"moving")]
)
@pytest.mark.parametrize("service", ["imap", "pop3", "submission"])
def test_a_mailbox_that_is_away(mail: World, service: str, state: str, text: bytes) -> None:
    """Temporary errors of each protocol, never permanent ones, and the client may try again."""
    mail.follow(mail.site(state, owner=None, ports=PORTS, domains=("mail.shop.test",)))  # type: ignore[arg-type]  # a SiteState
    wire = client(mail, service)
    wire.send(LOGINS[service])
    mail.pass_time(21 if state == "changing" else 0)
    answer = wire.taken()
    assert text in answer and AWAY[service] in answer and not wire.closed
    mail.follow(mail.site(ports=PORTS, domains=("mail.shop.test",)))
    wire.send(LOGINS[service])
    mail.call()


@pytest.mark.parametrize("service", ["imap", "pop3", "submission", "smtp"])
def test_a_server_that_closes_before_it_greets_is_tried_again(mail: World, service: str) -> None:
    """It stops, or does not run yet: the client waits as for an owner."""
    mail.follow(mail.site(ports=(*PORTS, Port("x", 25, "smtp")), domains=("mail.shop.test",)))
    wire = client(mail, service)
    wire.send(LOGINS.get(service, b"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<ann@shop.test>\r\n"))
    wire.clear()
    mail.call().accept().hang_up(clean=True)
    mail.pass_time(1)
    assert wire.taken() == b""
    site = mail.call().accept()
    site.send({"imap": b"* OK\r\n", "pop3": b"+OK\r\n"}.get(service, b"220 a\r\n"))
    assert site.taken() != b"" and not wire.closed


LOGINS = {
    "imap": b"a LOGIN ann@shop.test x\r\n",
    "pop3": b"USER ann@shop.test\r\nPASS x\r\n",
    "submission": b"EHLO x\r\nAUTH PLAIN " + PLAIN + b"\r\n",
}
AWAY = {"imap": b"a NO [UNAVAILABLE] ", "pop3": b"-ERR [SYS/TEMP] ", "submission": b"\r\n454 4.3.2 "}


@pytest.mark.parametrize(
    "bad",
    [b"a LOGIN {4294967295}\r\n", b"a LOGIN " + b"x" * 9000, b"a LOGIN {1000}\r\n" + b"x" * 1000 + b"{1025}\r\n"],
)
def test_too_much_before_a_login_ends_it(mail: World, bad: bytes) -> None:
    """Also lengths that are only promised."""
    wire = client(mail, "imap")
    wire.send(bad)
    assert wire.taken().endswith(b"* BYE that is too long\r\n") and wire.closed


@pytest.mark.parametrize(
    "bad", [b"", b"a", b"* LOGIN x y", b"a LOGIN x", b'a LOGIN "x y', b"a LOGIN x y z", b"\xff\x00 x"]
)
def test_what_is_no_imap_is_bad(mail: World, bad: bytes) -> None:
    """And too much of it ends the connection."""
    wire = client(mail, "imap")
    assert b" BAD " in said(wire, bad)
    for _ in range(10):
        said(wire, bad)
    assert wire.closed and not mail.calls


@pytest.mark.parametrize("greeting", [b"* BYE too many\r\n", b"* PREAUTH x\r\n", b"220 smtp\r\n", b"x" * 9000])
def test_an_imap_server_that_cannot_be_used(mail: World, greeting: bytes) -> None:
    """The login fails for a while."""
    wire = client(mail, "imap")
    wire.send(LOGINS["imap"])
    site = mail.call().accept()
    site.send(greeting)
    assert wire.taken().startswith(b"a NO [UNAVAILABLE] ") and site.closed and not wire.closed


def test_an_idle_imap_client_is_told_when_its_server_is_gone(mail: World) -> None:
    """BYE between answers; nothing amidst one."""
    bye = b"* BYE [UNAVAILABLE] the mailbox moves to another server, connect again\r\n"
    for last, told in ((b"* 3 EXISTS\r\n", bye), (b"* 3 FETCH (BODY {100}\r\nhalf", b"")):
        wire = client(mail, "imap")
        wire.send(LOGINS["imap"])
        site = mail.call().accept()
        site.send(b"* OK\r\n+ \r\nhybrid OK\r\n" + last)
        wire.clear()
        site.hang_up()
        assert (wire.taken(), wire.closed) == (told, True)


def test_strings_of_imap() -> None:
    """Quoted ones are unquoted, literals taken by their length, anything else is refused."""
    assert read_strings(b'a "b\\"\\\\ c" {3}\r\n{1}') == [b"a", b'b"\\ c', b"{1}"]
    for bad in (b"", b" a", b"a  b", b'"a', b'a"b"', b"(a)", b"a "):
        assert read_strings(bad) is None


def test_an_imap_login_through_another_node(mail: World) -> None:
    """What is framed between the nodes goes on after the login."""
    mail.follow(mail.site(owner=NodeId("n-other"), ports=PORTS, domains=("mail.shop.test",)))
    wire = client(mail, "imap")
    wire.send(LOGINS["imap"])
    node = mail.call().accept()
    node.taken()
    node.send(JOINED + chunk(b"* OK\r\n+ \r\nhybrid OK\r\n"))
    node.taken()
    assert said(wire, b"b NOOP") == b"a OK\r\n"
    assert node.taken() == chunk(b"b NOOP\r\n")


# ---------------------------------------------------------------------------------------------------------- POP3


@pytest.mark.parametrize("login", [b"USER ann@shop.test\r\nPASS se cret\r\n", b"AUTH PLAIN " + PLAIN + b"\r\n"])
def test_a_pop3_login(mail: World, login: bytes) -> None:
    """By USER and PASS or AUTH; then bytes only pass."""
    wire = client(mail, "pop3")
    assert b"SASL PLAIN" in said(wire, b"CAPA")
    wire.send(login)
    site = mail.call().accept()
    site.send(b"+OK hello\r\n")
    assert site.taken() == b"USER ann@shop.test\r\n"
    site.send(b"+OK\r\n")
    assert site.taken() == b"PASS se cret\r\n"
    wire.clear()
    site.send(b"+OK Logged in.\r\n")
    assert wire.taken() == b"+OK Logged in.\r\n"
    assert said(wire, b"STAT") == b"" and site.taken() == b"STAT\r\n"


def test_pop3_refuses(mail: World) -> None:
    """Wrong passwords by the server, the rest by itself; not more than three times."""
    wire = client(mail, "pop3")
    wire.send(LOGINS["pop3"])
    site = mail.call().accept()
    site.send(b"+OK\r\n+OK\r\n-ERR [AUTH] wrong\r\n")
    assert wire.taken().endswith(b"-ERR [AUTH] wrong\r\n") and site.closed
    assert said(wire, b"STAT") == b"-ERR log in first\r\n"
    assert said(wire, b"USER a\r\nPASS b").endswith(b"log in as user@domain\r\n") and wire.closed
    wire = client(mail, "pop3")
    wire.send(b"x" * 2000)
    assert wire.taken() == b"-ERR that is too long\r\n" and wire.closed


# ---------------------------------------------------------------------------------------------------- submission


def b64(text: bytes) -> bytes:
    """As AUTH LOGIN has it."""
    return base64.b64encode(text)


@pytest.mark.parametrize(
    "login",
    [
        b"AUTH PLAIN " + PLAIN,
        b"AUTH PLAIN\r\n" + PLAIN,
        b"AUTH LOGIN\r\n" + b64(b"ann@shop.test") + b"\r\n" + b64(b"se cret"),
        b"AUTH LOGIN " + b64(b"ann@shop.test") + b"\r\n" + b64(b"se cret"),
    ],
)
def test_a_submission_login(mail: World, login: bytes) -> None:
    """By PLAIN and LOGIN; then bytes only pass, pipelined ones too."""
    wire = client(mail, "submission")
    assert b"250-AUTH PLAIN LOGIN\r\n" in said(wire, b"EHLO me")
    wire.send(login + b"\r\nMAIL FROM:<ann@shop.test>\r\n")
    site = mail.call().accept()
    site.send(b"220-hello\r\n220 ready\r\n")
    assert site.taken() == b"EHLO me\r\n"
    site.send(b"250-mail\r\n250 AUTH PLAIN\r\n")
    assert site.taken() == b"AUTH PLAIN " + PLAIN + b"\r\n"
    wire.clear()
    site.send(b"235 2.7.0 welcome\r\n")
    assert wire.taken() == b"235 2.7.0 welcome\r\n"
    assert site.taken() == b"MAIL FROM:<ann@shop.test>\r\n"


def test_nothing_is_submitted_without_a_login(mail: World) -> None:
    """530, and no server hears of it."""
    wire = client(mail, "submission")
    said(wire, b"EHLO me")
    assert said(wire, b"MAIL FROM:<a@b>").startswith(b"530 5.7.0 ")
    assert said(wire, b"AUTH CRAM-MD5").startswith(b"504 ")
    assert said(wire, b"AUTH PLAIN !!").startswith(b"501 ")
    wire = client(mail, "submission")
    assert said(wire, b"AUTH PLAIN " + PLAIN).startswith(b"503 ")
    assert not mail.calls


# ---------------------------------------------------------------------------------------------------------- TLS


@pytest.mark.parametrize(
    ("new", "start", "plain", "refused"),
    [
        (Imap, b"a STARTTLS\r\n", b"a LOGIN ann@shop.test x\r\n", b"PRIVACYREQUIRED"),
        (Pop3, b"STLS\r\n", b"USER ann@shop.test\r\n", b"begin TLS first"),
        (Submission, b"STARTTLS\r\n", b"EHLO x\r\nAUTH PLAIN " + PLAIN + b"\r\n", b"begin TLS first"),
    ],
)
def test_no_password_in_the_clear(mail: World, new: New, start: bytes, plain: bytes, refused: bytes) -> None:
    """From afar only within TLS; what was said in the clear behind the question for TLS is refused (CVE-2011-0411)."""
    names = mail.house.routes.services.speaking("imap")
    setting = Setting(names, "198.51.100.9", tls=True)
    assert refused in heard(new(setting).heard_client(plain))
    assert Secure() not in list(new(setting).heard_client(start + plain))
    talk = new(setting)
    assert list(talk.heard_client(start))[-1] == Secure()
    talk.secured("mail.shop.test")
    assert refused not in heard(talk.heard_client(plain))
    near = new(Setting(names, "10.88.0.9", tls=True, trusted=True))
    assert refused not in heard(near.heard_client(plain))


def heard(effects: object) -> bytes:
    """What the client is told."""
    assert isinstance(effects, list | tuple)
    return b"".join(effect.data for effect in effects if isinstance(effect, ToClient))


def test_names_in_sasl() -> None:
    """Written as they were read; nobody can act for another."""
    assert read_plain(PLAIN) == Credentials("ann@shop.test", "se cret")
    for bad in (b"!", b64(b"\0a"), b64(b"\0\0p"), b64(b"other\0ann\0p"), b64(b"a\0b\0c\0d")):
        assert read_plain(bad) is None
