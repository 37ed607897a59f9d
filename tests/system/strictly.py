"""For the tests of strict sites on real nodes: etcd in the lab's network, and writers beside every container."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hybrid.lab.cluster import PATIENCE_S, Lab
from hybrid.lab.network import NETNS, Network
from hybrid.lab.node import Node
from hybrid.lab.processes import tree
from tests.strict.members import CLIENT_PORT, Member

MEMBERS = ("e1", "e2", "e3")
SITE = "bank"
_WRITER = """
import http.client, sys, time
address, name = sys.argv[1:]
number = 0
while True:
    number += 1
    sent_s = time.monotonic()
    try:
        connection = http.client.HTTPConnection(address, 80, timeout=1.0)
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        connection.request("POST", "/append", f"id={name}-{sent_s:.3f}-{number}&text=x", headers)
        answer = connection.getresponse().read().decode()
        if answer.startswith("ok "):
            print(sent_s, time.monotonic(), flush=True)
        connection.close()
    except (OSError, http.client.HTTPException):
        pass
    time.sleep(0.1)
"""


def settings(network: Network, failsafe: bool = True) -> str:
    """What is in each node's settings."""
    endpoints = ", ".join(f'"http://{network.address(name)}:{CLIENT_PORT}"' for name in MEMBERS)
    return f"\n[strict]\nendpoints = [{endpoints}]\nfailsafe = {str(failsafe).lower()}\n"


class Members:
    """Three members, each in a network namespace of the lab."""

    def __init__(self, lab: Lab) -> None:
        self.by_name = {
            name: Member(
                name,
                lab.base / name,
                lab.network.address(name),
                prefix=("nsenter", f"--net={NETNS / lab.network.namespace(name)}"),
            )
            for name in MEMBERS
        }

    def start(self) -> None:
        """All of them, with what they had."""
        for member in self.by_name.values():
            member.start(list(self.by_name.values()))
        for member in self.by_name.values():
            member.wait_until_healthy(PATIENCE_S)

    def kill(self) -> None:
        """All of them."""
        for member in self.by_name.values():
            member.kill()

    def leader(self) -> str:
        """The name of the one that leads."""
        end_s = time.monotonic() + 30
        while time.monotonic() < end_s:
            for name, member in self.by_name.items():
                if member.leads():
                    return name
            time.sleep(0.2)
        raise AssertionError("etcd has no leader")


@dataclass(frozen=True)
class Ack:
    """A write that the container on `node` acknowledged. Both moments by the one monotonic clock of this machine."""

    node: str
    sent_s: float
    acked_s: float


class Acks:
    """What writers beside the containers were told: each speaks to its own node's container, past all proxies."""

    def __init__(self, logs: Mapping[str, Path]) -> None:
        self._logs = dict(logs)

    def all(self) -> list[Ack]:
        """So far, in the order in which they were sent."""
        found = []
        for node, path in self._logs.items():
            for line in path.read_text().splitlines():
                sent_s, acked_s = line.split()
                found.append(Ack(node, float(sent_s), float(acked_s)))
        return sorted(found, key=lambda ack: ack.sent_s)

    def of(self, node: str, since_s: float = 0.0) -> list[Ack]:
        """Those of one node's container, acknowledged after `since_s`."""
        return [ack for ack in self.all() if ack.node == node and ack.acked_s > since_s]

    def overlap_s(self) -> float:
        """For how long two containers accepted writes at the same time; at most 0 when never."""
        acks = self.all()
        last = {node: float("-inf") for node in self._logs}
        worst_s = float("-inf")
        for ack in acks:
            worst_s = max(worst_s, *(last[node] - ack.sent_s for node in last if node != ack.node))
            last[ack.node] = max(last[ack.node], ack.acked_s)
        return max(worst_s, 0.0)


def address_of(lab: Lab) -> str:
    """The address of the site's container, the same on every node."""
    node = lab.nodes[owner(lab)]
    config = next((node.state_dir / "containers").glob("*/config")).read_text()
    line = next(line for line in config.splitlines() if line.startswith("lxc.net.0.ipv4.address"))
    return line.split("=")[1].split("/")[0].strip()


@contextmanager
def writing(lab: Lab, folder: Path) -> Iterator[Acks]:
    """Write to the container of every node, while the block runs."""
    address, writers, logs = address_of(lab), [], {}
    try:
        for name in lab.nodes:
            logs[name] = folder / f"acks-{name}-{time.monotonic_ns()}"
            inside = ["nsenter", f"--net={NETNS / lab.network.namespace(name)}"]
            argv = ["setpriv", "--pdeathsig", "KILL", *inside, sys.executable, "-c", _WRITER, address, name]
            with logs[name].open("wb") as log:
                writers.append(subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log))
        yield Acks(logs)
    finally:
        for writer in writers:
            writer.kill()
            writer.wait(10)


def owner(lab: Lab, through: str = "") -> str:
    """Who owns the site, as `through` (or any node) sees it; empty for nobody."""
    api = lab.api(through) if through else lab.any_api()
    return str(api.site(SITE)["owner"] or "")


def settled(lab: Lab) -> bool:
    """Whether all nodes name one owner, it serves, and both copies are there."""
    seen = [lab.api(name).site(SITE) for name in lab.nodes]
    return all(one["state"] == "serving" and one["safe_copies"] == 2 for one in seen) and (
        len({one["claim"] for one in seen}) == 1
    )


def signal_part(node: Node, pids: Sequence[int], number: signal.Signals) -> None:
    """Send a signal to some processes of a node; those that went meanwhile need none."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def all_but_guardian(node: Node) -> list[int]:
    """Every process of the node, containers too, but the one that stands for what no hang of the others can stop."""
    spared = set(node.pids("guardian"))
    assert spared, "the guardian does not run"
    return [pid for pid in tree(node.init or 0) if pid not in spared]
