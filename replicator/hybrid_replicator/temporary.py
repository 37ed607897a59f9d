"""What lies under `temporary/` is never the only copy of anything: how it is removed. Shell."""

from __future__ import annotations

from hybrid.errors import Busy, NoSuchDataset
from hybrid.ports import Pool
from hybrid_replicator.names import STASH_TAG


async def discard(pool: Pool, dataset: str) -> None:
    """
    Destroy `dataset`, which is under `temporary/` and not mounted; not there: fine.

    The copy of a stash is held from before it is in its place, so one that never got there may be held.
    """
    try:
        try:
            await pool.destroy(dataset, with_history=True)
        except Busy:
            for snapshot in await pool.history(dataset):
                await pool.release(dataset, snapshot.guid, STASH_TAG)
            await pool.destroy(dataset, with_history=True)
    except NoSuchDataset:
        return
