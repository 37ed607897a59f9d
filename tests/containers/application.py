"""A built image in one real container on a plain folder, for the tests of images."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest
from twisted.internet import reactor
from twisted.internet.task import deferLater

from hybrid.model import Manifest, SiteId
from hybrid.ports import ContainerSpec, Executed
from hybrid.settings import Settings
from hybrid_containers import child
from hybrid_containers.addresses import gateway_of
from hybrid_containers.debian import scratch
from hybrid_containers.image import imprint, shift_owners
from hybrid_containers.network import Reactor
from hybrid_containers.recipe import load_manifest
from hybrid_containers.runtime import LxcContainers

REACTOR = cast(Reactor, reactor)
SUBNET = "10.97.0.0/16"
GATEWAY = gateway_of(SUBNET)
ADDRESS = "10.97.1.1"
SECOND = "10.97.1.2"
START_S = 60.0


@dataclass
class Application:
    """One, running."""

    containers: LxcContainers
    manifest: Manifest
    spec: ContainerSpec

    async def run(self, *argv: str, stdin: bytes = b"") -> Executed:
        """A command in it."""
        return await self.containers.execute(self.spec.site, argv, stdin, timeout_s=60)

    async def outside(self, *argv: str) -> Executed:
        """A command on the machine, such as a client of it at `ADDRESS`."""
        return await child.run(REACTOR, argv, timeout_s=60)

    async def start(self) -> None:
        """Until it works, as its manifest says."""
        await self.containers.start(self.spec)
        until_s = REACTOR.seconds() + START_S
        while not await self._works():
            assert REACTOR.seconds() < until_s, await self.containers.logs(self.spec.site)
            await deferLater(REACTOR, 0.1)

    async def _works(self) -> bool:
        if self.manifest.health.command:
            return (await self.run(*self.manifest.health.command)).status == 0
        opened = [f"exec 3<>/dev/tcp/{self.spec.address}/{port.port}" for port in self.manifest.ports]
        return (await self.outside("bash", "-c", " && ".join(opened))).status == 0

    async def restart(self) -> None:
        """As after a power cut."""
        await self.containers.stop(self.spec.site, grace_s=0)
        await self.start()


@asynccontextmanager
async def application(image: str, name: str, address: str = ADDRESS, private: str = "") -> AsyncIterator[Application]:
    """
    One of `image`, for a site called `name`, of which nothing is left afterwards; skips where it is not built.

    Args:
        private: See `hybrid.deeds.CreateSite`.
    """
    tar = Path(os.environ.get("HYBRID_IMAGES", "/var/cache/hybrid/images"), image + ".tar")
    if not tar.exists():
        pytest.skip(f"there is no {tar}: `make images` builds it")
    folder = Path(tempfile.mkdtemp(prefix="hyb-application-", dir=scratch(Path("/dev/shm"), Path("/tmp"))))
    folder.chmod(0o711)
    settings = Settings(
        name="n1",
        address="127.0.0.1",
        state_dir=str(folder / "state"),
        bridge="hybtest2",
        subnet=SUBNET,
        cgroup=f"hybtest-{os.getpid()}-{name}",
    )
    containers = LxcContainers(REACTOR, settings)
    manifest = load_manifest(tar.with_suffix(".toml"))
    spec = ContainerSpec(
        site=SiteId(f"s-lxc-{name}"),
        hostname=name,
        root=str(folder / "root"),
        id_base=3_200_000 + 65536 * int(address.rpartition(".")[2]),
        address=address,
        prefix=16,
        gateway=GATEWAY,
        init=manifest.init,
        environment={**manifest.environment, "HYBRID_SITE": name, "HYBRID_GATEWAY": GATEWAY},
        memory_bytes=manifest.memory_bytes,
        cpus=2.0,
        pids=manifest.pids,
    )
    try:
        (folder / "root").mkdir()
        subprocess.run(["tar", "-xf", tar, "-C", folder / "root"], check=True)
        await shift_owners(REACTOR, folder / "root", spec.id_base)
        await imprint(REACTOR, folder / "root", spec.id_base, private)
        await containers.prepare()
        made = Application(containers, manifest, spec)
        await made.start()
        yield made
    finally:
        await containers.stop(spec.site, grace_s=0)
        await containers.close()
        shutil.rmtree(folder)
