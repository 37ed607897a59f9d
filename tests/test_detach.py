"""Coroutines that nobody waits for."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs
from twisted.python.failure import Failure

from hybrid.detach import detach


def test_what_need_not_wait_has_ended_at_once() -> None:
    """What a node takes in is there when the call returns, as with a plain function."""
    done: list[str] = []

    async def deed() -> None:
        fired: Deferred[str] = Deferred()
        fired.callback("done")
        done.append(await fired)

    detach(deed(), lambda: done.append("ended"))
    assert done == ["done", "ended"]


def test_it_goes_on_with_what_it_waited_for() -> None:
    """A deed goes on when an answer comes, with the answer, as often as it has to wait."""
    first: Deferred[int] = Deferred()
    second: Deferred[int] = Deferred()
    seen: list[object] = []

    async def deed() -> None:
        seen.append(await first)
        seen.append(await second)

    detach(deed(), lambda: seen.append("ended"))
    assert seen == []
    first.callback(1)
    assert seen == [1]
    second.callback(2)
    assert seen == [1, 2, "ended"]


def test_an_error_is_raised_where_it_was_waited_for() -> None:
    """A call that failed is an exception to who awaited it, which may be caught and tried again."""
    call: Deferred[None] = Deferred()
    again: Deferred[str] = Deferred()
    seen: list[str] = []

    async def deed() -> None:
        try:
            await call
        except KeyError:
            seen.append(await again)

    detach(deed(), lambda: seen.append("ended"))
    call.errback(Failure(KeyError("lost")))
    again.callback("found")
    assert seen == ["found", "ended"]


@pytest.mark.parametrize("late", [False, True], ids=["at once", "after a wait"])
def test_what_it_raises_is_logged_and_it_has_ended(late: bool) -> None:
    """A bug in a deed ends that deed alone: people find it in the log, and whoever begins the next one is told."""
    wait: Deferred[None] = Deferred()
    ended: list[None] = []

    async def deed() -> None:
        if late:
            await wait
        raise ZeroDivisionError

    with capturedLogs() as logs:
        detach(deed(), lambda: ended.append(None))
        wait.callback(None)
    assert ended == [None]
    assert [event["log_failure"].type for event in logs] == [ZeroDivisionError]
