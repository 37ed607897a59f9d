"""The pool in memory, on which all else is tested, does what real ZFS does: the same results, errors, histories."""

from __future__ import annotations

import itertools
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor

from hybrid.storage.zfs import ZfsCommandPool
from tests.contract.conftest import MemoryHands, ZfsHands
from tests.differential.operations import operations
from tests.differential.worlds import World

pytestmark = pytest.mark.zfs
SEEDS = int(os.environ.get("DIFFERENTIAL_SEEDS", "2"))
FROM = int(os.environ.get("DIFFERENTIAL_FROM", "3"))
OPERATIONS = 45
SIZE = str(96 * 1024 * 1024)
_NUMBERS = itertools.count(1)


@contextmanager
def real(host: Any, restart: Callable[[list[ZfsHands]], Awaitable[None]]) -> Iterator[World]:
    """Two pools of zfs-fuse."""
    names = [f"hyb{os.getpid()}d{next(_NUMBERS)}" for _ in range(2)]
    hands = [ZfsHands(host, ZfsCommandPool(reactor, name, host.prefix)) for name in names]  # type: ignore[arg-type]  # the module is the reactor
    try:
        for name in names:
            host.create_pool(name, SIZE)
        yield World((hands[0], hands[1]), lambda: restart(hands))
    finally:
        for name in names:
            host.destroy_pool(name)


def fake() -> World:
    """Two pools in memory."""
    here, there = MemoryHands("here"), MemoryHands("there")

    async def lose_power() -> None:
        for hands in (here, there):
            hands.memory.lose_power()

    return World((here, there), lose_power)


async def compare(one: World, other: World, seed: int, restarts: bool) -> None:
    """Do the same on both, and find no difference."""
    for world in (one, other):
        await world.prepare()
    said = []
    for number, operation in enumerate(operations(seed, OPERATIONS, restarts)):
        results = [await world.do(number, operation) for world in (one, other)]
        said.append(f"{number}: {operation} -> {results[0]}")
        assert results[0] == results[1], "\n".join([*said, f"but ZFS: {results[1]}"])
    assert await one.state() == await other.state(), "\n".join(said)


@pytest.mark.parametrize("seed", range(FROM, FROM + SEEDS))
@pytest_twisted.ensureDeferred
async def test_the_fake_is_as_the_real_one(zfs_fuse: Any, seed: int) -> None:
    """Whatever is done, in whatever order, sense or nonsense: one cannot be told from the other."""

    async def never(hands: list[ZfsHands]) -> None:
        raise AssertionError("nobody asked for a restart")

    with real(zfs_fuse, never) as world:
        await compare(fake(), world, seed, restarts=False)


@pytest.mark.parametrize("seed", range(FROM, FROM + max(1, SEEDS // 4)))
@pytest_twisted.ensureDeferred
async def test_a_power_cut_leaves_the_same(zfs_namespace: Any, seed: int) -> None:
    """Nor by what is there after the daemon was killed and came back."""

    async def restart(hands: list[ZfsHands]) -> None:
        zfs_namespace.daemon.kill()
        zfs_namespace.daemon.wait()
        zfs_namespace.start_daemon()
        for one in hands:
            await one.pool.clear_dead_mounts()

    zfs_namespace.start_daemon()
    with real(zfs_namespace, restart) as world:
        await compare(fake(), world, seed, restarts=True)
