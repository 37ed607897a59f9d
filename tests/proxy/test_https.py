"""HTTPS at the front door: whose certificate is shown, what is passed on, what is redirected."""

from __future__ import annotations

import dataclasses
import datetime
import ssl
from typing import TYPE_CHECKING

import msgspec
import pytest
from twisted.internet.address import IPv4Address

from hybrid.certs.records import Shown
from hybrid.model import Claim, NodeId, Port, SiteId
from hybrid.sitehttp import Http
from hybrid_proxy.limits import Limits
from hybrid_proxy.proxyv2 import header_bytes, parse_header
from hybrid_proxy.secure import SecureFactory
from tests.certs.authority import Authority, new_key, pem, text
from tests.proxy.tlsclient import TlsClient

if TYPE_CHECKING:
    from tests.proxy.conftest import Wire, World

ROOT = Authority(now=datetime.datetime.now(datetime.UTC))
ZOO = SiteId("s-zoo")
ME, OTHER = NodeId("n-me"), NodeId("n-other")
GET = b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def certificate(*names: str, site: SiteId | None = None) -> str:
    """As the node process feeds it."""
    key = new_key()
    shown = Shown(names=names, chain=text(ROOT.issue(key, *names)), key=pem(key), not_after_s=9, source="issued")
    return msgspec.json.encode(msgspec.structs.replace(shown, site=site)).decode()


class Https:
    """The HTTPS door of a world."""

    def __init__(self, world: World) -> None:
        self.world, self.open = world, 0
        self.factory = SecureFactory(world.house, world.connect, self._opened, self._closed)

    def _opened(self) -> None:
        self.open += 1

    def _closed(self) -> None:
        self.open -= 1

    def wire(self) -> Wire:
        """Connect."""
        return self.world.plug(self.factory)

    def client(self, host: str | None = "shop.test", protocols: tuple[str, ...] = ()) -> TlsClient:
        """Connect and shake hands."""
        return TlsClient(self.wire(), host, protocols).shake()


@pytest.fixture
def https(world: World) -> Https:
    """`shop.test` has a certificate, `zoo.test` has none."""
    world.follow(world.site(site=ZOO, domains=("zoo.test",), upstream="10.88.0.6"))
    world.house.follow_secrets({"cert/shop.test": certificate("shop.test")})
    return Https(world)


def test_a_request_by_tls(https: Https, world: World) -> None:
    """The site's certificate is shown, the site learns that it was asked by HTTPS, the answer comes back."""
    client = https.client(protocols=("http/1.1",))
    assert client.shown() == ("shop.test",) and client.protocol == "http/1.1" and client.version == "TLSv1.3"
    client.send(GET)
    site = world.call().accept()
    assert b"X-Forwarded-Proto: https\r\n" in (request := site.taken()) and b"proto=https\r\n" in request
    site.send(OK)
    assert client.taken() == OK
    client.wire.hang_up()
    assert https.open == 0 and not https.factory.fronts


def test_a_hello_byte_by_byte(https: Https) -> None:
    """However it is cut."""
    client = TlsClient(https.wire(), "shop.test")
    for byte in client.hello():
        client.wire.send(bytes((byte,)))
    assert client.shake().shown() == ("shop.test",)


def test_a_site_without_a_certificate_shows_no_other(https: Https, world: World) -> None:
    """It gets one of our own making, for its name alone."""
    client = https.client("zoo.test")
    assert client.shown() == ("zoo.test",)
    client.send(GET.replace(b"shop", b"zoo"))
    assert world.call().destination.site == ZOO


@pytest.mark.parametrize("host", [None, "none.test", "www.shop.test"])
def test_nobodys_name_is_shown_nobodys_certificate(https: Https, host: str | None) -> None:
    """The client is told that the name is not known here."""
    with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"):
        https.client(host)


def test_a_certificate_of_one_site_is_not_shown_for_another(https: Https, world: World) -> None:
    """Though it names the other one's domain."""
    world.house.follow_secrets({"cert/x": certificate("zoo.test", "shop.test", site=ZOO)})
    assert https.client("zoo.test").shown() == ("zoo.test", "shop.test")
    assert https.client("shop.test").shown() == ("shop.test",)


def test_a_new_certificate_is_shown_at_once(https: Https, world: World) -> None:
    """Without a restart; connections there are go on with theirs; one taken back is not shown."""
    before = https.client()
    world.house.follow_secrets({"cert/*.test": certificate("*.test", "shop.test")})
    assert https.client().shown() == ("*.test", "shop.test")
    before.send(GET)
    world.call().accept().send(OK)
    assert before.taken() == OK
    world.house.follow_secrets({})
    assert https.client().shown() == ("shop.test",)


def test_a_broken_certificate_harms_nobody_else(https: Https, world: World) -> None:
    """Its site gets one of our making."""
    broken = msgspec.json.encode(
        Shown(names=("zoo.test",), chain="x", key="y", not_after_s=9, source="issued")
    ).decode()
    world.house.follow_secrets({"cert/a": broken, "cert/b": "{}", "cert/c": certificate("shop.test")})
    assert https.client("zoo.test").shown() == ("zoo.test",)
    assert https.client("shop.test").shown() == ("shop.test",)


def test_old_tls_is_refused(https: Https) -> None:
    """Nothing before TLS 1.2."""
    assert TlsClient(https.wire(), "shop.test", newest=ssl.TLSVersion.TLSv1_2).shake().version == "TLSv1.2"
    with pytest.raises(ssl.SSLError):
        TlsClient(https.wire(), "shop.test", newest=ssl.TLSVersion.TLSv1_1).shake()


def test_a_host_that_the_certificate_is_not_for(https: Https, world: World) -> None:
    """Asked within a connection that was made for another one: 421, as browsers expect it."""
    client = https.client()
    client.send(GET.replace(b"shop", b"zoo"))
    assert client.taken().startswith(b"HTTP/1.1 421 ") and world.calls == []
    world.house.follow_secrets({"cert/both": certificate("shop.test", "zoo.test")})
    both = https.client()
    both.send(GET.replace(b"shop", b"zoo"))
    assert world.call().destination.site == ZOO


def test_plain_http_on_the_https_port_is_closed(https: Https) -> None:
    """At once, without a word."""
    wire = https.wire()
    wire.send(GET)
    assert wire.aborted and wire.taken() == b""


@pytest.mark.parametrize("sent", [0, 1, 60])
def test_a_handshake_has_a_deadline(https: Https, world: World, sent: int) -> None:
    """Bytes that trickle do not put it off."""
    wire, hello = https.wire(), TlsClient(None, "shop.test").hello()
    for byte in hello[:sent]:
        wire.send(bytes((byte,)))
        world.pass_time(Limits().handshake_s / 2 / sent // 0.25 * 0.25)
    world.pass_time(Limits().handshake_s / 2 if sent else Limits().handshake_s)
    world.pass_time(6)
    assert wire.aborted and https.open == 0


def test_a_handshake_that_stops_half_way(https: Https, world: World) -> None:
    """After the hello the same deadline goes on."""
    client = TlsClient(https.wire(), "shop.test")
    client.wire.send(client.hello())
    world.pass_time(Limits().handshake_s + 1)
    assert client.wire.aborted


def test_a_source_has_so_many_connections(https: Https) -> None:
    """One more is not taken, until another one ends."""
    wires = [https.wire() for _ in range(Limits().per_source)]
    address = IPv4Address("TCP", "198.51.100.9", 40001)
    assert https.factory.buildProtocol(address) is None
    wires[0].hang_up()
    assert https.factory.buildProtocol(address) is not None


def test_tls_is_passed_on_to_who_ends_it_himself(https: Https, world: World) -> None:
    """The site gets the client's own bytes, both directions flow, no certificate of ours is shown."""
    world.follow(world.site(ports=(Port("http", 80), Port("https", 8443, "tls"))))
    client = TlsClient(https.wire(), "shop.test")
    hello = client.hello()
    client.wire.send(hello)
    call = world.call()
    site = call.accept()
    assert getattr(call.destination, "port", 0) == 8443
    assert site.taken() == hello
    site.send(b"answer")
    assert client.wire.taken() == b"answer"
    client.wire.send(b"more")
    assert site.taken() == b"more"
    site.hang_up(clean=True)
    assert client.wire.closed and not https.factory.callers


def test_tls_for_a_site_elsewhere_is_passed_on_there(https: Https, world: World) -> None:
    """The passport says that it is TLS, and the other node leads it to the same port."""
    ports = (Port("https", 8443, "tls"),)
    world.follow(world.site(owner=OTHER, epoch=2, ports=ports))
    client = TlsClient(https.wire(), "shop.test")
    client.wire.send(client.hello())
    link = world.call().accept()
    header = link.taken()
    world.follow(world.site(owner=ME, epoch=2, ports=ports))
    parsed = parse_header(header)
    assert parsed is not None and parsed[0].service == "tls"
    there = world.member(header_bytes(dataclasses.replace(parsed[0], claim=Claim(2, ME))))
    assert getattr(world.call().destination, "port", 0) == 8443
    assert not there.closed


class TestWishes:
    """What a site wants of plain HTTP."""

    @pytest.fixture
    def strict(self, https: Https, world: World) -> World:
        """`shop.test` wants HTTPS only, so does `zoo.test`, which has no certificate."""
        for site in list(world.sites.values()):
            wish = Http(redirect=True, hsts_s=3600)
            spec = msgspec.structs.replace(site.spec, http=wish)
            world.follow(msgspec.structs.replace(site, spec=spec))
        return world

    def test_who_asks_without_tls_is_redirected(self, strict: World) -> None:
        """To the same address by HTTPS; a form is sent again as it is; the connection goes on."""
        client = strict.client()
        client.send(b"GET /a?b=c HTTP/1.1\r\nHost: Shop.Test:80\r\n\r\n")
        answer = client.taken()
        assert answer.startswith(b"HTTP/1.1 301 ") and b"\r\nLocation: https://shop.test/a?b=c\r\n" in answer
        client.send(b"POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 0\r\n\r\n")
        assert client.taken().startswith(b"HTTP/1.1 308 ") and not client.closed

    def test_nobody_is_sent_to_where_browsers_warn(self, strict: World) -> None:
        """Without a certificate there is no redirect."""
        client = strict.client()
        client.send(GET.replace(b"shop", b"zoo"))
        assert strict.call().destination.site == ZOO

    def test_browsers_are_told_to_stay(self, strict: World, https: Https) -> None:
        """By HTTPS only, with a certificate only, and not where the site says something itself."""
        client = https.client()
        client.send(GET)
        site = strict.call().accept()
        for said, expected in ((b"", b"max-age=3600"), (b"Strict-Transport-Security: max-age=1\r\n", b"max-age=1\r")):
            site.send(b"HTTP/1.1 200 OK\r\n" + said + b"Content-Length: 0\r\n\r\n")
            answer = client.taken()
            assert answer.count(b"Strict-Transport-Security") == 1 and expected in answer
            client.send(GET)
        other = https.client("zoo.test")
        other.send(GET.replace(b"shop", b"zoo"))
        strict.call().accept().send(OK)
        assert other.taken() == OK

    def test_challenges_are_answered_first(self, strict: World) -> None:
        """A certificate authority is answered by every node, whatever the site wishes; other paths are the site's."""
        strict.house.follow_secrets({"acme/tok": "tok.print"})
        client = strict.client()
        client.send(b"GET /.well-known/acme-challenge/tok HTTP/1.1\r\nHost: zoo.test\r\n\r\n")
        assert client.taken().endswith(b"\r\n\r\ntok.print")
        client.send(b"GET /.well-known/acme-challenge/other HTTP/1.1\r\nHost: zoo.test\r\n\r\n")
        assert strict.call().destination.site == ZOO
