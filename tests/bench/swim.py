"""
Many processes that run nothing but the membership protocol, on real sealed UDP over loopback: what it costs, and how
fast a death is known. `python -m tests.bench.swim [NODES [WINDOW_S [KILLS]]]` prints what `measure` returns.

Children are forked, so that they share what is imported. Each writes to a pipe when it takes another one for dead, and
its counters when it gets SIGUSR1. Times are of the machine's monotonic clock, which all of them share.
"""

from __future__ import annotations

import json
import os
import random
import resource
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import msgspec
from twisted.internet.main import installReactor

from hybrid.cluster import keyring
from hybrid.cluster.answering import RequestHandler
from hybrid.cluster.envelope import Envelopes
from hybrid.cluster.membership import Membership
from hybrid.cluster.pulse import Pulse
from hybrid.cluster.udp import UdpDatagrams
from hybrid.errors import PeerError
from hybrid.model import NodeId
from hybrid.process import MonotonicReactor
from hybrid.settings import Timing

WINDOW_S = 30.0
KILLS = 5
MEET_S = 180.0
KNOWN_S = 90.0
LOOK_S = 0.1


class NoLinks:
    """There are no links here: every ping over one fails."""

    async def request(self, node: NodeId, message: msgspec.Struct, deadline_s: float = 10.0) -> msgspec.Struct:
        """See `hybrid.cluster.pulse.Links`."""
        raise PeerError("no link")

    def on_connected(self, callback: Callable[[NodeId], None]) -> None:
        """See `hybrid.cluster.pulse.Links`."""

    def on_lost(self, callback: Callable[[NodeId], None]) -> None:
        """See `hybrid.cluster.pulse.Links`."""

    def handle(self, kind: type[msgspec.Struct], handler: RequestHandler) -> None:
        """See `hybrid.cluster.pulse.Links`."""


def name(number: int) -> NodeId:
    """A node's id, as long as real ones are."""
    return NodeId(f"n-{number:016}")


# ------------------------------------------------------------------------------------------------------------ a node


def live(number: int, ports: Mapping[NodeId, int], pipe: int) -> None:
    """Be node `number` until this process is killed."""
    reactor, me = MonotonicReactor(), name(number)
    installReactor(reactor)
    ring = keyring.first(bytes(keyring.SECRET_BYTES), 0)
    places = {node: ("127.0.0.1", port) for node, port in ports.items()}
    datagrams = UdpDatagrams(
        reactor,  # type: ignore[arg-type]  # it is both
        Envelopes(me, 1, os.urandom(4), lambda: ring),
        lambda: places,
        "127.0.0.1",
        ports[me],
    )
    membership = Membership(me, 1, Timing(), reactor.seconds(), random.Random(number))
    for node in ports:
        membership.know(node, reactor.seconds())
    seen: set[frozenset[NodeId]] = {frozenset()}

    def tell(**said: object) -> None:
        os.write(pipe, json.dumps({"at_s": time.monotonic(), **said}).encode() + b"\n")

    def changed() -> None:
        now, before = membership.live(reactor.seconds()), seen.pop()
        seen.add(now)
        tell(live=len(now), dead=sorted(before - now))

    def report(*_: object) -> None:
        used = resource.getrusage(resource.RUSAGE_SELF)
        tell(cpu_s=used.ru_utime + used.ru_stime, sent=datagrams.sent_bytes, health=membership.health)

    signal.signal(signal.SIGUSR1, report)
    datagrams.startService()
    Pulse(reactor, membership, datagrams, NoLinks(), changed).startService()
    reactor.run(installSignalHandlers=False)


# ---------------------------------------------------------------------------------------------------- the experiment


@dataclass(slots=True)
class Child:
    """One process, as it is seen from outside."""

    number: int
    pid: int
    pipe: int
    rest: bytes = b""
    live: int = 1
    dead: dict[str, float] = field(default_factory=dict)
    """When it took whom for dead."""
    reports: list[dict[str, float]] = field(default_factory=list)

    def read(self) -> None:
        """What it wrote."""
        *lines, self.rest = (self.rest + os.read(self.pipe, 65536)).split(b"\n")
        for line in lines:
            said = json.loads(line)
            if "cpu_s" in said:
                self.reports.append(said)
                continue
            self.live = said["live"]
            self.dead.update(dict.fromkeys(said["dead"], said["at_s"]))


class Swarm:
    """The processes of one experiment."""

    def __init__(self, nodes: int) -> None:
        self._selector = selectors.DefaultSelector()
        ports = {name(number): port for number, port in enumerate(free_ports(nodes))}
        self.children: dict[int, Child] = {}
        for number in range(nodes):
            self.children[number] = self._fork(number, ports)

    def _fork(self, number: int, ports: Mapping[NodeId, int]) -> Child:
        reading, writing = os.pipe()
        pid = os.fork()
        if not pid:
            try:
                os.close(reading)
                live(number, ports, writing)
            finally:
                os._exit(1)
        os.close(writing)
        child = Child(number, pid, reading)
        self._selector.register(reading, selectors.EVENT_READ, child)
        return child

    def wait(self, most_s: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Listen to the children, until it is so or the time is over; whether it is so."""
        end_s = time.monotonic() + most_s
        while not until():
            left_s = end_s - time.monotonic()
            if left_s <= 0:
                return False
            for key, _ in self._selector.select(min(left_s, LOOK_S)):
                child: Child = key.data
                child.read()
        return True

    def report(self) -> None:
        """Have each child say what it used so far."""
        wanted = {child.number: len(child.reports) + 1 for child in self.children.values()}
        for child in self.children.values():
            os.kill(child.pid, signal.SIGUSR1)
        self.wait(20.0, lambda: all(len(child.reports) >= wanted[child.number] for child in self.children.values()))

    def kill(self, number: int) -> Child:
        """SIGKILL one, and reap it."""
        child = self.children.pop(number)
        os.kill(child.pid, signal.SIGKILL)
        os.waitpid(child.pid, 0)
        self._selector.unregister(child.pipe)
        os.close(child.pipe)
        return child

    def close(self) -> None:
        """End all of them."""
        for number in list(self.children):
            self.kill(number)
        self._selector.close()


def free_ports(count: int) -> list[int]:
    """So many UDP ports that nobody uses."""
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def measure(nodes: int = 100, window_s: float = WINDOW_S, kills: int = KILLS) -> dict[str, float]:
    """
    Start `nodes` processes, let them rest, kill some.

    Returns:
        `nodes`; `meet_s` until all saw all; `cpu_percent` of one core and `sent_bytes_per_s`, each per node at rest
        (mean); `known_p50_s` and `known_max_s`, from a kill until *every* node took it for dead; `first_p50_s`, until
        the first one did; `false_deaths`, of nodes that ran. Figures that could not be measured are missing.
    """
    began_s = time.monotonic()
    swarm = Swarm(nodes)
    figures: dict[str, float] = {"nodes": nodes}
    try:
        if swarm.wait(MEET_S, lambda: all(child.live == nodes for child in swarm.children.values())):
            figures["meet_s"] = time.monotonic() - began_s
        swarm.wait(window_s / 3)
        swarm.report()
        swarm.wait(window_s)
        swarm.report()
        pairs = [child.reports[-2:] for child in swarm.children.values()]
        lasted_s = [after["at_s"] - before["at_s"] for before, after in pairs]
        for key, field_, factor in (("cpu_percent", "cpu_s", 100.0), ("sent_bytes_per_s", "sent", 1.0)):
            rates = [(b[field_] - a[field_]) / s for (a, b), s in zip(pairs, lasted_s, strict=True)]
            figures[key] = factor * sum(rates) / nodes
        killed: set[str] = set()
        firsts_s, lasts_s = [], []
        for number in range(kills):
            victim = name(swarm.kill(number).number)
            killed.add(victim)
            at_s = time.monotonic()
            if swarm.wait(KNOWN_S, lambda victim=victim: all(victim in one.dead for one in swarm.children.values())):  # type: ignore[misc]
                known_s = sorted(one.dead[victim] - at_s for one in swarm.children.values())
                firsts_s.append(known_s[0])
                lasts_s.append(known_s[-1])
        if lasts_s:
            figures["first_p50_s"] = sorted(firsts_s)[len(firsts_s) // 2]
            figures["known_p50_s"] = sorted(lasts_s)[len(lasts_s) // 2]
            figures["known_max_s"] = max(lasts_s)
        figures["false_deaths"] = sum(len(one.dead.keys() - killed) for one in swarm.children.values())
        return figures
    finally:
        swarm.close()


def main(argv: list[str]) -> int:
    """Print what was measured."""
    nodes, window_s, kills = (*argv, *("100", str(WINDOW_S), str(KILLS))[len(argv) :])
    figures = measure(int(nodes), float(window_s), int(kills))
    print(json.dumps({key: round(value, 2) for key, value in figures.items()}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
