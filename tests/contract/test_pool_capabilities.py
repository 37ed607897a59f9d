"""The contract of `hybrid.ports.Pool`, fourth part: what not every pool can do, and what it does instead."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from hybrid.errors import AlreadyExists, Busy, NoSuchDataset, NoSuchSnapshot, StreamRefused
from hybrid.history import guids
from hybrid.model import Guid
from hybrid.ports import Pool
from hybrid.storage import features
from hybrid.storage.begin import LENGTH, pack, parse
from tests.contract.test_pool_streams import noise, stream, take

SITE, OTHER, THIRD = "sites/s-one", "sites/s-two", "sites/s-three"
Pair = Any


async def cut(pool: Pool, name: str, data: bytes) -> None:
    """Receive the beginning of a stream, then lose the link."""
    sink = await pool.receive(name, resumable=True)
    for at in range(0, len(data), 100_000):
        await sink.write(data[at : at + 100_000])
    await sink.abort()


async def read_all(source: Any) -> bytes:
    """A whole stream."""
    pieces = []
    while piece := await source.read():
        pieces.append(piece)
    return b"".join(pieces)


@pytest_twisted.ensureDeferred
async def test_snapshots_of_several_datasets(pair: Pair) -> None:
    """An application's datasets get one of the same name each, in the order asked for."""
    here, _ = pair
    await here.pool.prepare()
    for name in (SITE, OTHER, THIRD):
        await here.pool.create(name)
        await here.write(name, "f", name.encode())
    taken = await here.pool.snapshots([OTHER, SITE], "together")
    assert [one.name for one in taken] == ["together", "together"]
    assert await here.pool.history(OTHER) == taken[:1]
    assert await here.pool.history(SITE) == taken[1:]
    assert await here.pool.history(THIRD) == ()
    assert await here.files(SITE, taken[1].guid) == {"f": SITE.encode()}


@pytest_twisted.ensureDeferred
async def test_snapshots_are_taken_of_all_or_of_none(pair: Pair) -> None:
    """One that cannot be taken leaves none of the others behind."""
    here, _ = pair
    await here.pool.prepare()
    await here.pool.create(SITE)
    await here.pool.create(OTHER)
    old = await here.pool.snapshot(OTHER, "together")
    with pytest.raises(AlreadyExists):
        await here.pool.snapshots([SITE, OTHER], "together")
    with pytest.raises(NoSuchDataset):
        await here.pool.snapshots([SITE, THIRD], "later")
    assert await here.pool.history(SITE) == ()
    assert await here.pool.history(OTHER) == (old,)
    assert len(await here.pool.snapshots([SITE, OTHER], "later")) == 2


@pytest_twisted.ensureDeferred
async def test_a_snapshot_is_looked_into_without_a_clone(pair: Pair) -> None:
    """Where there is a directory for it, it holds what was; elsewhere, and where nothing is mounted, there is none."""
    here, _ = pair
    await here.pool.prepare()
    await here.pool.create(SITE)
    await here.write(SITE, "f", b"before")
    taken = await here.pool.snapshot(SITE, "one")
    assert await here.pool.snapshot_path(SITE, taken.guid) is None
    root = here.folder()
    await here.pool.mount(SITE, root)
    await here.write(SITE, "f", b"after")
    where = await here.pool.snapshot_path(SITE, taken.guid)
    assert (where is not None) == here.pool.capabilities.snapshot_directory
    if where is not None:
        assert where.startswith(root)
        if here.pool.capabilities.driver == "openzfs" and shutil.which("zfs") and Path(root).exists():
            assert (Path(where) / "f").read_bytes() == b"before"
    with pytest.raises(NoSuchSnapshot):
        await here.pool.snapshot_path(SITE, Guid(5))
    await here.pool.unmount(SITE)


@pytest_twisted.ensureDeferred
async def test_what_changed_between_two_moments(pair: Pair) -> None:
    """By path: added, removed, modified; between two snapshots and up to now. Where it cannot be told: `None`."""
    here, _ = pair
    await here.pool.prepare()
    await here.pool.create(SITE)
    await here.pool.mount(SITE, here.folder())
    await here.write(SITE, "stays", b"1")
    await here.write(SITE, "changes", b"1")
    await here.write(SITE, "goes", b"1")
    one = await here.pool.snapshot(SITE, "one")
    await here.write(SITE, "changes", b"2")
    await here.remove(SITE, "goes")
    two = await here.pool.snapshot(SITE, "two")
    await here.write(SITE, "a name with \\ and ü", b"2")
    with pytest.raises(NoSuchSnapshot):
        await here.pool.diff(SITE, two.guid, one.guid)
    with pytest.raises(NoSuchSnapshot):
        await here.pool.diff(SITE, Guid(5), None)
    between, since = [await here.pool.diff(SITE, start, end) for start, end in ((one.guid, two.guid), (two.guid, None))]
    if here.pool.capabilities.diff:
        assert [(one.kind, one.path, one.type) for one in between] == [
            ("modified", b"changes", "file"),
            ("removed", b"goes", "file"),
        ]
        assert [(one.kind, one.path) for one in since] == [("added", "a name with \\ and ü".encode())]
    else:
        assert (between, since) == (None, None)
    await here.pool.unmount(SITE)
    assert await here.pool.diff(SITE, one.guid, two.guid) is None


@pytest_twisted.ensureDeferred
async def test_an_increment_begins_at_a_snapshot_that_is_gone(pair: Pair) -> None:
    """The base was destroyed by hand: a bookmark of it is enough. Making it twice, or again later, changes nothing."""
    here, there = pair
    await here.pool.prepare()
    await there.pool.prepare()
    await here.pool.create(SITE)
    await here.write(SITE, "f", noise(300_000))
    base = await here.pool.snapshot(SITE, "base")
    await take(there.pool, SITE, await stream(here.pool, SITE, base.guid))
    for _ in range(2):
        await here.pool.bookmark(SITE, base.guid, "base-n2")
    marked = here.pool.capabilities.bookmarks
    assert await here.pool.bookmarks(SITE) == ({"base-n2": base.guid} if marked else {})
    await here.write(SITE, "g", noise(1_000))
    head = await here.pool.snapshot(SITE, "head")
    await here.pool.destroy_snapshot(SITE, base.guid)
    await here.pool.bookmark(SITE, base.guid, "base-n2")
    if not marked:
        with pytest.raises(NoSuchSnapshot):
            await here.pool.send(SITE, head.guid, base.guid)
        return
    step = await stream(here.pool, SITE, head.guid, base.guid)
    assert len(step) < 100_000
    await take(there.pool, SITE, step)
    assert guids(await there.pool.history(SITE)) == (base.guid, head.guid)
    assert await there.files(SITE, head.guid) == await here.files(SITE)


@pytest_twisted.ensureDeferred
async def test_a_bookmark_moves_with_its_tag(pair: Pair) -> None:
    """One per tag: each peer has its own, and a newer one takes its place."""
    here, _ = pair
    await here.pool.prepare()
    await here.pool.create(SITE)
    one, two = await here.pool.snapshot(SITE, "one"), await here.pool.snapshot(SITE, "two")
    await here.pool.bookmark(SITE, one.guid, "n2")
    await here.pool.bookmark(SITE, one.guid, "n3")
    await here.pool.bookmark(SITE, two.guid, "n2")
    await here.pool.forget_bookmark(SITE, "n4")
    if here.pool.capabilities.bookmarks:
        assert await here.pool.bookmarks(SITE) == {"n2": two.guid, "n3": one.guid}
        with pytest.raises(NoSuchSnapshot):
            await here.pool.bookmark(SITE, Guid(5), "n2")
    await here.pool.forget_bookmark(SITE, "n2")
    assert "n2" not in await here.pool.bookmarks(SITE)
    assert await here.pool.history(SITE) == (one, two)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("increment", [False, True], ids=["whole", "increment"])
async def test_a_stream_that_was_cut_goes_on(pair: Pair, increment: bool) -> None:
    """What came is not sent again; what was there before stands until the whole stream came."""
    here, there = pair
    await here.pool.prepare()
    await there.pool.prepare()
    await here.pool.create(SITE)
    first = await here.pool.snapshot(SITE, "first")
    if increment:
        await take(there.pool, SITE, await stream(here.pool, SITE, first.guid))
    await here.write(SITE, "big", noise(6_000_000))
    head = await here.pool.snapshot(SITE, "head")
    base = first.guid if increment else None
    whole = await stream(here.pool, SITE, head.guid, base)
    await cut(there.pool, SITE, whole[:4_000_000])
    there_now = await there.pool.partial(SITE)
    if not there.pool.capabilities.resumable:
        assert there_now is None
        return
    assert there_now is not None
    assert (there_now.to, there_now.base) == (head.guid, base)
    assert 1_000_000 < there_now.received_bytes <= 4_000_000
    if increment:
        assert await there.pool.history(SITE) == (first,)
    rest = await read_all(await here.pool.send(SITE, head.guid, base, there.pool.capabilities.takes, there_now))
    assert len(rest) < len(whole) - 1_000_000
    begin = parse(rest[:LENGTH])
    assert (begin.to_guid, begin.from_guid) == (head.guid, base)
    assert begin.features & features.RESUMING
    await cut(there.pool, SITE, rest[:500_000])  # and once more
    again = await there.pool.partial(SITE)
    assert again is not None
    rest = await read_all(await here.pool.send(SITE, head.guid, base, there.pool.capabilities.takes, again))
    await take(there.pool, SITE, rest)
    assert (await there.pool.history(SITE))[-1] == head
    assert await there.pool.partial(SITE) is None
    assert await there.files(SITE, head.guid) == await here.files(SITE)


@pytest_twisted.ensureDeferred
async def test_a_part_is_given_up_for_another_stream(pair: Pair) -> None:
    """A part of what is not wanted any more never stands in the way, and history never goes with it."""
    here, there = pair
    await here.pool.prepare()
    await there.pool.prepare()
    await here.pool.create(SITE)
    first = await here.pool.snapshot(SITE, "first")
    await take(there.pool, SITE, await stream(here.pool, SITE, first.guid))
    await here.write(SITE, "big", noise(3_000_000))
    second = await here.pool.snapshot(SITE, "second")
    step = await stream(here.pool, SITE, second.guid, first.guid)
    await cut(there.pool, SITE, step[:2_000_000])
    third = await here.pool.snapshot(SITE, "third")
    await take(there.pool, SITE, await stream(here.pool, SITE, third.guid, first.guid))
    assert guids(await there.pool.history(SITE)) == (first.guid, third.guid)
    assert await there.pool.partial(SITE) is None
    for _ in range(2):
        await there.pool.abandon(SITE)
        await there.pool.abandon(OTHER)
    await cut(there.pool, OTHER, (await stream(here.pool, SITE, third.guid))[:2_000_000])
    await there.pool.abandon(OTHER)
    assert await there.pool.partial(OTHER) is None
    assert [one.name for one in await there.pool.datasets()] == [SITE]
    assert guids(await there.pool.history(SITE)) == (first.guid, third.guid)


@pytest_twisted.ensureDeferred
async def test_a_stream_that_goes_on_with_nothing_is_refused(pair: Pair) -> None:
    """Of another snapshot than the one of which there is a part, or where there is none."""
    here, there = pair
    await here.pool.prepare()
    await there.pool.prepare()
    await here.pool.create(SITE)
    await here.write(SITE, "big", noise(1_000_000))
    head = await here.pool.snapshot(SITE, "head")
    whole = await stream(here.pool, SITE, head.guid)
    begin = parse(whole[:LENGTH])
    resuming = type(begin)(begin.to_guid, None, begin.to_name, begin.created_at_s, features=features.RESUMING)
    with pytest.raises(StreamRefused):
        await take(there.pool, SITE, pack(resuming) + whole[LENGTH:])
    assert await there.pool.datasets() == []


@pytest_twisted.ensureDeferred
async def test_streams_are_as_small_as_both_ends_allow(pair: Pair) -> None:
    """Compressed blocks travel as they are where the receiver takes them; plain for who does not say so."""
    here, there = pair
    await here.pool.prepare()
    await there.pool.prepare()
    await here.pool.create(SITE)
    await here.write(SITE, "f", noise(100_000))
    taken = await here.pool.snapshot(SITE, "one")
    plain = parse((await stream(here.pool, SITE, taken.guid))[:LENGTH])
    assert not plain.features & (features.COMPRESSED | features.LARGE_BLOCKS | features.EMBEDDED | features.RAW)
    data = await read_all(await here.pool.send(SITE, taken.guid, None, there.pool.capabilities.takes))
    small = parse(data[:LENGTH])
    assert bool(small.features & features.COMPRESSED) == bool(there.pool.capabilities.takes & features.COMPRESSED)
    assert not small.features & ~there.pool.capabilities.takes
    await take(there.pool, SITE, data)
    assert await there.files(SITE, taken.guid) == await here.files(SITE)


@pytest_twisted.ensureDeferred
async def test_a_stream_of_what_is_not_taken_is_refused_by_name(pair: Pair) -> None:
    """Before a byte of it reaches the pool: what is in the way, and what to try."""
    here, there = pair
    await here.pool.prepare()
    await there.pool.prepare()
    await here.pool.create(SITE)
    await here.write(SITE, "f", noise(1_000))
    taken = await here.pool.snapshot(SITE, "one")
    whole = await stream(here.pool, SITE, taken.guid)
    begin = parse(whole[:LENGTH])
    for bit, says in ((1, "deduplicated"), (1 << 21, "redacted"), (1 << 15, "feature 15")):
        odd = type(begin)(begin.to_guid, None, begin.to_name, begin.created_at_s, features=begin.features | bit)
        with pytest.raises(StreamRefused, match=says):
            await take(there.pool, SITE, pack(odd) + whole[LENGTH:])
    assert await there.pool.datasets() == []


@pytest_twisted.ensureDeferred
async def test_a_held_snapshot_of_several_stays(pair: Pair) -> None:
    """Snapshots taken together are snapshots like any other."""
    here, _ = pair
    await here.pool.prepare()
    await here.pool.create(SITE)
    await here.pool.create(OTHER)
    one, two = await here.pool.snapshots([SITE, OTHER], "together")
    await here.pool.hold(SITE, one.guid, "a")
    with pytest.raises(Busy):
        await here.pool.destroy_snapshot(SITE, one.guid)
    await here.pool.destroy_snapshot(OTHER, two.guid)
    await here.pool.release(SITE, one.guid, "a")
    await here.pool.destroy_snapshot(SITE, one.guid)
