"""
Replication beside raw ZFS and syncoid: `make bench AREA=replication`, which writes `build/bench-replication.json`.

Two nodes in processes of their own, with real pools and mutual TLS on loopback. Everything is compared in one run, in
turns, and medians count. `SITES=100` in the environment makes it smaller, `SITES=5000 LARGE_GB=10 FILES=1000000` as
large as it is meant to be (an hour), `ONLY=stream,cycle` does a part. What cannot be measured has `ok: null` and says
why.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.bench import histories, large
from tests.bench.stage import SITES, Machine, Stage, site_name, stage

COUNT = int(os.environ.get("SITES", "1000"))
STREAM_MB = int(os.environ.get("STREAM_MB", "400"))
ROUNDS = int(os.environ.get("ROUNDS", "3"))
IDLE_S = 60.0
SETTLED_S = 25.0
SYNCOID_SITES = 10
FRESH = 6
"""The number of the first site that no other case has filled or rolled back."""
SLOW_MB, SLOW_BYTES_PER_S = 40, 4_000_000
LARGE_MB = int(os.environ.get("LARGE_MB", "400"))
REST_S = 8.0
Row = dict[str, Any]


def row(
    case: str,
    unit: str,
    ours: float | None,
    peer: float | None = None,
    peer_name: str | None = None,
    target: float | None = None,
    reason: str = "",
    *,
    more_is_better: bool = False,
) -> Row:
    """One line of the file: the target is of the ratio where there is a peer, else of our own figure."""
    ratio = None if peer is None or not ours else (ours / peer if more_is_better else peer / ours)
    judged = ours if peer_name is None else ratio
    good = None if target is None or judged is None else judged >= target if peer_name else judged <= target
    return {
        "case": case,
        "unit": unit,
        "ours": None if ours is None else round(ours, 4),
        "peer": None if peer is None else round(peer, 4),
        "peer_name": peer_name,
        "ratio": None if ratio is None else round(ratio, 3),
        "target": target,
        "ok": good,
        "reason": reason or ("" if good is not None else "no target is stated for it"),
    }


# ------------------------------------------------------------------------------------------------ a large stream


def stream(where: Stage) -> list[Row]:
    """The same increments, in turns through the nodes and through a pipe of `zfs send` and `zfs receive`."""
    a, b, site = where.a, where.b, site_name(0)
    live, data = mounted(a, site), STREAM_MB * 1024 * 1024
    base = a.order("snapshot", site=site)["name"]
    a.order("push", site=site)
    source, target = f"{a.pool}/{SITES}/{site}", f"{b.pool}/hybrid/trash/raw"
    piped(a, b, f"{source}@{base}", target)
    ours, raw, work = [], [], []
    for _ in range(ROUNDS):
        a.run("dd", "if=/dev/urandom", f"of={live}/data", "bs=1M", f"count={STREAM_MB}", "conv=fsync", "status=none")
        newer = a.order("snapshot", site=site)["name"]
        idle_s = spent_s(where)
        raw.append(data / piped(a, b, f"-i {source}@{base} {source}@{newer}", target) / 1e6)
        raw_s = spent_s(where)
        ours.append(data / a.order("push", site=site)["seconds"] / 1e6)
        work.append((1e9 * (spent_s(where) - raw_s) / data, 1e9 * (raw_s - idle_s) / data))
        base = newer
    case = f"one stream of {STREAM_MB} MB to the other node"
    name = "zfs send | zfs receive"
    here, there = statistics.median(ours), statistics.median(raw)
    told = "CPU ms per MB: {:.1f}, raw {:.1f}".format(*(statistics.median(one) for one in zip(*work, strict=True)))
    return [row(case, "MB/s", here, there, name, 0.9, told, more_is_better=True)]


# --------------------------------------------------------------------------------------------------- a slow line


def slow(where: Stage) -> list[Row]:
    """Text over a line of 4 MB/s, in turns compressed on the way and not."""
    a, site = where.a, site_name(5)
    live, took = mounted(a, site), dict[bool, list[float]](((True, []), (False, [])))
    a.order("snapshot", site=site)
    a.order("push", site=site)
    for number in range(ROUNDS):
        for squeeze in took:
            a.run(sys.executable, "-c", _TEXT, f"{live}/text-{number}{squeeze}", str(SLOW_MB * 1024 * 1024))
            a.order("snapshot", site=site)
            a.order("line", bytes_per_s=SLOW_BYTES_PER_S, squeeze=squeeze)
            took[squeeze].append(float(a.order("push", site=site)["seconds"]))
    a.order("line", bytes_per_s=0, squeeze=False)
    case = f"{SLOW_MB} MB of text over a line of {SLOW_BYTES_PER_S / 1e6:g} MB/s, compressed"
    return [row(case, "s", statistics.median(took[True]), statistics.median(took[False]), "the same, not compressed")]


_TEXT = """
import os, pathlib, sys
left, sources = int(sys.argv[2]), sorted(pathlib.Path(os.__file__).parent.glob("*.py"))
with open(sys.argv[1], "wb") as file:
    while left:
        for source in sources:
            left -= file.write(source.read_bytes()[:left])
    os.fsync(file.fileno())
"""
"""Sources of Python, again and again: some megabytes come before the first of them comes a second time."""


def spent_s(where: Stage) -> float:
    """Seconds of processor of everything that moves bytes, so far."""
    mine = os.times()
    return where.a.cpu_s() + where.b.cpu_s() + mine.children_user + mine.children_system


def piped(a: Machine, b: Machine, what: str, target: str) -> float:
    """Seconds that raw ZFS takes from one pool to the other."""
    send = " ".join([*a.host.prefix, "zfs", "send", what])
    receive = " ".join([*b.host.prefix, "zfs", "receive", "-u", target])
    began_s = time.monotonic()
    subprocess.run(["bash", "-o", "pipefail", "-c", f"{send} | {receive}"], check=True, timeout=3600)
    return time.monotonic() - began_s


def mounted(machine: Machine, site: str) -> str:
    """Mount a site, if it is not; where."""
    path, dataset = machine.host.where / "live" / machine.pool / site, f"{machine.pool}/{SITES}/{site}"
    if machine.run("zfs", "get", "-H", "-o", "value", "mounted", dataset).strip() != "yes":
        path.mkdir(parents=True, exist_ok=True)
        machine.script([f"zfs set mountpoint={path} {dataset}", f"zfs mount {dataset} || zfs mount | grep -q {path}"])
    return str(path)


# ------------------------------------------------------------------------------------------- a thousand datasets


def cycle(where: Stage) -> list[Row]:
    """A tenth of all sites changes; how much work until all of it is on the other node; and work where nothing does."""
    a, sites = where.a, [site_name(number) for number in range(COUNT)]
    busy = sites[FRESH : FRESH + max(1, COUNT // 10)]
    paths = [mounted(a, site) for site in busy]
    a.order("own", sites=sites)
    change(where, paths, 0)
    works, receivers, waits = [], [], []
    for number in range(1, ROUNDS + 1):
        a_cpu_s, b_cpu_s = a.cpu_s(), where.b.cpu_s()
        waits.append(change(where, paths, number))
        works.append(a.cpu_s() - a_cpu_s)
        receivers.append(where.b.cpu_s() - b_cpu_s)
    what = f"{COUNT} datasets, {len(busy)} of them changed"
    told = "with the storage daemon" if where.fuse else "without the kernel's threads"
    return [
        row(f"{what}: work of the owner", "CPU s per 30 s", statistics.median(works), None, None, 10.0, told),
        row(f"{what}: work of the other node", "CPU s per 30 s", statistics.median(receivers), None, None, 10.0, told),
        row(f"{what}: until all is on the other node", "s", statistics.median(waits), None, None, 30.0),
        *syncoid(where, busy[:SYNCOID_SITES]),
        idle(where),
        restart(where),
    ]


def change(where: Stage, paths: list[str], number: int) -> float:
    """Write to each site; seconds from the last write until the other node has them all."""
    where.a.tell("expect", count=len(paths))
    where.a.script([f"echo {number}{'x' * 4000} > {path}/page" for path in paths])
    began_s = time.monotonic()
    where.a.heard()
    return time.monotonic() - began_s


def idle(where: Stage) -> Row:
    """Nothing changes, and all that follows from changes is over."""
    where.a.order("rest")
    time.sleep(SETTLED_S)
    began_s, before_s = time.monotonic(), where.a.cpu_s()
    time.sleep(IDLE_S)
    percent = 100 * (where.a.cpu_s() - before_s) / (time.monotonic() - began_s)
    return row(f"{COUNT} datasets, nothing changes", "% of a core", percent, None, None, 1.0)


def restart(where: Stage) -> Row:
    """The process is killed and started again."""
    where.a.stop()
    where.a.start()
    told = "killed; histories are read from the node's database, and the rest from the pool"
    came_up_s = float(where.a.introduced["came_up_s"])
    return row(
        f"{COUNT} datasets: from the start of the process until it answers", "s", came_up_s, None, None, None, told
    )


def writes(where: Stage) -> list[Row]:
    """A large stream comes in: how long small synchronous writes of a site there take meanwhile, and at rest."""
    a, b, site = where.a, where.b, site_name(2)
    b.order("gentle", on=True)
    b.run("zfs", "set", "readonly=off", f"{b.pool}/{SITES}/{site_name(1)}")
    page, live = f"{mounted(b, site_name(1))}/page", mounted(a, site)
    source, target = f"{a.pool}/{SITES}/{site}", f"{b.pool}/hybrid/trash/raw-large"
    base = a.order("snapshot", site=site)["name"]
    a.order("push", site=site)
    piped(a, b, f"{source}@{base}", target)
    ours, raw, speeds = [], [], []
    for _ in range(ROUNDS):
        a.run("dd", "if=/dev/urandom", f"of={live}/data", "bs=1M", f"count={LARGE_MB}", "conv=fsync", "status=none")
        newer = a.order("snapshot", site=site)["name"]
        with Writer(b, page) as rest:
            time.sleep(REST_S)
        with Writer(b, page) as beside_raw:
            piped(a, b, f"-i {source}@{base} {source}@{newer}", target)
        time.sleep(REST_S)
        with Writer(b, page) as beside_ours:
            speeds.append(LARGE_MB * 1.048576 / float(a.order("push", site=site)["seconds"]))
        ours.append(beside_ours.p95_ms / rest.p95_ms)
        raw.append(beside_raw.p95_ms / rest.p95_ms)
        base = newer
    b.order("gentle", on=False)
    case = "a large stream comes in: writes of a site there, p95"
    told = f"at {statistics.median(speeds):.1f} MB/s; the same from raw ZFS: {statistics.median(raw):.2f}"
    return [row(case, "times that at rest", statistics.median(ours), None, None, 2.0, told)]


def large_ones(where: Stage) -> list[Row]:
    """See `tests.bench.large`."""
    return large.measure(where, row, piped, mounted)


class Writer:
    """Writes 4 KiB and syncs, again and again, while the block lasts."""

    def __init__(self, machine: Machine, path: str) -> None:
        self._argv = [*machine.host.prefix, sys.executable, "-c", _WRITES, path]
        self.p95_ms = 0.0

    def __enter__(self) -> Writer:
        self._process = subprocess.Popen(self._argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        return self

    def __exit__(self, *_: object) -> None:
        written, _errors = self._process.communicate(timeout=60)
        self.p95_ms = float(written)


_WRITES = """
import os, select, sys, time
page, took = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY, 0o600), []
while not select.select([0], [], [], 0.01)[0]:
    began_s = time.perf_counter()
    os.pwrite(page, os.urandom(4096), 4096 * (len(took) % 64))
    os.fsync(page)
    took.append(time.perf_counter() - began_s)
print(1000 * sorted(took)[int(len(took) * 0.95)])
"""


def syncoid(where: Stage, sites: list[str]) -> list[Row]:
    """The same kind of change, in turns to the other node and by syncoid, from its snapshot on."""
    case, name, a, extra = (
        "a changed dataset, snapshotted: until it is on the other pool",
        "syncoid",
        where.a,
        "hybsyncoid",
    )
    rows = [row(case, "s", None, None, "zrepl", None, "zrepl is not in Debian, and needs OpenZFS")]
    if shutil.which(name) is None:
        return [*rows, row(case, "s", None, None, name, None, "not installed: apt install sanoid")]
    a.host.create_pool(extra, "2G")
    try:
        argv, ours, theirs = [name, "--no-sync-snap", "--quiet"], [], []
        for site in sites:
            dataset = f"{a.pool}/{SITES}/{site}"
            first = a.host.run(*argv, dataset, f"{extra}/{site}", check=False)
            if first.returncode != 0:
                return [*rows, row(case, "s", None, None, name, None, f"it fails: {first.stderr.decode()[:200]}")]
            a.script([f"echo {site} > {mounted(a, site)}/page"])
            ours.append(float(a.order("bring", site=site)["seconds"]))
            began_s = time.monotonic()
            a.host.run(*argv, dataset, f"{extra}/{site}")
            theirs.append(time.monotonic() - began_s)
        told = f"syncoid between two pools of one machine, without ssh; medians of {len(sites)}"
        return [*rows, row(case, "s", statistics.median(ours), statistics.median(theirs), name, 1.0, told)]
    finally:
        a.host.destroy_pool(extra)


def told(rows: list[Row]) -> list[Row]:
    """The same, printed at once: a run takes long."""
    for one in rows:
        mark = {True: "ok", False: "MISSED", None: ""}[one["ok"]] + " " + one["reason"]
        peer = f"{one['peer_name']} {one['peer']} ratio {one['ratio']}" if one["peer_name"] else ""
        print(f"{one['case']:70} {one['ours']} {one['unit']}  {peer}  {mark}", flush=True)
    return rows


def main() -> None:
    """Measure, and write it down."""
    only = os.environ.get("ONLY", "stream,slow,writes,large,cycle,index").split(",")
    rows: list[Row] = []
    cases: dict[str, Callable[[Stage], list[Row]]] = {
        "stream": stream,
        "slow": slow,
        "writes": writes,
        "large": large_ones,
        "cycle": cycle,
    }
    if any(case in only for case in cases):
        with stage(f"{16 + 3 * large.GB}G") as where:
            where.furnish(COUNT)
            where.begin()
            for case, measure in cases.items():
                if case in only:
                    rows += told(measure(where))
    if "index" in only:
        rows += told(histories.measure(row))
    path = Path("build/bench-replication.json")
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(rows, indent=2) + "\n")
    if any(one["ok"] is False for one in rows):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
