"""Real sockets on loopback, asked by `dig`."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from typing import cast

import pytest
import pytest_twisted
from twisted.internet import reactor as global_reactor
from twisted.internet.utils import getProcessOutput

from hybrid.settings import Settings
from hybrid.view import View
from hybrid_dns.limits import Limits
from hybrid_dns.service import DnsReactor, DnsService

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


def test_the_serial_grows_with_the_contents_only(make_view: MakeView) -> None:
    """A secondary or a monitor sees a new serial when, and only when, something changed."""
    serving = service()
    serials = []
    for view in (make_view(), make_view(), make_view(owner="n3"), make_view(owner="n2")):
        serving.follow(view)
        serials.append(serving._serial)
    assert serials[0] == serials[1] < serials[2] < serials[3]
