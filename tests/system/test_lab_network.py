"""The lab itself: what it cuts is cut, what it kills is dead, and nothing of it stays on the machine."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hybrid.lab import claimed
from hybrid.lab.cgroups import found
from hybrid.lab.faults.nemesis import relayed
from hybrid.lab.leftovers import remove_leftovers
from hybrid.lab.network import NETNS, free_subnet
from hybrid.lab.node import Node
from hybrid.lab.processes import tree

pytestmark = pytest.mark.cluster
Nodes = dict[str, Node]


def get(address: str) -> str:
    """The body behind `address`, or nothing when it does not answer in a second."""
    try:
        connection = http.client.HTTPConnection(address, timeout=1)
        connection.request("GET", "/")
        return connection.getresponse().read().decode()
    except OSError:
        return ""


def hears(receiver: Node, sender: Node) -> bool:
    """Whether one datagram from `sender` arrives at `receiver`."""
    listen = (
        f"import socket; s=socket.socket(2,2); s.bind(('{receiver.address}',9999)); s.settimeout(1.5)\n"
        "print('ready', flush=True)\n"
        "try: s.recv(9); print('heard')\n"
        "except TimeoutError: print('silence')"
    )
    command = ["nsenter", "-t", str(receiver.init), "-n", sys.executable, "-c", listen]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as listener:
        assert listener.stdout is not None and listener.stdout.readline() == "ready\n"
        say = f"import socket; socket.socket(2,2).sendto(b'x',('{receiver.address}',9999))"
        for _ in range(2):
            sender.shell([sys.executable, "-c", say])
        return listener.stdout.readline() == "heard\n"


@pytest.fixture
def started_nodes(nodes: Nodes, serve: list[str]) -> Nodes:
    """Three nodes that answer HTTP with their name."""
    for node in nodes.values():
        node.start([*serve, node.address, node.name])
    for node in nodes.values():
        node.wait_until(lambda node=node: get(node.address) == node.name, "answering")  # type: ignore[misc]  # bound now
    return nodes


def test_a_node_far_away(started_nodes: Nodes) -> None:
    """A delayed line carries everything, late, in both directions; afterwards it is as before."""
    n1, _, n3 = started_nodes.values()
    with relayed(n1.network, n3, 0.1):
        begin_s = time.monotonic()
        assert get(n3.address) == "n3"
        assert time.monotonic() - begin_s >= 0.4
        assert hears(n1, n3) and hears(n3, n1)
    assert get(n3.address) == "n3"
    assert hears(n1, n3) and hears(n3, n1)


def test_cuts_and_heals(started_nodes: Nodes) -> None:
    """Cut apart they are deaf to each other, one way only one of them is; the machine reaches all; healed all hear."""
    n1, n2, n3 = started_nodes.values()
    network = n1.network
    assert hears(n1, n3) and hears(n3, n1)
    network.cut([["n1", "n2"], ["n3"]])
    assert (hears(n1, n3), hears(n3, n2), hears(n1, n2)) == (False, False, True)
    assert [get(node.address) for node in started_nodes.values()] == ["n1", "n2", "n3"]
    network.heal()
    network.cut_one_way("n1", "n2")
    network.cut_one_way("n1", "n2")
    assert (hears(n2, n1), hears(n3, n1)) == (False, True)
    network.heal()
    assert hears(n2, n1) and hears(n1, n3)


def test_losses_and_slow_lines(started_nodes: Nodes) -> None:
    """Frames get lost between nodes, not on the way to the machine; a line is as slow as asked; healed all is well."""
    n1, n2, _ = started_nodes.values()
    network = n1.network
    network.lose(100)
    assert not hears(n1, n2)
    assert [get(node.address) for node in started_nodes.values()] == ["n1", "n2", "n3"]
    network.lose(0)
    network.limit("n1", 500_000)
    slow_s = transfer_s(n1, n2, 400_000)
    network.heal()
    assert slow_s > 5.0 and transfer_s(n1, n2, 400_000) < slow_s
    assert hears(n1, n2)


def transfer_s(receiver: Node, sender: Node, size: int) -> float:
    """How long `size` bytes take over TCP."""
    listen = (
        f"import socket; s=socket.create_server(('{receiver.address}',9998)); print('ready', flush=True)\n"
        "c,_=s.accept(); print(sum(iter(lambda: len(c.recv(65536)), 0)))"
    )
    command = ["nsenter", "-t", str(receiver.init), "-n", sys.executable, "-c", listen]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as listener:
        assert listener.stdout is not None and listener.stdout.readline() == "ready\n"
        begin_s = time.monotonic()
        say = f"import socket; socket.create_connection(('{receiver.address}',9998)).sendall(bytes({size}))"
        sender.shell([sys.executable, "-c", say])
        assert listener.stdout.readline() == f"{size}\n"
        return time.monotonic() - begin_s


def test_a_power_cut_ends_everything_in_the_node(started_nodes: Nodes, serve: list[str]) -> None:
    """Also what made itself independent, also in namespaces of its own; afterwards the node starts again, clean."""
    n1 = started_nodes["n1"]
    detached = "setsid unshare --pid --fork --net sleep 1000 >/dev/null 2>&1 & sleep 0.3"
    n1.shell(["bash", "-c", f"{detached}; ip link add left type bridge; touch /run/hybrid/socket"])
    everything = tree(n1.init or 0)
    assert len(everything) >= 3
    n1.kill()
    assert not n1.alive() and not any(Path(f"/proc/{pid}").exists() for pid in everything)
    assert get(n1.address) == "" and get(started_nodes["n2"].address) == "n2"
    n1.start([*serve, n1.address, "again"])
    n1.wait_until(lambda: get(n1.address) == "again", "answering")
    assert n1.shell(["ls", "/run/hybrid"]).stdout == b""
    assert b"left" not in n1.shell(["ip", "link"]).stdout


def test_a_paused_node_is_silent_and_comes_back(started_nodes: Nodes) -> None:
    """A hung machine: connections are taken by the kernel, nothing answers; resumed it goes on."""
    n2 = started_nodes["n2"]
    n2.pause()
    assert get(n2.address) == "" and n2.alive()
    n2.resume()
    assert get(n2.address) == "n2"


def test_a_node_sees_its_own_machine(started_nodes: Nodes) -> None:
    """Own name, own processes, own interfaces in /sys, and the machine's control groups."""
    n3 = started_nodes["n3"]
    seen = n3.shell(
        ["bash", "-c", "hostname; ls /sys/class/net; ls /sys/fs/cgroup | wc -l; ps -e --no-headers | wc -l"]
    )
    hostname, *rest = seen.stdout.decode().split()
    assert hostname == "n3" and "e0" in rest and "eth0" not in rest
    assert int(rest[-2]) > 0 and int(rest[-1]) < 10


def test_a_node_that_cannot_start_says_why(nodes: Nodes) -> None:
    """The error carries the end of the node's own log."""
    n1 = nodes["n1"]
    n1.start(["bash", "-c", "echo no disk here >&2; exit 3"])
    with pytest.raises(Exception, match="no disk here"):
        n1.wait_until(lambda: False, "ready")


@pytest.mark.skipif(shutil.which("zfs-fuse") is None or not Path("/dev/fuse").exists(), reason="needs zfs-fuse")
@pytest.mark.zfs
def test_a_pool_survives_the_power_cut_of_its_node(nodes: Nodes) -> None:
    """Each node has its own storage daemon; what was on disk is there after the next start, unseen by others."""
    n1, n2 = nodes["n1"], nodes["n2"]
    for node in (n1, n2):
        node.start(["zfs-fuse", "-n"])
        node.wait_until(lambda node=node: node.shell(["zpool", "list"]).returncode == 0, "storage answers")  # type: ignore[misc]
    with n1.disk.open("wb") as disk:
        disk.truncate(128 * 1024 * 1024)
    assert n1.shell(["zpool", "create", "-m", "none", n1.pool, str(n1.disk)]).returncode == 0
    n1.shell(["bash", "-c", f"zfs snapshot {n1.pool}@kept && sync"])
    assert n1.pool.encode() not in n2.shell(["zpool", "list"]).stdout
    assert n1.pids("zfs-fuse") and n1.pids("zfs-fuse") != n2.pids("zfs-fuse")
    n1.kill()
    n1.start(["zfs-fuse", "-n"])
    kept = ["zfs", "list", "-t", "snapshot", f"{n1.pool}@kept"]
    n1.wait_until(lambda: n1.shell(kept).returncode == 0, "the snapshot is back")


LEAVER = """
import sys, time, os, pathlib
from hybrid.lab import claimed
from hybrid.lab.network import Network
from hybrid.lab.node import Node
name = claimed.claim_name()
network = Network(name, ["n1"])
with claimed.exclusive(): network.build()
node = Node(network, "n1", "dc", pathlib.Path(sys.argv[1]) / "n1")
claimed.note(name, "base_dir", sys.argv[1])
node.start(["sleep", "1000"])
node.wait_until(lambda: node.init is not None, "there")
for parent in sys.argv[2:]: (pathlib.Path(parent) / network.namespace("n1")).mkdir()
print(name, node.init, flush=True)
time.sleep(1000)
"""


def test_leftovers_of_a_killed_lab_are_removed(tmp_path: Path) -> None:
    """SIGKILL of the driver ends its nodes at once; the next run removes namespaces, links, control groups, folders."""
    base = tmp_path / "lab"
    base.mkdir()
    folders = [str(path) for path in Path("/sys/fs/cgroup").glob("pids")]
    program = [sys.executable, "-c", LEAVER, str(base), *folders]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as lab:
        assert lab.stdout is not None
        name, init = lab.stdout.readline().split()
        assert name not in claimed.dead_labs()
        os.kill(lab.pid, signal.SIGKILL)
        lab.wait()
    end_s = time.monotonic() + 5
    while Path(f"/proc/{init}").exists() and time.monotonic() < end_s:
        time.sleep(0.02)
    assert not Path(f"/proc/{init}").exists()
    assert name in claimed.dead_labs()
    assert name in remove_leftovers()
    assert not list(NETNS.glob(f"{name}*")) and not list(found(name)) and not base.exists()
    assert name not in {path.name for path in Path("/sys/class/net").iterdir()}
    assert remove_leftovers() == []


@pytest.mark.parametrize(
    ("addresses", "routes", "free"),
    [
        ("", "", "10.99.0.0/24"),
        ("2: eth0 inet 10.99.0.7/24 brd 10.99.0.255", "default via 10.99.1.1", "10.99.2.0/24"),
        ("", "10.0.0.0/8 via 192.0.2.1", "10.99.0.0/24"),
    ],
)
def test_a_subnet_the_machine_does_not_use(addresses: str, routes: str, free: str) -> None:
    """The demo never takes addresses away from the machine it runs on."""
    assert str(free_subnet(addresses, routes)) == free
