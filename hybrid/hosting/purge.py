"""What lies in the trash long enough is destroyed: the only place where a site's history ever ends. Shell."""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

from hybrid.errors import HybridError
from hybrid.ports import Dataset, Pool

PREFIX = "trash/"
KEEP_S = 7 * 86400.0
"""A deleted site can be brought back for so long."""


def overdue(dataset: Dataset, now_s: float) -> bool:
    """Whether `dataset` was put into the trash more than `KEEP_S` ago; one that does not say when never is."""
    when = dataset.properties.get("trashed", "")
    return dataset.name.startswith(PREFIX) and when.isdigit() and now_s - int(when) > KEEP_S


class Purge:
    """Empties this node's trash."""

    log = Logger()

    def __init__(self, pool: Pool, wall_s: Callable[[], float]) -> None:
        self._pool, self._wall_s = pool, wall_s

    async def look(self) -> None:
        """Destroy what is overdue. Lists the whole pool: hourly is often enough."""
        now_s = self._wall_s()
        for dataset in await self._pool.datasets():
            if not overdue(dataset, now_s):
                continue
            try:
                await self._pool.destroy(dataset.name, with_history=True)
                self.log.info("{name} left the trash for good", name=dataset.name)
            except HybridError as error:
                self.log.warn("{name} stays in the trash: {error}", name=dataset.name, error=str(error))
