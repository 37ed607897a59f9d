"""
The storage port on OpenZFS: libzfs_core for snapshots, holds and streams, the `zfs` command for the rest. Shell.

Calls into the library block, so they run in threads of their own, never in the reactor's and never in the pool that
Twisted's resolver uses. A stream goes through a pipe: the library at one end, this process at the other.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import ParamSpec, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as WaitedTooLong
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from hybrid.errors import NoSuchDataset, NoSuchSnapshot, StorageError, StorageSick, StreamRefused
from hybrid.model import Guid, Snapshot
from hybrid.ports import ByteSource, Capabilities, Partial
from hybrid.storage import features, names, parsing, token
from hybrid.storage.begin import Begin
from hybrid.storage.children import COMMAND_S, Reactor
from hybrid.storage.lzc import Lzc, ZfsCore, unavailable
from hybrid.storage.names import bookmark_name, bookmark_tag
from hybrid.storage.pipes import PipeSink, PipeSource
from hybrid.storage.receiving import Taker
from hybrid.storage.zfs import ZfsCommandPool
from hybrid.storage.zfs_datasets import DESTROY_S, STREAMS_EACH_WAY

__all__ = ["OPENZFS", "OpenZfsPool", "unavailable"]

OPENZFS = Capabilities(
    driver="openzfs",
    knows_written=True,
    bookmarks=True,
    resumable=True,
    snapshot_directory=True,
    many_snapshots_at_once=True,
    diff=True,
    takes=features.SAFE,
)
"""Of a pool with all features enabled, as new ones are."""
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
        self._encrypted: dict[str, bool] = {}
        """Whether each dataset is: known once it was asked, for it never changes."""
        self._whole: set[str] = set()
        """Datasets of which it is known that they have no part of a stream that was cut."""
        self._reactor = reactor
        self._calls = _threads(reactor, "zfs-calls", CALLS_AT_ONCE)
        self._flows = _threads(reactor, "zfs-streams", 2 * STREAMS_EACH_WAY * THREADS_PER_STREAM)

    async def rename(self, name: str, new_name: str) -> None:
        """See `hybrid.ports.Pool`."""
        self._forget(name, new_name)
        await super().rename(name, new_name)

    async def destroy(self, name: str, with_history: bool = False) -> None:
        """See `hybrid.ports.Pool`."""
        self._forget(name)
        await super().destroy(name, with_history)

    async def snapshot(self, name: str, snapshot_name: str) -> Snapshot:
        """See `hybrid.ports.Pool`."""
        full = self._new_snapshot(name, snapshot_name)
        await self._take_at_once([full])
        return await self._taken(name, full)

    async def _take_at_once(self, fulls: Sequence[str]) -> None:
        await self._call(COMMAND_S, self._core.snapshot, fulls)

    async def bookmark(self, name: str, guid: Guid, tag: str) -> None:
        """See `hybrid.ports.Pool`. A bookmark's name tells its tag and the snapshot it was made of."""
        if not self.capabilities.bookmarks:
            return
        wanted, before = bookmark_name(names.check_tag(tag), guid), await self._marks(name)
        if wanted not in before:
            snapshot = await self._snapshot(name, guid)
            await self._call(COMMAND_S, self._core.bookmark, f"{self._full(name)}#{wanted}", snapshot)
        await self._unmark(name, [mark for mark in before if mark != wanted and bookmark_tag(mark) == tag])

    async def bookmarks(self, name: str) -> dict[str, Guid]:
        """See `hybrid.ports.Pool`."""
        if not self.capabilities.bookmarks:
            return {}
        return {tag: guid for mark, guid in (await self._marks(name)).items() if (tag := bookmark_tag(mark))}

    async def forget_bookmark(self, name: str, tag: str) -> None:
        """See `hybrid.ports.Pool`."""
        if self.capabilities.bookmarks:
            names.check_tag(tag)
            await self._unmark(name, [mark for mark in await self._marks(name) if bookmark_tag(mark) == tag])

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

    async def send(
        self, name: str, guid: Guid, base: Guid | None, takes: int = 0, resume: Partial | None = None
    ) -> ByteSource:
        """See `hybrid.ports.Pool`. What is encrypted on disk is sent as it is there, never in clear."""
        full = await self._snapshot(name, guid)
        start = None if base is None else await self._base(name, guid, base)
        flags = await self._flags(name, takes if resume is None else resume.features)
        at = None if resume is None else (resume.object, resume.offset)
        return await self._sender(full, start, flags, at)

    async def partial(self, name: str) -> Partial | None:
        """See `hybrid.ports.Pool`."""
        if not self.capabilities.resumable:
            return None
        try:
            value = (await self._zfs.values(self._full(name), "receive_resume_token"))["receive_resume_token"]
            if value == "-":
                self._whole.add(name)
                return None
            return token.parse(value)
        except NoSuchDataset:
            return None
        except token.NoToken as error:
            raise StorageError(f"what is here of a stream to {name} is not understood", str(error)) from error

    async def abandon(self, name: str) -> None:
        """See `hybrid.ports.Pool`."""
        full = self._full(name)
        if self.capabilities.resumable:
            ended = await self._children.run(("zfs", "receive", "-A", full), DESTROY_S)
            if ended.status != 0 and not parsing.nothing_to_abandon(ended.stderr):
                raise parsing.failure(f"what is here of a stream to {name} was not removed", ended.stderr)

    async def estimate(self, name: str, guid: Guid, base: Guid | None, takes: int = 0) -> int | None:
        """See `hybrid.ports.Pool`."""
        full = await self._snapshot(name, guid)
        start = None if base is None else await self._base(name, guid, base)
        return await self._call(COMMAND_S, self._core.send_space, full, start, features.wanted(takes))

    async def _flags(self, name: str, takes: int) -> frozenset[str]:
        """How to send a dataset to who takes `takes`. Raises `StreamRefused` where it must not be."""
        flags = features.wanted(takes & self.capabilities.takes)
        if not self.capabilities.takes & features.RAW:
            return flags
        if name not in self._encrypted:
            said = (await self._zfs.values(self._full(name), "encryption")).get("encryption", "off")
            self._encrypted[name] = said not in ("off", "-")
        if not self._encrypted[name]:
            return flags
        if not takes & features.RAW:
            raise StreamRefused(
                f"{name} was not sent",
                "it is encrypted, and the receiving pool takes no encrypted blocks",
                "replicate it to pools of OpenZFS only, or encrypt below the pool",
            )
        return frozenset(["raw"])

    async def _sender(
        self,
        full: str,
        base: str | None = None,
        flags: Collection[str] = (),
        at: tuple[int, int] | None = None,
    ) -> ByteSource:
        await self._sends.take(COMMAND_S)
        return PipeSource(
            self._reactor, self._flows, lambda fd: self._core.send(full, base, fd, flags, at), self._sends.give_back
        )

    async def _base(self, name: str, guid: Guid, base: Guid) -> str:
        try:
            return await super()._base(name, guid, base)
        except NoSuchSnapshot:
            for mark, stands_at in (await self._marks(name)).items() if self.capabilities.bookmarks else ():
                if stands_at == base:
                    return f"{self._full(name)}#{mark}"
            raise

    async def _marks(self, name: str) -> dict[str, Guid]:
        """The guids of all bookmarks of a dataset, by their names without the dataset."""
        return await self._call(COMMAND_S, self._core.bookmarks, self._full(name))

    async def _unmark(self, name: str, marks: Sequence[str]) -> None:
        if marks:
            fulls = [f"{self._full(name)}#{mark}" for mark in marks]
            await self._call(COMMAND_S, self._core.destroy_bookmarks, fulls)

    async def _goes_on(self, name: str, begin: Begin) -> bool:
        """Asked of the pool only where there may be a part, so not for every increment."""
        if name in self._whole and not begin.features & features.RESUMING:
            return False
        return await super()._goes_on(name, begin)

    def _forget(self, *names: str) -> None:
        """These may be other datasets from now on."""
        for name in names:
            self._encrypted.pop(name, None)
            self._whole.discard(name)

    async def _receiver(self, name: str, begin: Begin, resumable: bool) -> Taker:
        goes_on = bool(begin.features & features.RESUMING)
        origin = None
        if begin.clone and begin.from_guid is not None and not goes_on:
            origin = await self._holder(begin.from_guid)
        target = f"{self._full(name)}@{names.check_snapshot(begin.to_name.partition('@')[2])}"
        keep, raw = goes_on or (resumable and self.capabilities.resumable), bool(begin.features & features.RAW)
        await self._receives.take(COMMAND_S)
        self._forget(name)

        def receive(fd: int) -> None:
            self._core.receive(target, origin, fd, keep, raw)
            self._reactor.callFromThread(self._whole.add, name)  # else something of it may be kept

        return PipeSink(self._reactor, self._flows, receive, self._receives.give_back)

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
