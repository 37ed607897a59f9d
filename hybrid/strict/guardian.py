"""
The guardian: freezes the containers of strict sites when the node process stops saying until when they may run.

A process of its own that does nothing else, so that it goes on while the node process hangs, is stopped or is gone. It
keeps a deadline (CLOCK_MONOTONIC) for each control group it was told of, and, beside its socket, which groups it froze,
so that one that starts again can thaw them. Nothing but the standard library (`hybrid/systemd.py` is no more); does I/O
on one Unix socket, on a file in `/run` and on cgroupfs: both are memory, and never block on storage.

A line of JSON comes in, `{"deadlines": {"/sys/fs/cgroup/…/payload": 123.4}}`, all groups each time; a line goes out,
`{"frozen": [...]}`, those it keeps frozen. Groups may be of version 1 (`freezer.state`) or 2 (`cgroup.freeze`).
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Iterator, Sequence

from hybrid.systemd import SYSTEMD

ENFORCE_S = 0.2
"""How often it looks for groups past their deadline that run again, or appear only now."""
MAX_LINE = 4 * 1024 * 1024
MAX_CLIENTS = 8
CGROUPS = "/sys/fs/cgroup/"


class Freezer:
    """The deadlines, and what is to be frozen."""

    def __init__(self, root: str = CGROUPS, memory: str = "") -> None:
        """`root`: groups outside of it are refused. `memory`: where to remember what it froze; empty: nowhere."""
        self._root, self._memory = root, memory
        self._deadlines: dict[str, float] = {}
        self._froze: set[str] = set()
        with contextlib.suppress(OSError), open(memory) as file:
            self._froze.update(file.read().splitlines())

    def feed(self, line: bytes, now_s: float) -> bytes:
        """
        Take new deadlines, thaw what may run on.

        Returns:
            The answer.

        Raises:
            ValueError: It is not understood. The old deadlines stand.
        """
        try:
            deadlines = {str(group): float(at_s) for group, at_s in json.loads(line)["deadlines"].items()}
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"not a line of deadlines: {error}") from error
        for group in deadlines:
            if not group.startswith(self._root) or ".." in group.split("/"):
                raise ValueError(f"{group} is not a control group")
        self._deadlines = deadlines
        may_run = {group for group in self._froze if deadlines.get(group, now_s) > now_s}
        for group in sorted(may_run):
            thaw(group)
        self._remember({group for group in self._froze - may_run if os.path.isdir(group)})
        self.enforce(now_s)
        return json.dumps({"frozen": sorted(self._froze)}).encode() + b"\n"

    def enforce(self, now_s: float) -> None:
        """Freeze what is past its deadline and runs."""
        due = {group for group, at_s in self._deadlines.items() if at_s <= now_s}
        self._remember(self._froze | {group for group in due if freeze(group)})

    def _remember(self, froze: set[str]) -> None:
        if froze == self._froze:
            return
        self._froze = froze
        if self._memory:
            with open(self._memory + ".new", "w") as file:
                file.writelines(f"{group}\n" for group in sorted(froze))
            os.replace(self._memory + ".new", self._memory)

    def wait_s(self, now_s: float) -> float | None:
        """After how long to `enforce` again; `None`: only when something was said."""
        return min((max(at_s - now_s, ENFORCE_S) for at_s in self._deadlines.values()), default=None)


def freeze(group: str) -> bool:
    """Stop scheduling what is in `group`; whether there is such a group."""
    return _write(group, "freezer.state", "FROZEN", "THAWED") or _write(group, "cgroup.freeze", "1", "0")


def thaw(group: str) -> bool:
    """Undo `freeze`."""
    return _write(group, "freezer.state", "THAWED", "") or _write(group, "cgroup.freeze", "0", "")


def _write(group: str, name: str, value: str, only_if: str) -> bool:
    """Write a control file, if what stands there is `only_if` (empty: anyhow). Whether there is such a file."""
    path = f"{group}/{name}"
    try:
        with open(path) as file:
            stands = file.read().strip()
        if not only_if or stands == only_if:
            with open(path, "w") as file:
                file.write(value)
    except OSError:
        return False  # no such group, or one of the other version, or it went a moment ago
    return True


class Client:
    """One connection of a node process."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._buffer = b""

    def lines(self) -> Iterator[bytes]:
        """The lines that came. Raises `ConnectionError` when it is over, `ValueError` when it is too long."""
        data = self.connection.recv(65536)
        if not data:
            raise ConnectionError("closed")
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        if len(self._buffer) > MAX_LINE:
            raise ValueError("a line without an end")
        yield from lines


def serve(listening: socket.socket, freezer: Freezer) -> None:
    """Listen and enforce, for ever."""
    clients: dict[int, Client] = {}
    while True:
        wait_s = freezer.wait_s(time.monotonic())
        ready, _, _ = select.select([listening.fileno(), *clients], [], [], wait_s)
        freezer.enforce(time.monotonic())
        for source in ready:
            if source == listening.fileno():
                connection, _ = listening.accept()
                connection.settimeout(1.0)
                if len(clients) >= MAX_CLIENTS:  # the oldest is of a process that is gone, or should be
                    clients.pop(next(iter(clients))).connection.close()
                clients[connection.fileno()] = Client(connection)
            elif source in clients and not _answer(clients[source], freezer):
                clients.pop(source).connection.close()


def _answer(client: Client, freezer: Freezer) -> bool:
    """Take what a client says. `False`: the connection is over."""
    try:
        for line in client.lines():
            client.connection.sendall(freezer.feed(line, time.monotonic()))
    except ValueError as error:
        print(f"refused: {error}", file=sys.stderr, flush=True)
        return False
    except OSError:
        return False
    return True


def stand_firm() -> None:
    """Be scheduled before all others, never swapped out, killed last; as far as this machine allows."""
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("-1000")
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mlockall(3)  # MCL_CURRENT | MCL_FUTURE


def listen(path: str) -> socket.socket:
    """The socket at `path`, for root only; what an earlier guardian left there goes."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    os.umask(0o077)
    listening.bind(path)
    listening.listen(MAX_CLIENTS)
    return listening


def main(argv: Sequence[str]) -> int:
    """
    `hybrid guardian [SOCKET]`: guard until a signal ends it.

    Then it freezes all it was told of: nobody would do so later, and containers outlive the processes of a node. The
    next guardian thaws them, if the node process says so: a restart of this one is a pause of a second.
    """
    path = argv[0] if argv else "/run/hybrid/guardian.sock"
    freezer = Freezer(memory=f"{path}.frozen")
    stand_firm()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: sys.exit(0))
    try:
        listening = listen(path)
        SYSTEMD.ready()
        serve(listening, freezer)
    finally:
        freezer.enforce(float("inf"))
    return 0
