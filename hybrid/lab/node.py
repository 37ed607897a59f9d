"""
One node of the lab: a process tree in network, mount, PID and UTS namespaces of its own, on a disk that is a file.

Killing the first process of the PID namespace ends everything in it at once, containers and storage daemon included: a
power cut. What is on the node's disk stays for `start`. Synchronous.

Inside, the node has its own zfs directories (two daemons that share any of them import the same pools twice), its own
`/run/hybrid` and `/run/lxc`, empty after each start as after a boot, and its own `/sys`, because LXC looks for bridges
there; the machine's cgroup tree is bound back over it.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from hybrid import crashpoint
from hybrid.lab import cgroups
from hybrid.lab.command import LabError
from hybrid.lab.network import NETNS, Network
from hybrid.lab.processes import children, command_line, pid_namespace, send, tree

Part = Literal["node", "proxy", "dns", "guardian", "zfs-fuse"]
_PRIVATE = {"/run/zfs": "zfs/run", "/etc/zfs": "zfs/etc", "/var/lib/zfs": "zfs/lib", "/run/lock/zfs": "zfs/lock"}
_FRESH = {"/run/hybrid": "run/hybrid", "/run/lxc": "run/lxc"}
_MOUNTS = """
set -e
cd {base}
{binds}
mount --rbind /sys/fs/cgroup cgroup
mount -t sysfs sysfs /sys
mount --rbind cgroup /sys/fs/cgroup
hostname {name}
touch booted
cd /
exec "$@"
"""


class Node:
    """
    A node, running or not.

    Args:
        network: Built, with a namespace for `name`.
        name: The node's.
        dc: Its data centre.
        base: A folder for its disk, state and logs.
        image_dir: Built images, shown to the node where nodes look for them.
        twin_of: The folder of another node, of which `base` is a copy: inside this node it is found there.
    """

    def __init__(
        self,
        network: Network,
        name: str,
        dc: str,
        base: Path,
        image_dir: Path | None = None,
        twin_of: Path | None = None,
    ) -> None:
        self._images = {"/var/cache/hybrid/images": str(image_dir.resolve())} if image_dir else {}
        self._guise = {str(twin_of): "."} if twin_of else {}
        self.name, self.dc, self.base = name, dc, base
        self.network = network
        self._process: subprocess.Popen[bytes] | None = None
        self.state_dir = base / "state"
        self.disk = base / "disk.img"
        self.cgroup = network.namespace(name)
        self.pool = f"{network.name}{name}"
        self.environment: dict[str, str] = {}
        """Beyond this process's own, for all that runs in it from the next boot on."""
        for folder in (*_PRIVATE.values(), *_FRESH.values(), "state", "cgroup"):
            (base / folder).mkdir(parents=True, exist_ok=True)

    @property
    def address(self) -> str:
        """Where it is reached, from other nodes and from this machine."""
        return self.network.address(self.name)

    @property
    def _crash(self) -> Path:
        return self.base / "crash"

    def crash_at(self, step: str) -> None:
        """Let the process that reaches `step` the next time die there (see `hybrid.crashpoint`)."""
        self._crash.write_text(step)

    @property
    def crashed(self) -> bool:
        """Whether the process for which `crash_at` lay in wait has died."""
        return not self._crash.exists()

    def spare(self) -> None:
        """Lie in wait no longer."""
        self._crash.unlink(missing_ok=True)

    @property
    def log(self) -> Path:
        """What its processes said, of all its lives."""
        return self.base / "log"

    def run(self, argv: Sequence[str], deadline_s: float = 120.0) -> str:
        """
        Run one command in the namespaces of the node while it is not started, and return what it printed.

        Raises:
            LabError: It failed, with the end of what it said.
        """
        process = self._spawn(argv, subprocess.PIPE, subprocess.PIPE)
        try:
            output, errors = process.communicate(timeout=deadline_s)
        except subprocess.TimeoutExpired as error:
            process.kill()
            process.communicate()
            raise LabError(
                f"{self.name}: `{' '.join(argv)}` did not end", f"killed after {deadline_s:.0f} s"
            ) from error
        if process.returncode:
            said = (errors or output).decode(errors="replace").strip()[-1500:]
            raise LabError(f"{self.name}: `{' '.join(argv)}` failed", said)
        return output.decode()

    def start(self, argv: Sequence[str]) -> None:
        """Boot: run `argv` as the first process. From the thread that lives longest: its end ends the node."""
        if self.alive():
            raise LabError(f"{self.name} runs already")
        self.network.power_cycle(self.name)
        for folder in _FRESH.values():
            shutil.rmtree(self.base / folder, ignore_errors=True)
            (self.base / folder).mkdir(parents=True)
        booted = self.base / "booted"
        booted.unlink(missing_ok=True)
        with self.log.open("ab") as log:
            self._process = self._spawn(argv, log.fileno(), log.fileno())
        self.wait_until(booted.exists, "booted", 20.0)

    def _spawn(self, argv: Sequence[str], stdout: int, stderr: int) -> subprocess.Popen[bytes]:
        """
        `argv` in new namespaces.

        When this process dies, the kernel kills the outer command (setpriv) and that kills the namespace (unshare).
        """
        shown = {**_PRIVATE, **_FRESH, **self._images, **self._guise}
        for target in shown:
            Path(target).mkdir(parents=True, exist_ok=True)
        binds = "\n".join(f"mount --bind {shlex.quote(ours)} {target}" for target, ours in shown.items())
        script = _MOUNTS.format(base=shlex.quote(str(self.base)), binds=binds, name=self.name)
        outer = ["setpriv", "--pdeathsig", "KILL", "nsenter", f"--net={NETNS / self.network.namespace(self.name)}"]
        outer += ["unshare", "--mount", "--propagation", "private", "--uts", "--pid", "--fork", "--kill-child"]
        command = [*outer, "--mount-proc", "bash", "-c", script, self.name, *argv]
        environment = {
            **os.environ,
            **self.environment,
            crashpoint.VARIABLE: str(self._crash),
            "PATH": f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin",
        }
        try:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
                env=environment,
            )
        except OSError as error:
            raise LabError(f"cannot start {self.name}", str(error), "install util-linux") from error

    @property
    def init(self) -> int | None:
        """The pid, on this machine, of the node's first process."""
        if self._process is None or self._process.poll() is not None:
            return None
        return next(iter(children(self._process.pid)), None)

    def alive(self) -> bool:
        """Whether the node runs."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """
        Power cut. Returns when nothing of the node runs any more.

        The cable goes first: a machine without power does not say goodbye to its connections.
        """
        init = self.init
        if init is not None:
            self.network.set_link(self.name, up=False)
            os.kill(init, signal.SIGKILL)
        self._end(10.0)

    def stop(self, grace_s: float = 20.0) -> None:
        """Ask it to end as at a shutdown; cut the power after `grace_s`."""
        init = self.init
        if init is not None:
            os.kill(init, signal.SIGTERM)
        self._end(grace_s)

    def _end(self, grace_s: float) -> None:
        """Wait for the end of the outer process and reap it; after `grace_s` kill it (and with it the namespace)."""
        if self._process is None:
            return
        try:
            self._process.wait(grace_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10.0)
        self._process = None

    def pids(self, part: Part) -> list[int]:
        """Pids, on this machine, of the processes of that part of the node."""
        init = self.init
        if init is None:
            return []
        inside = pid_namespace(init)
        return [pid for pid in tree(init) if pid_namespace(pid) == inside and _is_part(command_line(pid), part)]

    def kill_process(self, part: Part) -> None:
        """SIGKILL one part alone. Raises `LabError` when it does not run."""
        pids = self.pids(part)
        if not pids:
            raise LabError(f"{self.name} has no process `{part}`")
        send(pids, signal.SIGKILL)

    def pause(self) -> None:
        """Stop scheduling everything in the node, as a machine that hangs."""
        send(tree(self.init or 0), signal.SIGSTOP)

    def resume(self) -> None:
        """Undo `pause`."""
        send(tree(self.init or 0), signal.SIGCONT)

    def shell(
        self, argv: Sequence[str], stdin: bytes = b"", deadline_s: float = 30.0
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command inside the running node. Raises `LabError` when it does not run, or at the deadline."""
        init = self.init
        if init is None:
            raise LabError(f"{self.name} does not run")
        command = ["nsenter", "-t", str(init), "-m", "-n", "-u", "-p", "--", *argv]
        try:
            return subprocess.run(command, input=stdin, capture_output=True, timeout=deadline_s, check=False)
        except subprocess.TimeoutExpired as error:
            raise LabError(
                f"{self.name}: `{' '.join(argv)}` did not end", f"killed after {deadline_s:.0f} s"
            ) from error

    def wait_until(self, ready: Callable[[], bool], what: str, deadline_s: float = 60.0) -> None:
        """Poll `ready` ten times a second. Raises `LabError` with the end of the log when node or time end."""
        end_s = time.monotonic() + deadline_s
        while not ready():
            if not self.alive():
                raise LabError(f"{self.name} ended while waiting until {what}", self.log_end(), f"see {self.log}")
            if time.monotonic() > end_s:
                raise LabError(f"{self.name}: not {what} in {deadline_s:.0f} s", self.log_end(), f"see {self.log}")
            time.sleep(0.1)

    def log_end(self, size: int = 1500) -> str:
        """The last part of the log."""
        try:
            return self.log.read_bytes()[-size:].decode(errors="replace")
        except OSError:
            return ""

    def clean(self) -> None:
        """Remove its control groups; it must have ended."""
        cgroups.remove(self.cgroup)


def _is_part(argv: list[str], part: Part) -> bool:
    """Whether a command line is that of `part`."""
    if part == "zfs-fuse":
        return bool(argv) and Path(argv[0]).name == "zfs-fuse"
    return part in argv[1:4] and any("hybrid" in word for word in argv[:3])
