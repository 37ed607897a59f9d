"""Real sockets on loopback, asked by `dig`."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from typing import cast

import dns.message
import pytest
import pytest_twisted
from twisted.internet import reactor as global_reactor
from twisted.internet.utils import getProcessOutput

from hybrid.settings import Dns, Settings
from hybrid.view import View
from hybrid_dns.limits import Limits
from hybrid_dns.near import nearest
from hybrid_dns.service import DnsReactor, DnsService
from hybrid_dns.zone import Hosts

MakeView = Callable[..., View]
DIG = shutil.which("dig")
REACTOR = cast(DnsReactor, global_reactor)


async def dig(port: int, *arguments: str) -> str:
    """What dig says, short of nothing."""
    base = ("-p", str(port), "@127.0.0.1", "+tries=1", "+time=3")
    output: bytes = await getProcessOutput(DIG, (*base, *arguments), errortoo=True)
    return output.decode()


def service() -> DnsService:
    """On any port of loopback."""
    return DnsService(REACTOR, Settings(name="n1", address="127.0.0.1", dns_port=0), Limits(), time.time)


@pytest.mark.skipif(DIG is None, reason="dig is not installed (Debian package bind9-dnsutils)")
@pytest_twisted.ensureDeferred
async def test_dig_by_udp_and_tcp(make_view: MakeView) -> None:
    """The addresses come in order by either transport; before the first view SERVFAIL; a change shows at once."""
    serving = service()
    serving.startService()
    try:
        port = serving.port
        assert "status: SERVFAIL" in await dig(port, "blog.hybrid.test")
        serving.follow(make_view())
        for transport in ("+notcp", "+tcp"):
            assert (await dig(port, transport, "+short", "blog.hybrid.test")).split() == [
                "10.0.0.1",
                "10.0.0.3",
                "10.0.0.2",
            ]
        serving.follow(make_view(owner="n3", dead=frozenset({"n1"})))
        assert (await dig(port, "+short", "blog.hybrid.test")).split() == ["10.0.0.3", "10.0.0.2"]
    finally:
        await serving.stopService()


@pytest_twisted.ensureDeferred
async def test_processes_share_a_port() -> None:
    """Several DNS processes of a node serve the same address (SO_REUSEPORT)."""
    first = service()
    first.startService()
    second = DnsService(REACTOR, Settings(name="n1", address="127.0.0.1", dns_port=first.port), Limits(), time.time)
    try:
        second.startService()
        assert second.port == first.port
    finally:
        await first.stopService()
        await second.stopService()


@pytest.mark.parametrize(
    ("source", "dead", "addresses"),
    [
        ("127.0.0.1", (), ["10.0.0.3", "10.0.0.1", "10.0.0.2"]),
        ("127.0.0.1", ("n3",), ["10.0.0.1", "10.0.0.2"]),
        ("127.0.1.1", (), ["10.0.0.1", "10.0.0.2", "10.0.0.3"]),
        ("192.0.2.1", (), ["10.0.0.1", "10.0.0.3", "10.0.0.2"]),
        ("2001:db8::1", (), ["10.0.0.3", "10.0.0.1", "10.0.0.2"]),
    ],
)
def test_who_asks_gets_the_nearest_first(
    make_view: MakeView, source: str, dead: tuple[str, ...], addresses: list[str]
) -> None:
    """By the smallest network in the table; its data centre's live nodes first, the others after them."""
    networks = (("127.0.0.0/8", "london"), ("127.0.1.0/24", "paris"), ("2001:db8::/32", "london"), ("10.0.0.0/8", "no"))
    settings = Settings(name="n1", address="127.0.0.1", dns_port=0, dns=Dns(near=networks))
    serving = DnsService(REACTOR, settings, Limits(), time.time)
    for alive in (make_view(dead=frozenset({"n2"})), make_view(dead=frozenset(dead))):
        serving.follow(alive)
        for _ in range(2):
            found = serving._respond(dns.message.make_query("blog.hybrid.test", "A").to_wire(), source, False)
    assert found is not None
    assert [str(rdata) for rrset in dns.message.from_wire(found[0]).answer for rdata in rrset] == addresses


def test_a_near_node_is_given_in_any_case() -> None:
    """Also where four others would be; a site without live nodes has none there either."""
    far = Hosts(30, tuple(f"10.0.0.{number}" for number in range(4)))
    assert nearest(far, ("10.1.0.1", "10.1.0.2")).addresses == ("10.1.0.1", "10.0.0.0", "10.0.0.1", "10.0.0.2")
    assert nearest(far, ("10.0.0.2",)).addresses == ("10.0.0.2", "10.0.0.0", "10.0.0.1", "10.0.0.3")
    assert nearest(Hosts(30, ()), ("10.1.0.1",)).addresses == () and nearest(far, ()) == far


def test_the_serial_grows_with_the_contents_only(make_view: MakeView) -> None:
    """A secondary or a monitor sees a new serial when, and only when, something changed."""
    serving = service()
    serials = []
    for view in (make_view(), make_view(), make_view(owner="n3"), make_view(owner="n2")):
        serving.follow(view)
        serials.append(serving._serial)
    assert serials[0] == serials[1] < serials[2] < serials[3]
