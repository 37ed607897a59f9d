"""Programs of others against our name server, all on loopback: nsupdate and dig, nsd and knot as secondaries."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.internet.utils import getProcessOutputAndValue

from hybrid.dns_deeds import Edit, NewKey, ZoneChanges
from hybrid.settings import Settings
from hybrid.view import View
from hybrid_dns.desk import Counter
from hybrid_dns.keeping import NameKeeping
from hybrid_dns.limits import Limits
from hybrid_dns.service import DnsService
from tests.dns.world import Map, PlainSeals

MakeView = Callable[..., View]
REACTOR = cast(Any, reactor)
ORIGIN = "own.example"


async def ran(program: str, *arguments: str) -> str:
    """What a program says. Raises `AssertionError` where it fails."""
    found = shutil.which(program)
    assert found, f"{program} is not installed"
    out, error, code = await getProcessOutputAndValue(found, arguments)
    text: str = (out + error).decode()
    assert code == 0, text
    return text


async def until(holds: Callable[[], Any], within_s: float = 20.0) -> None:
    """Wait until `await holds()` is true."""
    deadline_s = REACTOR.seconds() + within_s
    while not await holds():
        assert REACTOR.seconds() < deadline_s, "it did not happen in time"
        await deferLater(REACTOR, 0.1, lambda: None)


def free_port() -> int:
    """One that nobody uses by UDP or TCP now."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            port: int = tcp.getsockname()[1]
            try:
                udp.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class Site:
    """Both sides of a node's DNS: what the node process does, and a name server."""

    def __init__(self, place: Path, view: View) -> None:
        settings = Settings(name="n1", address="127.0.0.1", dns_port=0, run_dir=str(place / "run"))
        self.shared = Map()
        self.keeping = NameKeeping(REACTOR, settings, self.shared, lambda: view, PlainSeals(), time.time)
        self.shared.followers.append(self.keeping.heard)
        self.server = DnsService(REACTOR, settings, Limits(errors=0), time.time)  # it is asked over and over
        self.counter = Counter(REACTOR, f"{settings.run_dir}/dns.sock", self.server.follow_entries)
        self.server.pass_on = self.counter.pass_on
        self.server.follow(view)
        self.keeping.registry.create(ORIGIN)
        _, secret = self.keeping.registry.keys.add(NewKey(name="key.test"))
        self.secret = secret
        self.signing = ("-y", f"hmac-sha256:key.test:{secret}")

    def set(self, name: str, kind: str, *texts: str) -> None:
        """Have these records, and a serial for them."""
        self.keeping.registry.edit(ORIGIN, [Edit(name=name, type=kind, records=texts)])
        self.keeping.look()

    async def dig(self, *arguments: str, port: int = 0) -> str:
        """What dig says."""
        at = ("-p", str(port or self.server.port), "@127.0.0.1", "+tries=1", "+time=3")
        return await ran("dig", *at, *arguments)

    async def update(self, *lines: str, place: Path) -> None:
        """What nsupdate is told."""
        script = place / "update"
        script.write_text("\n".join([f"server 127.0.0.1 {self.server.port}", *lines, "send", ""]))
        await ran("nsupdate", *self.signing, str(script))


@asynccontextmanager
async def served(place: Path, view: View) -> AsyncIterator[Site]:
    """A site while it is served."""
    site = Site(place, view)
    site.keeping.desk.startService()
    site.server.startService()
    site.counter.startService()
    try:
        site.keeping.look()

        async def knows() -> bool:
            return "status: NOERROR" in await site.dig(ORIGIN, "SOA")

        await until(knows)
        yield site
    finally:
        await site.counter.stopService()
        await site.server.stopService()
        await site.keeping.stop()
        await site.keeping.desk.stopService()


@contextmanager
def running(program: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A daemon in the foreground."""
    process = subprocess.Popen([program, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest_twisted.ensureDeferred
async def test_nsupdate_and_dig(tmp_path: Path, make_view: MakeView) -> None:
    """An update is there at once, a transfer shows it, and nobody gets either without the key."""
    async with served(tmp_path, make_view()) as site:
        await site.update(
            f"zone {ORIGIN}",
            f"prereq nxdomain new.{ORIGIN}",
            f"update add new.{ORIGIN} 60 TXT hello",
            place=tmp_path,
        )

        async def has_it() -> bool:
            return '"hello"' in await site.dig("+short", f"new.{ORIGIN}", "TXT")

        await until(has_it)
        site.keeping.look()
        assert f"new.{ORIGIN}." in await site.dig(*site.signing, ORIGIN, "AXFR")
        assert "Transfer failed" in await site.dig(ORIGIN, "AXFR")
        with pytest.raises(AssertionError, match="REFUSED"):
            await site.update("zone shop.example", "update add shop.example 60 A 192.0.2.1", place=tmp_path)


@pytest_twisted.ensureDeferred
async def test_delv_validates(tmp_path: Path, make_view: MakeView) -> None:
    """A validating resolver, given the key that the parent would point to, believes every answer and every "no"."""
    async with served(tmp_path, make_view()) as site:
        registry = site.keeping.registry
        for name, kind, text in (
            ("www", "A", "192.0.2.1"),
            ("c", "CNAME", f"www.{ORIGIN}."),
            ("*.wild", "A", "192.0.2.9"),
            ("a.deep", "TXT", '"x"'),
        ):
            site.set(name, kind, text)
        registry.change(ORIGIN, ZoneChanges(dnssec="on"))
        await believed(site, tmp_path)
        first = (tmp_path / "anchors").read_text()
        registry.change(ORIGIN, ZoneChanges(dnssec="roll"))
        await believed(site, tmp_path, first)
        await believed(site, tmp_path)
        registry.change(ORIGIN, ZoneChanges(dnssec="finish"))
        await believed(site, tmp_path)


async def believed(site: Site, place: Path, anchors: str = "") -> None:
    """`delv` validates all sorts of answers; `anchors`: what it trusts, by default what the parent would point to."""
    tag, algorithm, kind, digest = site.keeping.registry.zone(ORIGIN).ds[0].split()
    now = f'trust-anchors {{ "{ORIGIN}." static-ds {tag} {algorithm} {kind} "{digest}"; }};'
    (place / "anchors").write_text(anchors or now)
    base = ("-a", str(place / "anchors"), f"+root={ORIGIN}", "-p", str(site.server.port), "@127.0.0.1")

    async def validates(name: str, wanted: str, says: str) -> bool:
        return says in await ran("delv", *base, f"{name}.{ORIGIN}", wanted)

    await until(lambda: validates("www", "A", "; fully validated"))
    for name, wanted, says in (
        ("c", "A", "; fully validated"),
        ("x.wild", "A", "; fully validated"),
        ("none", "A", "; negative response, fully validated"),
        ("a.b.none", "A", "; negative response, fully validated"),
        ("www", "MX", "; negative response, fully validated"),
        ("deep", "A", "; negative response, fully validated"),
        ("x.wild", "MX", "; negative response, fully validated"),
    ):
        assert await validates(name, wanted, says), f"{name} {wanted}: " + await ran(
            "delv", *base, f"{name}.{ORIGIN}", wanted
        )


NSD = """
server:
  ip-address: 127.0.0.1@{port}
  username: ""
  database: ""
  zonesdir: "{place}"
  pidfile: "{place}/pid"
  xfrdfile: "{place}/xfrd"
  zonelistfile: "{place}/zones"
  xfrdir: "{place}"
remote-control:
  control-enable: no
key:
  name: key.test
  algorithm: hmac-sha256
  secret: "{secret}"
zone:
  name: own.example
  request-xfr: 127.0.0.1@{primary} key.test
  allow-notify: 127.0.0.1 NOKEY
"""
KNOT = """
server:
  listen: 127.0.0.1@{port}
  rundir: {place}
database:
  storage: {place}/db
key:
  - id: key.test
    algorithm: hmac-sha256
    secret: {secret}
remote:
  - id: primary
    address: 127.0.0.1@{primary}
    key: key.test
acl:
  - id: told
    address: 127.0.0.1
    action: notify
zone:
  - domain: own.example
    storage: {place}
    master: primary
    acl: told
"""


@pytest.mark.parametrize(
    ("program", "options", "configuration"),
    [("nsd", ("-d", "-c"), NSD), ("knotd", ("-c",), KNOT)],
    ids=["nsd", "knot"],
)
@pytest_twisted.ensureDeferred
async def test_a_secondary_follows(
    tmp_path: Path, make_view: MakeView, program: str, options: tuple[str, ...], configuration: str
) -> None:
    """It copies the zone by AXFR, is told of a change at once, and takes that by IXFR."""
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed: `make test` does")
    place, port = tmp_path / "secondary", free_port()
    place.mkdir()
    async with served(tmp_path, make_view()) as site:
        site.set("www", "A", "192.0.2.1")
        text = configuration.format(port=port, place=place, secret=site.secret, primary=site.server.port)
        (place / "conf").write_text(text)
        with running(found, *options, str(place / "conf")):

            async def says(name: str, address: str) -> bool:
                try:
                    return address in await site.dig("+short", f"{name}.{ORIGIN}", port=port)
                except AssertionError:
                    return False

            await until(lambda: says("www", "192.0.2.1"))
            site.keeping.registry.change(ORIGIN, ZoneChanges(secondaries=(f"127.0.0.1:{port}",)))
            site.set("www", "A", "192.0.2.2")
            site.set("more", "A", "192.0.2.3")
            await until(lambda: says("www", "192.0.2.2"))
            await until(lambda: says("more", "192.0.2.3"))
