"""The contract of `hybrid.ports.Pool`, third part: streams that are whole, and all the ways in which they are not."""

from __future__ import annotations

import random
from typing import Any

import pytest
import pytest_twisted

from hybrid.errors import AlreadyExists, Busy, NoSuchSnapshot, StorageError, StreamRefused
from hybrid.history import guids
from hybrid.model import Guid, Snapshot
from hybrid.ports import Pool
from hybrid.storage.begin import LENGTH, parse

SITE, OTHER, IMAGE = "sites/s-one", "sites/s-two", "images/php"
Pair = Any


def noise(length: int) -> bytes:
    """Bytes that do not compress, the same each time."""
    return random.Random(1).randbytes(length)


async def stream(pool: Pool, name: str, guid: Guid, base: Guid | None = None) -> bytes:
    """A whole stream."""
    source = await pool.send(name, guid, base)
    pieces = []
    while piece := await source.read():
        assert len(piece) <= 256 * 1024
        pieces.append(piece)
    assert await source.read() == b""
    await source.abort()
    return b"".join(pieces)


async def take(pool: Pool, name: str, data: bytes, piece: int = 100_000) -> None:
    """Give a stream to `receive`; when it fails, abort, as every caller does."""
    sink = await pool.receive(name)
    try:
        for at in range(0, len(data), piece):
            await sink.write(data[at : at + piece])
        await sink.finish()
    finally:
        await sink.abort()


async def site(pair: Pair) -> tuple[Snapshot, Snapshot, Snapshot]:
    """A site of three snapshots here, the first of which is there as well."""
    here, there = pair
    await here.pool.prepare()
    await there.pool.prepare()
    await here.pool.create(SITE, {"spec": "not sent"})
    taken = []
    for number in (1, 2, 3):
        await here.write(SITE, f"f{number}", noise(50_000 * number))
        taken.append(await here.pool.snapshot(SITE, f"snap-{number}"))
    await take(there.pool, SITE, await stream(here.pool, SITE, taken[0].guid))
    return taken[0], taken[1], taken[2]


@pytest_twisted.ensureDeferred
async def test_a_full_stream_makes_a_replica(pair: Pair) -> None:
    """Same guid, name, time and content; read-only, not mounted, and without the sender's properties."""
    here, there = pair
    first, _, _ = await site(pair)
    found = await there.pool.dataset(SITE)
    assert (found.readonly, found.mountpoint, found.properties, found.origin) == (True, None, {}, None)
    assert await there.pool.history(SITE) == (first,)
    assert await there.files(SITE, first.guid) == {"f1": noise(50_000)} == await here.files(SITE, first.guid)


@pytest_twisted.ensureDeferred
async def test_increments_extend_a_replica(pair: Pair) -> None:
    """One after the other, or over one that is skipped; also an empty one."""
    here, there = pair
    first, _, third = await site(pair)
    empty = await here.pool.snapshot(SITE, "empty")
    await take(there.pool, SITE, await stream(here.pool, SITE, third.guid, first.guid))
    await take(there.pool, SITE, await stream(here.pool, SITE, empty.guid, third.guid))
    assert await there.pool.history(SITE) == (first, third, empty)
    assert (await there.pool.dataset(SITE)).readonly
    assert await there.files(SITE, empty.guid) == await here.files(SITE)


@pytest_twisted.ensureDeferred
async def test_a_stream_says_what_it_is(pair: Pair) -> None:
    """The first record tells both guids, so that a receiver can refuse before taking a byte."""
    here, _ = pair
    first, second, _ = await site(pair)
    full = parse((await stream(here.pool, SITE, first.guid))[:LENGTH])
    assert (full.to_guid, full.from_guid, full.clone, full.compound) == (first.guid, None, False, False)
    assert full.to_name.endswith(f"{SITE}@{first.name}")
    assert full.created_at_s == first.created_at_s
    step = parse((await stream(here.pool, SITE, second.guid, first.guid))[:LENGTH])
    assert (step.to_guid, step.from_guid) == (second.guid, first.guid)


@pytest_twisted.ensureDeferred
async def test_a_site_is_sent_as_a_clone_of_its_image(pair: Pair) -> None:
    """From the image's snapshot on: the receiver makes a clone of its own copy, under whatever name that has."""
    here, there = pair
    await here.pool.prepare()
    await there.pool.prepare()
    await here.pool.create(IMAGE)
    await here.write(IMAGE, "base", noise(400_000))
    image = await here.pool.snapshot(IMAGE, "image")
    await here.pool.clone(IMAGE, image.guid, SITE)
    await here.write(SITE, "own", b"own")
    first = await here.pool.snapshot(SITE, "first")
    step = await stream(here.pool, SITE, first.guid, image.guid)
    assert len(step) < 200_000
    with pytest.raises(StreamRefused):
        await take(there.pool, SITE, step)
    assert await there.pool.datasets() == []
    await take(there.pool, "images/other-name", await stream(here.pool, IMAGE, image.guid))
    await take(there.pool, SITE, step)
    found = await there.pool.dataset(SITE)
    assert (found.origin, found.readonly, found.mountpoint) == (("images/other-name", image.guid), True, None)
    assert await there.pool.history(SITE) == (first,)
    assert await there.files(SITE, first.guid) == {"base": noise(400_000), "own": b"own"}
    with pytest.raises(StreamRefused):
        await take(there.pool, SITE, step)


@pytest_twisted.ensureDeferred
async def test_a_clone_of_a_clone_is_sent(pair: Pair) -> None:
    """A stash, which is a clone of the main line after a promotion, reaches a peer that has the main line."""
    here, there = pair
    first, second, third = await site(pair)
    await here.pool.rename(SITE, "stash/x")
    await here.pool.clone("stash/x", first.guid, SITE)
    await here.pool.promote(SITE)
    await take(there.pool, "stash/x", await stream(here.pool, "stash/x", third.guid, first.guid))
    assert await there.pool.history("stash/x") == (third,)
    assert (await there.pool.dataset("stash/x")).origin == (SITE, first.guid)
    assert await there.files("stash/x", third.guid) == await here.files("stash/x", third.guid)
    assert guids(await here.pool.history("stash/x")) == (second.guid, third.guid)


@pytest_twisted.ensureDeferred
async def test_streams_that_do_not_fit_are_refused(pair: Pair) -> None:
    """Wrong base, full over existing, increment to nowhere: refused, and no dataset anywhere has changed."""
    here, there = pair
    first, second, third = await site(pair)
    full = await stream(here.pool, SITE, first.guid)
    later = await stream(here.pool, SITE, third.guid, second.guid)
    step = await stream(here.pool, SITE, second.guid, first.guid)
    for name, data in ((SITE, later), (SITE, full), (OTHER, step), (OTHER, later)):
        with pytest.raises(StreamRefused):
            await take(there.pool, name, data)
    assert [one.name for one in await there.pool.datasets()] == [SITE]
    assert await there.pool.history(SITE) == (first,)
    await take(there.pool, SITE, step)
    with pytest.raises(StreamRefused):
        await take(there.pool, SITE, step)
    assert await there.pool.history(SITE) == (first, second)


@pytest_twisted.ensureDeferred
async def test_a_diverged_replica_is_left_alone(pair: Pair) -> None:
    """A replica that went on by itself takes nothing: both histories stand."""
    here, there = pair
    first, second, _ = await site(pair)
    await there.pool.set_readonly(SITE, False)
    await there.write(SITE, "theirs", b"kept")
    theirs = await there.pool.snapshot(SITE, "theirs")
    with pytest.raises(StreamRefused):
        await take(there.pool, SITE, await stream(here.pool, SITE, second.guid, first.guid))
    assert await there.pool.history(SITE) == (first, theirs)
    assert (await there.files(SITE))["theirs"] == b"kept"


@pytest_twisted.ensureDeferred
async def test_a_modified_replica_is_left_alone(pair: Pair) -> None:
    """Changes that no snapshot holds yet are not thrown away for a stream."""
    here, there = pair
    first, second, _ = await site(pair)
    await there.pool.set_readonly(SITE, False)
    await there.write(SITE, "theirs", b"kept")
    with pytest.raises(StreamRefused):
        await take(there.pool, SITE, await stream(here.pool, SITE, second.guid, first.guid))
    assert (await there.files(SITE))["theirs"] == b"kept"
    assert await there.pool.history(SITE) == (first,)


@pytest_twisted.ensureDeferred
async def test_a_mounted_dataset_takes_no_stream(pair: Pair) -> None:
    """What a container runs on is never changed under it."""
    here, there = pair
    first, second, _ = await site(pair)
    step = await stream(here.pool, SITE, second.guid, first.guid)
    await there.pool.mount(SITE, there.folder())
    with pytest.raises(Busy):
        await take(there.pool, SITE, step)
    await there.pool.unmount(SITE)
    await take(there.pool, SITE, step)


@pytest_twisted.ensureDeferred
async def test_broken_streams_are_refused(pair: Pair) -> None:
    """Cut anywhere, flipped bits, foreign bytes, nothing at all: the old head stands and the next stream fits."""
    here, there = pair
    first, second, _ = await site(pair)
    step = await stream(here.pool, SITE, second.guid, first.guid)
    broken = [step[:cut] for cut in (0, 1, LENGTH - 1, LENGTH, 2 * LENGTH, len(step) // 2, len(step) - 1)]
    broken += [step[:at] + bytes([step[at] ^ 4]) + step[at + 1 :] for at in (3, 9, 60_000, len(step) - 300)]
    broken += [noise(100_000), b"GET / HTTP/1.1\r\n\r\n" * 100, step[:LENGTH] + noise(50_000)]
    for data in broken:
        with pytest.raises(StreamRefused):
            await take(there.pool, SITE, data)
        with pytest.raises(StreamRefused):
            await take(there.pool, OTHER, data)
    assert [one.name for one in await there.pool.datasets()] == [SITE]
    assert await there.pool.history(SITE) == (first,)
    await take(there.pool, SITE, step)
    assert await there.pool.history(SITE) == (first, second)


@pytest_twisted.ensureDeferred
async def test_an_aborted_receive_has_no_effect(pair: Pair) -> None:
    """Not after one byte and not after all of them: only `finish` makes it count. Writing after an abort fails."""
    here, there = pair
    first, second, _ = await site(pair)
    step = await stream(here.pool, SITE, second.guid, first.guid)
    for length in (0, 1, 20_000, len(step)):
        sink = await there.pool.receive(SITE)
        await sink.write(step[:length])
        await sink.abort()
        await sink.abort()
        with pytest.raises(StorageError):
            await sink.write(b"more")
        with pytest.raises(StorageError):
            await sink.finish()
        assert await there.pool.history(SITE) == (first,)
    await take(there.pool, SITE, step)
    assert await there.pool.history(SITE) == (first, second)


@pytest_twisted.ensureDeferred
async def test_streams_may_come_in_any_pieces(pair: Pair) -> None:
    """A peer's link cuts them where it likes."""
    here, there = pair
    first, second, third = await site(pair)
    await take(there.pool, SITE, await stream(here.pool, SITE, second.guid, first.guid), piece=61)
    await take(there.pool, SITE, await stream(here.pool, SITE, third.guid, second.guid), piece=1_000_000)
    assert guids(await there.pool.history(SITE)) == (first.guid, second.guid, third.guid)


@pytest_twisted.ensureDeferred
async def test_sending_from_where_nothing_is(pair: Pair) -> None:
    """A base that is later than the target, or the target itself, is `NoSuchSnapshot`, never an empty stream."""
    here, _ = pair
    first, second, _ = await site(pair)
    for guid, base in (
        (first.guid, second.guid),
        (first.guid, first.guid),
        (Guid(5), first.guid),
        (first.guid, Guid(5)),
    ):
        with pytest.raises(NoSuchSnapshot):
            await here.pool.send(SITE, guid, base)


@pytest_twisted.ensureDeferred
async def test_an_aborted_send_ends(pair: Pair) -> None:
    """What nobody reads on is reaped; reading on raises, so that a part is never taken for the whole."""
    here, _ = pair
    await here.pool.prepare()
    await here.pool.create(SITE)
    await here.write(SITE, "big", noise(6_000_000))
    taken = await here.pool.snapshot(SITE, "one")
    source = await here.pool.send(SITE, taken.guid, None)
    assert await source.read()
    await source.abort()
    await source.abort()
    with pytest.raises(StorageError):
        await source.read()
    unread = await here.pool.send(SITE, taken.guid, None)
    await unread.abort()
    await here.pool.destroy(SITE, with_history=True)


@pytest_twisted.ensureDeferred
async def test_several_streams_go_side_by_side(pair: Pair) -> None:
    """Two replicas are fed from one snapshot at the same time, piece by piece in turn."""
    here, there = pair
    await here.pool.prepare()
    await there.pool.prepare()
    await here.pool.create(SITE)
    await here.write(SITE, "big", noise(3_000_000))
    taken = await here.pool.snapshot(SITE, "one")
    sources = [await here.pool.send(SITE, taken.guid, None) for _ in range(2)]
    sinks = [await there.pool.receive(name) for name in (SITE, OTHER)]
    open_ = [0, 1]
    while open_:
        for number in list(open_):
            piece = await sources[number].read()
            if piece:
                await sinks[number].write(piece)
            else:
                await sinks[number].finish()
                open_.remove(number)
    assert await there.pool.history(SITE) == await there.pool.history(OTHER) == (taken,)


@pytest_twisted.ensureDeferred
async def test_a_stream_brings_no_second_dataset_of_a_taken_snapshot_name(pair: Pair) -> None:
    """After a receive, the received name is taken there like any other."""
    _, there = pair
    first, _, _ = await site(pair)
    with pytest.raises(AlreadyExists):
        await there.pool.snapshot(SITE, first.name)


@pytest_twisted.ensureDeferred
async def test_a_replica_can_take_over_and_hand_back(pair: Pair) -> None:
    """The walk of a failover: made writable, written, snapshotted, sent back to where it came from."""
    here, there = pair
    first, second, third = await site(pair)
    await take(there.pool, SITE, await stream(here.pool, SITE, third.guid, first.guid))
    await there.pool.set_readonly(SITE, False)
    await there.write(SITE, "new", b"by the new owner")
    newest = await there.pool.snapshot(SITE, "newest")
    await here.pool.set_readonly(SITE, True)
    await take(here.pool, SITE, await stream(there.pool, SITE, newest.guid, third.guid))
    assert await here.pool.history(SITE) == (first, second, third, newest)
    assert await here.files(SITE, newest.guid) == await there.files(SITE)


@pytest_twisted.ensureDeferred
async def test_estimates_are_bytes_or_unknown(pair: Pair) -> None:
    """A number is near what comes; what cannot be told is `None`."""
    here, _ = pair
    _, _, third = await site(pair)
    told = await here.pool.estimate(SITE, third.guid, None)
    assert told is None or 150_000 < told < 1_000_000
