"""People look into snapshots: on a pool in memory and a clock, with files that are only named."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from itertools import count
from pathlib import Path
from typing import TypeVar

import pytest
from twisted.internet.task import Clock, deferLater

from hybrid.deeds import Differences, Entry, Folder, Form
from hybrid.errors import Busy, NoSuchSnapshot, OutOfSpace, StorageError, StorageSick
from hybrid.history import History
from hybrid.model import Claim, NodeId, SiteId, snapshot_name
from hybrid.ports import ByteSource
from hybrid.storage.memory import MemoryPool
from hybrid.storage.memory_stream import Source
from hybrid.storage.openzfs import OPENZFS
from hybrid_replicator.index import HistoryIndex
from hybrid_replicator.names import JOURNAL, site_dataset
from hybrid_replicator.past import Past
from hybrid_replicator.ports import Told, untold
from hybrid_replicator.traffic import unlimited
from hybrid_replicator.windows import AT_ONCE, KEEP_S, Windows

T = TypeVar("T")
Run = Callable[[Coroutine[object, object, T]], T]
SITE, ME = SiteId("s-" + "a" * 26), NodeId("n-" + "a" * 16)


class NamedFiles:
    """`hybrid_replicator.ports.Files` that answer with what they were asked."""

    def __init__(self) -> None:
        self.tidied: list[str] = []
        self.compared = 0
        self.touched: tuple[bytes, ...] | None = None
        self.breaks_off = False

    async def folder(self, root: str, path: str, after: str, limit: int) -> Folder:
        """See `hybrid_replicator.ports.Files`."""
        return Folder((Entry(root, "directory", 0, 0),))

    async def read(self, root: str, path: str, form: Form) -> ByteSource:
        """See `hybrid_replicator.ports.Files`."""
        return Source(f"{root}:{path}".encode())

    async def compare(
        self, old_root: str, root: str, path: str, settled_s: int, touched: tuple[bytes, ...] | None = None
    ) -> Differences:
        """See `hybrid_replicator.ports.Files`."""
        self.compared += 1
        self.touched = touched
        return Differences((), complete=old_root != root)

    async def copy(self, root: str, live_root: str, path: str, copy: str, told: Told = untold) -> tuple[int, str]:
        """See `hybrid_replicator.ports.Files`."""
        if self.breaks_off:
            raise StorageSick("the files do not answer")
        return 1, copy or path

    async def tidy(self, live_root: str) -> int:
        """See `hybrid_replicator.ports.Files`."""
        self.tidied.append(live_root)
        return 1

    async def unite(self, base: str | None, root: str, live_root: str, path: str, tag: str) -> int:
        """See `hybrid_replicator.ports.Files`."""
        return 0


class Desk:
    """One life of a node, as far as looking into snapshots goes."""

    def __init__(self, clock: Clock, pool: MemoryPool | None = None) -> None:
        self.clock, self.files = clock, NamedFiles()
        self.pool = pool or MemoryPool(lambda: 1_800_000_000 + clock.seconds(), seed="a")
        self.index = HistoryIndex(self.pool)
        numbers = count(int(clock.seconds()) * 1000)
        self.windows = Windows(clock, self.pool, self.index, Path("/nowhere"), lambda: next(numbers))
        self.past = Past(
            clock,
            self.pool,
            self.index,
            self.files,
            lambda site: f"/live/{site}",
            self.windows,
            unlimited(clock),
            ME,
        )

    async def make(self, snapshots: int) -> History:
        """A site with a history."""
        await self.pool.prepare()
        await self.pool.create(JOURNAL)
        await self.pool.create(site_dataset(SITE))
        for number in range(snapshots):
            self.pool.write(site_dataset(SITE), "data", b"%d" % number)
            await self.pool.snapshot(site_dataset(SITE), snapshot_name(Claim(1, ME), number))
        await self.index.load()
        return self.index.history(site_dataset(SITE))

    async def wait(self, seconds: float) -> None:
        """Let time pass; chores are done as the node does them."""
        for _ in range(round(seconds / 10)):
            await deferLater(self.clock, 10, lambda: None)
            await self.past.sweep()

    async def open(self) -> int:
        """How many clones there are."""
        return sum(one.name.startswith("temporary/") for one in await self.pool.datasets())


async def nothing(dataset: str) -> bool:
    """No dataset is wanted."""
    return False


@pytest.fixture
def desk(clock: Clock) -> Desk:
    """A node that just started, with an empty pool."""
    return Desk(clock)


def test_a_window_is_kept_for_a_while_and_leaves_nothing_behind(desk: Desk, run: Run[None]) -> None:
    """Who looks again soon need not wait for a clone; when nobody does it is gone, also after errors."""

    async def story() -> None:
        (first,) = await desk.make(1)
        (entry,) = (await desk.past.browse(SITE, first.guid, "/", "", 10)).entries
        assert entry.name.startswith("/nowhere/look-")
        assert (await desk.past.browse(SITE, first.guid, "/", "", 10)).entries == (entry,)
        assert await desk.open() == 1
        await desk.wait(KEEP_S + 10)
        assert await desk.open() == 0
        desk.pool.fail_next("mount", OutOfSpace("no"))
        with pytest.raises(OutOfSpace):
            await desk.past.browse(SITE, first.guid, "/", "", 10)
        assert await desk.open() == 0
        await desk.past.browse(SITE, first.guid, "/", "", 10)
        desk.pool.fail_next("unmount", StorageSick("no"))
        await desk.wait(KEEP_S + 30)
        assert await desk.open() == 0
        with pytest.raises(NoSuchSnapshot):
            await desk.past.browse(SITE, 1, "/", "", 10)  # type: ignore[arg-type]  # no guid of anything

    run(story())


def test_a_window_shows_through_a_new_mount_after_the_storage_came_back(desk: Desk, run: Run[None]) -> None:
    """A mount that died with its daemon is made again: an empty directory would look as if all had been deleted."""

    async def story() -> None:
        (first,) = await desk.make(1)
        (entry,) = (await desk.past.browse(SITE, first.guid, "/", "", 10)).entries
        clone = next(one for one in await desk.pool.datasets() if one.name.startswith("temporary/"))
        await desk.pool.unmount(clone.name)
        await desk.past.browse(SITE, first.guid, "/", "", 10)
        assert (await desk.pool.dataset(clone.name)).mountpoint == entry.name

    run(story())


def test_a_download_that_nobody_reads_ends(desk: Desk, run: Run[None]) -> None:
    """A client that hangs keeps no snapshot open for ever; one that reads on, however slowly, does."""

    async def story() -> None:
        (first,) = await desk.make(1)
        source = await desk.past.read(SITE, first.guid, "x", "file")
        await desk.wait(100)
        assert await source.read() != b""
        await desk.wait(100)
        assert await desk.open() == 1
        await desk.wait(300)
        assert await desk.open() == 0
        with pytest.raises(StorageError):
            await source.read()
        whole = await desk.past.read(SITE, first.guid, "x", "file")
        assert (await whole.read()).endswith(b":x") and await whole.read() == b""
        await whole.abort()

    run(story())


def test_windows_are_bounded(desk: Desk, run: Run[None]) -> None:
    """However many people look into however many snapshots, only so many are open; who comes too late is told."""

    async def story() -> None:
        history = await desk.make(AT_ONCE + 4)
        for snapshot in history:
            await desk.past.browse(SITE, snapshot.guid, "/", "", 10)
        assert await desk.open() == AT_ONCE
        sources = [await desk.past.read(SITE, one.guid, "x", "file") for one in history[:AT_ONCE]]
        assert await desk.open() == AT_ONCE
        with pytest.raises(Busy):
            await desk.past.browse(SITE, history[0].guid, "/", "", 10)
        await sources[0].abort()
        await desk.past.browse(SITE, history[-1].guid, "/", "", 10)
        for source in sources:
            await source.abort()
        await desk.wait(KEEP_S + 10)
        assert await desk.open() == 0

    run(story())


def test_a_comparison_looks_where_the_pool_says_something_changed(clock: Clock, run: Run[None]) -> None:
    """On OpenZFS, where the site is open; also backwards. Else everything is walked."""

    async def story() -> None:
        desk = Desk(clock, MemoryPool(lambda: 1_800_000_000 + clock.seconds(), seed="a", capabilities=OPENZFS))
        first, second = await desk.make(2)
        desk.pool.write(site_dataset(SITE), "a/b/c", b"x")
        desk.pool.write(site_dataset(SITE), "top", b"x")
        third = await desk.pool.snapshot(site_dataset(SITE), "third")
        await desk.index.refresh(site_dataset(SITE))
        await desk.past.compare(SITE, first.guid, third.guid, "/")
        assert desk.files.touched is None
        await desk.pool.mount(site_dataset(SITE), "/live")
        await desk.past.compare(SITE, second.guid, third.guid, "/")
        assert desk.files.touched == (b"", b"a", b"a/b")
        await desk.past.compare(SITE, third.guid, second.guid, "/")
        assert desk.files.touched == (b"", b"a", b"a/b")
        await desk.past.compare(SITE, third.guid, third.guid, "/")
        assert desk.files.touched == ()

    run(story())


def test_nothing_keeps_a_history_from_changing(desk: Desk, run: Run[None]) -> None:
    """Before a site's history is set aside, downloads of it end, windows are shut, and what was lent is taken back."""

    async def story() -> None:
        first, second = await desk.make(2)
        await desk.past.browse(SITE, first.guid, "/", "", 10)
        source = await desk.past.read(SITE, second.guid, "x", "file")
        taken_back: list[str] = []

        async def end() -> None:
            taken_back.append("past-1")
            await desk.windows.give_back("past-1")

        await desk.windows.lend(SITE, first.guid, "past-1", None, end)
        assert await desk.open() == 3
        await desk.past.clear(SiteId("s-" + "b" * 26))
        assert await desk.open() == 3
        await desk.past.clear(SITE)
        assert await desk.open() == 0 and taken_back == ["past-1"]
        with pytest.raises(StorageError):
            await source.read()
        await desk.past.clear(SITE)
        assert taken_back == ["past-1"]

    run(story())


def test_two_moments_are_compared_once(desk: Desk, run: Run[None]) -> None:
    """The second page of a comparison costs no second walk: snapshots do not change."""

    async def story() -> None:
        first, second = await desk.make(2)
        assert (await desk.past.compare(SITE, first.guid, second.guid, "/")).complete
        assert (await desk.past.compare(SITE, first.guid, second.guid, "/")).complete
        assert desk.files.compared == 1
        assert not (await desk.past.compare(SITE, first.guid, first.guid, "/")).complete

    run(story())


def test_what_a_restore_left_is_removed_at_the_next_start(desk: Desk, run: Run[None]) -> None:
    """A node that died while it restored files looks for the half it left; one whose restore ended does not."""

    async def story() -> None:
        (first,) = await desk.make(1)
        assert await desk.past.restore(SITE, first.guid, "x", "") == (1, "x")
        assert await desk.past.restore(SITE, first.guid, "x", "y") == (1, "y")
        assert await desk.open() == 0
        await desk.wait(30)
        desk.files.breaks_off = True
        with pytest.raises(StorageSick):
            await desk.past.restore(SITE, first.guid, "x", "")
        assert desk.files.tidied == []
        again = Desk(desk.clock, desk.pool)
        await again.windows.recover(nothing)
        await again.index.load()
        again.past.recover((await again.pool.dataset(JOURNAL)).properties)
        await again.wait(30)
        assert again.files.tidied == [f"/live/{SITE}"]
        await again.wait(30)
        assert again.files.tidied == [f"/live/{SITE}"]

    run(story())


def test_what_a_crash_left_open_is_removed_at_the_next_start(desk: Desk, run: Run[None]) -> None:
    """No clone outlives its process."""

    async def story() -> None:
        (first,) = await desk.make(1)
        await desk.past.browse(SITE, first.guid, "/", "", 10)
        again = Desk(desk.clock, desk.pool)
        await again.windows.recover(nothing)
        assert await again.open() == 0

    run(story())
