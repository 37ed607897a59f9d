"""Coroutines that run beside each other and are waited for at the end. Shell."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from hybrid.detach import detach
from hybrid.errors import Busy

T = TypeVar("T")
PATIENCE_S = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)


class Tasks:
    """What is under way. A task that raises is logged and ends only itself."""

    log = Logger()

    def __init__(self) -> None:
        self._running = 0
        self._waiting: list[Deferred[None]] = []

    def start(self, what: str, task: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """Run `task` until it ends; `what` names it in the log."""
        self._running += 1
        detach(task(), self._one_ended, lambda _: self.log.failure("{what} failed", what=what))

    def _one_ended(self) -> None:
        self._running -= 1
        if not self._running:
            waiting, self._waiting = self._waiting, []
            for last in waiting:
                last.callback(None)

    async def ended(self) -> None:
        """Wait until nothing is under way."""
        while self._running:
            last: Deferred[None] = Deferred()
            self._waiting.append(last)
            await last


async def patiently(clock: IReactorTime, call: Callable[[], Awaitable[T]]) -> T:
    """`call()`, again after a little while (six seconds in all) as long as it raises `Busy`."""
    for delay_s in PATIENCE_S:
        try:
            return await call()
        except Busy:
            await deferLater(clock, delay_s, lambda: None)
    return await call()


async def side_by_side(items: Iterable[T], at_once: int, step: Callable[[T], Awaitable[None]]) -> None:
    """Do `step` for every item, `at_once` of them at a time. The first error is raised once all others have ended."""
    waiting = iter(items)

    async def work() -> None:
        for item in waiting:
            await step(item)

    errors: list[Failure] = []
    workers = [Deferred.fromCoroutine(work()).addErrback(errors.append) for _ in range(at_once)]
    await DeferredList(workers)
    if errors:
        errors[0].raiseException()
