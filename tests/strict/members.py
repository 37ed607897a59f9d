"""Members of a real etcd for tests: one process each, on loopback or in a network namespace. Synchronous."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

CLIENT_PORT, PEER_PORT = 2379, 2380


def free_port() -> int:
    """A port on loopback that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
    return port


class Member:
    """
    One member, not started.

    Args:
        name: In the etcd cluster.
        where: A folder of its own, for data and log.
        address: Where it listens.
        client_port: For clients.
        peer_port: For other members.
        prefix: Before the command line, for example `nsenter --net=…`.
        tls: Options with which it speaks TLS to clients; without any it speaks plainly.
    """

    def __init__(
        self,
        name: str,
        where: Path,
        address: str = "127.0.0.1",
        client_port: int = CLIENT_PORT,
        peer_port: int = PEER_PORT,
        prefix: Sequence[str] = (),
        tls: Sequence[str] = (),
    ) -> None:
        self.name, self._where, self._prefix, self._tls = name, where, tuple(prefix), tuple(tls)
        self.address, self._client_port = address, client_port
        self.endpoint = f"{'https' if tls else 'http'}://{address}:{client_port}"
        self.peer = f"http://{address}:{peer_port}"
        self._process: subprocess.Popen[bytes] | None = None
        where.mkdir(parents=True, exist_ok=True)

    def start(self, all_members: Sequence[Member]) -> None:
        """Start it as one of `all_members`; what it wrote to its folder earlier is taken up again."""
        argv = ["setpriv", "--pdeathsig", "KILL", *self._prefix, shutil.which("etcd") or "etcd", "--name", self.name]
        argv += ["--data-dir", str(self._where / "data"), "--listen-client-urls", self.endpoint]
        argv += ["--advertise-client-urls", self.endpoint, "--listen-peer-urls", self.peer]
        argv += ["--initial-advertise-peer-urls", self.peer, "--initial-cluster-state", "new"]
        argv += ["--initial-cluster", ",".join(f"{member.name}={member.peer}" for member in all_members)]
        argv += self._tls
        with (self._where / "log").open("ab") as log:
            self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def healthy(self) -> bool:
        """Whether it answers, and knows a leader."""
        connection = http.client.HTTPConnection(self.address, self._client_port, timeout=1.0)
        try:
            connection.request("GET", "/health")
            return b'"true"' in connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def wait_until_healthy(self, deadline_s: float = 30.0) -> None:
        """Returns when it is."""
        end_s = time.monotonic() + deadline_s
        while not self.healthy():
            assert time.monotonic() < end_s, f"etcd {self.name} is not healthy after {deadline_s:.0f} s: {self.log()}"
            time.sleep(0.05)

    def leads(self) -> bool:
        """Whether it is the leader now."""
        connection = http.client.HTTPConnection(self.address, self._client_port, timeout=2.0)
        try:
            connection.request("GET", "/metrics")
            return b"\netcd_server_is_leader 1" in connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def pause(self) -> None:
        """Stop scheduling it. When this returns none of its threads runs any more: a signal takes effect later."""
        self._signal(signal.SIGSTOP)
        deadline_s = time.monotonic() + 10.0
        while not self._stopped():
            assert time.monotonic() < deadline_s, "SIGSTOP had no effect"
            time.sleep(0.01)

    def _stopped(self) -> bool:
        assert self._process is not None
        tasks = Path(f"/proc/{self._process.pid}/task").glob("*/stat")
        return all(task.read_text().rpartition(")")[2].split()[0] == "T" for task in tasks)

    def resume(self) -> None:
        """Undo `pause`."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        """End it at once. Safe to repeat."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10.0)
            self._process = None

    def log(self) -> str:
        """The end of what it said."""
        path = self._where / "log"
        return path.read_text(errors="replace")[-2000:] if path.exists() else ""
