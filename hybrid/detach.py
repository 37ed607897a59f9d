"""
Runs a coroutine that nobody waits for. Shell.

`Deferred.fromCoroutine` makes a Deferred, a context and what is needed to cancel it. Most of what a node begins by
itself (a message it takes in, a look at what is due) ends without ever waiting: here that costs a call, no more.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

_log = Logger()


def detach(coroutine: Coroutine[Deferred[Any], Any, object], ended: Callable[[], object] | None = None) -> None:
    """
    Begin `coroutine`, which awaits Deferreds and tells of its errors itself: what it raises is only logged.

    It has run to its first wait, or ended, when this returns. `ended()` is called when it is over, however it ended.
    """
    _Detached(coroutine, ended).go()


class _Detached:
    """One coroutine on its way."""

    __slots__ = ("_coroutine", "_ended")

    def __init__(
        self, coroutine: Coroutine[Deferred[Any], Any, object], ended: Callable[[], object] | None = None
    ) -> None:
        self._coroutine, self._ended = coroutine, ended

    def go(self, result: object = None) -> None:
        """Go on until it waits again: `result` came of what it waited for."""
        coroutine = self._coroutine
        try:
            if isinstance(result, Failure):
                waits_for = result.throwExceptionIntoGenerator(coroutine)
            else:
                waits_for = coroutine.send(result)
        except StopIteration:
            pass
        except Exception:
            _log.failure("a coroutine that nobody waits for failed")
        else:
            waits_for.addBoth(self.go)
            return
        if self._ended is not None:
            self._ended()
