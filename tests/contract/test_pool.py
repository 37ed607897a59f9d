"""The contract of `hybrid.ports.Pool`, first part: datasets, properties, mounting, quota, space."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import pytest_twisted

from hybrid.errors import (
    AlreadyExists,
    Busy,
    HasHistory,
    NoSuchDataset,
    NoSuchSnapshot,
    OutOfSpace,
    QuotaReached,
    StorageError,
)
from hybrid.model import Guid
from hybrid.ports import Health, Pool

SITE, OTHER = "sites/s-one", "sites/s-two"
NOBODY = Guid(12345)
MEGABYTE = 1024 * 1024
Pair = Any


@pytest_twisted.ensureDeferred
async def test_prepare_may_be_repeated(pair: Pair) -> None:
    """A node that starts again finds everything as it was."""
    here, _ = pair
    await here.pool.prepare()
    assert await here.pool.datasets() == []
    await here.pool.create(SITE, {"spec": "kept"})
    await here.pool.prepare()
    assert [(one.name, one.properties) for one in await here.pool.datasets()] == [(SITE, {"spec": "kept"})]


@pytest_twisted.ensureDeferred
async def test_a_new_dataset_is_empty_writable_and_not_mounted(pair: Pair) -> None:
    """Creating a site's dataset mounts nothing."""
    here, _ = pair
    await here.pool.prepare()
    await here.pool.create(SITE, {"spec": "a", "note": "b"})
    found = await here.pool.dataset(SITE)
    assert (found.name, found.readonly, found.mountpoint, found.origin) == (SITE, False, None, None)
    assert found.properties == {"spec": "a", "note": "b"}
    assert await here.pool.history(SITE) == ()
    await here.write(SITE, "f", b"data")
    assert await here.files(SITE) == {"f": b"data"}


@pytest_twisted.ensureDeferred
async def test_datasets_are_listed_by_name(pair: Pair) -> None:
    """The list is all there is, sorted, and each entry says the same as `dataset`."""
    here, _ = pair
    await here.pool.prepare()
    for name in (OTHER, "images/php", SITE, "stash/x"):
        await here.pool.create(name, {"is": name.replace("/", "-")})
    taken = await here.pool.snapshot("images/php", "image")
    await here.pool.clone("images/php", taken.guid, "trash/x")
    listed = await here.pool.datasets()
    assert [one.name for one in listed] == ["images/php", SITE, OTHER, "stash/x", "trash/x"]
    assert listed[-1].origin == ("images/php", taken.guid)
    assert [await here.pool.dataset(one.name) for one in listed] == listed


@pytest_twisted.ensureDeferred
async def test_a_taken_name_is_refused(pair: Pair) -> None:
    """Nothing is ever created over something else."""
    here, _ = pair
    await here.pool.prepare()
    await here.pool.create(SITE)
    taken = await here.pool.snapshot(SITE, "one")
    with pytest.raises(AlreadyExists):
        await here.pool.create(SITE)
    with pytest.raises(AlreadyExists):
        await here.pool.clone(SITE, taken.guid, SITE)
    with pytest.raises(AlreadyExists):
        await here.pool.snapshot(SITE, "one")
    await here.pool.create(OTHER)
    with pytest.raises(AlreadyExists):
        await here.pool.rename(OTHER, SITE)


CALLS: dict[str, Callable[[Pool], Awaitable[object]]] = {
    "dataset": lambda pool: pool.dataset(OTHER),
    "history": lambda pool: pool.history(OTHER),
    "clone": lambda pool: pool.clone(OTHER, NOBODY, "stash/x"),
    "snapshot": lambda pool: pool.snapshot(OTHER, "x"),
    "snapshot_if_changed": lambda pool: pool.snapshot_if_changed(OTHER, "x"),
    "destroy_snapshot": lambda pool: pool.destroy_snapshot(OTHER, NOBODY),
    "destroy": lambda pool: pool.destroy(OTHER),
    "rename": lambda pool: pool.rename(OTHER, "stash/x"),
    "promote": lambda pool: pool.promote(OTHER),
    "set_properties": lambda pool: pool.set_properties(OTHER, {"a": "b"}),
    "set_readonly": lambda pool: pool.set_readonly(OTHER, True),
    "set_quota": lambda pool: pool.set_quota(OTHER, 1),
    "set_record_size": lambda pool: pool.set_record_size(OTHER, 16384),
    "mount": lambda pool: pool.mount(OTHER, "/nowhere"),
    "unmount": lambda pool: pool.unmount(OTHER),
    "hold": lambda pool: pool.hold(OTHER, NOBODY, "tag"),
    "release": lambda pool: pool.release(OTHER, NOBODY, "tag"),
    "holds": lambda pool: pool.holds(OTHER, NOBODY),
    "send": lambda pool: pool.send(OTHER, NOBODY, None),
    "estimate": lambda pool: pool.estimate(OTHER, NOBODY, None),
}


@pytest_twisted.ensureDeferred
async def test_a_dataset_that_is_not_here_is_named_as_such(pair: Pair) -> None:
    """Every call says `NoSuchDataset`, so that ignorance is never taken for emptiness."""
    here, _ = pair
    await here.pool.prepare()
    for call in CALLS.values():
        with pytest.raises(NoSuchDataset):
            await call(here.pool)


@pytest_twisted.ensureDeferred
async def test_a_snapshot_that_is_not_here_is_named_as_such(pair: Pair) -> None:
    """Where the dataset is here, the error is about the snapshot."""
    here, _ = pair
    await here.pool.prepare()
    await here.pool.create(OTHER)
    await here.pool.snapshot(OTHER, "something-else")
    for name in ("clone", "destroy_snapshot", "hold", "release", "holds", "send", "estimate"):
        with pytest.raises(NoSuchSnapshot):
            await CALLS[name](here.pool)


ODD_NAMES = (
    "", "sites", "sites/", "/sites/a", "elsewhere/a", "sites/a@b", "sites/a#b", "sites/a%b", "sites/..", "sites/a..b",
    "../a", "sites/a/b", "sites/a b", "sites/-a", "-r", "sites/ä", "sites/a\n", "sites/a\0", "sites/" + "x" * 300,
)  # fmt: skip


@pytest_twisted.ensureDeferred
async def test_odd_names_are_refused_everywhere(pair: Pair) -> None:
    """A name with `/ @ # % ..`, a blank or a dash in front gets an error, and never reaches a command line."""
    here, _ = pair
    await here.pool.prepare()
    await here.pool.create(SITE)
    taken = await here.pool.snapshot(SITE, "fine")
    for odd in ODD_NAMES:
        for call in (
            here.pool.create(odd),
            here.pool.dataset(odd),
            here.pool.destroy(odd, with_history=True),
            here.pool.rename(SITE, odd),
            here.pool.clone(SITE, taken.guid, odd),
            here.pool.receive(odd),
            here.pool.snapshot(SITE, "a/" + odd),
            here.pool.hold(SITE, taken.guid, "a/" + odd),
            here.pool.set_properties(SITE, {"A." + odd: "x"}),
        ):
            with pytest.raises(StorageError):
                await call
    assert [one.name for one in await here.pool.datasets()] == [SITE]
    assert await here.pool.history(SITE) == (taken,)


VALUES = {
    "long": "0123456789" * 500,
    "long-unicode": "ä€𝄞\n" * 1250,
    "odd": "tab\tnewline\nreturn\rpercent%41 quote\"' tilde~3.abcdefab~ equals= comma, \x00 ü",
    "empty": "",
    "blank": " ",
    "json": '{"domains":["a.example"]}',
}


@pytest_twisted.ensureDeferred
async def test_properties_keep_any_value(pair: Pair) -> None:
    """Specs of 5,000 characters, line ends and every alphabet come back as they went in."""
    here, _ = pair
    await here.pool.prepare()
    await here.pool.create(SITE, VALUES)
    await here.pool.create(OTHER)
    await here.pool.set_properties(OTHER, VALUES)
    assert (await here.pool.dataset(SITE)).properties == VALUES
    assert {one.name: one.properties for one in await here.pool.datasets()} == {SITE: VALUES, OTHER: VALUES}


@pytest_twisted.ensureDeferred
async def test_properties_are_replaced_and_removed(pair: Pair) -> None:
    """Long to short, short to long, one long value to another, `None` removes; others are left alone."""
    here, _ = pair
    await here.pool.prepare()
    await here.pool.create(SITE, {"a": "x" * 5000, "b": "short", "c": "y" * 3000, "d": "z" * 2000, "keep": "k"})
    await here.pool.set_properties(SITE, {"a": "now short", "b": "w" * 4000, "c": None, "d": "v" * 2500, "none": None})
    wanted = {"a": "now short", "b": "w" * 4000, "d": "v" * 2500, "keep": "k"}
    assert (await here.pool.dataset(SITE)).properties == wanted


@pytest_twisted.ensureDeferred
async def test_a_clone_has_properties_of_its_own(pair: Pair) -> None:
    """A site cloned from an image does not carry the image's spec; renaming keeps a site's own."""
    here, _ = pair
    await here.pool.prepare()
    await here.pool.create("images/php", {"manifest": "m"})
    taken = await here.pool.snapshot("images/php", "image")
    await here.pool.clone("images/php", taken.guid, SITE, {"spec": "s"})
    assert (await here.pool.dataset(SITE)).properties == {"spec": "s"}
    await here.pool.rename(SITE, OTHER)
    assert (await here.pool.dataset(OTHER)).properties == {"spec": "s"}
    with pytest.raises(NoSuchDataset):
        await here.pool.dataset(SITE)


@pytest_twisted.ensureDeferred
async def test_readonly_refuses_writes(pair: Pair) -> None:
    """What is read-only cannot be changed, and can be made writable."""
    here, _ = pair
    await here.pool.prepare()
    await here.pool.create(SITE)
    await here.write(SITE, "f", b"1")
    await here.pool.set_readonly(SITE, True)
    assert (await here.pool.dataset(SITE)).readonly
    with pytest.raises(StorageError):
        await here.write(SITE, "f", b"2")
    await here.pool.set_readonly(SITE, False)
    await here.write(SITE, "f", b"3")
    assert await here.files(SITE) == {"f": b"3"}


@pytest_twisted.ensureDeferred
async def test_destroy_never_takes_history_with_it_unless_told(pair: Pair) -> None:
    """A dataset with snapshots is refused without `with_history`, and whole after that."""
    here, _ = pair
    await here.pool.prepare()
    await here.pool.create(SITE)
    taken = await here.pool.snapshot(SITE, "one")
    with pytest.raises(HasHistory):
        await here.pool.destroy(SITE)
    assert await here.pool.history(SITE) == (taken,)
    await here.pool.destroy(SITE, with_history=True)
    assert await here.pool.datasets() == []
    await here.pool.create(SITE)
    await here.pool.destroy(SITE)
    assert await here.pool.datasets() == []


@pytest_twisted.ensureDeferred
async def test_destroy_refuses_what_is_in_use(pair: Pair) -> None:
    """Mounted, held or cloned: `Busy`, and every snapshot is still there."""
    here, _ = pair
    await here.pool.prepare()
    await here.pool.create(SITE)
    first = await here.pool.snapshot(SITE, "one")
    second = await here.pool.snapshot(SITE, "two")
    await here.pool.hold(SITE, second.guid, "peer")
    with pytest.raises(Busy):
        await here.pool.destroy(SITE, with_history=True)
    await here.pool.release(SITE, second.guid, "peer")
    await here.pool.clone(SITE, first.guid, OTHER)
    with pytest.raises(Busy):
        await here.pool.destroy(SITE, with_history=True)
    assert await here.pool.history(SITE) == (first, second)
    await here.pool.destroy(OTHER)
    await here.pool.mount(SITE, here.folder())
    with pytest.raises(Busy):
        await here.pool.destroy(SITE, with_history=True)
    await here.pool.unmount(SITE)
    await here.pool.destroy(SITE, with_history=True)


@pytest_twisted.ensureDeferred
async def test_rename_keeps_everything_but_the_name(pair: Pair) -> None:
    """History, holds and content go along; a mounted dataset is refused."""
    here, _ = pair
    await here.pool.prepare()
    await here.pool.create(SITE, {"spec": "s"})
    await here.write(SITE, "f", b"1")
    taken = await here.pool.snapshot(SITE, "one")
    await here.pool.hold(SITE, taken.guid, "peer")
    await here.pool.mount(SITE, here.folder())
    with pytest.raises(Busy):
        await here.pool.rename(SITE, "stash/x")
    await here.pool.unmount(SITE)
    await here.pool.rename(SITE, "stash/x")
    assert await here.pool.history("stash/x") == (taken,)
    assert await here.pool.holds("stash/x", taken.guid) == {"peer"}
    assert await here.files("stash/x") == {"f": b"1"}


@pytest_twisted.ensureDeferred
async def test_mounting_is_safe_to_repeat(pair: Pair) -> None:
    """Twice at one place is fine, at a second place or over another dataset is refused, unmounting twice is fine."""
    here, _ = pair
    await here.pool.prepare()
    await here.pool.create(SITE)
    await here.pool.create(OTHER)
    path = here.folder()
    await here.pool.mount(SITE, path)
    await here.pool.mount(SITE, path)
    assert (await here.pool.dataset(SITE)).mountpoint == path
    with pytest.raises(Busy):
        await here.pool.mount(SITE, here.folder())
    with pytest.raises(Busy):
        await here.pool.mount(OTHER, path)
    assert (await here.pool.dataset(OTHER)).mountpoint is None
    await here.pool.unmount(SITE)
    await here.pool.unmount(SITE)
    assert (await here.pool.dataset(SITE)).mountpoint is None
    await here.pool.mount(OTHER, path)
    await here.pool.unmount(OTHER)


@pytest_twisted.ensureDeferred
async def test_unmount_refuses_while_in_use(pair: Pair) -> None:
    """A process inside keeps it mounted; afterwards it goes."""
    here, _ = pair
    await here.pool.prepare()
    await here.pool.create(SITE)
    path = here.folder()
    await here.pool.mount(SITE, path)
    await here.occupied(SITE, True)
    try:
        with pytest.raises(Busy):
            await here.pool.unmount(SITE)
        assert (await here.pool.dataset(SITE)).mountpoint == path
    finally:
        await here.occupied(SITE, False)
    await here.pool.unmount(SITE)
    assert (await here.pool.dataset(SITE)).mountpoint is None


@pytest_twisted.ensureDeferred
async def test_quota_limits_live_data_only(pair: Pair) -> None:
    """A user at the limit gets an error, can still be protected by snapshots, and can make room by deleting."""
    here, _ = pair
    await here.pool.prepare()
    await here.pool.create(SITE)
    await here.pool.set_quota(SITE, 4 * MEGABYTE)
    await here.write(SITE, "a", bytes(3 * MEGABYTE))
    with pytest.raises(QuotaReached):
        await here.write(SITE, "b", bytes(range(256)) * 4 * 8 * 1024)
    await here.pool.snapshot(SITE, "full")
    await here.remove(SITE, "a")
    if "b" in await here.files(SITE):
        await here.remove(SITE, "b")
    await here.pool.snapshot(SITE, "empty")
    await here.write(SITE, "c", bytes(3 * MEGABYTE))
    await here.pool.set_quota(SITE, None)
    await here.write(SITE, "d", bytes(6 * MEGABYTE))


@pytest_twisted.ensureDeferred
async def test_the_size_of_records_is_set(pair: Pair) -> None:
    """A database's pages lie on disk one by one, and what no ZFS can do is refused, not rounded."""
    here, _ = pair
    await here.pool.prepare()
    await here.pool.create(SITE)
    await here.pool.set_record_size(SITE, 8192)
    with pytest.raises(StorageError):
        await here.pool.set_record_size(SITE, 10_000)
    assert await here.record_bytes(SITE) == 8192


@pytest_twisted.ensureDeferred
async def test_a_full_pool_says_so_and_loses_nothing(pair: Pair) -> None:
    """`OutOfSpace` for what needs room, history untouched, and space comes back by destroying."""
    here, there = pair
    await here.pool.prepare()
    await there.pool.prepare()
    await there.pool.create(OTHER)
    await there.write(OTHER, "f", bytes(range(256)) * 4096)
    sent = await there.pool.snapshot(OTHER, "sent")
    await here.pool.create(SITE)
    first = await here.pool.snapshot(SITE, "first")
    await here.write(SITE, "changed", b"since")
    await here.pool.create("trash/filling")
    await here.pool.mount("trash/filling", here.folder())
    await _fill(here, "full")
    assert (await here.pool.space()).free_bytes < MEGABYTE

    async def second() -> None:
        await here.pool.destroy_snapshot(SITE, (await here.pool.snapshot(SITE, "second")).guid)

    async def second_if_changed() -> None:
        taken = await here.pool.snapshot_if_changed(SITE, "second")
        assert taken is not None
        await here.pool.destroy_snapshot(SITE, taken.guid)

    async def create() -> None:
        await here.pool.create("stash/x")
        await here.pool.destroy("stash/x")

    async def clone() -> None:
        await here.pool.clone(SITE, first.guid, "stash/x")
        await here.pool.destroy("stash/x", with_history=True)

    async def copy() -> None:
        await _copy(there.pool, OTHER, sent.guid, here.pool)
        await here.pool.destroy(OTHER, with_history=True)

    for call in (second, second_if_changed, create, clone, copy):
        await _refused(here, call)
    assert await here.pool.history(SITE) == (first,)
    assert [one.name for one in await here.pool.datasets()] == [SITE, "trash/filling"]
    await here.pool.unmount("trash/filling")
    await here.pool.destroy("trash/filling", with_history=True)
    await here.pool.snapshot(SITE, "second")


async def _copy(source_pool: Pool, name: str, guid: Guid, target_pool: Pool) -> None:
    source, sink = await source_pool.send(name, guid, None), await target_pool.receive(name)
    try:
        while piece := await source.read():
            await sink.write(piece)
        await sink.finish()
    finally:
        await source.abort()
        await sink.abort()


async def _refused(hands: Any, done_and_undone: Callable[[], Awaitable[None]]) -> None:
    """
    See that the full pool of `hands` refuses something.

    ZFS counts a transaction group in full before it is synced and less afterwards, at a moment of its own choice: what
    was full may have a little room again. What was done in such a moment is undone, and the pool filled up once more.
    """
    for number in range(50):
        try:
            await done_and_undone()
        except OutOfSpace:
            return
        await _fill(hands, f"{done_and_undone.__name__}{number}")
    raise AssertionError(f"{done_and_undone.__name__}: done on a full pool, again and again")


async def _fill(hands: Any, tag: str) -> None:
    """Fill `trash/filling` until not even a snapshot fits, which is what needs the least room of all."""
    await _write_all_that_fits(hands, tag)
    for number in range(1000):
        try:
            await hands.pool.snapshot("trash/filling", f"{tag}-{number}")
        except OutOfSpace:
            return
        await _write_all_that_fits(hands, f"{tag}-{number}")
    raise AssertionError("the pool does not get full")


async def _write_all_that_fits(hands: Any, prefix: str) -> None:
    for size in (8 * MEGABYTE, 2 * MEGABYTE, 512 * 1024, 128 * 1024, 32 * 1024, 4096):
        for number in range(64):
            try:
                await hands.write("trash/filling", f"{prefix}.{size}.{number}", bytes(range(256)) * (size // 256))
            except OutOfSpace:
                break


@pytest_twisted.ensureDeferred
async def test_space_and_sizes_are_told_in_bytes(pair: Pair) -> None:
    """What is written shows in the pool's free space and in the dataset's sizes, with and without its snapshots."""
    here, _ = pair
    await here.pool.prepare()
    before = await here.pool.space()
    await here.pool.create(SITE)
    await here.write(SITE, "f", bytes(range(256)) * 4 * 5 * 1024)
    await here.pool.snapshot(SITE, "one")
    await here.remove(SITE, "f")
    await here.pool.snapshot(SITE, "two")
    after, found = await here.pool.space(), await here.pool.dataset(SITE)
    assert 32 * MEGABYTE < after.size_bytes <= 96 * MEGABYTE  # of one as small as this OpenZFS keeps half for itself
    assert before.free_bytes - after.free_bytes > 4 * MEGABYTE
    assert found.used_bytes > 5 * MEGABYTE > MEGABYTE > found.referenced_bytes


@pytest_twisted.ensureDeferred
async def test_history_is_counted_apart_from_data(pair: Pair) -> None:
    """What only snapshots still hold is told apart, so that people see what their data takes and what the past does."""
    here, _ = pair
    await here.pool.prepare()
    await here.pool.create(SITE)
    await here.write(SITE, "f", bytes(range(256)) * 4 * 5 * 1024)
    await here.pool.snapshot(SITE, "one")
    assert (await here.pool.dataset(SITE)).history_bytes < MEGABYTE
    await here.remove(SITE, "f")
    await here.pool.snapshot(SITE, "two")
    assert 4 * MEGABYTE < (await here.pool.dataset(SITE)).history_bytes < 6 * MEGABYTE


@pytest_twisted.ensureDeferred
async def test_a_reserve_is_room_on_a_full_pool(pair: Pair) -> None:
    """What tenants cannot fill up is there, once given free, for what a node must do on a full pool; then kept."""
    here, _ = pair
    await here.pool.prepare()
    before = (await here.pool.space()).free_bytes
    assert await here.pool.reserve(8 * MEGABYTE) == 8 * MEGABYTE
    assert before - (await here.pool.space()).free_bytes > 7 * MEGABYTE
    await here.pool.create(SITE)
    first = await here.pool.snapshot(SITE, "first")
    await here.pool.create("trash/filling")
    await here.pool.mount("trash/filling", here.folder())
    await _fill(here, "full")
    assert await here.pool.reserve(0) == 0
    await here.pool.set_properties(SITE, {"claim": "7,n-a"})
    await here.pool.clone(SITE, first.guid, "stash/x")
    await here.pool.rename(SITE, "trash/s")
    await here.pool.snapshot("stash/x", "second")
    assert 0 < await here.pool.reserve(64 * MEGABYTE) < 16 * MEGABYTE
    assert [one.name for one in await here.pool.datasets()] == ["stash/x", "trash/filling", "trash/s"]
    await here.pool.reserve(0)  # as for every deed of the node itself: destroying needs room too
    await here.pool.unmount("trash/filling")
    await here.pool.destroy("trash/filling", with_history=True)
    assert await here.pool.reserve(8 * MEGABYTE) == 8 * MEGABYTE


@pytest_twisted.ensureDeferred
async def test_a_healthy_pool_says_so(pair: Pair) -> None:
    """No alarm for a pool of which nothing is wrong."""
    here, _ = pair
    await here.pool.prepare()
    assert await here.pool.health() == Health()


@pytest_twisted.ensureDeferred
async def test_check_answers_quickly(pair: Pair) -> None:
    """The health probe of a healthy pool is done within a second."""
    here, _ = pair
    await here.pool.prepare()
    begun_s = time.monotonic()
    await here.pool.check()
    assert time.monotonic() - begun_s < 1


@pytest_twisted.ensureDeferred
async def test_renamed_while_a_clone_of_a_clone_is_in_use(pair: Pair) -> None:
    """A site is rolled back or deleted while a staging copy of it is served: the copy hangs on it through another."""
    here, _ = pair
    pool = here.pool
    await pool.prepare()
    await pool.create("sites/s-x")
    await here.write("sites/s-x", "page", b"shared")
    moment = await pool.snapshot("sites/s-x", "moment")
    await pool.clone("sites/s-x", moment.guid, "images/between")
    between = await pool.snapshot("images/between", "image")
    await pool.clone("images/between", between.guid, "sites/s-y")
    await pool.mount("sites/s-y", here.folder())
    await here.occupied("sites/s-y", True)
    await pool.rename("sites/s-x", "stash/s-x.1")
    await pool.clone("stash/s-x.1", moment.guid, "sites/s-x")
    await pool.promote("sites/s-x")
    await pool.rename("sites/s-x", "trash/s-x")
    assert (await pool.dataset("images/between")).origin == ("trash/s-x", moment.guid)
    assert (await here.files("sites/s-y")) == {"page": b"shared"}
    await here.occupied("sites/s-y", False)
