"""A whole cluster on this machine: network, nodes, pools; founded, joined, run and removed. Synchronous."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from hybrid.lab import claimed
from hybrid.lab.client import Api, ApiError
from hybrid.lab.command import LabError
from hybrid.lab.leftovers import remove_lab
from hybrid.lab.network import Network
from hybrid.lab.node import Node

ZONE = "hybrid.test"
PATIENCE_S = 180.0
"""For what takes seconds on an idle machine: a loaded one is slow, not wrong."""
POOL_BYTES = 4 * 1024**3
BASE = Path("/var/tmp/hybrid-lab")
SHARED_PORTS = """\
smtp_port = 25
submission_port = 587
submissions_port = 465
imap_port = 143
imaps_port = 993
pop3_port = 110
pop3s_port = 995
ftp_port = 21
ftps_port = 990
"""
"""Settings: nothing else listens in a node's namespace."""
HYBRID = [sys.executable, "-m", "hybrid.main"]
_PLACES = ("paris", "paris", "london", "london", "oslo", "oslo")


def places(nodes: int) -> list[str]:
    """The data centres of `n1`, `n2`, …: two of them where there are at least two nodes."""
    return ["paris", "london"] if nodes == 2 else [_PLACES[number % len(_PLACES)] for number in range(nodes)]


class Lab:
    """
    A cluster of `nodes` nodes.

    Use as a context: left, nothing of it is on the machine (but the folder, when `keep` is set).

    Args:
        nodes: 1 to 6.
        image_dir: Built images.
        base_dir: For disks and logs; default: a folder of this lab's own in `/var/tmp`.
        say: Told of progress, a line at a time.
        keep: Leave disks and logs.
        hosts: Further hosts on the network that are no nodes (members of an etcd …).
        settings: What else is in each node's settings file (TOML), once the network is there.
        bursting: The part of it about that: these nodes share one machine, and each takes all of its load for its own.
    """

    def __init__(
        self,
        nodes: int = 3,
        image_dir: Path = Path("/var/cache/hybrid/images"),
        base_dir: Path | None = None,
        say: Callable[[str], None] = lambda line: None,
        keep: bool = False,
        hosts: Sequence[str] = (),
        settings: Callable[[Network], str] = lambda network: "",
        bursting: str = "enabled = false",
    ) -> None:
        self._say, self._keep = say, keep
        self.name = claimed.claim_name()
        self.base = base_dir or BASE / self.name
        self.base.mkdir(parents=True, exist_ok=True)
        if not keep:
            claimed.note(self.name, "base_dir", str(self.base))
        names = [f"n{number}" for number in range(1, nodes + 1)]
        self.network = Network(self.name, [*names, *hosts])
        self._settings, self._bursting = settings, bursting
        self._image_dir = image_dir
        self._places = dict(zip(names, places(nodes), strict=True))
        self.nodes: dict[str, Node] = {}

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, *exception: object) -> None:
        self.tear_down()

    @property
    def first(self) -> Node:
        """The node that founded the cluster."""
        return self.nodes["n1"]

    def api(self, node: str) -> Api:
        """The API as `node` answers it."""
        return Api.from_credentials(self.first.state_dir / "admin.json", self.nodes[node].address)

    def live(self) -> list[Node]:
        """Nodes that run, by name."""
        return [node for node in self.nodes.values() if node.alive()]

    def any_api(self) -> Api:
        """The API of a node that runs. Raises `LabError` when there is none."""
        live = self.live()
        if not live:
            raise LabError("no node runs")
        return self.api(live[0].name)

    def up(self) -> None:
        """Build the network, found the cluster on n1, have the others join, and wait until all see each other."""
        with claimed.exclusive():
            self.network.build()
        for name, dc in self._places.items():
            self.nodes[name] = Node(self.network, name, dc, self.base / name, self._image_dir)
        for node in self.nodes.values():
            self._say(f"{node.name} in {node.dc}, {node.address}: " + ("founds" if node is self.first else "joins"))
            self._admit(node)
            with (node.state_dir / "hybrid.toml").open("a") as file:
                file.write(SHARED_PORTS + self._settings(self.network) + f"\n[bursting]\n{self._bursting}\n")
            self.start(node.name)
        self.wait(
            lambda: all(self.sees_all(node) for node in self.nodes.values()), "all nodes see each other", PATIENCE_S
        )

    def _admit(self, node: Node) -> None:
        """`hybrid init` on the first, `hybrid join` with a fresh token on every other node."""
        if node is self.first:
            node.run([*HYBRID, "init", "--zone", ZONE, *self.options(node)])
            return
        token = self.api("n1").call("POST", "/join-tokens", {})["token"]
        node.run([*HYBRID, "join", token, *self.options(node)])

    def options(self, node: Node) -> list[str]:
        """What `hybrid init` and `hybrid join` are told of a node."""
        options = ["--state-dir", str(node.state_dir), "--name", node.name, "--dc", node.dc]
        options += ["--address", node.address, "--pool", node.pool, "--create-pool", str(node.disk)]
        options += ["--pool-size", str(POOL_BYTES), "--cgroup", node.cgroup]
        return options if Path("/dev/zfs").exists() else [*options, "--zfs-daemon"]

    def start(self, name: str) -> None:
        """Boot a node and wait until its API answers. From the main thread (see `Node.start`)."""
        node = self.nodes[name]
        node.start([*HYBRID, "run", "--state-dir", str(node.state_dir)])
        node.wait_until(lambda: self._answers(node), "answering its API", PATIENCE_S)

    def _answers(self, node: Node) -> bool:
        try:
            self.api(node.name).call("GET", "/status", deadline_s=2.0)
        except (ApiError, OSError):
            return False
        return True

    def sees_all(self, node: Node) -> bool:
        """Whether `node` sees every node that runs."""
        try:
            seen = self.api(node.name).items("/nodes")
        except ApiError:
            return False
        return {entry["name"] for entry in seen if entry["state"] == "up"} == {live.name for live in self.live()}

    def deploy(self, name: str, image: str, node: str, **more: object) -> None:
        """Make a site on `node`, of which `more` is to be said, and wait until it answers; import its image first."""
        api = self.api(node)
        api.perform(f"/images?node={node}", {"name": image}, 300.0)
        api.perform("/sites", {"name": name, "image": image, "node": node, **more}, PATIENCE_S)
        self.wait(lambda: api.site(name)["state"] == "serving", f"{name} is serving", PATIENCE_S)

    def wait(self, ready: Callable[[], bool], what: str, deadline_s: float) -> float:
        """Poll `ready` five times a second (an `ApiError` means no). Returns the seconds. Raises `LabError`."""
        begin_s, why = time.monotonic(), ""
        while True:
            try:
                if ready():
                    return time.monotonic() - begin_s
            except ApiError as error:
                why = str(error)
            if time.monotonic() - begin_s > deadline_s:
                raise LabError(f"waited {deadline_s:.0f} s in vain until {what}", why, f"see the logs in {self.base}")
            time.sleep(0.2)

    def tear_down(self) -> None:
        """Stop the nodes and remove everything. Safe to repeat, also after half an `up`."""
        for node in self.nodes.values():
            node.kill()
            node.clean()
        remove_lab(self.name)
        if not self._keep:
            shutil.rmtree(self.base, ignore_errors=True)
