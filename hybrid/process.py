"""
The outside of every process: logging, signals, the reactor. The only module that touches the global reactor.

Twisted's reactors count wall time; a node must not elect because somebody set the clock. So every process runs an
epoll reactor on the monotonic clock: `reactor.seconds()` is never the time of day here.
"""

from __future__ import annotations

import faulthandler
import sys
import time
from collections.abc import Callable
from typing import Any

from twisted.application.service import IService
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.main import installReactor
from twisted.internet.task import LoopingCall
from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogBeginner,
    jsonFileLogObserver,
    textFileLogObserver,
)
from zope.interface import provider

from hybrid.systemd import SYSTEMD


class MonotonicReactor(EPollReactor):
    """The epoll reactor on the clock that nobody can set."""

    seconds = staticmethod(time.monotonic)


def install_reactor(kind: type[MonotonicReactor] = MonotonicReactor) -> MonotonicReactor:
    """Make it the process's reactor. Raises `ReactorAlreadyInstalledError` when another module was quicker."""
    reactor = kind()
    installReactor(reactor)
    return reactor


def begin_logging(json: bool = False, level: str = "info") -> None:
    """Log to standard error: text for people, JSON lines for programs."""
    observer = jsonFileLogObserver(sys.stderr) if json else textFileLogObserver(sys.stderr)
    predicate = LogLevelFilterPredicate(LogLevel.levelWithName(level))
    for chatty in ("twisted", "PortFactory", "hybrid.feed.FeedClient"):
        predicate.setLogLevelForNamespace(chatty, LogLevel.warn)  # every factory and retry says so
    observers = [FilteringLogObserver(observer, [predicate]), relay_child_lines]
    globalLogBeginner.beginLoggingTo(observers, redirectStandardIO=False)


@provider(ILogObserver)
def relay_child_lines(event: LogEvent) -> None:
    """Lines of supervised children pass as they are, with the child's name: they have their own times."""
    if "line" in event and "tag" in event:
        sys.stderr.write(f"{event['tag']:<7} {event['line']}\n")
        sys.stderr.flush()


def run_service(
    name: str,
    make: Callable[[Any], IService],
    kind: type[MonotonicReactor] = MonotonicReactor,
    tells_ready: bool = False,
) -> int:
    """
    Run one service until SIGTERM or SIGINT, then stop it and wait until it has stopped.

    Args:
        name: For the log.
        make: Called with the reactor; its exception ends the process.
        kind: Of the reactor.
        tells_ready: The service itself calls `SYSTEMD.ready()`, some time after its start.

    Returns:
        The exit status.
    """
    begin_logging()
    faulthandler.enable()  # the watchdog's SIGABRT shows what hung
    reactor = install_reactor(kind)
    built = make(reactor)

    def stop() -> Deferred[object]:
        SYSTEMD.stopping()
        return maybeDeferred(built.stopService)

    built.privilegedStartService()
    built.startService()
    reactor.addSystemEventTrigger("before", "shutdown", stop)
    if not tells_ready:
        SYSTEMD.ready()
    if SYSTEMD.watchdog_s is not None:
        beat = LoopingCall(SYSTEMD.alive)
        beat.clock = reactor
        beat.start(SYSTEMD.watchdog_s / 3)
    reactor.run()
    return 0
