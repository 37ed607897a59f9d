"""
The control groups of this machine's containers, on version 1, 2 and both. Does I/O (cgroupfs only).

Control groups are the truth about what runs: they survive the control process, the LXC monitor and a dead file system,
and nothing in a container can leave its group. cgroupfs is memory of the kernel, so reading it does not block.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from twisted.logger import Logger

from hybrid.errors import ContainerError
from hybrid.model import SiteId
from hybrid_containers.addresses import is_site

Part = Literal["payload", "monitor"]
"""A container's own processes, and LXC's process that watches them."""


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """One mounted hierarchy."""

    base: Path
    """The group LXC puts its own below: that of process 1."""
    controllers: frozenset[str]
    version: Literal[1, 2]


def parse_hierarchies(mountinfo: str, groups_of_init: str) -> list[tuple[Hierarchy, Path]]:
    """
    The hierarchies in `/proc/self/mountinfo`, given `/proc/1/cgroup`; each with its mount point. Pure.

    A version 2 hierarchy comes without its controllers, which only its `cgroup.controllers` file tells.
    """
    of_init = {fields[1]: fields[2] for fields in (line.split(":", 2) for line in groups_of_init.splitlines())}
    found: dict[Path, Hierarchy] = {}
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        root, mounted = left.split()[3:5]
        kind, _, options = right.split(" ", 2)
        if kind not in ("cgroup", "cgroup2") or not mounted.startswith("/sys/fs/cgroup"):
            continue
        names = next((names for names in of_init if names and set(names.split(",")) <= set(options.split(","))), None)
        names = "" if kind == "cgroup2" else names
        if names is None or names not in of_init:
            continue
        within = os.path.relpath(of_init[names].removesuffix("/init.scope") or "/", root)
        base = Path(mounted) if within.startswith(".") else Path(mounted, within)
        found[Path(mounted)] = Hierarchy(base, frozenset(names.split(",")) - {""}, 2 if kind == "cgroup2" else 1)
    return [(hierarchy, mounted) for mounted, hierarchy in found.items()]


def hierarchies() -> list[Hierarchy]:
    """Those of this machine."""
    parsed = parse_hierarchies(Path("/proc/self/mountinfo").read_text(), Path("/proc/1/cgroup").read_text())
    return [
        hierarchy
        if hierarchy.version == 1
        else Hierarchy(hierarchy.base, frozenset((mounted / "cgroup.controllers").read_text().split()), 2)
        for hierarchy, mounted in parsed
    ]


class ControlGroups:
    """The groups `<parent>/<site>/{payload,monitor}` of all containers of this node, in every hierarchy."""

    log = Logger()

    def __init__(self, parent: str) -> None:
        self.parent = parent
        self._hierarchies = hierarchies()
        if not self._hierarchies:
            raise ContainerError(
                "no control groups below /sys/fs/cgroup", try_="mount them, or bind them into this namespace"
            )
        # LXC makes a container's group in every hierarchy; to list them all, one is enough
        self._first = max(self._hierarchies, key=lambda one: ("freezer" in one.controllers, one.version))

    @property
    def controllers_v1(self) -> frozenset[str]:
        """Controllers of version 1 hierarchies."""
        return frozenset[str]().union(*(one.controllers for one in self._hierarchies if one.version == 1))

    @property
    def controllers_v2(self) -> frozenset[str]:
        """Controllers of the version 2 hierarchy."""
        return frozenset[str]().union(*(one.controllers for one in self._hierarchies if one.version == 2))

    def running(self) -> dict[SiteId, Literal["running", "frozen"]]:
        """Every site with a process in its payload group, whether or not anything still watches it."""
        return {
            site: "frozen" if self.frozen(site) else "running"
            for site in self.sites()
            if any(
                _read(folder / "cgroup.procs").strip() for folder in _tree(self._first, self.parent, site, "payload")
            )
        }

    def sites(self) -> list[SiteId]:
        """Every site that has groups here, by id."""
        names = {path.name for path in _children(self._first.base / self.parent)}
        return [SiteId(name) for name in sorted(names) if is_site(name)]

    def payloads(self, site: SiteId) -> list[Path]:
        """The group of its processes in each hierarchy: what is counted there is of all groups below as well."""
        return [one.base / self.parent / site / "payload" for one in self._hierarchies]

    def processes(self, site: SiteId, part: Part) -> set[int]:
        """Process ids in that part of the container, as this process sees them."""
        found: set[int] = set()
        for folder in self._groups(site, part):
            found.update(int(pid) for pid in _read(folder / "cgroup.procs").split())
        return found - {0}

    def of(self, site: SiteId, process: int) -> list[str]:
        """The folders of the container's groups that `process` is in, one of each hierarchy where it is."""
        groups = self._groups(site, "payload")
        return [str(folder) for folder in groups if str(process) in _read(folder / "cgroup.procs").split()]

    def frozen(self, site: SiteId) -> bool:
        """Whether it is frozen, or on its way there."""
        for folder in self._groups(site, "payload"):
            if _read(folder / "freezer.state").strip() in ("FROZEN", "FREEZING"):
                return True
            if "frozen 1" in _read(folder / "cgroup.events"):
                return True
        return False

    def kill(self, site: SiteId, part: Part) -> None:
        """
        Send SIGKILL to everything in that part, then thaw it: what is frozen takes no signal, but takes this one first.

        Once is not enough on version 1, where a process may fork meanwhile: repeat until `processes` is empty.
        """
        for folder in self._groups(site, part):
            _write(folder / "cgroup.kill", "1")
        for pid in self.processes(site, part):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.thaw(site, part)

    def thaw(self, site: SiteId, part: Part = "payload") -> None:
        """Let it run again, without asking LXC."""
        for folder in self._groups(site, part):
            _write(folder / "freezer.state", "THAWED")
            _write(folder / "cgroup.freeze", "0")

    def freezers(self, site: SiteId) -> list[str]:
        """The groups that freeze the container, whether it runs now or not."""
        able = [one for one in self._hierarchies if one.version == 2 or "freezer" in one.controllers]
        return [str(one.base / self.parent / site / "payload") for one in able]

    def remove(self, site: SiteId) -> None:
        """Remove the empty groups; LXC refuses to start where a monitor's group is left."""
        self._remove(Path(self.parent, site))

    def remove_parent(self) -> None:
        """Remove the common group too, unless there are containers."""
        if not self.running():
            self._remove(Path(self.parent))

    def _remove(self, below: Path) -> None:
        for one in self._hierarchies:
            for folder, _, _ in os.walk(one.base / below, topdown=False):
                try:
                    os.rmdir(folder)
                except OSError as error:
                    self.log.debug("{folder} stays for now: {why}", folder=folder, why=error.strerror)

    def memory_bytes(self, site: SiteId) -> int:
        """What the container uses now, 0 where that is not known."""
        for folder in self._groups(site, "payload"):
            for name in ("memory.current", "memory.usage_in_bytes"):
                if (text := _read(folder / name).strip()).isdigit():
                    return int(text)
        return 0

    def _groups(self, site: SiteId, part: str) -> Iterator[Path]:
        """The part's group and all below it, in every hierarchy."""
        for one in self._hierarchies:
            yield from _tree(one, self.parent, site, part)


def _tree(hierarchy: Hierarchy, parent: str, site: SiteId, part: str) -> Iterator[Path]:
    for folder, _, _ in os.walk(hierarchy.base / parent / site / part):
        yield Path(folder)


def living(pids: set[int]) -> set[int]:
    """Those of `pids` that still do something: neither gone nor zombies (`/proc/[pid]/stat` of proc(5))."""
    states = {pid: _read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split() for pid in pids}
    return {pid for pid, fields in states.items() if fields and fields[0] not in "ZX"}


def _children(folder: Path) -> list[Path]:
    try:
        return [Path(entry.path) for entry in os.scandir(folder) if entry.is_dir()]
    except FileNotFoundError:
        return []


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # no such file in this hierarchy, or the group just went
        return ""


def _write(path: Path, text: str) -> None:
    """Write to a control file where there is one; a group that just went needs nothing."""
    if path.exists():
        try:
            path.write_text(text)
        except OSError:
            return
