"""The images of databases in real containers: credentials, hooks around a snapshot, what is got out of a past."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import deferLater

from hybrid.model import Manifest, SiteId
from hybrid.ports import ContainerSpec, Executed
from hybrid.settings import Settings
from hybrid_containers import sandbox
from hybrid_containers.addresses import gateway_of
from hybrid_containers.image import shift_owners
from hybrid_containers.network import Reactor
from hybrid_containers.recipe import load_manifest
from hybrid_containers.runtime import LxcContainers

pytestmark = pytest.mark.lxc

REACTOR = cast(Reactor, reactor)
SITE = SiteId("s-lxc-data")
SUBNET = "10.97.0.0/24"
START_S = 60.0


@dataclass
class Database:
    """One of them, running."""

    containers: LxcContainers
    manifest: Manifest
    spec: ContainerSpec

    async def run(self, *argv: str, stdin: bytes = b"") -> Executed:
        """A command in it."""
        return await self.containers.execute(SITE, argv, stdin, timeout_s=60)

    async def start(self) -> None:
        """Until its health check says that it works."""
        await self.containers.start(self.spec)
        until_s = REACTOR.seconds() + START_S
        while (await self.run(*self.manifest.health.command)).status:
            assert REACTOR.seconds() < until_s, await self.containers.logs(SITE)
            await deferLater(REACTOR, 0.1)

    async def restart(self) -> None:
        """As after a power cut."""
        await self.containers.stop(SITE, grace_s=0)
        await self.start()

    async def sql(self, text: str) -> str:
        """As the site's own user, by password, over TCP."""
        script = {
            "mariadb": 'exec mariadb -h 127.0.0.1 -u "$user" -p"$password" -N -B "$database"',
            "postgres": 'PGPASSWORD=$password exec psql -h 127.0.0.1 -U "$user" -qtAX -v ON_ERROR_STOP=1 "$database"',
        }[self.manifest.name]
        done = await self.run("sh", "-c", ". /etc/hybrid/credentials; " + script, stdin=text.encode())
        assert done.status == 0, done.stderr.decode()
        return done.stdout.decode().strip()


@pytest.fixture(scope="module")
def namespaces() -> Iterator[None]:
    """Apart from the machine's own network."""
    if os.geteuid() != 0 or not shutil.which("lxc-attach"):
        pytest.skip("real containers need root and lxc")
    with sandbox.namespaces():
        yield


@pytest_twisted.async_yield_fixture(params=["mariadb", "postgres"])
async def database(request: pytest.FixtureRequest, namespaces: None) -> AsyncIterator[Database]:
    """A fresh one of which nothing is left afterwards."""
    image = Path(os.environ.get("HYBRID_IMAGES", "/var/cache/hybrid/images"), request.param + ".tar")
    if not image.exists():
        pytest.skip(f"there is no {image}: `make images` builds it")
    folder = Path(tempfile.mkdtemp(prefix="hyb-data-"))
    folder.chmod(0o711)
    settings = Settings(
        name="n1",
        address="127.0.0.1",
        state_dir=str(folder / "state"),
        bridge="hybtest2",
        subnet=SUBNET,
        cgroup=f"hybtest-{os.getpid()}-data",
    )
    containers = LxcContainers(REACTOR, settings)
    manifest = load_manifest(image.with_suffix(".toml"))
    spec = ContainerSpec(
        site=SITE,
        hostname="shop-db",
        root=str(folder / "root"),
        id_base=3_200_000,
        address="10.97.0.2",
        prefix=24,
        gateway=gateway_of(SUBNET),
        init=manifest.init,
        environment={"HYBRID_SITE": "shop-db"},
        memory_bytes=manifest.memory_bytes,
        cpus=2.0,
        pids=manifest.pids,
    )
    try:
        (folder / "root").mkdir()
        subprocess.run(["tar", "-xf", image, "-C", folder / "root"], check=True)
        await shift_owners(REACTOR, folder / "root", spec.id_base)
        await containers.prepare()
        made = Database(containers, manifest, spec)
        await made.start()
        yield made
    finally:
        await containers.stop(SITE, grace_s=0)
        await containers.close()
        shutil.rmtree(folder)


@pytest_twisted.ensureDeferred
async def test_a_database_keeps_its_word(database: Database) -> None:
    """Its user may use it by password alone, what was committed outlives a power cut, and hooks let writers go on."""
    credentials = (await database.run("cat", "/etc/hybrid/credentials")).stdout
    assert b"database=shop-db\nuser=shop-db\npassword=" in credentials
    mode = await database.run("stat", "-c", "%U %a", "/etc/hybrid/credentials")
    assert mode.stdout == b"root 600\n"
    await database.sql("CREATE TABLE basket (item varchar(20)); INSERT INTO basket VALUES ('apple');")
    await database.restart()
    assert (await database.run("cat", "/etc/hybrid/credentials")).stdout == credentials
    assert await database.sql("SELECT item FROM basket;") == "apple"

    hooks = database.manifest.hooks
    for _ in range(2):
        before = await database.run(*hooks.before)
        assert before.status == 0, before.stderr
        if hooks.after:
            locked = await database.run(
                *("mariadb", "--user=root", "--execute"),
                "SET lock_wait_timeout = 1; INSERT INTO `shop-db`.basket VALUES ('never')",
            )
            assert b"Lock wait timeout" in locked.stderr
            after = await database.run(*hooks.after)
            assert after.status == 0, after.stderr
        await database.sql("INSERT INTO basket VALUES ('pear');")

    for name, values in (("dump", ()), ("table", ("basket",))):
        done = await database.run(*database.manifest.extracts[name].command, "/.hybrid-extract", *values)
        assert done.status == 0, done.stderr
        text = (await database.run("cat", "/.hybrid-extract")).stdout.decode()
        assert "basket" in text
        assert text.count("pear") == 2
        assert "never" not in text
    missing = await database.run(*database.manifest.extracts["table"].command, "/.hybrid-extract", "no such table")
    assert missing.status != 0
    assert missing.stderr
