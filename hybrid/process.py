"""The outside of every process: logging, signals, the reactor. The only module that imports the global reactor."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from twisted.application.service import IService
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import (
    FilteringLogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogBeginner,
    jsonFileLogObserver,
    textFileLogObserver,
)


def begin_logging(json: bool = False, level: str = "info") -> None:
    """Log to standard error: text for people, JSON lines for programs."""
    observer = jsonFileLogObserver(sys.stderr) if json else textFileLogObserver(sys.stderr)
    predicate = LogLevelFilterPredicate(LogLevel.levelWithName(level))
    globalLogBeginner.beginLoggingTo([FilteringLogObserver(observer, [predicate])], redirectStandardIO=False)


def run_service(name: str, make: Callable[[Any], IService]) -> int:
    """
    Run one service until SIGTERM or SIGINT, then stop it and wait until it has stopped.

    Args:
        name: For the log.
        make: Called with the reactor; its exception ends the process with status 1.

    Returns:
        The exit status.
    """
    from twisted.internet import reactor

    begin_logging()
    built = make(reactor)

    def stop() -> Deferred[object]:
        return maybeDeferred(built.stopService)

    built.privilegedStartService()
    built.startService()
    reactor.addSystemEventTrigger("before", "shutdown", stop)  # type: ignore[attr-defined]  # the module is the reactor
    reactor.run()  # type: ignore[attr-defined]  # as above
    return 0
