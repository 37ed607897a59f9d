"""The contract of `hybrid.ports.Pool`, second part: snapshots, holds, clones, promotion."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted

from hybrid.errors import AlreadyExists, Busy, NoSuchSnapshot, StorageError
from hybrid.history import guids
from hybrid.model import Guid

SITE, OTHER, THIRD = "sites/s-one", "sites/s-two", "sites/s-three"
Pair = Any


@pytest_twisted.ensureDeferred
async def test_history_is_oldest_first(pair: Pair) -> None:
    """Snapshots come in the order they were taken, whatever their names, each with a guid of its own."""
    here, there = pair
    taken = []
    for hands in pair:
        await hands.pool.prepare()
        await hands.pool.create(SITE)
        for name in ("zebra", "apple", "hyb-000042-abcdefgh-0001832"):
            await hands.write(SITE, name, name.encode())
            taken.append(await hands.pool.snapshot(SITE, name))
    assert await here.pool.history(SITE) == tuple(taken[:3])
    assert await there.pool.history(SITE) == tuple(taken[3:])
    assert len(set(guids(tuple(taken)))) == 6
    assert all(one.created_at_s > 1_700_000_000 for one in taken)


@pytest_twisted.ensureDeferred
async def test_a_snapshot_keeps_what_was(pair: Pair) -> None:
    """Later writes and removals change nothing in it."""
    here, _ = pair
    await here.pool.prepare()
    await here.pool.create(SITE)
    await here.write(SITE, "f", b"before")
    taken = await here.pool.snapshot(SITE, "one")
    await here.write(SITE, "g", b"after")
    await here.remove(SITE, "f")
    assert await here.files(SITE, taken.guid) == {"f": b"before"}
    assert await here.files(SITE) == {"g": b"after"}


@pytest_twisted.ensureDeferred
async def test_an_unchanged_dataset_gets_no_snapshot(pair: Pair) -> None:
    """First always, then only after a write or a removal; nothing is left of one that was not needed."""
    here, _ = pair
    await here.pool.prepare()
    await here.pool.create(SITE)
    first = await here.pool.snapshot_if_changed(SITE, "a")
    assert first is not None
    assert await here.pool.snapshot_if_changed(SITE, "b") is None
    assert await here.pool.history(SITE) == (first,)
    await here.write(SITE, "f", b"x")
    second = await here.pool.snapshot_if_changed(SITE, "b")
    assert second is not None
    assert await here.pool.snapshot_if_changed(SITE, "c") is None
    await here.remove(SITE, "f")
    third = await here.pool.snapshot_if_changed(SITE, "c")
    assert await here.pool.history(SITE) == (first, second, third)


@pytest_twisted.ensureDeferred
async def test_of_many_datasets_those_that_changed_are_told(pair: Pair) -> None:
    """Writes and removals, mounted or not, until the next snapshot; whatever was done to others meanwhile."""
    here, _ = pair
    await here.pool.prepare()
    sites = [f"sites/s-{number}" for number in range(5)]
    for site in sites:
        await here.pool.create(site)
        await here.write(site, "f", b"x")
        await here.pool.snapshot(site, "a")
    assert await here.pool.changed([]) == frozenset()
    assert [await here.pool.changed(sites) for _ in range(2)] == [frozenset()] * 2
    await here.write(sites[1], "f", b"y")
    await here.pool.mount(sites[3], here.folder())
    await here.remove(sites[3], "f")
    assert await here.pool.changed(sites[:3]) == {sites[1]}
    assert await here.pool.changed(sites) == {sites[1], sites[3]}
    for site in (sites[1], sites[3]):
        await here.pool.snapshot(site, "b")
    await here.pool.destroy(sites[0], with_history=True)
    assert [await here.pool.changed(sites[1:]) for _ in range(2)] == [frozenset()] * 2
    await here.write(sites[3], "g", b"z")
    assert await here.pool.changed(sites) == {sites[0], sites[3]}
    await here.pool.unmount(sites[3])


@pytest_twisted.ensureDeferred
async def test_a_change_in_a_mounted_dataset_is_seen_at_once(pair: Pair) -> None:
    """A site that runs is protected from the moment of its write, not of some later flush."""
    here, _ = pair
    await here.pool.prepare()
    await here.pool.create(SITE)
    await here.pool.snapshot(SITE, "a")
    await here.pool.mount(SITE, here.folder())
    await here.write(SITE, "f", b"x")
    assert await here.pool.snapshot_if_changed(SITE, "b") is not None
    await here.pool.unmount(SITE)


@pytest_twisted.ensureDeferred
async def test_destroying_snapshots(pair: Pair) -> None:
    """One goes, the others stay; twice is `NoSuchSnapshot`."""
    here, _ = pair
    await here.pool.prepare()
    await here.pool.create(SITE)
    one, two, three = [await here.pool.snapshot(SITE, name) for name in ("one", "two", "three")]
    await here.pool.destroy_snapshot(SITE, two.guid)
    assert await here.pool.history(SITE) == (one, three)
    with pytest.raises(NoSuchSnapshot):
        await here.pool.destroy_snapshot(SITE, two.guid)
    again = await here.pool.snapshot(SITE, "two")
    assert again.guid != two.guid
    with pytest.raises(NoSuchSnapshot):
        await here.pool.destroy_snapshot(SITE, two.guid)
    assert await here.pool.history(SITE) == (one, three, again)


@pytest_twisted.ensureDeferred
async def test_held_or_cloned_snapshots_stay(pair: Pair) -> None:
    """`Busy` while any tag holds it or a clone stands on it."""
    here, _ = pair
    await here.pool.prepare()
    await here.pool.create(SITE)
    taken = await here.pool.snapshot(SITE, "one")
    await here.pool.hold(SITE, taken.guid, "a")
    await here.pool.hold(SITE, taken.guid, "b")
    await here.pool.release(SITE, taken.guid, "a")
    with pytest.raises(Busy):
        await here.pool.destroy_snapshot(SITE, taken.guid)
    await here.pool.release(SITE, taken.guid, "b")
    await here.pool.clone(SITE, taken.guid, OTHER)
    with pytest.raises(Busy):
        await here.pool.destroy_snapshot(SITE, taken.guid)
    await here.pool.destroy(OTHER)
    await here.pool.destroy_snapshot(SITE, taken.guid)
    assert await here.pool.history(SITE) == ()


@pytest_twisted.ensureDeferred
async def test_holds_may_be_repeated(pair: Pair) -> None:
    """Holding twice is one hold, releasing what is not held is fine, all tags are told."""
    here, _ = pair
    await here.pool.prepare()
    await here.pool.create(SITE)
    taken = await here.pool.snapshot(SITE, "one")
    assert await here.pool.holds(SITE, taken.guid) == frozenset()
    await here.pool.release(SITE, taken.guid, "never")
    for tag in ("hyb:base:n-abc", "hyb:base:n-abc", "Stash.1"):
        await here.pool.hold(SITE, taken.guid, tag)
    assert await here.pool.holds(SITE, taken.guid) == {"hyb:base:n-abc", "Stash.1"}
    await here.pool.release(SITE, taken.guid, "hyb:base:n-abc")
    await here.pool.release(SITE, taken.guid, "hyb:base:n-abc")
    assert await here.pool.holds(SITE, taken.guid) == {"Stash.1"}


@pytest_twisted.ensureDeferred
async def test_a_clone_is_writable_and_knows_its_origin(pair: Pair) -> None:
    """It begins with what the snapshot held, has no history of its own, is not mounted, and leaves its origin alone."""
    here, _ = pair
    await here.pool.prepare()
    await here.pool.create(SITE)
    await here.write(SITE, "f", b"1")
    taken = await here.pool.snapshot(SITE, "one")
    await here.write(SITE, "f", b"2")
    await here.pool.set_readonly(SITE, True)
    await here.pool.clone(SITE, taken.guid, OTHER)
    found = await here.pool.dataset(OTHER)
    assert (found.origin, found.readonly, found.mountpoint) == ((SITE, taken.guid), False, None)
    assert await here.pool.history(OTHER) == ()
    assert await here.files(OTHER) == {"f": b"1"}
    await here.write(OTHER, "f", b"3")
    assert await here.files(SITE) == {"f": b"2"}
    await here.pool.rename(SITE, "stash/x")
    assert (await here.pool.dataset(OTHER)).origin == ("stash/x", taken.guid)


@pytest_twisted.ensureDeferred
async def test_promotion_turns_clone_and_origin_around(pair: Pair) -> None:
    """Snapshots up to the cloned one move with guids and holds; later ones stay; other clones follow."""
    here, _ = pair
    await here.pool.prepare()
    await here.pool.create(SITE)
    one, two, three = [await here.pool.snapshot(SITE, name) for name in ("one", "two", "three")]
    await here.pool.hold(SITE, one.guid, "peer")
    await here.pool.clone(SITE, two.guid, OTHER)
    await here.pool.clone(SITE, one.guid, THIRD)
    own = await here.pool.snapshot(OTHER, "own")
    await here.pool.promote(OTHER)
    assert await here.pool.history(OTHER) == (one, two, own)
    assert await here.pool.history(SITE) == (three,)
    assert (await here.pool.dataset(OTHER)).origin is None
    assert (await here.pool.dataset(SITE)).origin == (OTHER, two.guid)
    assert (await here.pool.dataset(THIRD)).origin == (OTHER, one.guid)
    assert await here.pool.holds(OTHER, one.guid) == {"peer"}
    with pytest.raises(NoSuchSnapshot):
        await here.pool.hold(SITE, one.guid, "x")
    with pytest.raises(Busy):
        await here.pool.destroy_snapshot(OTHER, two.guid)
    await here.pool.promote(SITE)
    assert await here.pool.history(SITE) == (one, two, three)
    assert await here.pool.history(OTHER) == (own,)


@pytest_twisted.ensureDeferred
async def test_promotion_hands_the_own_origin_on(pair: Pair) -> None:
    """A site cloned from an image, rolled back by clone and promotion, stands on the image still."""
    here, _ = pair
    await here.pool.prepare()
    await here.pool.create("images/php")
    image = await here.pool.snapshot("images/php", "image")
    await here.pool.clone("images/php", image.guid, "stash/x")
    one, two = [await here.pool.snapshot("stash/x", name) for name in ("one", "two")]
    await here.pool.clone("stash/x", one.guid, SITE)
    await here.pool.promote(SITE)
    assert (await here.pool.dataset(SITE)).origin == ("images/php", image.guid)
    assert (await here.pool.dataset("stash/x")).origin == (SITE, one.guid)
    assert await here.pool.history(SITE) == (one,)
    assert await here.pool.history("stash/x") == (two,)


@pytest_twisted.ensureDeferred
async def test_promotion_refuses_what_cannot_be(pair: Pair) -> None:
    """One name on both sides is `AlreadyExists`, what is no clone is an error; neither changes anything."""
    here, _ = pair
    await here.pool.prepare()
    await here.pool.create(SITE)
    one = await here.pool.snapshot(SITE, "one")
    await here.pool.clone(SITE, one.guid, OTHER)
    same = await here.pool.snapshot(OTHER, "one")
    with pytest.raises(AlreadyExists):
        await here.pool.promote(OTHER)
    with pytest.raises(StorageError):
        await here.pool.promote(SITE)
    assert await here.pool.history(SITE) == (one,)
    assert await here.pool.history(OTHER) == (same,)
    assert (await here.pool.dataset(OTHER)).origin == (SITE, one.guid)


@pytest_twisted.ensureDeferred
async def test_a_guid_is_never_taken_for_another(pair: Pair) -> None:
    """A guid of one dataset does not open another's snapshot of that name."""
    here, _ = pair
    await here.pool.prepare()
    await here.pool.create(SITE)
    await here.pool.create(OTHER)
    mine = await here.pool.snapshot(SITE, "same")
    theirs = await here.pool.snapshot(OTHER, "same")
    for call in (
        here.pool.destroy_snapshot(SITE, theirs.guid),
        here.pool.hold(SITE, theirs.guid, "x"),
        here.pool.clone(SITE, theirs.guid, THIRD),
        here.pool.send(SITE, theirs.guid, None),
        here.pool.send(SITE, mine.guid, theirs.guid),
        here.pool.send(SITE, mine.guid, Guid(7)),
    ):
        with pytest.raises(NoSuchSnapshot):
            await call
