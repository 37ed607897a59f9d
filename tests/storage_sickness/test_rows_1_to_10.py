"""
The failures that users of other systems report, one test named after each row of the table in which they are kept.

Rows 1 to 10: receives by force, modified replicas, lost bases, bookkeeping, cut streams, hung transfers, holds, full
pools, quotas, clocks. On pools in memory with the fault injected; `test_on_zfs.py` has those that real ZFS can show.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred

from hybrid.deeds import CreateSite
from hybrid.errors import Busy, OutOfSpace, QuotaReached, StorageError, StreamRefused
from hybrid.history import guids
from hybrid.hosting.holdings import dataset_of
from hybrid.model import Replicated, SendFailed, SnapshotFailed
from tests.node.cluster import Cluster, Steps
from tests.replicator.test_replication import SITE, A, B, C, Tell, World, main_of

ROOT = Path(__file__).parents[2]
GIBIBYTE = 1024**3


def words_of_commands() -> list[tuple[str, str]]:
    """Every string literal in the product, with its file."""
    found = []
    for folder in ("hybrid", "replicator", "containers", "proxy", "dns"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append((str(path), node.value))
    return found


def test_row_1_receive_by_force_destroys_nothing(tell: Tell) -> None:
    """No command forces a receive, rolls back or sends a tree; a stream that does not fit leaves all history."""
    assert [path for path, word in words_of_commands() if word in ("-F", "-Fu", "-uF", "rollback -r", "-R")] == []

    async def story(world: World) -> None:
        a, b = await world.start(A, B)
        await world.site(a, b)
        await world.wait(10)
        before = await b.pool.history(main_of())
        source, sink = await a.pool.send(main_of(), before[-1].guid, None), await b.pool.receive(main_of())
        with pytest.raises(StreamRefused):
            while data := await source.read():
                await sink.write(data)
            await sink.finish()
        assert await b.pool.history(main_of()) == before

    tell(story)


def test_row_2_destination_modified_is_set_aside_and_a_lost_answer_is_found_out(tell: Tell) -> None:
    """A change on a replica becomes a stash; when only the answer to a stream got lost, nothing is sent twice."""

    async def story(world: World) -> None:
        a, b = await world.start(A, B)
        await world.site(a, b)
        await world.wait(10)
        await b.pool.set_readonly(main_of(), False)
        b.pool.write(main_of(), "data", b"by hand")
        a.pool.write(main_of(), "data", b"one")
        await world.wait(12)
        assert b.heads()[-1] == b"one"
        assert [stash.why for stash in b.replicator.stashes(SITE)] == ["modified"]

        async def cut() -> None:
            world.network.cut(A, B)

        b.pool.before("history", cut)  # the stream is on disk, its answer on the way
        a.pool.write(main_of(), "data", b"two")
        await world.wait(8)
        world.network.heal(A, B)
        await world.wait(40)
        assert b.heads()[-1] == b"two" and b.heads().count(b"two") == 1
        assert guids(a.replicator.history(SITE))[-1] == guids(b.replicator.history(SITE))[-1]

    tell(story)


def test_row_3_common_base_destroyed_keeps_both_lines(tell: Tell) -> None:
    """All that two servers had in common is gone: each line is kept, and the copy is made anew beside the old one."""

    async def story(world: World) -> None:
        a, b = await world.start(A, B)
        await world.site(a, b)
        a.pool.write(main_of(), "data", b"old")
        await world.wait(10)
        theirs = set(guids(await b.pool.history(main_of())))
        world.network.cut(A, B)
        a.pool.write(main_of(), "data", b"new")
        await world.wait(10)
        for one in (await a.pool.history(main_of()))[:-1]:
            for tag in await a.pool.holds(main_of(), one.guid):
                await a.pool.release(main_of(), one.guid, tag)
            await a.pool.destroy_snapshot(main_of(), one.guid)
        a = await world.restart(a)
        await world.own(a, 2)
        world.network.heal(A, B)
        await world.wait(60)
        assert b.heads()[-1] == b"new"
        kept = {one.guid for name in await b.pool.datasets() for one in await b.pool.history(name.name)}
        assert theirs <= kept

    tell(story)


def test_row_3_common_base_destroyed_under_the_hands_of_a_running_owner(tell: Tell) -> None:
    """What somebody destroyed by hand is noticed when it is missed: the owner looks again, and both lines are kept."""

    async def story(world: World) -> None:
        a, b, c = await world.start(A, B, C)
        await world.site(a, b, c)
        a.pool.write(main_of(), "data", b"old")
        await world.wait(10)
        theirs = set(guids(await b.pool.history(main_of())))
        world.network.cut(A, B)
        world.down.add(B)
        world.publish()
        a.pool.write(main_of(), "data", b"new")
        await world.wait(10)
        for one in await a.pool.history(main_of()):
            if one.guid in theirs:
                for tag in await a.pool.holds(main_of(), one.guid):
                    await a.pool.release(main_of(), one.guid, tag)
                await a.pool.destroy_snapshot(main_of(), one.guid)
        world.network.heal(A, B)
        world.down.clear()
        world.publish()
        a.pool.write(main_of(), "data", b"newer")
        await world.wait(20)
        assert b.heads()[-1] == c.heads()[-1] == b"newer"
        kept = {one.guid for name in await b.pool.datasets() for one in await b.pool.history(name.name)}
        assert theirs <= kept

    tell(story)


def test_row_4_bookkeeping_may_be_done_twice_or_not_at_all(tell: Tell) -> None:
    """What is in common is read from the pools: holds set twice, taken away, or from another life change nothing."""

    async def story(world: World) -> None:
        a, b = await world.start(A, B)
        await world.site(a, b)
        await world.wait(310)
        head = a.replicator.history(SITE)[-1].guid
        (tag,) = await a.pool.holds(main_of(), head)
        await a.pool.hold(main_of(), head, tag)
        a = await world.restart(a)
        await world.own(a, 2)
        a.pool.write(main_of(), "data", b"two")
        await world.wait(20)
        assert b.heads()[-1] == b"two"
        await a.pool.release(main_of(), head, tag)
        await a.pool.release(main_of(), head, tag)
        b = await world.restart(b)
        world.publish()
        a.pool.write(main_of(), "data", b"three")
        await world.wait(40)
        assert b.heads()[-1] == b"three"
        assert b.replicator.stashes(SITE) == ()

    tell(story)


def test_row_5_what_was_being_sent_is_gone_when_the_stream_could_go_on(tell: Tell) -> None:
    """The line is cut in the middle, and the snapshot goes meanwhile: the newest is sent, nothing waits for ever."""

    async def story(world: World) -> None:
        a, b = await world.start(A, B)
        await world.site(a, b)
        await world.wait(10)
        world.network.delay_s = 0.05
        a.pool.write(main_of(), "data", b"x" * 3_000_000)
        while not b.replicator._receiver._under_way:
            await world.wait(0.1)
        world.network.cut(A, B)
        await world.wait(5)
        head = a.replicator.history(SITE)[-1].guid
        a.pool.write(main_of(), "data", b"y" * 10)
        await world.wait(10)
        await a.pool.destroy_snapshot(main_of(), head)
        a = await world.restart(a)
        await world.own(a, 2)
        world.network.delay_s = 0.0
        world.network.heal(A, B)
        await world.wait(60)
        assert b.heads()[-1] == b"y" * 10
        assert b.replicator.stashes(SITE) == ()

    tell(story)


def test_row_6_a_transfer_that_hangs_delays_nobody_and_ends(tell: Tell) -> None:
    """A receive that never returns is given up after its deadline; other servers have their copies all the while."""

    async def story(world: World) -> None:
        a, b, c = await world.start(A, B, C)
        await world.site(a, b, c)
        await world.wait(10)
        never: Deferred[None] = Deferred()

        async def hang() -> None:
            await never

        b.pool.before("receive", hang)
        for number in range(4):
            a.pool.write(main_of(), "data", b"%d" % number)
            await world.wait(10)
            assert c.heads()[-1] == b"%d" % number
        await world.wait(120)
        never.callback(None)
        await world.wait(60)
        assert b.heads()[-1] == b"3"
        assert a.of(SendFailed)

    tell(story)


def test_row_7_foreign_holds_and_busy_snapshots_stop_no_upkeep(tell: Tell) -> None:
    """A snapshot that somebody holds stays, is not asked for again and again, and the others go all the same."""

    async def story(world: World) -> None:
        (a,) = await world.start(A)
        await world.site(a)
        for number in range(4):
            a.pool.write(main_of(), "data", b"%d" % number)
            await world.wait(10)
        held = a.replicator.history(SITE)[1].guid
        await a.pool.hold(main_of(), held, "somebody")
        asked: list[str] = []

        async def note() -> None:
            asked.append("destroy")

        a.pool.before_each("destroy_snapshot", note)
        world.later_s += 40 * 86400
        a.pool.write(main_of(), "data", b"later")
        await world.wait(1000)
        left = guids(a.replicator.history(SITE))
        assert held in left and len(left) == 2
        assert len(asked) <= 6
        with pytest.raises(Busy):
            await a.pool.destroy_snapshot(main_of(), held)

    tell(story)


def fill(cluster: Cluster, name: str) -> int:
    """Fill a node's pool. Returns the size it had."""
    pool = cluster.members[name].pool
    size = pool.size_bytes
    pool.fill_up()
    return size


def test_row_8_full_pool_moves_its_sites_to_where_there_is_room(cluster: Cluster) -> None:
    """An owner without room cannot protect a site: within a minute it is where it can be, with all that was written."""
    spec = cluster.create()
    a = cluster.members["a"]
    cluster.wait(15)
    a.write(spec.id, "guestbook", b"one")
    cluster.wait(10)
    fill(cluster, "a")
    told: list[str] = []
    a.core.told.append(lambda kind, site, text: told.append(kind))
    cluster.wait(60)
    (owner,) = set(cluster.owners(spec).values())
    assert owner in ("b", "c")
    assert "relieved" in told
    assert cluster.members[owner or ""].files(spec.id)["guestbook"] == b"one"
    assert {member.site(spec).state for member in cluster.members.values()} == {"serving"}


def test_row_8_full_pool_takes_no_copies_and_catches_up_later(cluster: Cluster) -> None:
    """A replica without room keeps what it has; new sites and copies go elsewhere; with room it catches up."""
    spec = cluster.create()
    cluster.wait(15)
    size = fill(cluster, "b")
    cluster.wait(15)
    cluster.members["a"].write(spec.id, "guestbook", b"while full")
    cluster.wait(20)
    assert cluster.members["c"].files(spec.id)["guestbook"] == b"while full"
    assert "guestbook" not in cluster.members["b"].files(spec.id)
    with pytest.raises(OutOfSpace):
        cluster.run(cluster.members["b"].core.hosting.create(CreateSite(name="more", image="static"), Steps()))
    assert cluster.owners(spec)["b"] == "a"
    cluster.members["b"].pool.size_bytes = size
    cluster.wait(60)
    assert cluster.members["b"].files(spec.id)["guestbook"] == b"while full"


def test_row_8_full_pool_can_still_be_taken_over_to(found: Callable[[Mapping[str, str]], Cluster]) -> None:
    """The only copy left is on a full pool: it serves, because claims and snapshots have the reserve."""
    cluster = found({"a": "paris", "b": "london"})
    spec = cluster.create()
    cluster.wait(15)
    fill(cluster, "b")
    cluster.wait(15)
    cluster.members["a"].power_cut()
    cluster.wait(60)
    assert cluster.owners(spec) == {"b": "b"}
    assert cluster.members["b"].site(spec).state == "serving"


def test_row_9_quota_full_concerns_that_site_alone_and_deleting_helps(cluster: Cluster) -> None:
    """At its quota a site gets an error, is protected all the same, and has room again as soon as it deletes."""
    full, other = cluster.create("full", quota_bytes=4 * 2**20), cluster.create("other")
    a, b = cluster.members["a"], cluster.members["b"]
    cluster.wait(10)
    a.write(full.id, "big", bytes(3 * 2**20))
    with pytest.raises(QuotaReached):
        a.write(full.id, "more", bytes(2 * 2**20))
    cluster.wait(10)
    assert b.files(full.id)["big"] == bytes(3 * 2**20)
    a.pool.remove(dataset_of(full.id), "big")
    a.write(full.id, "more", bytes(2 * 2**20))
    a.write(other.id, "page", b"x")
    cluster.wait(15)
    assert (b.site(full).trouble, b.site(other).trouble) == ("", "")
    assert b.files(other.id)["page"] == b"x" and set(b.files(full.id)) == {"index.html", "more"}


def test_row_10_a_clock_that_jumps_names_nothing_twice_and_deletes_nothing(tell: Tell) -> None:
    """An hour ahead and back, and a day back: every change has a snapshot of its own, in order, and none is lost."""

    async def story(world: World) -> None:
        a, b = await world.start(A, B)
        await world.site(a, b)
        for number, jump_s in enumerate((0, 3600, -3600, -86400, 86400)):
            world.later_s += jump_s
            a.pool.write(main_of(), "data", b"%d" % number)
            await world.wait(10)
        await world.wait(320)
        history = a.replicator.history(SITE)
        assert a.heads()[-5:] == [b"0", b"1", b"2", b"3", b"4"]
        assert len({one.name for one in history}) == len(history)
        assert [one.counter for one in history] == sorted(one.counter for one in history)
        assert guids(b.replicator.history(SITE)) == guids(history)

    tell(story)


def test_an_owner_that_cannot_read_a_block_says_so_and_others_go_on(tell: Tell) -> None:
    """A snapshot with a damaged block cannot be sent: that is told, and the next one is sent as soon as it can be."""

    async def story(world: World) -> None:
        a, b = await world.start(A, B)
        await world.site(a, b)
        await world.wait(10)

        async def damage() -> None:
            a.pool.damaged.update(guids(await a.pool.history(main_of())))

        a.pool.write(main_of(), "data", b"one")
        a.pool.before("send", damage)
        await world.wait(10)
        assert a.of(SendFailed)
        a.pool.damaged.clear()
        a.pool.write(main_of(), "data", b"two")
        await world.wait(60)
        assert b.heads()[-1] == b"two"
        assert a.of(Replicated) and not a.of(SnapshotFailed)

    tell(story)


def test_an_error_of_one_dataset_is_that_sites_alone(tell: Tell) -> None:
    """EIO at one snapshot: the site is shown as unprotected, is tried again, and no other is touched."""

    async def story(world: World) -> None:
        a, b = await world.start(A, B)
        await world.site(a, b)
        await world.wait(10)
        a.pool.fail_next("snapshot_if_changed", StorageError("no snapshot", "Input/output error"))
        a.pool.write(main_of(), "data", b"one")
        await world.wait(30)
        assert b.heads()[-1] == b"one"

    tell(story)
