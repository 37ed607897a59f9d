"""
Reads what the kernel counts of containers and of the machine: `hybrid.cluster.loads.Gauge`. Does I/O.

Only files of cgroupfs and /proc, which are memory of the kernel; two or three small ones per container, and of very
many containers a part each time. What ZFS does for a container is not counted as the container's by either version of
control groups; the machine's own waiting for disks is.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from hybrid.cluster.loads import Counted, Machine
from hybrid.model import SiteId
from hybrid_containers.cgroups import ControlGroups

AT_ONCE = 200
"""Containers read each time: a few milliseconds."""
_TICKS = os.sysconf("SC_CLK_TCK")
_IDLE = (3, 4)
"""Columns of /proc/stat in which nothing was done: idle, iowait (proc(5))."""


class ProcGauge:
    """See `hybrid.cluster.loads.Gauge`."""

    def __init__(self, groups: ControlGroups, proc: Path = Path("/proc")) -> None:
        self._groups, self._proc = groups, proc
        self._next = 0

    def read(self) -> tuple[Machine, Mapping[SiteId, Counted]]:
        """See `hybrid.cluster.loads.Gauge`."""
        sites = self._groups.sites()
        first = self._next if self._next < len(sites) else 0
        self._next = first + AT_ONCE
        counted = {site: self._count(site) for site in sites[first : self._next]}
        return self._machine(), {site: one for site, one in counted.items() if one is not None}

    def _count(self, site: SiteId) -> Counted | None:
        cpu_s: float | None = None
        memory_bytes = io_bytes = 0
        for group in self._groups.payloads(site):
            if text := _read(group / "cpuacct.usage"):
                cpu_s = int(text) / 1e9
            elif text := _read(group / "cpu.stat"):
                usec = fields(text).get("usage_usec")
                cpu_s = usec / 1e6 if usec is not None else cpu_s
            if text := _read(group / "memory.stat"):
                known = fields(text)
                memory_bytes = known.get("total_rss", known.get("anon", 0))
            if text := _read(group / "blkio.throttle.io_service_bytes_recursive"):
                io_bytes = fields(text).get("Total", 0)
            elif text := _read(group / "io.stat"):
                io_bytes = moved(text)
        return None if cpu_s is None else Counted(cpu_s, memory_bytes, io_bytes)

    def _machine(self) -> Machine:
        memory = fields(_read(self._proc / "meminfo").replace(":", ""))
        return Machine(
            cores=float(len(os.sched_getaffinity(0))),
            memory_bytes=memory.get("MemTotal", 0) * 1024,
            busy_s=busy_s(_read(self._proc / "stat")),
            memory_stalled_s=stalled_s(_read(self._proc / "pressure" / "memory")),
            io_stalled_s=stalled_s(_read(self._proc / "pressure" / "io")),
        )


def fields(text: str) -> dict[str, int]:
    """Lines of a name and a number, and perhaps a unit; others are passed over."""
    words = [line.split() for line in text.splitlines()]
    return {line[0]: int(line[1]) for line in words if len(line) > 1 and line[1].isdigit()}


def moved(text: str) -> int:
    """Bytes read and written on all devices, in `io.stat` (cgroups(7), version 2)."""
    pairs = [word.partition("=") for word in text.split()]
    return sum(int(count) for name, _, count in pairs if name in ("rbytes", "wbytes") and count.isdigit())


def busy_s(stat: str) -> float | None:
    """Seconds of all processors in which something was done, in /proc/stat."""
    words = stat.partition("\n")[0].split()
    if len(words) < 9 or words[0] != "cpu":
        return None
    counts = [int(word) for word in words[1:9]]  # guests are counted as users already
    return sum(count for number, count in enumerate(counts) if number not in _IDLE) / _TICKS


def stalled_s(pressure: str) -> float | None:
    """Seconds in which something waited: `some … total=`, in microseconds; `None` where the kernel does not count."""
    first = pressure.partition("\n")[0]
    total = first.rpartition("total=")[2]
    return int(total) / 1e6 if first.startswith("some") and total.isdigit() else None


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, ValueError):  # no such file in this hierarchy, the group just went, or a kernel without it
        return ""
