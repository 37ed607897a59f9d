"""Starts the process of a session on a connection, and knows when it ended. Shell; see `hybrid_containers.session`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Literal

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProcessTransport, IReactorProcess
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from hybrid.sessions import Opening
from hybrid_containers.child import CLEAN
from hybrid_containers.session import Task, write_task

HOME = "/root"
_COMMAND = (sys.executable, "-I", "-m", "hybrid_containers.session")
_TASK = 3
_LOGIN = """\
[ -r /etc/hybrid/environment ] && { set -a; . /etc/hybrid/environment; set +a; }
cd "$HOME" 2>/dev/null || cd /
SHELL=/bin/sh; [ -x /bin/bash ] && SHELL=/bin/bash; export SHELL
[ $# -gt 0 ] && exec "$SHELL" -c "$1"
exec "$SHELL" -l"""
"""What a login is: the site's own environment, the home folder, the better shell there is; `$1` is a command line."""


def argv_of(opening: Opening) -> tuple[str, ...]:
    """What runs in the container for a shell or a command."""
    return ("/bin/sh", "-c", _LOGIN, "sh", *([opening.command] if opening.kind == "command" else []))


def environment_of(opening: Opening) -> dict[str, str]:
    """What it finds in its environment."""
    host, _, port = opening.source.partition(" ")
    return {
        **opening.environment,
        "HOME": HOME,
        "USER": "root",
        "LOGNAME": "root",
        "PATH": CLEAN["PATH"],
        **({"TERM": opening.terminal} if opening.terminal else {}),
        **({"SSH_CLIENT": f"{host} {port} 22"} if host else {}),
    }


def attached(opening: Opening, attach: Sequence[str]) -> Task:
    """What `attach` (lxc-attach and its options) is run for."""
    words = [word for name, value in environment_of(opening).items() for word in ("-v", f"{name}={value}")]
    return Task((*attach, *words, "--", *argv_of(opening)), dict(CLEAN), opening.size if opening.terminal else None)


class Sitting(ProcessProtocol):
    """See `hybrid.ports.Sitting`."""

    def __init__(self) -> None:
        self._over = False
        self._waiting: list[Deferred[None]] = []

    @classmethod
    def begin(cls, reactor: IReactorProcess, task: Task, connection: int) -> Sitting:
        """Have a process of its own do `task` for what is at the other end of `connection`."""
        sitting = cls()
        files: dict[int, int | Literal["r", "w"]] = {0: connection, 1: connection, 2: 2, _TASK: "w"}
        transport = reactor.spawnProcess(sitting, _COMMAND[0], _COMMAND, env=CLEAN, childFDs=files)
        transport.writeToChild(_TASK, write_task(task))
        transport.closeChildFD(_TASK)
        return sitting

    async def ended(self) -> None:
        """See `hybrid.ports.Sitting`."""
        if not self._over:
            waiting: Deferred[None] = Deferred()
            self._waiting.append(waiting)
            await waiting

    def end(self) -> None:
        """See `hybrid.ports.Sitting`."""
        transport: IProcessTransport | None = self.transport
        if not self._over and transport is not None:
            transport.signalProcess("TERM")

    def processEnded(self, reason: Failure) -> None:
        """See `ProcessProtocol`."""
        self._over = True
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.callback(None)
