"""
Throw-away containers on clones of past moments: apart from the world, bounded, gone at the next start. Shell.

All that a crash can leave is a container with a name that no site has and a clone under `temporary/`: `recover` ends
the one, and the replicator removes the other at every start.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Network

from twisted.logger import Logger

from hybrid.deeds import Progress, TimeMachine
from hybrid.errors import Conflict, HybridError
from hybrid.hosting.addresses import id_base, secluded_address
from hybrid.model import Guid, SiteId, SiteSpec
from hybrid.ports import Containers, ContainerSpec
from hybrid.settings import Settings

AT_ONCE = 4
"""On one node."""
_NAME = re.compile(r"past-[0-9]+")
GRACE_S = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Sandbox:
    """One of them."""

    name: SiteId
    """Of its container and of its clone."""
    address: str = ""
    """Where the node reaches it; empty: it has no network but a loopback of its own."""


class Sandboxes:
    """Those of this node."""

    log = Logger()

    def __init__(self, settings: Settings, containers: Containers, machine: TimeMachine) -> None:
        self._settings, self._containers, self._machine = settings, containers, machine
        self._open: dict[int, Sandbox] = {}

    async def recover(self) -> None:
        """Before the replicator removes what is under `temporary/`: end what an earlier process had running."""
        for name in await self._containers.running():
            if _NAME.fullmatch(name):
                try:
                    await self._containers.stop(name, 0.0)
                except HybridError as error:
                    self.log.error("{name} of an earlier life still runs: {error}", name=name, error=str(error))

    async def open(
        self, spec: SiteSpec, guid: Guid, environment: dict[str, str], progress: Progress, reachable: bool = False
    ) -> Sandbox:
        """
        Start a container of `spec` on a writable clone of one of its snapshots.

        Args:
            reachable: From this node, to answer; it cannot begin a connection to anything.

        Raises:
            Conflict: There are `AT_ONCE` already.
            NoSuchSnapshot, StorageError, ContainerError: It could not be made; nothing of it is left.
        """
        number = next((number for number in range(1, AT_ONCE + 1) if number not in self._open), None)
        if number is None:
            raise Conflict(f"{AT_ONCE} past moments run on this node already", "", "wait until one of them has ended")
        subnet = self._settings.subnet
        sandbox = Sandbox(SiteId(f"past-{number}"), secluded_address(number, subnet) if reachable else "")
        self._open[number] = sandbox
        try:
            with progress.step("clone"):
                root = await self._machine.lend(
                    spec.id, guid, sandbox.name, spec.quota_bytes, lambda: self.close(sandbox)
                )
            with progress.step("start container"):
                await self._containers.start(self._container(spec, sandbox, root, environment))
        except BaseException:
            await self.close(sandbox)
            raise
        return sandbox

    async def stop(self, sandbox: Sandbox) -> None:
        """End its container; what it wrote stays until `close`."""
        await self._containers.stop(sandbox.name, GRACE_S)

    def is_open(self, sandbox: Sandbox) -> bool:
        """Whether it is still there: it is taken away when the history of its site changes."""
        return any(one is sandbox for one in self._open.values())

    async def close(self, sandbox: Sandbox) -> None:
        """End it and throw it away. Never raises: what cannot be removed now is tried again by the replicator."""
        if not self.is_open(sandbox):
            return
        try:
            await self.stop(sandbox)
        except HybridError as error:
            self.log.error("{name} cannot be stopped: {error}", name=sandbox.name, error=str(error))
        await self._machine.give_back(sandbox.name)
        self._open.pop(int(sandbox.name.rpartition("-")[2]), None)

    def _container(self, spec: SiteSpec, sandbox: Sandbox, root: str, environment: dict[str, str]) -> ContainerSpec:
        return ContainerSpec(
            site=sandbox.name,
            hostname=spec.name,
            root=root,
            id_base=id_base(spec, self._settings),
            address=sandbox.address,
            prefix=IPv4Network(self._settings.subnet).prefixlen,
            gateway="",
            network=bool(sandbox.address),
            init=spec.init,
            environment={**spec.environment, "HYBRID_SITE": spec.name, **environment},
            memory_bytes=spec.memory_bytes,
            cpus=spec.cpus,
            pids=spec.pids,
        )
