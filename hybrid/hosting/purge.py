"""What lies in the trash long enough is destroyed: the only place where a site's history ever ends. Shell."""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

from hybrid.errors import HybridError, NoSuchDataset
from hybrid.history import History
from hybrid.hosting import tombstones
from hybrid.hosting.tombstones import KEEP_S
from hybrid.model import Guid, SiteId
from hybrid.ports import Dataset, Pool

PREFIX = "trash/"


def overdue(dataset: Dataset, now_s: float) -> bool:
    """Whether `dataset` was put into the trash more than `KEEP_S` ago; one that does not say when never is."""
    when = dataset.properties.get("trashed", "")
    return dataset.name.startswith(PREFIX) and when.isdigit() and now_s - int(when) > KEEP_S


def site_in(dataset: Dataset) -> SiteId:
    """Whose history lies in `trash/<site-id>` or `trash/<site-id>.<number>`."""
    return SiteId(dataset.name.removeprefix(PREFIX).partition(".")[0])


class Purge:
    """Empties this node's trash, of what a tombstone known here buried or a person discarded, and of nothing else."""

    log = Logger()

    def __init__(
        self,
        pool: Pool,
        stone: Callable[[SiteId], tombstones.Entry | None],
        wall_s: Callable[[], float],
        discarded: Callable[[SiteId, Guid], bool] = lambda site, head: False,
    ) -> None:
        """`stone(site)`: see `Deletions.entry`; `discarded(site, head)`: see `Discards.is_due`."""
        self._pool, self._stone, self._discarded, self._wall_s = pool, stone, discarded, wall_s

    async def look(self) -> None:
        """Destroy what is overdue. Lists the whole pool: hourly is often enough."""
        now_s = self._wall_s()
        for dataset in await self._pool.datasets():
            if not overdue(dataset, now_s):
                continue
            try:
                await self._destroy(dataset)
            except HybridError as error:
                self.log.warn("{name} stays in the trash: {error}", name=dataset.name, error=str(error))

    async def _destroy(self, dataset: Dataset) -> None:
        history = await self._pool.history(dataset.name)
        if not await self._expendable(site_in(dataset), history):
            self.log.info("{name} stays in the trash: nobody deleted all of it", name=dataset.name)
            return
        for snapshot in history:
            for tag in sorted(await self._pool.holds(dataset.name, snapshot.guid)):
                await self._pool.release(dataset.name, snapshot.guid, tag)
        await self._pool.destroy(dataset.name, with_history=True)
        self.log.info("{name} left the trash for good", name=dataset.name)

    async def _expendable(self, site: SiteId, history: History) -> bool:
        """Whether all of it was deleted; or is in the site itself, which came back before this node could give it."""
        if history and self._discarded(site, history[-1].guid):
            return True
        entry = self._stone(site)
        if isinstance(entry, tombstones.Tombstone):
            return tombstones.obeyed(entry, history)
        if entry is None or not history:
            return False
        try:
            main = await self._pool.history(f"sites/{site}")
        except NoSuchDataset:
            return False
        return history[-1].guid in {snapshot.guid for snapshot in main}
