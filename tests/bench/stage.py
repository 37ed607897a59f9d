"""Two machines' worth of ZFS with a replicating node on each, for `tests.bench.replication`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hybrid.cluster.certificates import new_key
from hybrid.cluster.founding import create_cluster
from hybrid.cluster.identity import Identity
from tests.conftest import ZfsHost, ZfsNamespace, lacking, own_folder

POOL = "hybbench"
SITES = "hybrid/sites"
PATIENCE_S = 1200.0


def site_name(number: int) -> str:
    """A site's id."""
    return f"s-{number:026d}"


class Machine:
    """A pool, and the node on it."""

    def __init__(self, host: ZfsHost, folder: Path, pool: str) -> None:
        self.host, self.folder, self.pool = host, folder, pool
        self.process: subprocess.Popen[bytes] | None = None
        self.introduced: dict[str, Any] = {}

    def run(self, *argv: str) -> str:
        """A command there; what it wrote."""
        return self.host.run(*argv).stdout.decode()

    def script(self, lines: Sequence[str]) -> None:
        """Many commands there, in one shell that stops at the first that fails."""
        argv = [*self.host.prefix, "sh", "-e"]
        subprocess.run(argv, input="\n".join(lines).encode(), check=True, capture_output=True, timeout=PATIENCE_S)

    def start(self) -> None:
        """Start the node."""
        argv = [*self.host.prefix, sys.executable, "-m", "tests.bench.replicating", str(self.folder), self.pool]
        paths = os.pathsep.join([os.getcwd(), os.environ.get("PYTHONPATH", "")])
        with (self.folder / "node.log").open("ab") as log:
            self.process = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, "PYTHONPATH": paths},
            )
        self.introduced = self._hear()

    def order(self, do: str, **more: object) -> dict[str, Any]:
        """Have the node do something, and wait for it."""
        self.tell(do, **more)
        return self._hear()

    def tell(self, do: str, **more: object) -> None:
        """Have it do something; `heard` waits for it."""
        assert self.process is not None and self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": do, **more}).encode() + b"\n")
        self.process.stdin.flush()

    def heard(self) -> dict[str, Any]:
        """What came of what was told."""
        return self._hear()

    def cpu_s(self) -> float:
        """Seconds of processor of the node, its commands, and its storage daemon where there is one, so far."""
        daemon = getattr(self.host, "daemon", None)
        spent_s = float(self.order("cpu")["seconds"])
        if daemon is not None:
            fields = Path(f"/proc/{daemon.pid}/stat").read_text().rpartition(")")[2].split()
            spent_s += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return spent_s

    def stop(self) -> None:
        """Kill the node, if it runs."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None

    def _hear(self) -> dict[str, Any]:
        assert self.process is not None and self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the node ended: see {self.folder}/node.log:\n" + self.log())
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"] + "\n" + self.log())
        return answer

    def log(self) -> str:
        """The end of what the node wrote."""
        return (self.folder / "node.log").read_text(errors="replace")[-3000:]


class Stage:
    """Machine `a` owns the sites, `b` holds copies."""

    def __init__(self, a: Machine, b: Machine) -> None:
        self.a, self.b = a, b
        self.fuse = bool(a.host.prefix)

    def furnish(self, count: int) -> list[str]:
        """`count` sites with a snapshot each, the same on both machines; their ids."""
        a, b, sites = self.a, self.b, [site_name(number) for number in range(count)]
        a.script([f"zfs create -o canmount=noauto {a.pool}/{SITES}/{site}" for site in sites])
        a.run("zfs", "snapshot", "-r", f"{a.pool}/{SITES}@hyb-000001-bench-0000001")  # of all in one go
        a.run("zfs", "destroy", f"{a.pool}/{SITES}@hyb-000001-bench-0000001")
        if self.fuse:  # the file of a pool can be copied whole: each daemon knows only its own
            image = a.host.where / f"{a.pool}.img"
            for machine in (a, b):
                machine.run("zpool", "export", machine.pool)
            subprocess.run(["cp", "--sparse=always", image, b.host.where / f"{b.pool}.img"], check=True)
            for machine in (a, b):
                machine.run("zpool", "import", "-d", str(machine.host.where), machine.pool)
        else:
            ends = [(f"{a.pool}/{SITES}/{site}@hyb-000001-bench-0000001", f"{b.pool}/{SITES}/{site}") for site in sites]
            b.script([f"zfs send {here} | zfs receive -u {there}" for here, there in ends])
        b.run("zfs", "set", "readonly=on", f"{b.pool}/hybrid")
        return sites

    def begin(self) -> None:
        """Start both nodes and introduce them."""
        for machine in (self.a, self.b):
            machine.start()
        for machine, other in ((self.a, self.b), (self.b, self.a)):
            machine.order("meet", **other.introduced)


def make_root(machine: Machine) -> None:
    """What `Pool.prepare` makes, mounted nowhere."""
    root = f"{machine.pool}/hybrid"
    machine.run("zfs", "create", "-o", "mountpoint=none", "-o", "canmount=off", "-o", "atime=off", root)
    for folder in ("images", "sites", "stash", "temporary", "trash"):
        machine.run("zfs", "create", "-o", "canmount=off", f"{root}/{folder}")


@contextmanager
def stage(size: str) -> Iterator[Stage]:
    """Two machines with pools of `size`, on OpenZFS where this machine has it, else on a zfs-fuse each."""
    hosts: list[ZfsHost] = []
    machines: list[Machine] = []
    try:
        for name in "ab":
            hosts.append(_host())
            pool = POOL if hosts[-1].prefix else POOL + name
            machines.append(Machine(hosts[-1], hosts[-1].where / name, pool))
            hosts[-1].create_pool(pool, size)
            make_root(machines[-1])
        now_s = time.time()
        first = create_cluster(machines[0].folder, "a", "127.0.0.1", now_s, "bench")
        key = new_key()
        Identity.begin(
            first.cluster, key, first.admit(key.public_key(), now_s), first.root, "b", "127.0.0.1", now_s
        ).save(machines[1].folder)
        yield Stage(*machines)
    finally:
        for machine in machines:
            machine.stop()
            machine.host.destroy_pool(machine.pool)
        for host in hosts:
            host.close()


def _host() -> ZfsHost:
    if Path("/dev/zfs").exists():
        return ZfsHost(own_folder())
    if lacking():
        raise SystemExit(f"there is no ZFS here: {lacking()}")
    namespace = ZfsNamespace(own_folder())
    namespace.start_daemon()
    return namespace
