"""A floating address on real interfaces, in network namespaces: taken, announced, given up. No nodes."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from hybrid.lab import claimed
from hybrid.lab.network import Network

pytestmark = pytest.mark.cluster

DEED = """
import sys
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from hybrid.hosting.interfaces import MachineInterfaces
from hybrid.settings import Floating

interfaces, one = MachineInterfaces(reactor), Floating(address=sys.argv[1], interface="e0", nodes=("n1",))
failed = []

async def work():
    for word in sys.argv[2:]:
        await getattr(interfaces, word)(one)

def ended(failure):
    if failure is not None:
        failed.append(failure.getErrorMessage())
    interfaces.close()
    reactor.stop()

reactor.callWhenRunning(lambda: Deferred.fromCoroutine(work()).addBoth(ended))
reactor.run()
sys.exit(failed[0] if failed else 0)
"""


@pytest.fixture
def network(lab_name: str) -> Network:
    """A switch with two servers and a visitor."""
    made = Network(lab_name, ["n1", "n2", "visitor"])
    with claimed.exclusive():
        made.build()
    return made


def inside(network: Network, node: str, *argv: str) -> str:
    """What a program says in the namespace of `node`. Fails with it."""
    command = ["ip", "netns", "exec", network.namespace(node), *argv]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def do(network: Network, node: str, address: str, *deeds: str) -> None:
    """Deeds of `MachineInterfaces` at `node`."""
    inside(network, node, sys.executable, "-c", DEED, address, *deeds)


def mac(network: Network, node: str) -> str:
    """Of the server's interface."""
    return inside(network, node, "cat", "/sys/class/net/e0/address").strip()


def neighbour(network: Network, address: str) -> str:
    """Where the visitor believes an address to be."""
    return inside(network, "visitor", "ip", "neigh", "show", address)


def until(holds: Callable[[], bool]) -> None:
    """Wait for it."""
    end_s = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end_s, "it did not happen"
        time.sleep(0.1)


@pytest.mark.parametrize("version", [4, 6])
def test_neighbours_go_to_the_node_that_has_it_now(network: Network, version: int) -> None:
    """Who knew the address at one node sends to the other as soon as that announces it; both deeds may be repeated."""
    plain = str(network.subnet[200]) if version == 4 else "2001:db8::10"
    address = f"{plain}/24" if version == 4 else f"{plain}/64"
    if version == 6:
        inside(network, "visitor", "ip", "addr", "add", "2001:db8::1/64", "dev", "e0", "nodad")
    family = "AF_INET" if version == 4 else "AF_INET6"
    ask = f"import socket; socket.socket(socket.{family}, socket.SOCK_DGRAM).sendto(b'x', ('{plain}', 9))"

    def is_at(node: str) -> bool:
        inside(network, "visitor", sys.executable, "-c", ask)
        return mac(network, node) in neighbour(network, plain)

    do(network, "n1", address, "add", "add", "announce")
    until(lambda: is_at("n1"))
    network.set_link("n1", up=False)

    def is_told() -> bool:
        do(network, "n2", address, "add", "announce")
        return mac(network, "n2") in neighbour(network, plain)

    until(is_told)
    do(network, "n2", address, "remove", "remove")
    assert plain not in inside(network, "n2", "ip", "addr", "show", "dev", "e0")
