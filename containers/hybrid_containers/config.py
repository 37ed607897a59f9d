"""
What LXC is told about a container: `ContainerSpec` → the lines of its `config` file. Pure.

All but its `init`: `lxc.init.cmd` is cut at every space, so that is given as arguments of the start.

Unprivileged always, with its own id range; no capability that reaches beyond the container; limits for control groups
of version 1 and 2, whichever the machine has (`lxc.container.conf(5)`). Every value is checked: a line break
in a tenant's would be a line of configuration.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from hybrid.errors import ContainerError
from hybrid.ports import ContainerSpec
from hybrid_containers.addresses import RANGE, mac_of, veth_of

CPU_PERIOD_US = 100_000
CONSOLE_BYTES = 1024 * 1024
"""Of `console.log`; when it is full it becomes `console.log.1` and a new one is begun."""

DROPPED_CAPABILITIES = (
    # the machine itself
    "audit_control audit_read audit_write block_suspend mac_admin mac_override mknod sys_boot sys_module sys_rawio "
    "sys_time sys_tty_config syslog wake_alarm "
    # mounts, and with them most of the kernel's attack surface
    "sys_admin "
    # its address: without these a container can neither change it nor send with a forged one
    "net_admin net_raw"
)

DEVICES = ("c 1:3", "c 1:5", "c 1:7", "c 1:8", "c 1:9", "c 5:0", "c 5:1", "c 5:2", "c 136:*")
"""null zero full random urandom tty console ptmx pts/*: what a program may expect to find."""

MASKED = ("proc/kcore", "proc/keys", "proc/timer_list", "proc/latency_stats", "proc/sysrq-trigger")


@dataclass(frozen=True, slots=True)
class Machine:
    """What the machine offers to confine a container with."""

    v1: frozenset[str]
    """Controllers in control group hierarchies of version 1."""
    v2: frozenset[str]
    """Controllers of the version 2 hierarchy."""
    apparmor: bool = False
    seccomp: str | None = None
    """Path of the seccomp profile."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a container's things are on this node."""

    directory: str
    """Its private folder: `config`, `console.log`, `lxc.log`."""
    cgroup: str
    """Its control group below the base: `hybrid/<site>`, with the children `payload` and `monitor`."""
    pivot: str
    """Where a monitor that ends moves itself, outside of all containers' groups."""
    bridge: str


def config_lines(spec: ContainerSpec, machine: Machine, place: Place) -> list[str]:
    """
    The lines of `spec`'s configuration file.

    Raises:
        ContainerError: A value that cannot be written down safely (line break, NUL).
    """
    pairs = [
        *_identity(spec),
        *_files(spec, place),
        *_network(spec, place),
        *_confinement(machine),
        *_cgroups(place),
        *limits(spec, machine),
        *_process(spec, place),
    ]
    return [f"{key} = {_safe(key, value)}" for key, value in pairs]


def limits(spec: ContainerSpec, machine: Machine) -> list[tuple[str, str]]:
    """Memory, CPU, process and device limits, for the controllers the machine has."""
    quota_us = max(1000, round(spec.cpus * CPU_PERIOD_US))
    v1 = {
        "memory": [("memory.limit_in_bytes", str(spec.memory_bytes))],
        "cpu": [("cpu.cfs_period_us", str(CPU_PERIOD_US)), ("cpu.cfs_quota_us", str(quota_us))],
        "pids": [("pids.max", str(spec.pids))],
        "devices": [("devices.deny", "a"), *(("devices.allow", f"{device} rwm") for device in DEVICES)],
    }
    v2 = {
        "memory": [("memory.max", str(spec.memory_bytes))],
        "cpu": [("cpu.max", f"{quota_us} {CPU_PERIOD_US}")],
        "pids": [("pids.max", str(spec.pids))],
    }
    lines = [(f"lxc.cgroup.{key}", value) for name in v1 if name in machine.v1 for key, value in v1[name]]
    lines += [(f"lxc.cgroup2.{key}", value) for name in v2 if name in machine.v2 for key, value in v2[name]]
    if "devices" not in machine.v1:  # version 2 has a program instead of a controller
        lines += [(f"lxc.cgroup2.{key}", value) for key, value in v1["devices"]]
    return lines


def _identity(spec: ContainerSpec) -> list[tuple[str, str]]:
    if spec.id_base < RANGE:
        raise ContainerError(f"id base {spec.id_base} of {spec.site}", "would overlap the node's own users")
    return [
        ("lxc.uts.name", _word("host name", spec.hostname, r"[A-Za-z0-9]([A-Za-z0-9.-]{0,62}[A-Za-z0-9])?")),
        ("lxc.idmap", f"u 0 {spec.id_base} {RANGE}"),
        ("lxc.idmap", f"g 0 {spec.id_base} {RANGE}"),
    ]


def _files(spec: ContainerSpec, place: Place) -> list[tuple[str, str]]:
    root = PurePosixPath(spec.root)
    if not root.is_absolute() or ".." in root.parts or re.search(r"\s", spec.root):
        raise ContainerError(f"root {spec.root!r} of {spec.site}", "is not an absolute path without spaces")
    return [
        ("lxc.rootfs.path", f"dir:{root}"),
        ("lxc.mount.auto", "proc:mixed sys:ro"),
        ("lxc.mount.entry", "tmpfs run tmpfs nosuid,nodev,noexec,mode=755,size=16m,create=dir 0 0"),
        ("lxc.mount.entry", "tmpfs tmp tmpfs nosuid,nodev,mode=1777,size=64m,create=dir 0 0"),
        ("lxc.mount.entry", f"{place.directory}/resolv.conf etc/resolv.conf none bind,ro,optional,create=file 0 0"),
        *(("lxc.mount.entry", f"/dev/null {path} none bind,ro,optional 0 0") for path in MASKED),
        ("lxc.autodev", "1"),
        ("lxc.autodev.tmpfs.size", "65536"),
        ("lxc.tty.max", "0"),
        ("lxc.pty.max", "64"),
    ]


def _network(spec: ContainerSpec, place: Place) -> list[tuple[str, str]]:
    if not spec.network:
        return [("lxc.net.0.type", "empty"), ("lxc.net.0.flags", "up")]  # a loopback, and that is up
    link = [
        ("type", "veth"),
        ("name", "eth0"),
        ("flags", "up"),
        ("link", place.bridge),
        ("veth.pair", veth_of(spec.site)),
        ("hwaddr", mac_of(spec.address)),
        ("ipv4.address", f"{spec.address}/{spec.prefix}"),
        *([("ipv4.gateway", spec.gateway)] if spec.gateway else []),
    ]
    return [(f"lxc.net.0.{key}", value) for key, value in link]


def _confinement(machine: Machine) -> list[tuple[str, str]]:
    lines = [
        ("lxc.cap.drop", DROPPED_CAPABILITIES),
        ("lxc.no_new_privs", "1"),
        ("lxc.apparmor.profile", "generated" if machine.apparmor else "unconfined"),
    ]
    return lines + ([("lxc.seccomp.profile", machine.seccomp)] if machine.seccomp else [])


def _cgroups(place: Place) -> list[tuple[str, str]]:
    return [
        ("lxc.cgroup.dir.container", f"{place.cgroup}/payload"),
        ("lxc.cgroup.dir.monitor", f"{place.cgroup}/monitor"),
        ("lxc.cgroup.dir.monitor.pivot", place.pivot),
    ]


def _process(spec: ContainerSpec, place: Place) -> list[tuple[str, str]]:
    return [
        ("lxc.signal.halt", "SIGTERM"),
        ("lxc.console.logfile", f"{place.directory}/console.log"),
        ("lxc.console.size", str(CONSOLE_BYTES)),
        ("lxc.console.rotate", "1"),
        ("lxc.log.file", f"{place.directory}/lxc.log"),
        ("lxc.log.level", "WARN"),
        *(
            ("lxc.environment", f"{_word('environment name', name, r'[A-Za-z_][A-Za-z0-9_]*')}={value}")
            for name, value in sorted(spec.environment.items())
        ),
    ]


def _word(what: str, value: str, pattern: str) -> str:
    if not re.fullmatch(pattern, value):
        raise ContainerError(f"{what} {value!r} cannot be used", f"it must match {pattern}")
    return value


def _safe(key: str, value: str) -> str:
    if re.search(r"[\r\n\0]", value):
        raise ContainerError(f"{key} = {value!r}", "has a line break or NUL in it")
    return value
