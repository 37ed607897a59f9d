"""The pool in memory: what it lets tests inject. That it behaves like ZFS is for the contract tests."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest
from twisted.internet.defer import Deferred

from hybrid.errors import Busy, StorageSick
from hybrid.ports import Pool
from hybrid.storage.memory import MemoryPool

SITE = "sites/s-one"
T = TypeVar("T")


def run(step: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that waits for nothing."""
    results: list[T] = []
    Deferred.fromCoroutine(step).addCallback(results.append)
    return results[0]


def prepared(seed: str = "") -> MemoryPool:
    """A pool with one site."""
    pool = MemoryPool(seed=seed)
    as_port: Pool = pool
    run(as_port.prepare())
    run(as_port.create(SITE))
    return pool


def test_a_call_can_be_made_to_fail_once() -> None:
    """It does nothing that time, and works the next."""
    pool = prepared()
    pool.fail_next("snapshot", Busy("not now"))
    failed = Deferred.fromCoroutine(pool.snapshot(SITE, "one"))
    failed.addErrback(lambda failure: failure.trap(Busy))
    assert run(pool.history(SITE)) == ()
    assert run(pool.snapshot(SITE, "one")).name == "one"


def test_a_call_can_be_made_to_hang() -> None:
    """It goes on when the test says so."""
    pool, gate = prepared(), Deferred[None]()

    async def wait() -> None:
        await gate

    pool.before("snapshot", wait)
    taken = Deferred.fromCoroutine(pool.snapshot(SITE, "one"))
    assert run(pool.history(SITE)) == () and not taken.called
    gate.callback(None)
    assert taken.called
    assert len(run(pool.history(SITE))) == 1


def test_a_sick_pool_answers_nothing() -> None:
    """Every call raises until it is well again."""
    pool = prepared()
    pool.sick = "disk gone"
    problems: list[Any] = []
    for call in (pool.check(), pool.history(SITE), pool.snapshot(SITE, "x")):
        Deferred.fromCoroutine(call).addErrback(problems.append)
    assert [type(problem.value) for problem in problems] == [StorageSick] * 3
    pool.sick = ""
    run(pool.check())


def test_guids_are_the_same_for_a_seed_and_differ_between_nodes() -> None:
    """A simulation can be run again; two nodes never make one guid."""
    first, again, other = prepared("n1"), prepared("n1"), prepared("n2")
    guids = [run(pool.snapshot(SITE, "x")).guid for pool in (first, again, other)]
    assert guids[0] == guids[1] != guids[2]
    assert all(0 < guid < 2**64 for guid in guids)


def test_a_missing_file_is_a_key_error() -> None:
    """Tests see at once that they look for the wrong thing."""
    pool = prepared()
    pool.write(SITE, "f", b"x")
    assert pool.read(SITE, "f") == b"x"
    pool.remove(SITE, "f")
    with pytest.raises(KeyError):
        pool.read(SITE, "f")
