"""
How many idle sites fit on a node, beside plain LXC: `make bench AREA=density SITES=200`.

One real node of a lab, with storage daemon, front doors and name server; so many static sites on it, that nobody asks
for anything. Memory is counted as PSS, so that what processes share is counted once; processor time is that of all
processes of the node, containers included. The peer has the same root file system and init in as many containers,
started by `lxc-start` from the shortest configuration that works.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hybrid.lab.cluster import PATIENCE_S, Lab
from hybrid.lab.processes import tree

IMAGES = Path(os.environ.get("HYBRID_IMAGES", "/var/cache/hybrid/images"))
IMAGE = "static"
WATCH_S = 30.0
SETTLE_S = 20.0
MIB = 2**20
TICKS = os.sysconf("SC_CLK_TCK")
CONFIG = """\
lxc.rootfs.path = dir:{root}
lxc.uts.name = {name}
lxc.net.0.type = empty
lxc.mount.auto = proc:mixed
lxc.init.cmd = /sbin/hybrid-init
"""


@dataclass(frozen=True)
class Taken:
    """By a set of processes."""

    memory_bytes: int
    cpu: float
    """Seconds of processor time in a second."""


def pss_bytes(pids: Iterable[int]) -> int:
    """Memory of these processes; what several processes share counts once in all."""
    total = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return total


def cpu_s(pids: Iterable[int]) -> float:
    """Processor time of these processes, and of their children that ended."""
    total = 0
    for pid in pids:
        try:
            words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += sum(int(word) for word in words[11:15])
    return total / TICKS


def watched(roots: Iterable[int]) -> Taken:
    """What these and all below them take, over a while."""
    roots = list(roots)

    def pids() -> list[int]:
        return [pid for root in roots for pid in tree(root)]

    begin_s, begin = time.monotonic(), cpu_s(pids())
    time.sleep(WATCH_S)
    used = cpu_s(pids()) - begin
    return Taken(pss_bytes(pids()), used / (time.monotonic() - begin_s))


def ours(count: int) -> tuple[Taken, Taken]:
    """A node without sites, and with so many."""
    with Lab(nodes=1, image_dir=IMAGES, say=say) as lab:
        lab.up()
        api, init = lab.api("n1"), lab.first.init
        assert init is not None
        api.perform("/images?node=n1", {"name": IMAGE}, PATIENCE_S)
        time.sleep(SETTLE_S)
        empty = watched([init])

        def create(number: int) -> None:
            api.perform("/sites", {"name": f"site{number}", "image": IMAGE, "node": "n1"}, PATIENCE_S)

        begin_s = time.monotonic()
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(create, range(count)))
        lab.wait(lambda: served(api.items("/sites")) == count, "all sites are served", PATIENCE_S)
        say(f"{count} sites made in {time.monotonic() - begin_s:.0f} s")
        time.sleep(2 * SETTLE_S)
        return empty, watched([init])


def served(sites: list[dict[str, object]]) -> int:
    """How many are."""
    return sum(site["state"] == "serving" for site in sites)


@contextmanager
def containers(count: int, folder: Path) -> Iterator[list[int]]:
    """So many containers of plain LXC; their monitors."""
    root, home = folder / "root", folder / "lxc"
    with tarfile.open(IMAGES / f"{IMAGE}.tar") as archive:
        archive.extractall(root)
    names = [f"hybdensity{os.getpid()}-{number}" for number in range(count)]
    for name in names:
        (home / name).mkdir(parents=True)
        (home / name / "config").write_text(CONFIG.format(root=root, name=name))
    monitors: list[subprocess.Popen[bytes]] = []
    try:
        for name in names:
            command = ["lxc-start", "-P", str(home), "-n", name, "-F"]
            null = subprocess.DEVNULL
            monitors.append(subprocess.Popen(command, stdin=null, stdout=null, stderr=null, start_new_session=True))
        time.sleep(SETTLE_S)
        alive = [monitor.pid for monitor in monitors if monitor.poll() is None]
        if len(alive) < count:
            raise SystemExit(f"only {len(alive)} of {count} containers of plain LXC run")
        yield alive
    finally:
        for name in names:
            subprocess.run(["lxc-stop", "-P", str(home), "-n", name, "-k"], capture_output=True, check=False)
        for monitor in monitors:
            monitor.wait(20.0)


def theirs(count: int) -> Taken:
    """As many containers of plain LXC."""
    folder = Path(tempfile.mkdtemp(prefix="hybrid-density-", dir="/var/tmp"))
    try:
        with containers(count, folder) as monitors:
            return watched(monitors)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def rows(count: int, empty: Taken, full: Taken, peer: Taken) -> list[dict[str, object]]:
    """As all benchmarks tell."""
    site, theirs_bytes = (full.memory_bytes - empty.memory_bytes) / count, peer.memory_bytes / count
    cores = len(os.sched_getaffinity(0))
    return [
        row(
            "memory of an idle static site",
            "MiB (PSS)",
            site / MIB,
            theirs_bytes / MIB,
            "<= 2 x lxc",
            site <= 2 * theirs_bytes,
        ),
        row(
            f"memory of a node with {count} sites, all its processes",
            "MiB (PSS)",
            full.memory_bytes / MIB,
            peer.memory_bytes / MIB,
            "<= 4096",
            full.memory_bytes <= 4096 * MIB,
        ),
        row("memory of a node without sites", "MiB (PSS)", empty.memory_bytes / MIB, None, "", True),
        row(
            f"processors in use with {count} idle sites",
            "% of the machine",
            100 * full.cpu / cores,
            100 * peer.cpu / cores,
            "< 5",
            full.cpu / cores < 0.05,
        ),
        row("processors in use without sites", "% of the machine", 100 * empty.cpu / cores, None, "", True),
    ]


def row(case: str, unit: str, ours_: float, peer: float | None, target: str, ok: bool) -> dict[str, object]:
    """One line."""
    return {
        "case": case,
        "unit": unit,
        "ours": round(ours_, 2),
        "peer": None if peer is None else round(peer, 2),
        "peer_name": "lxc-start" if peer is not None else "",
        "ratio": round(ours_ / peer, 2) if peer else None,
        "target": target,
        "ok": ok,
    }


def say(line: str) -> None:
    """Progress."""
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    """Measure, print, and write down."""
    if os.geteuid() != 0 or shutil.which("lxc-start") is None or not (IMAGES / f"{IMAGE}.tar").exists():
        say("needs root, lxc, and the image `static`: make images")
        return 1
    count = int(os.environ.get("SITES", "200"))
    peer = theirs(count)
    say(f"plain LXC: {peer.memory_bytes / MIB:.0f} MiB, {peer.cpu:.3f} cores")
    empty, full = ours(count)
    found = rows(count, empty, full, peer)
    for one in found:
        print(f"{one['case']:55} {one['ours']:>10} {one['peer']!s:>10} {one['unit']:18} {one['target']:12} {one['ok']}")
    path = Path("build/bench-density.json")
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(found, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
