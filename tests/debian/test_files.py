"""What the package is made of, as far as that can be told without building it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from hybrid.cli.processes import process_of

CONTRIB = Path(__file__).parents[2] / "contrib"
UNITS = sorted((CONTRIB / "systemd").glob("*.service"))
SHUT = (
    "NoNewPrivileges=yes",
    "ProtectSystem=strict",
    "ProtectHome=yes",
    "PrivateTmp=yes",
    "RestrictNamespaces=yes",
    "SystemCallFilter=@system-service",
    "CapabilityBoundingSet=CAP_NET_BIND_SERVICE CAP_SETUID CAP_SETGID",
)


def lines(unit: Path) -> list[str]:
    """Settings of a unit."""
    return [line for line in unit.read_text().splitlines() if line and not line.startswith("#")]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_each_unit_runs_a_process_of_the_node_and_hears_of_it(unit: Path) -> None:
    """`systemctl start` waits until it serves; it is started again whatever it dies of, as often as it takes."""
    said = lines(unit)
    (command,) = [line.removeprefix("ExecStart=").split() for line in said if line.startswith("ExecStart=")]
    assert command[0] == "/opt/hybrid/bin/hybrid"
    assert process_of(command[1:]) is not None
    for line in ("Type=notify", "Restart=always", "StartLimitIntervalSec=0", "WantedBy=hybrid.target"):
        assert line in said, line
    assert "ConditionPathExists=/var/lib/hybrid/cluster.json" in said


def test_the_target_wants_them_all() -> None:
    """One command starts a node."""
    (wanted,) = [line for line in lines(CONTRIB / "systemd/hybrid.target") if line.startswith("Wants=")]
    assert {name.replace("@1.", "@.") for name in wanted.removeprefix("Wants=").split()} == {u.name for u in UNITS}


def test_what_faces_the_internet_is_shut_in_and_containers_are_left_alone() -> None:
    """A proxy that was taken over reaches little; ending the node process ends no site."""
    for name in ("hybrid-proxy@.service", "hybrid-dns@.service"):
        said = lines(CONTRIB / "systemd" / name)
        assert [line for line in (*SHUT, "FileDescriptorStoreMax=16", "WatchdogSec=30") if line not in said] == []
    node = lines(CONTRIB / "systemd/hybrid-node.service")
    assert {"KillMode=process", "Delegate=yes", "WatchdogSec=60"} <= set(node)
    own = ("Protect", "Private", "Restrict", "SystemCall", "NoNew", "LockPersonality", "ReadOnly", "Inaccessible")
    assert [line for line in node if line.startswith(own)] == [], "it would hide mounts, or bind containers too"


def test_the_package_pulls_in_nothing_that_starts_by_itself() -> None:
    """Debian's etcd would listen on a real server as soon as it is installed."""
    fields = dict(line.split(": ", 1) for line in (CONTRIB / "debian/control").read_text().splitlines() if ": " in line)
    for field in ("Depends", "Recommends"):
        assert not {"etcd-server", "nsd", "knot"} & set(fields[field].replace(",", " ").split()), field
    assert "etcd-server" in fields["Suggests"]


@pytest.mark.parametrize("script", ["postinst", "prerm", "postrm"])
def test_maintainer_scripts_are_sound(script: str) -> None:
    """They are read without a mistake, stop at the first failure, and never destroy a pool or a dataset."""
    path = CONTRIB / "debian" / script
    subprocess.run(["sh", "-n", str(path)], check=True)
    text = path.read_text()
    assert "\nset -e\n" in text
    assert "zfs destroy" not in text
    assert "zpool destroy" not in text
    assert "rm -rf /var/lib/hybrid\n" not in text
