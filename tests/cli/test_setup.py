"""`hybrid init` and `hybrid join`: from a bare machine to a node; a second time they refuse."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hybrid.api.tokens import Tokens
from hybrid.cluster.founding import create_cluster
from hybrid.cluster.identity import Identity
from hybrid.cluster.ledger import Ledger
from hybrid.cluster.store import Store
from hybrid.settings import load
from hybrid.wire import Gossip

ADMIT = Path(__file__).with_name("admit.py")
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
    ledger.merge(Gossip(shared=store.shared()))
    store.close()

    class Map:
        def get(self, key: str) -> str | None:
            return ledger.shared().get(key)

        def put(self, key: str, value: str | None) -> None:
            raise AssertionError

        def prefix(self, prefix: str) -> dict[str, str]:
            return dict(ledger.shared())

    assert Tokens(Map(), os.urandom, time.time).actor("Bearer " + credentials["token"]).name == "admin-n1"


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


@pytest.fixture
def token(tmp_path: Path) -> Iterator[str]:
    """A join token of a cluster whose first node waits on 127.0.0.1."""
    admitting = subprocess.Popen(
        [sys.executable, str(ADMIT), str(tmp_path / "n1"), "127.0.0.1"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert admitting.stdout is not None and admitting.stdin is not None
    yield admitting.stdout.readline().strip()
    admitting.stdin.close()
    admitting.wait(timeout=20)
    admitting.stdout.close()


@pytest.mark.zfs
def test_join_makes_a_node(tmp_path: Path, token: str) -> None:
    """One command with a token: the new node knows the cluster, and its credentials name all nodes."""
    needs_zfs_fuse()
    state, pool = tmp_path / "n2", f"hybjoin{os.getpid()}"
    words: tuple[str, ...] = ("--state-dir", str(state), "--name", "n2", "--dc", "london", "--address", "127.0.0.2")
    words += ("--pool", pool, "--create-pool", str(tmp_path / "disk"), "--pool-size", "128M", "--zfs-daemon")
    ran = hybrid("join", token, *words, private=True)
    assert ran.returncode == 0, ran.stderr
    ours, theirs = Identity.load(state), Identity.load(tmp_path / "n1")
    assert ours.cluster == theirs.cluster and ours.node != theirs.node
    store = Store(state / "hybrid.db")
    assert [(node.name, node.address) for node in store.nodes().values()] == [("n1", "127.0.0.1")]
    assert sorted(key.partition("/")[0] for key in store.shared()) == ["token", "zone"]
    store.close()
    urls = json.loads((state / "admin.json").read_text())["urls"]
    assert urls == ["https://127.0.0.2:8443", "https://127.0.0.1:18443"]
    used = hybrid("join", token, *(word.replace(str(state), str(tmp_path / "n3")) for word in words), private=True)
    assert used.returncode == 1 and "make a new one" in used.stderr
    assert not (tmp_path / "n3" / "cluster.json").exists()


def test_tokens_that_let_nobody_in(tmp_path: Path) -> None:
    """A text that is no token is refused before anything is touched."""
    for text in ("hyb1.", "hyb1.AAAA", "K10abc::x", "hyb1." + "A" * 5000):
        ran = hybrid("join", text, "--state-dir", str(tmp_path / "n2"), "--name", "n2", "--address", "127.0.0.2")
        assert ran.returncode == 2 and "try:" in ran.stderr, ran.stderr
    assert not (tmp_path / "n2").exists()
