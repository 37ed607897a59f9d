"""What the trash keeps, and what it lets go of."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from hybrid.hosting.purge import Purge
from hybrid.hosting.tombstones import Undeleted
from hybrid.model import SiteId
from hybrid.storage.memory import MemoryPool

SITE = SiteId("s-one")


async def came_back_another_way(pool: MemoryPool, wrote_more: bool) -> None:
    """A site whose copy lies in the trash beside it, `wrote_more` with a snapshot the site has not."""
    await pool.prepare()
    await pool.create("trash/s-one", {"trashed": "1700000000"})
    await pool.snapshot("trash/s-one", "hyb-000001-a-0000001")
    source = await pool.send("trash/s-one", (await pool.history("trash/s-one"))[-1].guid, None)
    sink = await pool.receive("sites/s-one")
    while data := await source.read():
        await sink.write(data)
    await sink.finish()
    if wrote_more:
        await pool.snapshot("trash/s-one", "hyb-000001-a-0000002")


async def purged(wrote_more: bool) -> bool:
    """Whether the copy is gone a week later, and only the copy."""
    pool = MemoryPool(lambda: 0.0)
    await came_back_another_way(pool, wrote_more)
    await Purge(pool, lambda site: Undeleted(site=SITE, at_s=1), lambda: 1.8e9).look()
    names = {dataset.name for dataset in await pool.datasets()}
    assert "sites/s-one" in names
    return "trash/s-one" not in names


def test_the_trash_does_not_keep_what_the_site_has_itself() -> None:
    """A copy of a site that came back another way is destroyed after a week, if nothing is in it alone."""
    results: list[bool] = []
    for wrote_more in (False, True):
        Deferred.fromCoroutine(purged(wrote_more)).addCallback(results.append)
    assert results == [True, False]
