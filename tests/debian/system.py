"""A clean Debian in a folder, as a machine of its own: root, network, processes. Synchronous."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from hybrid.lab import cgroups
from hybrid_containers.debian import common_system

ADDRESS = "10.77.0.1"
_ENTER = """
set -e
mount --bind {root} {root}
cd {root}
mkdir -p dev proc sys run .old
mount -t proc proc proc
mount --rbind /dev dev
mount -t sysfs sysfs sys
mount --rbind /sys/fs/cgroup sys/fs/cgroup
mount -t tmpfs tmpfs run
{network}
hostname debian
pivot_root . .old
umount -l /.old
rmdir /.old
cd /
exec "$@"
"""
_NETWORK = """
ip link set lo up
ip addr add {address}/24 dev lo
"""
_QUIET = "#!/bin/sh\nexit 101\n"
_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "DEBIAN_FRONTEND": "noninteractive",
    "LC_ALL": "C.UTF-8",
    "HOME": "/root",
}
_APART = """
set -e
[ -L /sys/fs/cgroup/cpu ] && grep -q ':cpu:' /proc/self/cgroup || exit 0
mount -o remount,rw /sys/fs/cgroup
find /sys/fs/cgroup -mindepth 1 -maxdepth 1 -type l -delete
for one in cpu cpuacct; do mkdir -p /sys/fs/cgroup/$one; mount -t cgroup -o $one cgroup /sys/fs/cgroup/$one; done
rmdir /sys/fs/cgroup/*,* /sys/fs/cgroup/hugetlb /sys/fs/cgroup/perf_event || true
"""
"""On a machine whose hierarchies of version 1 are not joined as systemd expects, those it could not mount."""
_BOOTED = """\
lxc.rootfs.path = dir:{root}
lxc.uts.name = debian
lxc.net.0.type = empty
lxc.mount.auto = proc:rw sys:rw cgroup:rw
lxc.mount.entry = /dev/fuse dev/fuse none bind,create=file 0 0
lxc.mount.entry = proc dev/.lxc/proc proc create=dir,optional 0 0
lxc.mount.entry = sys dev/.lxc/sys sysfs create=dir,optional 0 0
lxc.autodev = 1
lxc.pty.max = 16
lxc.tty.max = 0
lxc.cgroup.dir = {name}
lxc.init.cmd = /lib/systemd/systemd
lxc.console.logfile = {console}
"""


class System:
    """
    A root file system.

    Args:
        root: The folder.
        name: Of its control groups on this machine.
    """

    def __init__(self, root: Path, name: str) -> None:
        self.root, self.name = root, name
        self._booted: subprocess.Popen[bytes] | None = None
        self._log = root.with_name(root.name + ".log")

    def command(self, argv: Sequence[str], outside: bool = False) -> list[str]:
        """`argv` in namespaces of its own, without any network but its own; `outside`: with this machine's."""
        network = "" if outside else _NETWORK.format(address=ADDRESS)
        script = _ENTER.format(root=self.root, network=network)
        spaces = ["--mount", "--propagation", "private", "--uts", "--pid", "--fork", "--kill-child", "--ipc"]
        return ["unshare", *spaces, *([] if outside else ["--net"]), "bash", "-c", script, "debian", *argv]

    def run(self, *argv: str, code: int = 0, outside: bool = False, deadline_s: float = 300.0) -> str:
        """What a command said, run to its end; inside the booted system, if there is one. Its exit code is asserted."""
        if self._booted is not None:
            done = self._attached(*argv, deadline_s=deadline_s)
        else:
            done = subprocess.run(
                self.command(argv, outside),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=deadline_s,
                env=_ENVIRONMENT,
                check=False,
            )
        said = done.stdout.decode(errors="replace")
        assert done.returncode == code, f"{' '.join(argv)}: {done.returncode}\n{said}\n{self.log_end()}"
        return said

    def boot(self) -> None:
        """Start systemd as the first process, as on a machine of its own, and wait until it takes orders."""
        config = self.root.with_name(self.root.name + ".lxc")
        config.write_text(_BOOTED.format(root=self.root, name=self.name, console=self._log))
        lxc = ["lxc-start", "-F", "-n", self.name, "-f", str(config), "-P", str(self.root.parent)]
        self._booted = subprocess.Popen(
            lxc, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
        )
        end_s = time.monotonic() + 120
        while self._attached("systemctl", "list-jobs").returncode:
            assert self._booted.poll() is None, self.log_end()
            assert time.monotonic() < end_s, self.log_end()
            time.sleep(0.3)
        self.run("mount", "--make-rshared", "/")  # so it is on a machine; systemd leaves that to who made the container
        self.run("bash", "-c", _APART)
        self.run("ip", "addr", "add", f"{ADDRESS}/24", "dev", "lo")

    def _attached(self, *argv: str, deadline_s: float = 30.0) -> subprocess.CompletedProcess[bytes]:
        words = ["lxc-attach", "-n", self.name, "-P", str(self.root.parent), "--clear-env"]
        words += [part for item in _ENVIRONMENT.items() for part in ("--set-var", "=".join(item))]
        return subprocess.run(
            [*words, "--", *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=deadline_s,
            check=False,
        )

    def log_end(self) -> str:
        """The last things the first process said."""
        return self._log.read_text(errors="replace")[-3000:] if self._log.exists() else ""

    def halt(self) -> None:
        """Cut the power; nothing of it runs afterwards."""
        if self._booted is not None:
            subprocess.run(["lxc-stop", "-k", "-n", self.name, "-P", str(self.root.parent)], timeout=60, check=False)
            self._booted.kill()
            self._booted.wait(30)
            self._booted = None
            for left in (self._log, self.root.with_name(self.root.name + ".lxc")):
                left.unlink(missing_ok=True)
            shutil.rmtree(self.root.parent / self.name, ignore_errors=True)
        cgroups.remove(self.name)

    def files(self) -> set[str]:
        """Everything there is, but what any package's installation leaves: logs, caches, dpkg's own notes."""
        skipped = (
            "var/log",
            "var/cache/ldconfig",
            "var/cache/apt",
            "var/lib/dpkg",
            "var/lib/apt",
            "tmp",
            "run",
            "root",
        )
        found = set()
        for folder, folders, names in os.walk(self.root):
            inside = os.path.relpath(folder, self.root)
            folders[:] = [name for name in folders if os.path.normpath(os.path.join(inside, name)) not in skipped]
            found |= {os.path.normpath(os.path.join(inside, name)) for name in (*folders, *names)}
        return {name for name in found if not name.endswith(("-", "__pycache__", ".pyc"))}


def dependencies(deb: Path) -> list[str]:
    """What the package depends on, of alternatives the first that there is; and what its units are checked with."""
    field = subprocess.check_output(["dpkg-deb", "-f", str(deb), "Depends"], text=True)
    wanted = [_available([one.split()[0] for one in part.split("|")]) for part in field.split(",")]
    return sorted({*wanted, "systemd"})


def _available(names: list[str]) -> str:
    for name in names:
        policy = subprocess.check_output(["apt-cache", "policy", name], text=True, env={**os.environ, "LC_ALL": "C"})
        if policy and "Candidate: (none)" not in policy:
            return name
    raise AssertionError(f"none of {names} is in Debian")


def prepared(store: Path, images: Path, deb: Path) -> Path:
    """The tar of a clean Debian with what `deb` depends on, but not `deb`; kept in `store` until that changes."""
    store.mkdir(parents=True, exist_ok=True)
    base = common_system(images, platform.freedesktop_os_release()["VERSION_CODENAME"], print)
    wanted = dependencies(deb)
    key = hashlib.sha256(repr((wanted, base.stat().st_mtime_ns)).encode()).hexdigest()[:16]
    tar = store / f"system-{key}.tar"
    if not tar.exists():
        for old in store.glob("system-*"):
            old.unlink()
        with tempfile.TemporaryDirectory(prefix=".system-", dir=store) as folder:
            system = unpacked(base, Path(folder) / "root")
            system.run(
                "apt-get", "install", "-y", "-q", "--no-install-recommends", *wanted, outside=True, deadline_s=580
            )
            system.run("apt-get", "clean")
            (system.root / "etc/dpkg/dpkg.cfg.d/99mmdebstrap").unlink(missing_ok=True)
            subprocess.run(["tar", "-C", str(system.root), "-cf", f"{folder}/new.tar", "."], check=True)
            Path(folder, "new.tar").rename(tar)
    return tar


def unpacked(tar: Path, root: Path) -> System:
    """A system from a tar. No service is started in it by packages."""
    root.mkdir(parents=True)
    subprocess.run(["tar", "-C", str(root), "-xf", str(tar)], check=True)
    policy = root / "usr/sbin/policy-rc.d"
    policy.write_text(_QUIET)
    policy.chmod(0o755)
    for name in ("hosts", "resolv.conf"):
        if not (root / "etc" / name).exists():
            shutil.copy(f"/etc/{name}", root / "etc" / name)
    return System(root, f"hybdeb{os.getpid()}")
