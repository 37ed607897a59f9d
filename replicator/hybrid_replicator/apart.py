"""
What clones of sites hang on, and how one is made a dataset of its own: same snapshots and guids, nothing shared. Shell.

A clone hangs on an image made of a moment of the other site, itself a clone that is never mounted: pool version 23
refuses to rename a dataset while a clone of it is mounted (`dsl_dir_rename_check`, measured), and a site is renamed
when it is rolled back or deleted.

The whole line is sent from the one dataset into another under `temporary/` while the site is in use; then, with the
site shut for a moment, the last increments, and the two change places by renames. The snapshots keep their guids, so
nobody else notices. Between the renames the complete copy lies where no start removes it; the journal names the site.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from hybrid import crashpoint
from hybrid.deeds import Transfers
from hybrid.errors import Busy, Conflict, HybridError, NoSuchDataset, NoSuchSnapshot, OutOfSpace, StorageError
from hybrid.history import History, guids
from hybrid.model import Guid, NodeId, SiteId
from hybrid.ports import Pool
from hybrid_replicator.index import HistoryIndex
from hybrid_replicator.names import FROM, JOURNAL, STASH, TEMPORARY, site_dataset
from hybrid_replicator.tasks import patiently

_KEY = "apart-"
"""Properties of `JOURNAL`: sites whose datasets are changing places."""
_TAG = "hyb-apart"
"""Holds the snapshot that the next increment starts from."""
UNUSED_S = 3600
"""What clones hang on is not removed sooner: one may be about to be made."""
ROOM = 0.1
"""The part of the pool that stays free."""


class Apart:
    """Takes clones apart from what they were cloned from."""

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        pool: Pool,
        index: HistoryIndex,
        swapped: Callable[[str], None],
        wall_s: Callable[[], float],
        transfers: Transfers,
        me: NodeId,
    ) -> None:
        """`swapped(dataset)`: another dataset with the same snapshots stands there now, without holds."""
        self._clock, self._pool, self._index, self._swapped = clock, pool, index, swapped
        self._wall_s, self._transfers, self._me = wall_s, transfers, me

    def is_clone(self, site: SiteId) -> bool:
        """Whether the main line here hangs on another site's."""
        image = self._index.image_of(site_dataset(site))
        return image is not None and image[0].startswith(FROM)

    async def base(self, site: SiteId, guid: Guid) -> tuple[str, Guid]:
        """See `hybrid.deeds.TimeMachine.base`."""
        name = f"{FROM}{site}-{guid:016x}"
        line = await self._line(name)
        if not line:
            if await self._there(name):
                await self._destroy(name)  # an earlier process ended just then
            await self._pool.clone(site_dataset(site), guid, name)
            await self._pool.set_readonly(name, True)
            line = (await self._pool.snapshot(name, "image"),)
        await self._index.refresh(name)
        return name, line[0].guid

    async def sweep(self) -> None:
        """Remove what was made for clones, and on which none hangs any more."""
        for name in self._index.bases():
            line = self._index.history(name)
            if line and self._wall_s() - line[0].created_at_s >= UNUSED_S and not self._index.hanging_on(name):
                await self._remove_base(name)

    async def _remove_base(self, name: str) -> None:
        """Unless a clone hangs on it, also one in the trash."""
        try:
            await self._pool.destroy(name, with_history=True)
        except Busy:
            return
        except NoSuchDataset:
            self.log.debug("{name} is gone already", name=name)
        self._index.forget(name)

    async def copy(self, site: SiteId) -> None:
        """
        Bring the copy of the whole line up to the newest snapshot, whether it was begun before or not.

        Raises:
            Conflict: Something else hangs on this line, a stash or another clone: it could not be left.
            OutOfSpace: There is no room for a copy.
            NoSuchSnapshot: What is forgotten meanwhile was needed; repeat it.
        """
        source, target = site_dataset(site), _copy(site)
        await self._settle(site)
        self._refuse_hanging(source)
        done, line = await self._line(target), await self._index.reread(source)
        if done and done[-1].guid not in guids(line):
            await self._destroy(target)
            done = ()
        need_bytes = await self._room(source, bool(done))
        start = guids(line).index(done[-1].guid) + 1 if done else 0
        base = done[-1].guid if done else None
        for snapshot in line[start:]:
            await self._pool.hold(source, snapshot.guid, _TAG)
            await self._send(source, target, snapshot.guid, base, None if base else need_bytes)
            await self._let_go(source, base)
            base = snapshot.guid

    async def take_place(self, site: SiteId) -> None:
        """
        Put the copy where the clone is; the caller keeps everybody else away, and nothing is mounted.

        Raises:
            StorageError: The copy is not all there is; nothing was changed.
        """
        await self.copy(site)
        main, copy, aside = site_dataset(site), _copy(site), _aside(site)
        ours, copied = await self._line(main), await self._line(copy)
        if not ours or ours[-1] != copied[-1] or not _within(ours, copied):
            raise StorageError(f"the copy of {main} is not complete", "", "it is tried again")
        await self._pool.set_properties(copy, dict((await self._pool.dataset(main)).properties))
        await self._pool.set_properties(JOURNAL, {_KEY + site: "yes"})
        crashpoint.reached("apart-written")
        await patiently(self._clock, lambda: self._pool.rename(copy, aside))
        crashpoint.reached("apart-aside")
        await patiently(self._clock, lambda: self._pool.rename(main, _old(site)))
        crashpoint.reached("apart-away")
        try:
            await patiently(self._clock, lambda: self._pool.rename(aside, main))
        except HybridError:
            await patiently(self._clock, lambda: self._pool.rename(_old(site), main))
            raise
        await self._index.refresh(main)
        self._swapped(main)
        await self._pool.set_properties(JOURNAL, {_KEY + site: None})

    async def clear(self, site: SiteId) -> None:
        """Remove the clone, all of which is in the dataset that took its place. Not there: fine."""
        old, main = _old(site), site_dataset(site)
        if await self._there(old) and _within(await self._line(old), await self._line(main)):
            origin = (await self._pool.dataset(old)).origin
            await self._destroy(old)
            if origin is not None and origin[0].startswith(FROM):
                await self._remove_base(origin[0])

    async def recover(self) -> None:
        """At start, before anything under `temporary/` is removed: finish, or forget, a change of places."""
        try:
            journal = (await self._pool.dataset(JOURNAL)).properties
        except NoSuchDataset:
            return
        for key in journal:
            if key.startswith(_KEY):
                site = SiteId(key.removeprefix(_KEY))
                try:
                    await self._settle(site)
                    await self.clear(site)
                    await self._pool.set_properties(JOURNAL, {key: None})
                except HybridError:
                    self.log.failure("{site} is between two datasets still: {aside}", site=site, aside=_aside(site))

    async def _settle(self, site: SiteId) -> None:
        """Of a change of places that did not come to its end: have a main line, and no second one."""
        main, aside = site_dataset(site), _aside(site)
        if not await self._there(aside):
            return
        if not await self._there(main):
            await patiently(self._clock, lambda: self._pool.rename(aside, main))
        elif _within(await self._line(aside), await self._line(main)):
            await self._destroy(aside)

    # --------------------------------------------------------------------------------------------------- steps

    def _refuse_hanging(self, source: str) -> None:
        hanging = [name for name in self._index.hanging_on(source) if not name.startswith(TEMPORARY)]
        if hanging:
            kind = "history set aside" if hanging[0].startswith(STASH) else "another clone"
            raise Conflict(f"{source} cannot be taken apart", f"{kind} hangs on it: {hanging[0]}")

    async def _room(self, source: str, begun: bool) -> int:
        """Bytes that a copy takes, about. Raises `OutOfSpace`."""
        space, need = await self._pool.space(), (await self._pool.dataset(source)).referenced_bytes
        if not begun and space.free_bytes - need < ROOM * space.size_bytes:
            raise OutOfSpace(f"no room for a copy of {source}", f"it is {need} bytes, {space.free_bytes} are free")
        return need

    async def _send(
        self, source: str, target: str, guid: Guid, base: Guid | None, size_bytes: int | None = None
    ) -> None:
        stream = await self._pool.send(source, guid, base)
        try:
            sink = await self._pool.receive(target)
            try:
                with self._transfers.transfer("copy", source, self._me, size_bytes) as transfer:
                    while data := await stream.read():
                        await sink.write(data)
                        transfer.bytes += len(data)
                    await sink.finish()
            except BaseException:
                await sink.abort()
                raise
        finally:
            await stream.abort()

    async def _let_go(self, source: str, guid: Guid | None) -> None:
        if guid is not None:
            try:
                await self._pool.release(source, guid, _TAG)
            except NoSuchSnapshot:
                self.log.debug("{guid} of {source} is gone already", guid=guid, source=source)

    async def _line(self, dataset: str) -> History:
        try:
            return await self._pool.history(dataset)
        except NoSuchDataset:
            return ()

    async def _there(self, dataset: str) -> bool:
        try:
            await self._pool.dataset(dataset)
        except NoSuchDataset:
            return False
        return True

    async def _destroy(self, dataset: str) -> None:
        """Destroy what is a copy of something else, holds and all."""
        for snapshot in await self._line(dataset):
            for tag in sorted(await self._pool.holds(dataset, snapshot.guid)):
                await self._pool.release(dataset, snapshot.guid, tag)
        await patiently(self._clock, lambda: self._pool.destroy(dataset, with_history=True))


def _copy(site: SiteId) -> str:
    """Where the copy grows: a start removes it."""
    return f"{TEMPORARY}apart-{site}"


def _aside(site: SiteId) -> str:
    """Where the complete copy is while the places change: no start removes it."""
    return f"{STASH}apart-{site}"


def _old(site: SiteId) -> str:
    """Where the clone goes once the copy is complete."""
    return f"{TEMPORARY}clone-{site}"


def _within(part: History, whole: History) -> bool:
    """Whether every snapshot of `part` is in `whole`."""
    return set(guids(part)) <= set(guids(whole))
