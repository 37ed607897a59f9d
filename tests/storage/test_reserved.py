"""The reserve of a pool: what tenants cannot fill up is there for the node's own deeds."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

import pytest
from twisted.internet.defer import Deferred

from hybrid.errors import OutOfSpace, StorageError
from hybrid.storage.memory import MemoryPool
from hybrid.storage.memory_state import OVERHEAD_BYTES
from hybrid.storage.reserved import LEAST_BYTES, ReservedPool, wanted_bytes

SITE = "sites/s-one"
GIBIBYTE = 1024**3
T = TypeVar("T")


def run(awaitable: Awaitable[T]) -> T:
    """What it returns; nothing here waits."""
    results: list[T] = []
    errors: list[BaseException] = []

    async def wait() -> T:
        return await awaitable

    Deferred.fromCoroutine(wait()).addCallbacks(results.append, lambda failure: errors.append(failure.value))
    if errors:
        raise errors[0]
    return results[0]


def full() -> tuple[MemoryPool, ReservedPool]:
    """A pool that tenants have filled, with a site in it that has a snapshot."""
    memory = MemoryPool(seed="a", size_bytes=GIBIBYTE)
    pool = ReservedPool(memory)
    run(pool.prepare())
    run(pool.create(SITE, {"spec": "x"}))
    run(pool.snapshot(SITE, "one"))
    memory.fill_up()
    return memory, pool


@pytest.mark.parametrize(
    ("size", "kept"),
    [(GIBIBYTE, GIBIBYTE // 16), (4 * GIBIBYTE, LEAST_BYTES), (1000 * GIBIBYTE, 30 * GIBIBYTE), (0, 0)],
)
def test_the_size_of_a_reserve(size: int, kept: int) -> None:
    """3 % of the pool, at least 256 MiB, of a small one no more than a sixteenth."""
    assert wanted_bytes(size) == kept


def test_a_full_pool_can_still_be_worked_with() -> None:
    """Claims are written, sites taken over, set aside, moved to the trash and destroyed, however full it is."""
    memory, pool = full()
    with pytest.raises(OutOfSpace):
        run(memory.snapshot(SITE, "refused"))
    taken = run(pool.snapshot(SITE, "two"))
    run(pool.clone(SITE, taken.guid, "stash/x"))
    run(pool.create("temporary/y"))
    run(pool.set_properties(SITE, {"claim": "3,n-a"}))
    run(pool.rename("temporary/y", "trash/y"))
    run(pool.destroy("trash/y"))
    assert [one.name for one in run(pool.history(SITE))] == ["one", "two"]


def test_tenants_do_not_get_the_reserve() -> None:
    """It is kept back again at once: afterwards there is no more room for anybody than before."""
    memory, pool = full()
    run(pool.snapshot(SITE, "two"))
    assert run(pool.space()).free_bytes == 0
    with pytest.raises(OutOfSpace):
        memory.write(SITE, "f", bytes(OVERHEAD_BYTES))


def test_a_used_up_reserve_fills_up_again() -> None:
    """What deeds took of it comes back when room does, and counts as taken until then."""
    memory, pool = full()
    for number in range(3):
        run(pool.snapshot(SITE, f"more-{number}"))
    memory.size_bytes += OVERHEAD_BYTES
    assert run(pool.space()).free_bytes == 0
    memory.size_bytes += 3 * OVERHEAD_BYTES
    assert run(pool.space()).free_bytes == OVERHEAD_BYTES
    assert run(memory.reserve(0)) == 0
    assert run(memory.space()).free_bytes == GIBIBYTE // 16 + OVERHEAD_BYTES


def test_other_errors_do_not_touch_it() -> None:
    """Only a lack of room is what the reserve is for."""
    memory, pool = full()
    calls: list[str] = []

    async def note() -> None:
        calls.append("reserve")

    memory.before_each("reserve", note)
    memory.fail_next("snapshot", StorageError("no snapshot", "Input/output error"))
    with pytest.raises(StorageError):
        run(pool.snapshot(SITE, "two"))
    assert not calls


def test_a_node_starts_where_no_reserve_can_be_made() -> None:
    """A reserve that cannot be kept back is no reason not to serve."""
    memory = MemoryPool(size_bytes=GIBIBYTE)
    memory.fail_next("reserve", OutOfSpace("the reserve was not created"))
    pool = ReservedPool(memory)
    run(pool.prepare())
    run(pool.create(SITE))
    assert run(pool.space()).free_bytes < GIBIBYTE
