"""What a machine's facts mean for the node on it. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from hybrid.doctor.findings import Finding, Level, Machine
from hybrid.settings import Settings

FILES_WANTED = 65536
DAY_S = 86400.0
STATE_WANTED = 1 << 30
MODULE_WANTED = (2, 1)
"""The oldest OpenZFS that is tested."""


def examine(machine: Machine, settings: Settings) -> list[Finding]:
    """All that can be said without asking anybody, in the order of the machine: kernel, storage, network, time."""
    looks = (_rights, _kernel, _storage, _pool, _files, _swap, _ports, _etcd, _resolving, _time, _certificate)
    return [finding for look in looks for finding in look(machine, settings)]


def _rights(machine: Machine, settings: Settings) -> Iterator[Finding]:
    if not machine.root:
        yield Finding("warn", "rights", "this is not root", "some things cannot be seen", "sudo hybrid doctor")
    if not machine.member:
        why = "nothing runs until it is"
        yield Finding("warn", "membership", "this machine is no node", why, "hybrid init, or hybrid join TOKEN")


def _kernel(machine: Machine, settings: Settings) -> Iterator[Finding]:
    if machine.apparmor:
        yield Finding("ok", "AppArmor", "the kernel has it")
    else:
        why = "containers are kept apart by users, namespaces and seccomp, one wall less than there could be"
        try_ = "boot with apparmor=1 security=apparmor, on a kernel that has it"
        yield Finding("warn", "AppArmor", "the kernel runs without it", why, try_)
    if machine.cgroup == 2:
        yield Finding("ok", "control groups", "version 2")
    elif machine.cgroup == 1:
        why = "limits of memory and CPU hold, those of disk and pressure do not"
        try_ = "boot with systemd.unified_cgroup_hierarchy=1"
        yield Finding("warn", "control groups", "version 1", why, try_)
    else:
        try_ = "mount -t cgroup2 cgroup2 /sys/fs/cgroup"
        yield Finding("bad", "control groups", "none are mounted", "no container can start", try_)
    if machine.missing:
        names = ", ".join(machine.missing)
        try_ = "apt install --reinstall hybrid, or apt install lxc iproute2 nftables"
        yield Finding("bad", "programs", f"missing: {names}", "a node runs them", try_)


def _storage(machine: Machine, settings: Settings) -> Iterator[Finding]:
    if machine.zfs_module:
        if _version(machine.zfs_module) < MODULE_WANTED:
            why = "older ones have lost data that is fixed in later ones"
            yield Finding("warn", "ZFS", f"OpenZFS {machine.zfs_module}", why, "apt install zfs-dkms from backports")
        else:
            yield Finding("ok", "ZFS", f"OpenZFS {machine.zfs_module}")
    elif machine.zfs_fuse:
        why = "it is slower, has no compression of streams, and streams that were cut begin anew"
        yield Finding("warn", "ZFS", "zfs-fuse", why, "apt install zfs-dkms zfsutils-linux")
    else:
        why = "sites live on it, and nothing else will do"
        yield Finding("bad", "ZFS", "there is none", why, "apt install zfs-dkms zfsutils-linux, or zfs-fuse")


def _version(text: str) -> tuple[int, ...]:
    """`2.1.11-1+deb12u1` as numbers; those of an unknown form are taken for new."""
    numbers = text.split("-")[0].split(".")
    return tuple(int(number) for number in numbers[:2]) if all(part.isdigit() for part in numbers[:2]) else (99,)


def _pool(machine: Machine, settings: Settings) -> Iterator[Finding]:
    name, pool = settings.pool, machine.pool
    if pool is None:
        try_ = f"zpool import {name}, or hybrid init --create-pool DEVICE"
        yield Finding("bad", "pool", f"{name}: {machine.pool_trouble}", "all sites of this node are in it", try_)
        return
    level: Level
    if pool.health != "ONLINE":
        why = "the next disk that fails may be one too many" if pool.health == "DEGRADED" else "it cannot be written"
        level = "warn" if pool.health == "DEGRADED" else "bad"
        yield Finding(level, "pool", f"{name} is {pool.health}", why, f"zpool status -v {name}")
    else:
        yield Finding("ok", "pool", f"{name} is ONLINE")
    if pool.used_percent >= 80:
        why = "from 90 % on no copies come here, from 95 % no sites, from 97 % on sites move away"
        level = "bad" if pool.used_percent >= 95 else "warn"
        try_ = f"zpool add {name} DEVICE, or hybrid site set SITE --history-budget 10G"
        yield Finding(level, "free space", f"{name} is {pool.used_percent} % full", why, try_)
    if machine.state_free is not None and machine.state_free < STATE_WANTED:
        what = f"{machine.state_free >> 20} MiB left at {settings.state_dir}"
        why = "a claim that cannot be written down is not made"
        yield Finding("bad", "free space", what, why, f"du -xsh {settings.state_dir}/* /var/log/*")


def _files(machine: Machine, settings: Settings) -> Iterator[Finding]:
    if machine.files_limit < FILES_WANTED:
        what = f"a process may open {machine.files_limit}"
        try_ = "LimitNOFILE=524288 in the unit, or ulimit -n 524288 before `hybrid run`"
        yield Finding("warn", "descriptors", what, "each visitor takes two", try_)
    else:
        yield Finding("ok", "descriptors", f"a process may open {machine.files_limit}")


def _swap(machine: Machine, settings: Settings) -> Iterator[Finding]:
    for device in machine.swaps:
        if "/zd" in device or "/zvol/" in device:
            why = "freeing memory would need memory: ZFS stands still when it is scarce"
            yield Finding("bad", "swap", f"{device} is on ZFS", why, f"swapoff {device}")
        else:
            why = "a node that is swapped out answers too late and is taken for dead"
            yield Finding("warn", "swap", f"{device} is in use", why, "sysctl vm.swappiness=1, or swapoff -a")
    if not machine.swaps:
        yield Finding("ok", "swap", "none")


def wanted_ports(settings: Settings) -> tuple[tuple[str, int, str], ...]:
    """`(protocol, port, setting)` of what a node always listens on."""
    names = ("http_port", "https_port", "interior_port", "api_port", "cluster_port", "dns_port")
    tcp = [("tcp", getattr(settings, name), name) for name in names]
    return (*tcp, ("udp", settings.cluster_port, "cluster_port"), ("udp", settings.dns_port, "dns_port"))


def _ports(machine: Machine, settings: Settings) -> Iterator[Finding]:
    silent = []
    for protocol, port, name in wanted_ports(settings):
        there = [one for one in machine.listening if (one.protocol, one.port) == (protocol, port)]
        strange = [one for one in there if not one.ours]
        if strange and not (name == "dns_port" and any(one.ours for one in there)):
            what = f"{port}/{protocol} is taken by {strange[0].program or 'another program'}"
            why = f"Hybrid's own `{name}` cannot be opened"
            yield Finding("bad", "ports", what, why, f"ss -lnp '( sport = :{port} )', and stop it, or set {name}")
        elif machine.node_runs and not there:
            silent.append(f"{port}/{protocol}")
    if silent:
        why = "the process that should has ended, or only begins"
        try_ = "systemctl status 'hybrid-*'"
        yield Finding("bad", "ports", f"nobody listens at {', '.join(silent)}", why, try_)


def _etcd(machine: Machine, settings: Settings) -> Iterator[Finding]:
    if not settings.strict.endpoints and any(one.program == "etcd" for one in machine.listening):
        why = "Debian's package starts it by itself, open to every program here; no strict site uses it"
        yield Finding("warn", "etcd", "it runs, and is not in the settings", why, "systemctl disable --now etcd")


def _resolving(machine: Machine, settings: Settings) -> Iterator[Finding]:
    own = {settings.address, *(("127.0.0.1",) if _own_dns(machine, settings) else ())}
    if not machine.resolvers:
        why = "no certificate can be issued and no store be found"
        yield Finding("bad", "resolving", "no name server in /etc/resolv.conf", why, "name a resolver there")
    elif set(machine.resolvers) <= own:
        why = "Hybrid's DNS answers for its own zones only"
        try_ = "name a resolver in /etc/resolv.conf, for example that of the provider"
        yield Finding("bad", "resolving", "this node asks itself for names", why, try_)
    else:
        yield Finding("ok", "resolving", f"by {', '.join(machine.resolvers)}")


def _own_dns(machine: Machine, settings: Settings) -> bool:
    return any(one.ours and one.port == settings.dns_port == 53 for one in machine.listening)


def _time(machine: Machine, settings: Settings) -> Iterator[Finding]:
    if machine.synchronised is False:
        why = "certificates and the times of snapshots are taken from this clock"
        yield Finding("warn", "time", "the clock follows no other", why, "apt install chrony")
    elif machine.synchronised:
        yield Finding("ok", "time", "the clock is synchronised")


def _certificate(machine: Machine, settings: Settings) -> Iterator[Finding]:
    left_s = machine.certificate_left_s
    if left_s is None:
        return
    if left_s < 7 * DAY_S:
        what = f"this node's own runs out in {left_s / DAY_S:.1f} days" if left_s > 0 else "this node's own has run out"
        why = "it is made anew after twenty days by the node process, so that does not run; others refuse an old one"
        yield Finding("bad" if left_s <= 0 else "warn", "certificate", what, why, "systemctl restart hybrid-node")
    else:
        yield Finding("ok", "certificate", f"this node's own lasts {left_s / DAY_S:.0f} days")
