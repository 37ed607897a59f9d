"""
The cluster of `cluster`, on real pools: its clock stands still while a pool is at work.

So a slow disk, or a machine that is only emulated, makes a test last longer and not fail: nothing is late for anybody.
"""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

import greenlet
import pytest_twisted
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from hybrid.hosting.holdings import dataset_of
from hybrid.model import Guid, SiteId
from tests.contract.conftest import ZfsHands
from tests.node.cluster import Cluster, Member

T = TypeVar("T")
reactor: Any = _reactor
STUCK_S = 120.0


def in_its_own_greenlet(test: Callable[..., None]) -> Callable[..., None]:
    """A test that waits for the real reactor in synchronous code; pytest-twisted runs others inside the reactor."""

    @functools.wraps(test)
    async def run(**fixtures: object) -> None:
        ended: Deferred[None] = Deferred()

        def body() -> None:
            try:
                test(**fixtures)
            except BaseException:
                ended.errback(Failure())
            else:
                ended.callback(None)

        own = greenlet.greenlet(body)  # which ends when nobody refers to it
        own.switch()
        await ended

    decorated: Callable[..., None] = pytest_twisted.ensureDeferred(run)
    return decorated


def wait_for(coroutine: Coroutine[Any, Any, T]) -> T:
    """What it returns; the real reactor turns until it does."""
    result: T = pytest_twisted.blockon(Deferred.fromCoroutine(coroutine))
    return result


class Watched:
    """A driver of which is known how many of its calls are under way, and which streams are open."""

    def __init__(self, driver: object, busy: Busy) -> None:
        self._driver, self._busy = driver, busy

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._driver, name)
        if not inspect.iscoroutinefunction(attribute):
            return attribute

        async def call(*arguments: Any, **named: Any) -> Any:
            self._busy.calls += 1
            try:
                result = await attribute(*arguments, **named)
            finally:
                self._busy.calls -= 1
            if name not in ("send", "receive"):
                return result
            self._busy.streams.append(result)
            return Watched(result, self._busy)

        return call


class Busy:
    """What is under way in one pool."""

    def __init__(self) -> None:
        self.calls = 0
        self.streams: list[Any] = []


class RealDisk(Watched):
    """A pool as `Member` uses it: the port, and what tests do to it."""

    def __init__(self, hands: ZfsHands, pool: str) -> None:
        super().__init__(hands.pool, Busy())
        self._hands, self._pool = hands, pool

    def settle(self) -> None:
        """Let the real reactor turn until no call is under way."""
        stuck_s = time.monotonic() + STUCK_S
        while self._busy.calls:
            assert time.monotonic() < stuck_s, f"{self._pool} does not answer"
            pytest_twisted.blockon(deferLater(reactor, 0.002))

    def write(self, name: str, path: str, data: bytes) -> None:
        """Put a file into live data, where that is mounted or can be."""
        wait_for(self._hands.write(name, path, data))

    def files(self, name: str, guid: Guid | None = None) -> Mapping[str, bytes]:
        """All files of live data, or of a snapshot."""
        return wait_for(self._hands.files(name, guid))

    def lose_power(self) -> None:
        """Streams end where they are, nothing is mounted any more; the pool comes back as after a boot."""
        self.settle()
        streams, self._busy.streams = self._busy.streams, []
        for stream in streams:
            wait_for(stream.abort())
        for dataset in wait_for(self._hands.pool.datasets()):
            if dataset.mountpoint is not None:
                self._hands.namespace.run("zfs", "unmount", "-f", f"{self._pool}/hybrid/{dataset.name}")


class RealMember(Member):
    """A node on a real pool."""

    def __init__(self, cluster: Cluster, name: str, dc: str, hands: ZfsHands, pool: str) -> None:
        super().__init__(cluster, name, dc)
        self.pool: Any = RealDisk(hands, pool)
        self.state_dir = f"{hands.namespace.where}/{pool}"

    def files(self, site: SiteId) -> dict[str, bytes]:
        """See `Member`."""
        return dict(self.pool.files(dataset_of(site)))


class RealCluster(Cluster):
    """Nodes on real pools: `hands` and the name of the pool for each."""

    def __init__(self, places: Mapping[str, str], disks: Mapping[str, tuple[ZfsHands, str]]) -> None:
        super().__init__(places, lambda cluster, name, dc: RealMember(cluster, name, dc, *disks[name]))

    def start(self) -> None:
        """See `Cluster`; the pools were made as `hybrid init` does."""
        for member in self.members.values():
            wait_for(member.pool.prepare())
        super().start()

    def end(self) -> None:
        """Nothing of it happens any more."""
        for life in self.lives:
            life.end()
        for member in self.members.values():
            member.pool.settle()  # type: ignore[attr-defined]  # a `RealDisk`
        self.bury()

    def wall_s(self) -> float:
        """The real one: snapshots bear it."""
        return time.time() + self.later_s

    def tick(self) -> None:
        """Let what the pools are doing end, then let a moment pass."""
        for member in self.members.values():
            member.pool.settle()  # type: ignore[attr-defined]  # a `RealDisk`
        super().tick()
