"""
The storage port on OpenZFS: libzfs_core for snapshots, holds and streams, the `zfs` command for the rest. Shell.

Calls into the library block, so they run in threads of their own, never in the reactor's and never in the pool that
Twisted's resolver uses. A stream goes through a pipe: the library at one end, this process at the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as WaitedTooLong
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from hybrid.errors import StorageSick, StreamRefused
from hybrid.model import Guid, Snapshot
from hybrid.ports import ByteSource, Capabilities
from hybrid.storage import names
from hybrid.storage.begin import Begin
from hybrid.storage.children import COMMAND_S, Reactor
from hybrid.storage.lzc import Lzc, ZfsCore, unavailable
from hybrid.storage.pipes import PipeSink, PipeSource
from hybrid.storage.receiving import Taker
from hybrid.storage.zfs import DESTROY_S, STREAMS_EACH_WAY, ZfsCommandPool

__all__ = ["OPENZFS", "OpenZfsPool", "unavailable"]

OPENZFS = Capabilities(
    driver="openzfs", knows_written=True, bookmarks=True, snapshot_directory=True, many_snapshots_at_once=True
)
CALLS_AT_ONCE = 4
THREADS_PER_STREAM = 2
P = ParamSpec("P")
T = TypeVar("T")


class OpenZfsPool(ZfsCommandPool):
    """
    See `hybrid.ports.Pool`.

    Args:
        core: The library; tests give another.
    """

    def __init__(
        self,
        reactor: Reactor,
        pool: str,
        prefix: Sequence[str] = (),
        capabilities: Capabilities = OPENZFS,
        core: ZfsCore | None = None,
    ) -> None:
        super().__init__(reactor, pool, prefix, capabilities)
        self._core = core or Lzc()
        self._reactor = reactor
        self._calls = _threads(reactor, "zfs-calls", CALLS_AT_ONCE)
        self._flows = _threads(reactor, "zfs-streams", 2 * STREAMS_EACH_WAY * THREADS_PER_STREAM)

    async def snapshot(self, name: str, snapshot_name: str) -> Snapshot:
        """See `hybrid.ports.Pool`."""
        full = f"{self._full(name)}@{names.check_snapshot(snapshot_name)}"
        await self._call(COMMAND_S, self._core.snapshot, full)
        return await self._taken(name, full)

    async def destroy_snapshot(self, name: str, guid: Guid) -> None:
        """See `hybrid.ports.Pool`."""
        await self._call(DESTROY_S, self._core.destroy_snapshot, await self._snapshot(name, guid))
        self._index.remove(name, guid)

    async def hold(self, name: str, guid: Guid, tag: str) -> None:
        """See `hybrid.ports.Pool`."""
        names.check_tag(tag)
        await self._call(COMMAND_S, self._core.hold, await self._snapshot(name, guid), tag)

    async def release(self, name: str, guid: Guid, tag: str) -> None:
        """See `hybrid.ports.Pool`."""
        names.check_tag(tag)
        await self._call(COMMAND_S, self._core.release, await self._snapshot(name, guid), tag)

    async def holds(self, name: str, guid: Guid) -> frozenset[str]:
        """See `hybrid.ports.Pool`."""
        return await self._call(COMMAND_S, self._core.holds, await self._snapshot(name, guid))

    async def estimate(self, name: str, guid: Guid, base: Guid | None) -> int | None:
        """See `hybrid.ports.Pool`."""
        full = await self._snapshot(name, guid)
        start = None if base is None else await self._base(name, guid, base)
        return await self._call(COMMAND_S, self._core.send_space, full, start)

    async def _sender(self, full: str, base: str | None = None) -> ByteSource:
        await self._sends.take(COMMAND_S)
        return PipeSource(self._reactor, self._flows, lambda fd: self._core.send(full, base, fd), self._sends.give_back)

    async def _receiver(self, name: str, begin: Begin) -> Taker:
        origin = await self._holder(begin.from_guid) if begin.clone and begin.from_guid is not None else None
        target = f"{self._full(name)}@{names.check_snapshot(begin.to_name.partition('@')[2])}"
        await self._receives.take(COMMAND_S)
        return PipeSink(
            self._reactor, self._flows, lambda fd: self._core.receive(target, origin, fd), self._receives.give_back
        )

    async def _holder(self, guid: Guid) -> str:
        """The full name of the snapshot that a clone's stream begins at, wherever it is here."""
        for full in [f"{self.root}/images", self.root]:
            for name, found in (await self._zfs.guids_below(full)).items():
                if found == guid:
                    return name
        raise StreamRefused("the stream was not taken", f"snapshot {guid}, where it begins, is not here")

    async def _call(self, deadline_s: float, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`call` in a thread. At the deadline its result is no longer waited for; the thread ends when it can."""
        self._zfs.acts += 1
        waiting: Deferred[T] = deferToThreadPool(self._reactor, self._calls, call, *args, **kwargs)
        try:
            return await waiting.addTimeout(deadline_s, self._reactor)
        except WaitedTooLong:
            raise StorageSick("the pool does not answer", f"a call took more than {deadline_s:g} s") from None
        finally:
            self._zfs.acts += 1


def _threads(reactor: Reactor, name: str, count: int) -> ThreadPool:
    """Threads that start with the first call and end with the reactor."""
    pool = ThreadPool(0, count, name)
    pool.start()
    reactor.addSystemEventTrigger("during", "shutdown", pool.stop)
    return pool
