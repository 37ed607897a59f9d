"""Shared fixtures: a zfs-fuse daemon of this test run's own, in a mount namespace of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("hybrid", deadline=None, derandomize=True)
settings.load_profile("hybrid")  # the same cases in every run, however slow the machine is at that moment

ISOLATED = ("/var/run/zfs", "/etc/zfs", "/var/lib/zfs", "/var/lock/zfs")
"""Sharing any of these with another daemon may import the same pool twice."""
PREFIX = "hyb-zfs-"


class ZfsHost:
    """Where `zfs` is run; `prefix` before a command line runs it there. Without one: this machine's own ZFS."""

    def __init__(self, where: Path, prefix: tuple[str, ...] = ()) -> None:
        self.where, self.prefix = where, prefix

    def run(self, *argv: str, data: bytes = b"", check: bool = True) -> subprocess.CompletedProcess[bytes]:
        """Run a command there."""
        return subprocess.run([*self.prefix, *argv], input=data, capture_output=True, check=check, timeout=60)

    def create_pool(self, name: str, size: str) -> None:
        """A pool on a sparse file."""
        disk = self.where / f"{name}.img"
        self.run("truncate", "-s", size, str(disk))
        self.run("zpool", "create", "-O", "mountpoint=none", "-O", "compression=off", name, str(disk))

    def destroy_pool(self, name: str) -> None:
        """The pool and its file."""
        self.run("zpool", "destroy", "-f", name, check=False)
        (self.where / f"{name}.img").unlink(missing_ok=True)

    def close(self) -> None:
        """Remove its files."""
        shutil.rmtree(self.where, ignore_errors=True)


class ZfsNamespace(ZfsHost):
    """A mount namespace in which a zfs-fuse sees only its own state."""

    def __init__(self, where: Path) -> None:
        binds = "\n".join(
            f"mkdir -p {target} {where}{target}; mount --bind {where}{target} {target}" for target in ISOLATED
        )
        script = f"{binds}\ntouch {where}/ready\nexec sleep infinity"
        self.holder = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", "unshare", "-m", "--propagation", "private", "sh", "-ec", script]
        )
        super().__init__(where, ("nsenter", "-t", str(self.holder.pid), "-m", "--"))
        self.daemon: subprocess.Popen[bytes] | None = None
        self._wait_for(lambda: (where / "ready").exists(), "the mount namespace")

    def start_daemon(self) -> None:
        """Start zfs-fuse and wait until it answers."""
        argv = ["setpriv", "--pdeathsig", "KILL", "--", *self.prefix, "zfs-fuse", "-n"]
        with (self.where / "zfs-fuse.log").open("ab") as log:
            self.daemon = subprocess.Popen(argv, stdout=log, stderr=log)
        self._wait_for(lambda: self.run("zpool", "list", check=False).returncode == 0, "zfs-fuse")

    def close(self) -> None:
        """End everything in it and remove its files."""
        for process in (self.daemon, self.holder):
            if process is not None:
                process.kill()
                process.wait(10)
        super().close()

    def _wait_for(self, ready: Callable[[], bool], what: str) -> None:
        deadline_s = time.monotonic() + 15
        while not ready():
            assert time.monotonic() < deadline_s, f"{what} did not come up in 15 s"
            time.sleep(0.02)


def lacking() -> str:
    """Why zfs-fuse cannot run here; empty when it can."""
    if os.geteuid() != 0:
        return "zfs-fuse needs root"
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "there is no /dev/fuse"
    missing = [tool for tool in ("zfs-fuse", "zfs", "zpool", "nsenter", "unshare", "setpriv") if not shutil.which(tool)]
    return f"not installed: {', '.join(missing)}" if missing else ""


def remove_leftovers() -> None:
    """What runs that were killed left behind: processes that still use their folder, then the folder."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        owner = folder.name.removeprefix(PREFIX).partition("-")[0]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists():
            for pid in _users(folder):
                os.kill(pid, signal.SIGKILL)
            shutil.rmtree(folder, ignore_errors=True)


def _users(folder: Path) -> Sequence[int]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "comm").read_text().strip()
            if command in ("sleep", "zfs-fuse") and f"{folder}/" in (process / "mountinfo").read_text():
                found.append(int(process.name))
        except OSError:
            continue
    return found


def open_namespace() -> ZfsNamespace:
    """A fresh namespace without a daemon; skips the test where there can be none."""
    if lacking():
        pytest.skip(lacking())
    return ZfsNamespace(own_folder())


def own_folder() -> Path:
    """A folder that a later run removes if this one cannot."""
    remove_leftovers()
    return Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))


@pytest.fixture(scope="session")
def zfs_fuse() -> Iterator[ZfsNamespace]:
    """A running zfs-fuse of this session's own."""
    namespace = open_namespace()
    try:
        namespace.start_daemon()
        yield namespace
    finally:
        namespace.close()


@pytest.fixture(scope="session")
def openzfs() -> Iterator[ZfsHost]:
    """This machine's OpenZFS, with a folder for the files of pools."""
    if not Path("/dev/zfs").exists():
        pytest.skip("no OpenZFS module here: there is no /dev/zfs")
    host = ZfsHost(own_folder())
    try:
        yield host
    finally:
        host.close()


@pytest.fixture
def zfs_namespace() -> Iterator[ZfsNamespace]:
    """A namespace for one test, in which no daemon runs yet."""
    namespace = open_namespace()
    try:
        yield namespace
    finally:
        namespace.close()
