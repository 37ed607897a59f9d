"""
Streams of one kind of ZFS at the door of another: taken where the format allows, refused by name where not.

`streams/` holds streams as real pools sent them, of a site with the file `f` at `first`, and `g` instead at `second`:
zfs-fuse (pool version 23), and OpenZFS 2.3.
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from hybrid.errors import StreamRefused
from hybrid.storage import features
from hybrid.storage.begin import LENGTH, parse
from hybrid.storage.memory import MemoryPool
from tests.contract.test_pool_streams import take

STREAMS = Path(__file__).parent / "streams"
SITE = "sites/s-one"
Pair = Any
EVERY = sorted(path.name.removesuffix(".gz") for path in STREAMS.glob("*.gz"))


def recorded(name: str) -> bytes:
    """A stream as it came out of a real pool."""
    return gzip.decompress((STREAMS / f"{name}.gz").read_bytes())


@pytest.mark.parametrize("name", EVERY)
def test_a_real_stream_says_what_it_needs(name: str) -> None:
    """Its first record is read before anything is done with it."""
    begin = parse(recorded(name)[:LENGTH])
    assert begin.to_name.endswith("/hybrid/sites/s-one@" + ("first" if "whole" in name else "second"))
    assert not begin.compound
    said = features.refusal(begin.features, 0)
    assert (said is not None) == ("openzfs" in name)
    if said is not None:
        assert "file system version 5" in said[0]
        assert "nodes with OpenZFS" in said[1]


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("kind", sorted({name.rpartition("-")[0] for name in EVERY}))
async def test_a_site_of_another_kind_of_zfs(pair: Pair, kind: str) -> None:
    """The whole and an increment on it; what cannot be is refused before the pool sees a byte, and says what to try."""
    _, there = pair
    driver = there.pool.capabilities.driver
    if isinstance(there.pool, MemoryPool):
        pytest.skip("a pool in memory has streams of its own")
    await there.pool.prepare()
    whole, step = recorded(f"{kind}-whole"), recorded(f"{kind}-step")
    if kind == "openzfs" and driver == "zfs-fuse":
        with pytest.raises(StreamRefused, match=r"file system version 5.*nodes with OpenZFS"):
            await take(there.pool, SITE, whole)
        assert await there.pool.datasets() == []
        return
    await take(there.pool, SITE, whole)
    first = (await there.pool.history(SITE))[0]
    assert first.guid == parse(whole[:LENGTH]).to_guid
    assert await there.files(SITE, first.guid) == {"f": b"first\n"}
    await take(there.pool, SITE, step)
    second = (await there.pool.history(SITE))[1]
    assert second.guid == parse(step[:LENGTH]).to_guid
    assert await there.files(SITE, second.guid) == {"g": b"second\n"}
