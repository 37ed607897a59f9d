"""What services tell systemd, and the sockets it keeps for them: against a stand-in that receives as systemd does."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
from array import array
from collections.abc import Iterator
from pathlib import Path

import pytest

from hybrid.systemd import Systemd, bound

PROGRAM = """
from twisted.application.service import Service
from hybrid.process import run_service
run_service("test", lambda reactor: Service())
"""


class Supervisor:
    """The receiving end of `NOTIFY_SOCKET`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(60.0)
        self.fds: list[int] = []

    def environment(self, **more: str) -> dict[str, str]:
        """Of a service."""
        return {"NOTIFY_SOCKET": str(self.path), **more}

    def hear(self) -> list[str]:
        """The next thing told; descriptors are collected."""
        text, ancillary, _, _ = self._socket.recvmsg(4096, socket.CMSG_SPACE(4))
        for _, _, data in ancillary:
            self.fds += array("i", data)
        return text.decode().split("\n")

    def heard(self) -> list[list[str]]:
        """All that was told by now."""
        told = []
        while select.select([self._socket], [], [], 0)[0]:
            told.append(self.hear())
        return told

    def close(self) -> None:
        """End."""
        self._socket.close()
        for fd in self.fds:
            os.close(fd)


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    """One that listens."""
    made = Supervisor(tmp_path / "notify")
    yield made
    made.close()


def test_a_service_tells_that_it_is_ready_lives_and_stops(supervisor: Supervisor) -> None:
    """`systemctl start` waits until it serves; one that hangs would miss its next word and be started again."""
    environment = {**os.environ, **supervisor.environment(WATCHDOG_USEC="300000")}
    with subprocess.Popen([sys.executable, "-c", PROGRAM], env=environment) as process:
        try:
            assert [supervisor.hear() for _ in range(4)] == [["READY=1"], *[["WATCHDOG=1"]] * 3]
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        finally:
            process.kill()
    assert supervisor.heard()[-1] == ["STOPPING=1"]


def test_what_is_for_this_process_is_not_inherited(supervisor: Supervisor) -> None:
    """A child does not speak for its parent; a service is watched only where it was told so itself."""
    environment = supervisor.environment(WATCHDOG_USEC="30000000", WATCHDOG_PID="7", LISTEN_FDS="0", HOME="/")
    assert Systemd(dict(environment), 7).watchdog_s == 30.0
    assert Systemd(environment, 8).watchdog_s is None
    assert environment == {"HOME": "/"}
    Systemd({}, 7).ready()
    Systemd({"NOTIFY_SOCKET": "/nowhere/at/all"}, 7).ready()
    assert supervisor.heard() == []


def test_who_connects_during_a_restart_is_served(supervisor: Supervisor) -> None:
    """The socket stays open while nobody runs, and the next process finds it: nobody is refused."""
    port = free_port()
    first = Systemd(supervisor.environment(), 7)
    listening = first.bound(socket.SOCK_STREAM, "127.0.0.1", port)
    listening.listen(5)
    name = f"FDNAME=tcp-{port}"
    assert supervisor.heard() == [["FDSTOREREMOVE=1", name], ["FDSTORE=1", "FDPOLL=0", name]]
    listening.close()
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(b"hello")
        (fd,) = supervisor.fds
        given = os.dup(fd)
        more = supervisor.environment(LISTEN_FDS="1", LISTEN_PID="8", LISTEN_FDNAMES=f"tcp-{port}")
        again = Systemd(more, 8, given).bound(socket.SOCK_STREAM, "127.0.0.1", port)
        assert again.fileno() == given
        accepted, _ = again.accept()
        with again, accepted:
            assert accepted.recv(10) == b"hello"
    assert supervisor.heard() == []


def test_a_kept_socket_that_is_not_wanted_is_let_go(supervisor: Supervisor) -> None:
    """After the port was changed in the settings, nobody connects to a port at which nobody accepts."""
    old = bound(socket.SOCK_STREAM, "127.0.0.1", 0)
    old.listen(5)
    port = old.getsockname()[1]
    more = supervisor.environment(LISTEN_FDS="1", LISTEN_PID="8", LISTEN_FDNAMES=f"tcp-{port}")
    systemd = Systemd(more, 8, old.detach())
    with systemd.bound(socket.SOCK_DGRAM, "127.0.0.1", free_port()):
        systemd.ready()
    assert supervisor.heard()[2:] == [["FDSTOREREMOVE=1", f"FDNAME=tcp-{port}"], ["READY=1"]]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 10)


def test_a_kept_socket_of_another_address_is_not_taken(supervisor: Supervisor) -> None:
    """It is bound anew at the right one, and systemd told to keep that instead."""
    old = bound(socket.SOCK_STREAM, "127.0.0.2", 0)
    port = old.getsockname()[1]
    more = supervisor.environment(LISTEN_FDS="1", LISTEN_PID="8", LISTEN_FDNAMES=f"tcp-{port}")
    with Systemd(more, 8, old.detach()).bound(socket.SOCK_STREAM, "127.0.0.1", port) as made:
        assert made.getsockname() == ("127.0.0.1", port)
    assert [told[0] for told in supervisor.heard()] == ["FDSTOREREMOVE=1", "FDSTORE=1"]


def free_port() -> int:
    """One that was free just now."""
    with bound(socket.SOCK_STREAM, "127.0.0.1", 0) as probe:
        return int(probe.getsockname()[1])


STARTED = """
import os
os.environ["LISTEN_PID"] = str(os.getpid())
from hybrid.main import main
try:
    main([{process!r}, "--help"])
except SystemExit:
    pass
from hybrid.systemd import SYSTEMD
print(sorted(SYSTEMD._kept))
"""


@pytest.mark.parametrize("process", ["proxy", "dns"])
def test_a_process_gets_what_was_kept_for_it(process: str) -> None:
    """Before Twisted, which takes it out of the environment when it is imported: two sockets, of which nobody accepts
    from one, would hang every other visitor."""
    environment = {**os.environ, "LISTEN_FDS": "2", "LISTEN_FDNAMES": "tcp-80:tcp-443"}
    program = STARTED.format(process=process)
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "['tcp-443', 'tcp-80']", done.stderr
