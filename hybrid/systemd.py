"""
What a service tells systemd, and gets from it: ready, alive, stopping; listening sockets that outlive a restart. Shell.

sd_notify(3), sd_watchdog_enabled(3), sd_listen_fds(3), sd_pid_notify_with_fds(3). Standard library only, because the
guardian is. Where nobody listens nothing happens.
"""

from __future__ import annotations

import os
import socket
from array import array
from collections.abc import MutableMapping

FIRST_FD = 3
"""sd_listen_fds(3): inherited sockets begin here."""


def bound(kind: socket.SocketKind, address: str, port: int) -> socket.socket:
    """
    A socket of that kind at `address:port`, which several processes may share (SO_REUSEPORT).

    Raises:
        OSError: The address cannot be bound.
    """
    made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind((address, port))
    except OSError:
        made.close()
        raise
    return made


class Systemd:
    """
    The supervisor of this process.

    Args:
        environment: Of the process. What was for this process alone is taken out of it, so that no child believes it.
        pid: Of the process.
        first_fd: Of the sockets that were kept for it.
    """

    def __init__(self, environment: MutableMapping[str, str], pid: int, first_fd: int = FIRST_FD) -> None:
        self._path = environment.pop("NOTIFY_SOCKET", "")
        watchdog, of = environment.pop("WATCHDOG_USEC", ""), environment.pop("WATCHDOG_PID", str(pid))
        self.watchdog_s = int(watchdog) / 1e6 if watchdog.isdigit() and of == str(pid) else None
        """Silence for longer than this is taken for a hang, and ends the process; `None`: nobody watches."""
        count, of = environment.pop("LISTEN_FDS", "0"), environment.pop("LISTEN_PID", "")
        names = environment.pop("LISTEN_FDNAMES", "").split(":")
        mine = range(first_fd, first_fd + int(count)) if count.isdigit() and of == str(pid) else range(0)
        self._kept = {name: fd for name, fd in zip(names, mine, strict=False) if name}

    def tell(self, *lines: str, fd: int | None = None) -> None:
        """Say something, with a descriptor of which it keeps a copy. That it does not hear is no trouble of ours."""
        if not self._path:
            return
        address = "\0" + self._path[1:] if self._path.startswith("@") else self._path
        ancillary = [] if fd is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [fd]))]
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notifying:
            try:
                notifying.sendmsg(["\n".join(lines).encode()], ancillary, socket.MSG_DONTWAIT, address)
            except OSError:
                return

    def bound(self, kind: socket.SocketKind, address: str, port: int) -> socket.socket:
        """
        As `bound`: the socket that was kept over a restart, so that nobody was refused meanwhile, else a new one, which
        is kept from now on. For ports that are this service's as long as its unit runs.
        """
        name = f"{'udp' if kind == socket.SOCK_DGRAM else 'tcp'}-{port}"
        fd = self._kept.pop(name, None) if port else None
        if fd is not None:
            kept = socket.socket(fileno=fd)
            if kept.type == kind and kept.getsockname()[:2] == (address or "0.0.0.0", port):
                os.set_inheritable(fd, False)
                return kept
            kept.close()
        made = bound(kind, address, port)
        if port:
            self._keep(name, made)
        return made

    def _keep(self, name: str, made: socket.socket) -> None:
        self.tell("FDSTOREREMOVE=1", f"FDNAME={name}")  # an older one, of another address
        # Not polled: one that is bound and does not listen yet looks hung up, and would be let go.
        self.tell("FDSTORE=1", "FDPOLL=0", f"FDNAME={name}", fd=made.fileno())

    def ready(self) -> None:
        """This process serves. What was kept for it and not asked for by now is let go."""
        for name, fd in self._kept.items():
            os.close(fd)
            self.tell("FDSTOREREMOVE=1", f"FDNAME={name}")
        self._kept.clear()
        self.tell("READY=1")

    def alive(self) -> None:
        """It does not hang."""
        self.tell("WATCHDOG=1")

    def stopping(self) -> None:
        """It was asked to end, and does."""
        self.tell("STOPPING=1")


SYSTEMD = Systemd(os.environ, os.getpid())
"""Of this process; made at the first import, because the environment may be taken from once only."""
