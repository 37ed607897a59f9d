"""`hybrid init`: from a bare machine to the first node; a second time it refuses."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from hybrid.api.tokens import Tokens
from hybrid.cluster.identity import Identity, create_cluster
from hybrid.cluster.ledger import Ledger
from hybrid.cluster.store import Store
from hybrid.settings import load
from hybrid.wire import Gossip

PRIVATE = (
    'for d in /run/zfs /etc/zfs /run/lock/zfs /var/lib/zfs; do mkdir -p $d; mount -t tmpfs none $d; done; exec "$@"'
)
"""Runs a command with ZFS directories of its own, in a mount namespace of its own."""


def needs_zfs_fuse() -> None:
    """Skip where a daemon cannot be run."""
    if os.geteuid() or shutil.which("zfs-fuse") is None:
        pytest.skip("needs root and zfs-fuse")


def hybrid(*words: str, private: bool = False) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end."""
    command = [sys.executable, "-m", "hybrid.main", *words]
    if private:
        command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", PRIVATE, "sh", *command]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_a_node_is_never_made_anew(tmp_path: Path) -> None:
    """A directory that belongs to a member is refused, untouched, with what to do."""
    create_cluster(tmp_path, "n1", "127.0.0.1", 0)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    ran = hybrid("init", "--state-dir", str(tmp_path), "--name", "n1", "--address", "127.0.0.1")
    assert ran.returncode == 5
    assert "a member already" in ran.stderr and "hybrid run --state-dir" in ran.stderr
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    "wrong",
    [
        ("--name", "N 1"),
        ("--name", "n1", "--address", "nowhere"),
        ("--name", "n1", "--storage", "btrfs"),
        ("--name", "n1", "--api-port", "99999"),
        ("--name", "n1", "--zone=-bad-"),
        ("--name", "n1", "--subnet", "10.0.0.1/8"),
    ],
)
def test_settings_that_cannot_be(tmp_path: Path, wrong: tuple[str, ...]) -> None:
    """They are refused before anything is written."""
    state = tmp_path / "state"
    address = () if "--address" in wrong else ("--address", "127.0.0.1")
    ran = hybrid("init", "--state-dir", str(state), *address, *wrong)
    assert ran.returncode == 2, ran.stderr
    assert not state.exists()


@pytest.mark.zfs
def test_init_makes_a_node(tmp_path: Path) -> None:
    """One command: pool, settings, keys, and credentials that the API will accept."""
    needs_zfs_fuse()
    state, pool = tmp_path / "state", f"hybinit{os.getpid()}"
    words: tuple[str, ...] = (
        "init",
        "--state-dir",
        str(state),
        "--name",
        "n1",
        "--dc",
        "paris",
        "--address",
        "127.0.0.1",
    )
    words += ("--pool", pool, "--create-pool", str(tmp_path / "disk"), "--pool-size", "128M", "--zfs-daemon")
    ran = hybrid(*words, "--zone", "hybrid.test", private=True)
    assert ran.returncode == 0, ran.stderr
    settings = load(state / "hybrid.toml")
    assert (settings.name, settings.dc, settings.pool, settings.zfs_daemon) == ("n1", "paris", pool, True)
    credentials = json.loads((state / "admin.json").read_text())
    assert credentials["urls"] == ["https://127.0.0.1:8443"]
    assert stat.S_IMODE((state / "admin.json").stat().st_mode) == 0o600
    identity = Identity.load(state)
    assert identity.cluster.zones == ("hybrid.test",)
    store = Store(state / "hybrid.db")
    ledger = Ledger(identity.node, 1)
    ledger.merge(Gossip(heartbeats={}, shared=store.shared()))
    store.close()

    class Map:
        def get(self, key: str) -> str | None:
            return ledger.shared().get(key)

        def put(self, key: str, value: str | None) -> None:
            raise AssertionError

        def prefix(self, prefix: str) -> dict[str, str]:
            return dict(ledger.shared())

    assert Tokens(Map(), os.urandom).actor("Bearer " + credentials["token"]).name == "admin-n1"


@pytest.mark.zfs
def test_init_can_be_tried_again(tmp_path: Path) -> None:
    """After a try that was cut short between the pool and the keys, the pool it made is used as it is."""
    needs_zfs_fuse()
    state, pool = tmp_path / "state", f"hybagain{os.getpid()}"
    words: tuple[str, ...] = ("init", "--state-dir", str(state), "--name", "n1", "--address", "127.0.0.1")
    words += ("--pool", pool, "--create-pool", str(tmp_path / "disk"), "--pool-size", "128M", "--zfs-daemon")
    assert hybrid(*words, private=True).returncode == 0
    (state / "cluster.json").unlink()
    again = hybrid(*words, private=True)
    assert again.returncode == 0, again.stderr
    assert "is there already and is used as it is" in again.stderr
    assert (state / "hybrid.toml.before").exists()
