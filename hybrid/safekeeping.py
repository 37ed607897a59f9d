"""
A copy of the cluster's configuration in this node's own pool: pools alone are enough to begin again. Shell.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

from hybrid.configuration import DATASET, Configuration, differences, of_properties, properties
from hybrid.errors import AlreadyExists, NoSuchDataset
from hybrid.ports import Pool

AT_ONCE = 50
"""Properties written in one call; the rest at the next look, so that a large change holds up nothing."""


class Safekeeping:
    """
    Writes what changed.

    Args:
        pool: Of this node.
        configuration: As it is now.
    """

    log = Logger()

    def __init__(self, pool: Pool, configuration: Callable[[], Configuration]) -> None:
        self._pool, self._configuration = pool, configuration
        self._written: dict[str, str] | None = None

    async def look(self) -> None:
        """Write what differs from what is there; where that fails, what is there is read again before the next try."""
        written, self._written = self._written, None
        if written is None:
            written = await self._read()
        wanted = properties(self._configuration())
        changed = dict(list(differences(written, wanted).items())[:AT_ONCE])
        if changed:
            await self._pool.set_properties(DATASET, changed)
            kept = {**written, **changed}
            written = {key: value for key, value in kept.items() if value is not None}
            self.log.info("{count} values of the configuration are kept in the pool", count=len(changed))
        self._written = written

    async def _read(self) -> dict[str, str]:
        try:
            await self._pool.create(DATASET)
        except AlreadyExists:
            pass
        return dict((await self._pool.dataset(DATASET)).properties)


async def kept_in(pool: Pool) -> Configuration:
    """The configuration that a pool keeps. Raises `BadRequest` where there is none."""
    try:
        found = (await pool.dataset(DATASET)).properties
    except NoSuchDataset:
        found = {}
    return of_properties(found)
