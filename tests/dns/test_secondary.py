"""Name servers of others, on loopback: as primaries of zones that are copied here, and as readers of our catalog."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import pytest_twisted

from hybrid.dns_deeds import Edit, ZoneChanges
from hybrid.view import View
from tests.dns.test_programs import Site, free_port, ran, running, served, until

MakeView = Callable[..., View]
THEIRS = "theirs.example"
CATALOG = "catalog.test"
ZONE = f"""
$ORIGIN {THEIRS}.
@ 300 SOA ns root {{serial}} 3600 600 604800 30
@ 300 NS ns
ns 300 A 192.0.2.53
www 60 A 192.0.2.{{serial}}
alias 60 CNAME www
"""
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
  name: theirs.example
  zonefile: {place}/zone
  store-ixfr: yes
  create-ixfr: yes
  provide-xfr: 127.0.0.1 key.test
  notify: 127.0.0.1@{ours} key.test
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
  - id: ours
    address: 127.0.0.1@{ours}
    key: key.test
acl:
  - id: transfer
    key: key.test
    action: [transfer, update]
zone:
  - domain: theirs.example
    file: {place}/zone
    notify: ours
    acl: transfer
"""
READER = """
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
  - id: ours
    address: 127.0.0.1@{ours}
    key: key.test
acl:
  - id: told
    address: 127.0.0.1
    action: notify
template:
  - id: member
    storage: {place}
    master: ours
    acl: told
zone:
  - domain: catalog.test
    storage: {place}
    master: ours
    acl: told
    catalog-role: interpret
    catalog-template: member
"""


@contextmanager
def daemon(program: str, place: Path, site: Site, configuration: str) -> Iterator[tuple[int, int]]:
    """A name server of others; its port and process id."""
    found, port = shutil.which(program), free_port()
    if found is None:
        pytest.skip(f"{program} is not installed: `make test` does")
    text = configuration.format(port=port, place=place, secret=site.secret, ours=site.server.port)
    (place / "conf").write_text(text)
    (place / "db").mkdir()
    options = ("-d",) if program == "nsd" else ()
    with running(found, *options, "-c", str(place / "conf")) as process:
        yield port, process.pid


def says(site: Site, name: str, kind: str, wanted: str, port: int = 0) -> Callable[[], object]:
    """Whether `wanted` is in the answer, of ours or of the name server at `port`, after each node had its turn."""

    async def asked() -> bool:
        site.keeping.look()
        try:
            return wanted in await site.dig("+short", name, kind, port=port)
        except AssertionError:
            return False

    return asked


async def change(site: Site, program: str, place: Path, port: int, pid: int, serial: int) -> None:
    """Another address, and another serial, at the primary."""
    if program == "nsd":
        (place / "zone").write_text(ZONE.format(serial=serial))
        os.kill(pid, signal.SIGHUP)
        return
    script = place / "update"
    lines = (f"delete www.{THEIRS} A", f"add www.{THEIRS} 60 A 192.0.2.{serial}")
    script.write_text(
        "\n".join([f"server 127.0.0.1 {port}", f"zone {THEIRS}", *(f"update {x}" for x in lines), "send"])
    )
    await ran("nsupdate", *site.signing, str(script))


@pytest.mark.parametrize("program", ["nsd", "knotd"])
@pytest_twisted.ensureDeferred
async def test_a_zone_is_copied_from_its_primary(tmp_path: Path, make_view: MakeView, program: str) -> None:
    """All of it, signed; a change is there at once, for the primary tells of it; what is away long is still there."""
    place = tmp_path / "primary"
    place.mkdir()
    (place / "zone").write_text(ZONE.format(serial=1))
    async with served(tmp_path, make_view()) as site:
        registry = site.keeping.registry
        registry.create(THEIRS)
        with daemon(program, place, site, NSD if program == "nsd" else KNOT) as (port, pid):
            await until(says(site, f"www.{THEIRS}", "A", "192.0.2.1", port))
            registry.change(THEIRS, ZoneChanges(primaries=(f"127.0.0.1:{port}",), key="key.test"))
            await until(says(site, f"alias.{THEIRS}", "A", "192.0.2.1"))
            assert f"ns.{THEIRS}." in await site.dig("+short", THEIRS, "NS")
            for serial in (2, 3):
                await change(site, program, place, port, pid, serial)
                await until(says(site, f"www.{THEIRS}", "A", f"192.0.2.{serial}"))
                await until(says(site, THEIRS, "SOA", f" {serial} 3600"))
            assert f"www.{THEIRS}." in await site.dig(*site.signing, THEIRS, "AXFR")
        assert "192.0.2.3" in await site.dig("+short", f"www.{THEIRS}", "A")
        assert registry.zone(THEIRS).kind == "copy"


@pytest_twisted.ensureDeferred
async def test_a_catalog_tells_of_new_zones(tmp_path: Path, make_view: MakeView) -> None:
    """A secondary that reads the catalog takes up a new zone by itself, follows it, and drops it when it is removed."""
    place = tmp_path / "reader"
    place.mkdir()
    async with served(tmp_path, make_view()) as site:
        registry = site.keeping.registry
        registry.create(CATALOG)
        registry.change(CATALOG, ZoneChanges(catalog=True))
        site.set("www", "A", "192.0.2.1")
        with daemon("knotd", place, site, READER) as (port, _):
            registry.change(CATALOG, ZoneChanges(secondaries=(f"127.0.0.1:{port}",)))
            await until(says(site, "www.own.example", "A", "192.0.2.1", port))
            registry.create("new.example")
            registry.edit("new.example", [Edit(name="a", type="A", records=("192.0.2.7",))])
            await until(says(site, "a.new.example", "A", "192.0.2.7", port))
            registry.edit("new.example", [Edit(name="a", type="A", records=("192.0.2.8",))])
            await until(says(site, "a.new.example", "A", "192.0.2.8", port))
            registry.remove("new.example")

            async def is_gone() -> bool:
                site.keeping.look()
                return "REFUSED" in await site.dig("a.new.example", "A", port=port)

            await until(is_gone)
