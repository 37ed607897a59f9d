"""What the doctor sees and what it says of it. Pure; the words all its modules use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

Level = Literal["bad", "warn", "ok"]
LEVELS: tuple[Level, ...] = ("bad", "warn", "ok")


class Finding(NamedTuple):
    """
    One thing looked at.

    Attributes:
        level: `bad`: it will not work, or loses something; `warn`: it works worse, or not for long; `ok`.
        about: What was looked at, in a word or two.
        what: What was seen.
        why: Why that matters; empty for what is ok.
        try_: The command, or the deed, that mends it; empty likewise.
    """

    level: Level
    about: str
    what: str
    why: str = ""
    try_: str = ""


@dataclass(frozen=True, slots=True)
class Listening:
    """Somebody listens."""

    protocol: Literal["tcp", "udp"]
    port: int
    program: str
    """Its name; empty where it is not known."""
    ours: bool
    """It is a process of Hybrid."""


@dataclass(frozen=True, slots=True)
class Pool:
    """As `zpool list` tells."""

    health: str
    used_percent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """
    What this machine is like. `None`: it could not be found out.

    Attributes:
        cgroup: 2: the unified hierarchy; 1: the old ones; 0: none is mounted.
        zfs_module: The version of the kernel's ZFS, empty without one.
        zfs_fuse: zfs-fuse is installed.
        missing: Programs that a node runs and that are not there.
        files_limit: Descriptors that the node process may have, or a process started here.
        swaps: Devices and files that are swapped to.
        synchronised: The kernel says that its clock follows a better one.
        resolvers: Addresses in /etc/resolv.conf.
        certificate_left_s: Until this node's own certificate runs out.
        state_free: Bytes free where the state is.
    """

    root: bool
    member: bool
    node_runs: bool
    apparmor: bool
    cgroup: int
    zfs_module: str
    zfs_fuse: bool
    missing: tuple[str, ...]
    pool: Pool | None
    pool_trouble: str
    listening: tuple[Listening, ...]
    files_limit: int
    swaps: tuple[str, ...]
    synchronised: bool | None
    resolvers: tuple[str, ...]
    certificate_left_s: float | None
    state_free: int | None


def by_level(findings: list[Finding]) -> list[Finding]:
    """Worst first, else in the order in which things were looked at."""
    return sorted(findings, key=lambda one: LEVELS.index(one.level))
