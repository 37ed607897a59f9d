"""
What is done to the nodes, each with its undoing: contexts that put everything right when left. Synchronous.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from hybrid.lab.cluster import Lab
from hybrid.lab.command import run
from hybrid.lab.network import NETNS, Network, Pair, between
from hybrid.lab.node import Node, Part
from hybrid.lab.processes import send


@contextmanager
def powerless(lab: Lab, *nodes: Node) -> Iterator[None]:
    """
    Without power: everything in them ends at once. Left: they boot.

    After an exception they stay as they are: whoever goes on has to look what runs anyhow, and Ctrl-C shall be quick.
    """
    for node in nodes:
        node.kill()
    yield
    for node in nodes:
        lab.start(node.name)


@contextmanager
def deaf(network: Network, pairs: Iterable[Pair]) -> Iterator[None]:
    """Of each pair, the second does not hear the first."""
    cut = list(pairs)
    network.drop(cut)
    try:
        yield
    finally:
        network.pass_on(cut)


def apart(network: Network, *groups: Sequence[Node]) -> list[Pair]:
    """Every direction between nodes of different groups."""
    return between([[node.name for node in group] for group in groups])


def flapping(network: Network, pairs: Iterable[Pair], half_s: float, for_s: float) -> int:
    """Cut and healed in turn, each for `half_s`, for `for_s` in all. Returns the number of cuts."""
    cut, cuts, end_s = list(pairs), 0, time.monotonic() + for_s
    while time.monotonic() < end_s:
        with deaf(network, cut):
            time.sleep(half_s)
        time.sleep(half_s)
        cuts += 1
    return cuts


@contextmanager
def lossy(network: Network, percent: int) -> Iterator[None]:
    """So many of a hundred frames between nodes get lost."""
    network.lose(percent)
    try:
        yield
    finally:
        network.lose(0)


@contextmanager
def slow(network: Network, nodes: Sequence[Node], bits: int) -> Iterator[None]:
    """At most so many bits a second reach each of `nodes`."""
    try:
        for node in nodes:
            network.limit(node.name, bits)
        yield
    finally:
        for node in nodes:
            network.limit(node.name, None)


@contextmanager
def relayed(network: Network, node: Node, delay_s: float, flip_every: int = 0) -> Iterator[None]:
    """
    Every frame to and from `node` takes `delay_s` longer; of the large ones to it, one in `flip_every` is changed.

    A process stands between the node's port and the switch: this kernel has no netem.
    """
    port, inner, outer = f"p-{node.name}", f"r-{node.name}", f"q-{node.name}"
    inside = ("nsenter", f"--net={NETNS / network.switch}")
    argv = [*inside, sys.executable, "-m", "hybrid.lab.relay", port, inner, str(delay_s), str(flip_every)]
    run(*inside, "ip", "link", "add", outer, "type", "veth", "peer", "name", inner)
    relay = None
    try:
        run(*inside, "ip", "link", "set", inner, "up")
        relay = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *argv], stdout=subprocess.PIPE)
        assert relay.stdout is not None
        relay.stdout.readline()  # it listens
        run(*inside, "ip", "link", "set", port, "nomaster")
        run(*inside, "ip", "link", "set", outer, "master", "br0", "up")
        yield
    finally:
        run(*inside, "ip", "link", "set", outer, "nomaster")
        run(*inside, "ip", "link", "set", port, "master", "br0", "up")
        if relay is not None:
            relay.kill()
            relay.communicate()
        run(*inside, "ip", "link", "del", outer)


@contextmanager
def halted(node: Node, part: Part) -> Iterator[None]:
    """One part of a node is not scheduled any more, as on a hung disk or a machine that swaps. Left: it goes on."""
    pids = node.pids(part)
    send(pids, signal.SIGSTOP)
    try:
        yield
    finally:
        send(pids, signal.SIGCONT)


@contextmanager
def hung(node: Node) -> Iterator[None]:
    """A whole machine that hangs. Left: it goes on as if nothing had been."""
    node.pause()
    try:
        yield
    finally:
        node.resume()
