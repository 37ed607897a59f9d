"""Two nodes' front doors on loopback with one site behind one of them, and programs to use it with."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred
from twisted.internet.utils import getProcessOutputAndValue

from hybrid.cluster.certificates import new_key
from hybrid.cluster.founding import create_cluster
from hybrid.cluster.identity import Identity
from hybrid.model import Claim, NodeId, Port, SiteId, SiteSpec, Version
from hybrid.settings import Settings
from hybrid.view import NodeView, SiteState, SiteView, View
from hybrid_proxy.limits import Limits
from hybrid_proxy.service import FrontDoors, Reactor

reactor = cast(Reactor, global_reactor)
SHOP = SiteId("s-shop")
LIMITS = Limits(hold_s=10.0, drain_s=0.2)


def free_port() -> int:
    """A TCP port of loopback that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return cast(int, probe.getsockname()[1])


def wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    """Until something accepts on `port`; not longer than a minute."""
    until_s = time.monotonic() + 60
    while time.monotonic() < until_s and server.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(f"the server did not come up: {server.poll()}")


class Nodes:
    """
    The site `shop`, `shop.test`, of number 7, which runs on the first node or is on its way.

    Args:
        where: For keys.
        ports: Of the site; its container is loopback.
        shared: Settings of shared ports, the same on both nodes: clients go to the second, whose address is 127.0.0.2.
        keys: Who may log in by SSH.
    """

    def __init__(
        self, where: Path, ports: tuple[Port, ...], shared: Mapping[str, int], keys: tuple[str, ...] = ()
    ) -> None:
        self.ports, self.keys, self.run_dir = ports, keys, where / "run"
        first = create_cluster(where, "one", "127.0.0.1", time.time())
        key = new_key()
        issuers = first.admit(key.public_key(), time.time())
        second = Identity.begin(first.cluster, key, issuers, first.root, "two", "127.0.0.1", time.time())
        self.identities = (first, second)
        off: dict[str, Any] = {"mysql_port": 0, "postgres_port": 0, "ssh_port": 0}
        self.doors = [
            FrontDoors(
                reactor,
                Settings(
                    name=identity.name,
                    address=address,
                    http_port=0,
                    https_port=0,
                    interior_port=0,
                    run_dir=str(self.run_dir),
                    **{**off, **shared},
                ),
                identity,
                lambda served: None,
                address,
                LIMITS,
            )
            for identity, address in zip(self.identities, ("127.0.0.1", "127.0.0.2"), strict=True)
        ]
        for doors in self.doors:
            doors.startService()
        self.follow()

    def follow(self, state: SiteState = "serving", owner: int = 0, epoch: int = 1) -> None:
        """Tell both nodes of a view."""
        spec = SiteSpec(
            id=SHOP,
            version=Version(1, 1),
            name="shop",
            domains=("shop.test",),
            image="x@1",
            number=7,
            ports=self.ports,
            ssh_keys=self.keys,
        )
        nodes = {identity.node: self._node(number) for number, identity in enumerate(self.identities)}
        holder = self.identities[owner].node
        for identity, doors in zip(self.identities, self.doors, strict=True):
            here = "127.0.0.1" if identity.node == holder and state == "serving" else None
            site = SiteView(spec=spec, state=state, owner=holder, claim=Claim(epoch, holder), upstream=here)
            doors.follow(View(me=identity.node, serial=1, zones=("test",), nodes=nodes, sites={SHOP: site}))

    def _node(self, number: int) -> NodeView:
        node: NodeId = self.identities[number].node
        port, address = self.doors[number].interior_port, f"127.0.0.{number + 1}"
        return NodeView(
            id=node, name=node, dc="a", address=address, cluster_port=1, interior_port=port, api_port=2, live=True
        )

    async def close(self) -> None:
        """End everything."""
        for doors in self.doors:
            await doors.stopService()


async def run(*argv: str, **environment: str) -> tuple[str, str, int]:
    """What a program says, what it complains of, and its status. It has two minutes and a half."""
    env = {**os.environ, **environment}
    running: Deferred[tuple[bytes, bytes, int]] = getProcessOutputAndValue(
        "timeout", ["150", *argv], env, reactor=global_reactor
    )
    out, complaint, status = await running
    return out.decode(), complaint.decode(), status
