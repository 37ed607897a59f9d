"""Shared by the replicator's tests: coroutines on a clock."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import TypeVar

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

T = TypeVar("T")
Run = Callable[[Awaitable[T]], T]


@pytest.fixture
def clock() -> Clock:
    """The time of the whole test."""
    return Clock()


@pytest.fixture
def run(clock: Clock) -> Callable[[Coroutine[Deferred[object], object, object]], object]:
    """Finish a coroutine, turning the clock from one event to the next for at most a day."""

    def finish(coroutine: Coroutine[Deferred[object], object, object]) -> object:
        results: list[object] = []
        errors: list[BaseException] = []
        deferred = Deferred.fromCoroutine(coroutine)
        deferred.addCallbacks(results.append, lambda failure: errors.append(failure.value))
        while not (results or errors) and clock.getDelayedCalls() and clock.seconds() < 86400:
            clock.advance(max(0.0, clock.getDelayedCalls()[0].getTime() - clock.seconds()))
        if errors:
            raise errors[0]
        assert results, "the coroutine waits for something that never comes"
        return results[0]

    return finish
