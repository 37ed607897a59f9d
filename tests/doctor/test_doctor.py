"""`hybrid doctor`: each trouble is told with why it matters and what mends it; a healthy machine is left in peace."""

from __future__ import annotations

import json
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hybrid.cli.run import run
from hybrid.doctor import cluster, look
from hybrid.doctor.findings import Finding, Listening, Machine, Pool, by_level
from hybrid.doctor.machine import examine, wanted_ports
from hybrid.settings import Settings, Strict

SETTINGS = Settings(name="n1", address="192.0.2.1", pool="tank")
OURS = tuple(
    Listening("tcp" if protocol == "tcp" else "udp", port, "python3", True)
    for protocol, port, _ in wanted_ports(SETTINGS)
)
WELL = Machine(
    root=True,
    member=True,
    node_runs=True,
    apparmor=True,
    cgroup=2,
    zfs_module="2.3.1-1",
    zfs_fuse=False,
    missing=(),
    pool=Pool("ONLINE", 40),
    pool_trouble="",
    listening=OURS,
    files_limit=524288,
    swaps=(),
    synchronised=True,
    resolvers=("9.9.9.9",),
    certificate_left_s=20 * 86400.0,
    state_free=1 << 34,
)
CHANGES: list[tuple[dict[str, Any], str, str, str]] = [
    ({"root": False}, "warn", "rights", "not root"),
    ({"member": False}, "warn", "membership", "no node"),
    ({"apparmor": False}, "warn", "AppArmor", "without it"),
    ({"cgroup": 1}, "warn", "control groups", "version 1"),
    ({"cgroup": 0}, "bad", "control groups", "none"),
    ({"missing": ("nft",)}, "bad", "programs", "nft"),
    ({"zfs_module": "0.8.6-1"}, "warn", "ZFS", "0.8.6"),
    ({"zfs_module": "", "zfs_fuse": True}, "warn", "ZFS", "zfs-fuse"),
    ({"zfs_module": ""}, "bad", "ZFS", "none"),
    ({"pool": None, "pool_trouble": "no such pool"}, "bad", "pool", "no such pool"),
    ({"pool": Pool("DEGRADED", 40)}, "warn", "pool", "DEGRADED"),
    ({"pool": Pool("SUSPENDED", 40)}, "bad", "pool", "SUSPENDED"),
    ({"pool": Pool("ONLINE", 81)}, "warn", "free space", "81 %"),
    ({"pool": Pool("ONLINE", 95)}, "bad", "free space", "95 %"),
    ({"state_free": 5 << 20}, "bad", "free space", "5 MiB"),
    ({"files_limit": 1024}, "warn", "descriptors", "1024"),
    ({"swaps": ("/dev/zd0",)}, "bad", "swap", "/dev/zd0"),
    ({"swaps": ("/dev/vda2",)}, "warn", "swap", "/dev/vda2"),
    ({"listening": OURS[1:]}, "bad", "ports", "80/tcp"),
    ({"listening": (Listening("tcp", 80, "apache2", False), *OURS[1:])}, "bad", "ports", "taken by apache2"),
    ({"listening": (*OURS, Listening("tcp", 2379, "etcd", False))}, "warn", "etcd", "not in the settings"),
    ({"resolvers": ()}, "bad", "resolving", "no name server"),
    ({"resolvers": ("127.0.0.1",)}, "bad", "resolving", "asks itself"),
    ({"resolvers": ("192.0.2.1",)}, "bad", "resolving", "asks itself"),
    ({"synchronised": False}, "warn", "time", "follows no other"),
    ({"certificate_left_s": 86400.0}, "warn", "certificate", "1.0 days"),
    ({"certificate_left_s": -5.0}, "bad", "certificate", "has run out"),
]


def troubles(machine: Machine, settings: Settings = SETTINGS) -> list[Finding]:
    """What is not as it should be."""
    return [one for one in examine(machine, settings) if one.level != "ok"]


def test_a_healthy_machine_has_no_findings() -> None:
    """Who is told nothing need do nothing; asked for all, it tells what it looked at."""
    assert troubles(WELL) == []
    assert len(examine(WELL, SETTINGS)) >= 9


@pytest.mark.parametrize(("change", "level", "about", "what"), CHANGES)
def test_each_trouble_is_told_with_its_cure(change: dict[str, Any], level: str, about: str, what: str) -> None:
    """What it is, how bad, why it matters, and what to do."""
    (found,) = troubles(replace(WELL, **change))
    assert (found.level, found.about) == (level, about)
    assert what in found.what
    assert found.why and found.try_


def test_what_is_meant_is_no_trouble() -> None:
    """etcd that strict sites use; a resolver on this machine; a node that is down on purpose; what cannot be known."""
    etcd = replace(WELL, listening=(*OURS, Listening("tcp", 2379, "etcd", False)))
    strict = Settings(name="n1", address="192.0.2.1", pool="tank", strict=Strict(endpoints=("http://127.0.0.1:2379",)))
    assert troubles(etcd, strict) == []
    stub = (*(one for one in OURS if one.port != 53), Listening("udp", 53, "unbound", False))
    elsewhere = Settings(name="n1", address="192.0.2.1", pool="tank", dns_port=5353)
    moved = (Listening("tcp", 5353, "python3", True), Listening("udp", 5353, "python3", True))
    assert troubles(replace(WELL, resolvers=("127.0.0.1",), listening=(*stub, *moved)), elsewhere) == []
    assert troubles(replace(WELL, node_runs=False, listening=())) == []
    assert troubles(replace(WELL, synchronised=None, certificate_left_s=None, state_free=None)) == []


def test_worst_first() -> None:
    """Who reads only the first line reads the one that counts."""
    found = by_level(examine(replace(WELL, apparmor=False, pool=None, pool_trouble="gone"), SETTINGS))
    assert [one.level for one in found] == sorted((one.level for one in found), key=["bad", "warn", "ok"].index)
    assert found[0].about == "pool"


STATUS = {"health": "ok", "sentence": "3 nodes up", "findings": []}
NODES = [{"name": name, "state": "up", "release": "1.0"} for name in ("n1", "n2", "n3")]


def test_a_healthy_cluster_has_no_findings() -> None:
    """Nodes that agree about the time, certificates that last."""
    good = [{"name": "example.org", "names": ["example.org"], "left_s": 80 * 86400}]
    found = cluster.examine(STATUS, NODES, {"n1": 0.1, "n2": -1.2}, good)
    assert [one for one in found if one.level != "ok"] == []
    assert "3 nodes up" in [one.what for one in found]


def test_troubles_of_a_cluster_are_told() -> None:
    """Findings of the status; clocks that are off, and how far; who is not reached; certificates near their end."""
    status = {"health": "critical", "sentence": "", "findings": ["shop has no owner"]}
    old = [{"name": "a", "names": ["a.example"], "left_s": 3 * 86400}, {"name": "b", "names": [], "left_s": -1}]
    nodes = [
        *NODES[:2],
        {"name": "n3", "state": "up", "release": "1.1"},
        {"name": "n4", "state": "down", "release": "0"},
    ]
    found = cluster.examine(status, nodes, {"n1": 0.0, "n2": 3600.0, "n3": -9.0, "n4": "timed out"}, old)
    seen = [(one.level, one.about, one.what) for one in found if one.level != "ok"]
    assert seen == [
        ("bad", "cluster", "shop has no owner"),
        ("warn", "releases", "nodes run 1.0 and 1.1"),
        ("bad", "clocks", "n2 is 3600 s ahead of this machine"),
        ("warn", "clocks", "n3 is 9 s behind this machine"),
        ("bad", "reach", "n4: timed out"),
        ("warn", "certificates", "that of a.example runs out in 3 days"),
        ("bad", "certificates", "that of b has run out"),
    ]
    alone = cluster.examine(STATUS, NODES[:1], {"n1": 0.0}, [])
    assert [one.what for one in alone if one.level != "ok"] == ["this node is alone"]


def test_who_listens_is_seen() -> None:
    """On this machine as it is: the port, and that it is none of Hybrid's."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        proc = Path("/proc")
        found = [one for one in look.listening(proc, look.processes(proc)) if one.port == port]
    assert [(one.protocol, one.ours) for one in found] == [("tcp", False)]


def test_files_are_read_as_they_are_written(tmp_path: Path) -> None:
    """Of proc(5), resolv.conf(5) and sysfs; what is missing is missing, and breaks nothing."""
    proc = tmp_path / "proc"
    (proc / "7").mkdir(parents=True)
    (proc / "7/cmdline").write_bytes(b"/opt/hybrid/bin/python3\0/opt/hybrid/bin/hybrid\0node\0run\0")
    (proc / "7/limits").write_text(
        "Limit  Soft Limit  Hard Limit  Units\nMax open files            4096   8192  files\n"
    )
    (proc / "swaps").write_text("Filename\tType\tSize\tUsed\tPriority\n/dev/zd16 partition 1 0 -2\n")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/resolv.conf").write_text("# nameserver 1.1.1.1\nsearch x\nnameserver 9.9.9.9\nnameserver ::1\n")
    (tmp_path / "sys/fs/cgroup/memory").mkdir(parents=True)
    (tmp_path / "sys/module/zfs").mkdir(parents=True)
    (tmp_path / "sys/module/zfs/version").write_text("2.3.1-1\n")
    seen = look.look(replace_pool(SETTINGS), tmp_path)
    assert (seen.node_runs, seen.files_limit, seen.swaps) == (True, 4096, ("/dev/zd16",))
    assert (seen.resolvers, seen.cgroup, seen.zfs_module) == (("9.9.9.9", "::1"), 1, "2.3.1-1")
    assert (seen.member, seen.apparmor, seen.certificate_left_s, seen.state_free) == (False, False, None, None)
    assert seen.pool is None and seen.pool_trouble


def replace_pool(settings: Settings) -> Settings:
    """With a pool that no machine has."""
    return Settings(name=settings.name, address=settings.address, pool="hybrid-doctor-none")


def test_the_command_ends_with_what_it_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1 for what is bad, JSON for programs; a mistake in the settings does not keep it from looking."""
    config = tmp_path / "hybrid.toml"
    config.write_text('name = "n1"\naddress = "192.0.2.1"\npool = "hybrid-doctor-none"\nhttp_prot = 1\n')
    assert run(["doctor", "--local", "--config", str(config), "--format", "json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert next(one["about"] for one in found if one["level"] == "bad") == "settings"
    assert all(one["why"] and one["try"] for one in found)
    config.write_text('name = "n1"\naddress = "192.0.2.1"\npool = "hybrid-doctor-none"\n')
    assert run(["doctor", "--local", "--config", str(config)]) == 1
    assert "\n       try: " in capsys.readouterr().out
