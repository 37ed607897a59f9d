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
    """Finish a coroutine, turning the clock in tenths of a second for at most ten minutes."""

    def finish(coroutine: Coroutine[Deferred[object], object, object]) -> object:
        results: list[object] = []
        errors: list[BaseException] = []
        deferred = Deferred.fromCoroutine(coroutine)
        deferred.addCallbacks(results.append, lambda failure: errors.append(failure.value))
        for _ in range(6000):
            if results or errors:
                break
            clock.advance(0.1)
        if errors:
            raise errors[0]
        assert results, "the coroutine did not end in ten minutes"
        return results[0]

    return finish
