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


def _logged(_: Exception) -> None:
    _log.failure("what nobody waits for failed")


def detach(
    coroutine: Coroutine[Deferred[Any], Any, object],
    ended: Callable[[], object] | None = None,
    failed: Callable[[Exception], object] = _logged,
) -> None:
    """
    Begin `coroutine`, which awaits Deferreds. It has run to its first wait, or ended, when this returns.

    Args:
        ended: Called when it is over, however it ended.
        failed: Called before, while the error is handled, with what it raised; by default that is logged.
    """
    try:
        waits_for = coroutine.send(None)
    except StopIteration:
        pass
    except Exception as error:
        failed(error)
    else:
        waits_for.addBoth(_Detached(coroutine, ended, failed).go)
        return
    if ended is not None:
        ended()


class _Detached:
    """A coroutine that had to wait."""

    __slots__ = ("_coroutine", "_ended", "_failed")

    def __init__(
        self,
        coroutine: Coroutine[Deferred[Any], Any, object],
        ended: Callable[[], object] | None,
        failed: Callable[[Exception], object],
    ) -> None:
        self._coroutine, self._ended, self._failed = coroutine, ended, failed

    def go(self, result: object) -> None:
        """Go on until it waits again: `result` came of what it waited for."""
        coroutine = self._coroutine
        try:
            if isinstance(result, Failure):
                waits_for = result.throwExceptionIntoGenerator(coroutine)
            else:
                waits_for = coroutine.send(result)
        except StopIteration:
            pass
        except Exception as error:
            self._failed(error)
        else:
            waits_for.addBoth(self.go)
            return
        if self._ended is not None:
            self._ended()
