"""What the trash keeps, and what it lets go of, on every driver of the storage port."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted

from hybrid.hosting.purge import Purge
from hybrid.hosting.tombstones import Tombstone, Undeleted, buried
from hybrid.model import Claim, NodeId, SiteId
from hybrid.ports import Pool

SITE, LATER_S = SiteId("s-one"), 1.8e9
MAIN, TRASH = "sites/s-one", "trash/s-one"


async def names(pool: Pool) -> set[str]:
    """Of all datasets."""
    return {dataset.name for dataset in await pool.datasets()}


async def stone(pool: Pool) -> Tombstone:
    """One that buries what lies in the trash now."""
    guids = [snapshot.guid for snapshot in reversed(await pool.history(TRASH))]
    return Tombstone(site=SITE, name="one", claim=Claim(1, NodeId("a")), buried=buried(guids), at_s=1, by=NodeId("a"))


async def discarded(pool: Pool) -> None:
    """A site with two snapshots, a hold for a peer on the older one, put into the trash long before `LATER_S`."""
    await pool.prepare()
    await pool.create(MAIN)
    base = await pool.snapshot(MAIN, "hyb-000001-a-0000001")
    await pool.hold(MAIN, base.guid, "hybrid-base:b")
    await pool.snapshot(MAIN, "hyb-000001-a-0000002")
    await pool.set_properties(MAIN, {"trashed": "1700000000"})
    await pool.rename(MAIN, TRASH)


@pytest_twisted.ensureDeferred
async def test_what_was_deleted_is_destroyed_a_week_later(pair: Any) -> None:
    """Not a day before, and holds for peers do not keep it."""
    pool = pair[0].pool
    await discarded(pool)
    entry = await stone(pool)
    await Purge(pool, lambda site: entry, lambda: 1.7e9 + 6.9 * 86400).look()
    assert TRASH in await names(pool)
    await Purge(pool, lambda site: entry, lambda: 1.7e9 + 7.1 * 86400).look()
    assert TRASH not in await names(pool)


@pytest_twisted.ensureDeferred
async def test_what_nobody_deleted_stays(pair: Any) -> None:
    """Without a tombstone, or with a snapshot that it does not bury, the trash keeps it for ever."""
    pool = pair[0].pool
    await discarded(pool)
    entry = await stone(pool)
    await Purge(pool, lambda site: None, lambda: LATER_S).look()
    await pool.snapshot(TRASH, "hyb-000001-a-0000003")
    await Purge(pool, lambda site: entry, lambda: LATER_S).look()
    assert TRASH in await names(pool)
    assert len(await pool.history(TRASH)) == 3


@pytest.mark.parametrize("wrote_more", [False, True])
@pytest_twisted.ensureDeferred
async def test_the_trash_does_not_keep_what_the_site_has_itself(pair: Any, wrote_more: bool) -> None:
    """A copy of a site that came back another way is destroyed after a week, if nothing is in it alone."""
    here, there = pair
    await here.pool.prepare()
    await there.pool.prepare()
    await there.pool.create(MAIN)
    head = await there.pool.snapshot(MAIN, "hyb-000001-a-0000001")
    for name in (TRASH, MAIN):
        source, sink = await there.pool.send(MAIN, head.guid, None), await here.pool.receive(name)
        while data := await source.read():
            await sink.write(data)
        await sink.finish()
    await here.pool.set_properties(TRASH, {"trashed": "1700000000"})
    if wrote_more:
        await here.pool.set_readonly(TRASH, False)
        await here.pool.snapshot(TRASH, "hyb-000001-a-0000002")
    await Purge(here.pool, lambda site: Undeleted(site=SITE, at_s=1), lambda: LATER_S).look()
    assert await names(here.pool) == ({TRASH, MAIN} if wrote_more else {MAIN})
