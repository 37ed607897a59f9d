"""
`hybrid run`: all processes of a node under one supervisor, for a laptop, a test or a plain server without systemd.

Each child is restarted alone when it dies; none of them takes another with it. As process 1 of a namespace it also
reaps what was orphaned (container monitors outlive the node process on purpose). Shell.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from twisted.application import service
from twisted.internet import task
from twisted.internet.process import reapProcessHandlers
from twisted.logger import Logger

from hybrid.settings import DEFAULT_FILE, Settings, guardian_socket, load, settings_file
from hybrid.storage.children import Reactor

REAP_EVERY_S = 2.0


def children(settings: Settings, config: Path) -> dict[str, list[str]]:
    """Name to command line of the processes that serve this node."""
    hybrid = [sys.executable, "-m", "hybrid.main"]
    commands = {"node": [*hybrid, "node", "run", "--config", str(config)]}
    if settings.strict.endpoints:
        commands["guardian"] = [*hybrid, "guardian", guardian_socket(settings)]
    for number in range(settings.proxies):
        commands[f"proxy{number}"] = [*hybrid, "proxy", "--config", str(config)]
    for number in range(settings.dns_servers):
        commands[f"dns{number}"] = [*hybrid, "dns", "--config", str(config)]
    return commands


class Supervisor(service.MultiService):
    """The monitor of the children, and the storage daemon where this node runs its own."""

    log = Logger()

    def __init__(self, reactor: Reactor, settings: Settings, config: Path) -> None:
        super().__init__()
        from twisted.runner.procmon import ProcessMonitor  # imports the global reactor: ours must be there by now

        self._monitor = ProcessMonitor(reactor)
        self._monitor.maxRestartDelay = 10
        for name, command in children(settings, config).items():
            self._monitor.addProcess(name, command, env=dict(os.environ))
        if settings.zfs_daemon:
            from hybrid.storage.daemon import ZfsDaemon

            ZfsDaemon(reactor, settings).setServiceParent(self)
        self._monitor.setServiceParent(self)
        self._reaper = task.LoopingCall(self._reap)
        self._reaper.clock = reactor

    def startService(self) -> None:
        """Start the children, and reaping where orphans come to us."""
        super().startService()
        if os.getpid() == 1:
            self._reaper.start(REAP_EVERY_S)

    def _reap(self) -> None:
        """Reap ended children that Twisted does not know: orphans of others."""
        try:
            while True:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                if ended is None or ended.si_pid in reapProcessHandlers:
                    return
                os.waitpid(ended.si_pid, os.WNOHANG)
        except ChildProcessError:
            return
        except Exception:
            self.log.failure("reaping failed")


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments of `hybrid run` and `hybrid node run`."""
    parser = argparse.ArgumentParser(prog="hybrid run", description="Run all processes of this node.")
    parser.add_argument("--config", type=Path, help=f"settings file (default: {DEFAULT_FILE})")
    parser.add_argument("--state-dir", type=Path, help="where `hybrid init --state-dir` put them")
    options = parser.parse_args(argv)
    options.config = options.config or settings_file(options.state_dir)
    return options


def main(argv: Sequence[str]) -> int:
    """Run until SIGTERM or SIGINT."""
    from hybrid.process import run_service

    options = parse(argv)
    settings = load(options.config)
    return run_service("run", lambda reactor: Supervisor(reactor, settings, options.config))
