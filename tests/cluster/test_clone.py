"""A cloned disk: whole cores with real links and datagrams on loopback, two of them with one key; disks in memory."""

from __future__ import annotations

import os
import random
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import maybeDeferred
from twisted.internet.task import deferLater

from hybrid.api.status import summarise
from hybrid.away.memory import MemoryObjects
from hybrid.cluster.envelope import Envelopes
from hybrid.cluster.founding import create_cluster
from hybrid.cluster.identity import Identity
from hybrid.cluster.peers import PeerLinks
from hybrid.cluster.sealing import KeySeals
from hybrid.cluster.udp import UdpDatagrams
from hybrid.core import Core
from hybrid.drivers import Drivers
from hybrid.settings import Settings
from hybrid.storage.memory import MemoryPool
from hybrid_containers.memory import MemoryContainers
from tests.node.cluster import NoFiles, Notes

LetIn = Callable[[Identity, str], Identity]


class Live:
    """A node on loopback, on a port of its own."""

    def __init__(self, name: str, identity: Identity, port: int, incarnation: int, knows: Live | None = None) -> None:
        """What it knows in the beginning is what `knows` does, as after joining there."""
        settings = Settings(name=name, address="127.0.0.1", cluster_port=port, state_dir="/state")
        notes, chance = Notes(), random.Random(name)
        if knows is not None:
            notes.keep_nodes(knows.core.known.nodes().values())
            notes.keep_shared(knows.core.shared.entries())
        self.core: Core
        self.links = PeerLinks(
            cast(Any, reactor), identity, settings, lambda: self.core.known.addresses(), chance.random
        )
        envelopes = Envelopes(identity.node, incarnation, os.urandom(4), lambda: self.core.presence.keys.ring())
        self.datagrams = UdpDatagrams(
            cast(Any, reactor), envelopes, lambda: self.core.known.addresses(), settings.address, port
        )
        drivers = Drivers(
            pool=MemoryPool(time.time, seed=name),
            containers=MemoryContainers(),
            links=self.links,
            datagrams=self.datagrams,
            entropy=os.urandom,
            files=NoFiles(),
            memory=notes,
            seals=KeySeals(identity.key),
            accepts=self._accepts,
            shift_owners=self._shift_owners,
            wall_s=time.time,
            random=chance,
            load=chance.random,
            objects=lambda store: MemoryObjects(),
            strict=None,
        )
        self.core = Core(cast(Any, reactor), settings, identity.node, incarnation, ("hybrid.test",), drivers)

    async def _accepts(self, address: str, port: int) -> bool:
        return True

    async def _shift_owners(self, path: str, id_base: int) -> int:
        return 0

    async def start(self) -> None:
        """Come to life."""
        await self.core.live()
        self.links.startService()
        self.datagrams.startService()

    async def stop(self) -> None:
        """End."""
        await self.core.die()
        for part in (self.links, self.datagrams):
            await maybeDeferred(part.stopService)

    @property
    def findings(self) -> str:
        """What its status complains of."""
        return "; ".join(summarise(self.core.outlook.view, 0.0).findings)


async def until(true: Callable[[], bool], what: str) -> None:
    """Let time pass until `true()`; two minutes are far more than it takes."""
    for _ in range(1200):
        if true():
            return
        await deferLater(reactor, 0.1)
    raise AssertionError(f"not so within two minutes: {what}")


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, for TCP and UDP."""
    found = []
    for _ in range(count):
        with socket.socket() as tcp:
            tcp.bind(("127.0.0.1", 0))
            found.append(tcp.getsockname()[1])
    return found


@pytest_twisted.ensureDeferred
async def test_both_notice_and_the_cluster_lives_on(tmp_path: Path, let_in: LetIn, now_s: float) -> None:
    """The original and the clone raise the alarm, one of them gives way, and every node shows it."""
    first = create_cluster(tmp_path, "n1", "127.0.0.1", now_s)
    second, third = let_in(first, "n2"), let_in(first, "n3")
    ports, start = free_ports(4), int(now_s)
    n1 = Live("n1", first, ports[0], start)
    lives = [n1]
    try:
        await n1.start()
        for name, identity, port in (("n2", second, ports[1]), ("n3", third, ports[2])):
            lives.append(Live(name, identity, port, start, n1))
            await lives[-1].start()
        original = lives[1]
        await until(
            lambda: all(len(live.core.outlook.view.nodes) == 3 for live in lives), "three nodes know each other"
        )
        clone = Live("n2", second, ports[3], start + 100, n1)
        lives.append(clone)
        await clone.start()
        await until(lambda: "claims no more sites" in original.findings, "the original knows, and gives way")
        await until(lambda: "this one goes on" in clone.findings, "the clone knows")
        await until(lambda: all("second node with" in live.findings for live in lives), "everybody shows it")
    finally:
        for live in lives:
            await live.stop()
