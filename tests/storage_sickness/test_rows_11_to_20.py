"""
Rows 11 to 20: mounts, many datasets, storms of snapshots, moves, retries, single points of failure, raw streams, hung
pools, names that clash, and pools imported twice. See `test_rows_1_to_10.py`.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hybrid.deeds import CreateSite
from hybrid.errors import HybridError, OutOfSpace, StorageError
from hybrid.history import guids
from hybrid.hosting.holdings import dataset_of
from hybrid.lab.node import _PRIVATE as PRIVATE
from hybrid.model import Claim, Guid, NodeId, SiteId, Snapshot, Snapshotted
from hybrid.ports import Health
from hybrid.storage import begin, features
from hybrid.wire import Offer
from hybrid_replicator.header import BadStream, check
from hybrid_replicator.outbox import FIRST_RETRY_S, LAST_RETRY_S, Outbox
from tests.conftest import ISOLATED
from tests.node.cluster import Cluster, Steps
from tests.replicator.test_replication import SITE, A, B, Tell, World, main_of


def test_row_11_no_stream_mounts_anything(tell: Tell) -> None:
    """A replica is never mounted, whatever its sender had mounted; streams that carry properties are refused."""

    async def story(world: World) -> None:
        a, b = await world.start(A, B)
        await world.site(a, b)
        await a.pool.mount(main_of(), "/etc")
        a.pool.write(main_of(), "data", b"x")
        await world.wait(15)
        assert b.heads()[-1] == b"x"
        replica = await b.pool.dataset(main_of())
        assert (replica.mountpoint, replica.readonly) == (None, True)

    tell(story)
    head = begin.Begin(Guid(7), None, "p/d@s", 0, header_type=begin.COMPOUND)
    with pytest.raises(BadStream, match="properties"):
        check(head, offered(Guid(7)))


def offered(guid: Guid) -> Offer:
    """An offer of a whole dataset that ends with that snapshot."""
    return Offer(dataset=main_of(), claim=Claim(1, A), base=None, to=Snapshot(guid, "s", 0), size_bytes=None, spec=None)


def test_row_12_thousands_of_datasets_are_listed_once(tell: Tell) -> None:
    """The pool is listed at the start, and never again however long a node runs and whatever changes."""

    async def story(world: World) -> None:
        a, b = await world.start(A, B)
        listed: list[str] = []

        async def note() -> None:
            listed.append("datasets")

        for number in range(40):
            site = SiteId(f"s-{number:026d}")
            await world.site(a, b, site=site)
        a.pool.before_each("datasets", note)
        b.pool.before_each("datasets", note)
        for number in range(40):
            a.pool.write(main_of(SiteId(f"s-{number:026d}")), "data", b"%d" % number)
        await world.wait(700)
        assert listed == []
        assert all(len(b.replicator.history(SiteId(f"s-{number:026d}"))) > 0 for number in range(40))

    tell(story)


def test_row_13_nothing_changed_no_snapshot_and_no_storm(tell: Tell) -> None:
    """A hundred sites at rest make no snapshot; when all change at once only a few calls are under way at a time."""

    async def story(world: World) -> None:
        (a,) = await world.start(A)
        sites = [SiteId(f"s-{number:026d}") for number in range(100)]
        for site in sites:
            await world.site(a, site=site)
        await world.wait(30)
        before = len(a.of(Snapshotted))
        await world.wait(120)
        assert len(a.of(Snapshotted)) == before
        under_way, most = 0, 0

        async def slowly() -> None:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            await world.wait(0.05)
            under_way -= 1

        a.pool.before_each("snapshot", slowly)
        a.pool.before_each("snapshot_if_changed", slowly)
        for site in sites:
            a.pool.write(main_of(site), "data", b"all at once")
        await world.wait(40)
        assert len(a.of(Snapshotted)) == before + len(sites)
        assert most <= 8

    tell(story)


def test_row_14_a_move_that_fails_never_costs_the_good_copy(cluster: Cluster) -> None:
    """The target is full, or fails at its last step: the site goes on where it was, with all of its history."""
    spec = cluster.create()
    a, c = cluster.members["a"], cluster.members["c"]
    cluster.wait(15)
    a.write(spec.id, "guestbook", b"moving")
    cluster.wait(10)
    before = guids(a.core.replicator.history(spec.id))
    for call, error in (
        ("receive", OutOfSpace("full")),
        ("set_properties", StorageError("Input/output error")),
        ("mount", StorageError("Input/output error")),
    ):
        a.write(spec.id, "guestbook", call.encode())
        c.pool.fail_next(call, error)
        try:
            cluster.run(a.core.hosting.move(spec.id, c.id, Steps()))
        except HybridError:
            cluster.wait(30)
        (owner,) = set(cluster.owners(spec).values())
        assert cluster.members[owner or ""].files(spec.id)["guestbook"] == call.encode()
        if owner != "a":
            cluster.run(cluster.members[owner or ""].core.hosting.move(spec.id, a.id, Steps()))
            cluster.wait(10)
    assert cluster.owners(spec)["b"] == "a"
    assert set(before) <= set(guids(a.core.replicator.history(spec.id)))


def test_row_15_retries_come_soon_and_the_real_lag_is_shown(cluster: Cluster) -> None:
    """After a failure it is tried again within seconds, never less often than each five minutes; the lag is exact."""
    outbox, now_s, waits = Outbox(lambda: 1.0), 0.0, []
    outbox.want(SITE, B, now_s)
    for _ in range(12):
        begun_s = now_s
        while not outbox.start(now_s):
            now_s += 1.0
        waits.append(now_s - begun_s)
        outbox.failed(SITE, B, now_s)
    assert waits[1] <= FIRST_RETRY_S * 1.25 + 1 and max(waits) <= LAST_RETRY_S * 1.25 + 1
    spec = cluster.create(copies=1)
    a = cluster.members["a"]
    cluster.wait(15)

    async def refuse() -> None:
        raise OutOfSpace("no room")

    for name in "bc":
        cluster.members[name].pool.before_each("receive", refuse)
    a.write(spec.id, "guestbook", b"unsafe")
    cluster.wait(40)
    assert 30 <= (a.site(spec).lag_s or 0) <= 50


@pytest.mark.parametrize("name", ["a", "b", "c"])
def test_row_16_any_node_may_die_and_the_others_go_on(cluster: Cluster, name: str) -> None:
    """There is no server without which sites are not served, moved or made."""
    spec = cluster.create()
    cluster.wait(15)
    cluster.members[name].power_cut()
    cluster.wait(40)
    left = [member for member in cluster.members.values() if member.name != name]
    (owner,) = {member.site(spec).owner for member in left}
    assert owner in {member.id for member in left}
    maker = next(member for member in left if member.id == owner)
    made = cluster.run(maker.core.hosting.create(CreateSite(name="new", image="static"), Steps()))
    cluster.wait(15)
    assert {member.site(made).state for member in left} == {"serving"}


def test_row_17_encrypted_raw_streams_go_only_to_pools_that_say_they_take_them() -> None:
    """Raw streams have made pools panic: a pool without encryption gets none, and the reason says what to do."""
    plain = features.taken_by(frozenset({"lz4_compress", "large_blocks"}))
    refusal = features.refusal(features.RAW, plain)
    assert refusal is not None and "encrypt" in " ".join(refusal)
    assert features.refusal(features.RAW, features.taken_by(frozenset({"encryption"}))) is None
    for bit in features.NEVER:
        with pytest.raises(BadStream):
            check(begin.Begin(Guid(7), None, "p/d@s", 0, features=1 << bit), offered(Guid(7)))


def test_row_18_hung_pool_is_noticed_and_elected_away(cluster: Cluster) -> None:
    """Calls that never return: within 20 s the node says so and another serves; its own API answers meanwhile."""
    spec = cluster.create()
    cluster.wait(15)
    a = cluster.members["a"]
    a.pool.sick = "a command took more than 5 s"  # what the drivers make of a call that does not return
    cluster.wait(20)
    (owner,) = {member.site(spec).owner for member in cluster.members.values()}
    assert owner in (cluster.members["b"].id, cluster.members["c"].id)
    assert not cluster.members["b"].core.outlook.view.nodes[a.id].storage_ok
    assert a.site(spec).state == "serving"


@pytest.mark.parametrize("state", ["faulted", "suspended"])
def test_row_18_a_pool_without_its_disks_is_elected_away(cluster: Cluster, state: str) -> None:
    """Answers from a pool that does no input or output any more are no sign of health."""
    spec = cluster.create()
    cluster.wait(15)
    cluster.members["a"].pool.condition = Health("faulted" if state == "faulted" else "suspended")
    cluster.wait(20)
    (owner,) = {member.site(spec).owner for member in cluster.members.values()}
    assert owner in (cluster.members["b"].id, cluster.members["c"].id)


def test_row_18_a_pool_that_is_read_only_gives_its_sites_up(cluster: Cluster) -> None:
    """A node that comes back with its pool imported read-only cannot own anything: the others serve."""
    spec = cluster.create()
    cluster.wait(15)
    a = cluster.members["a"]
    a.power_cut()
    a.pool.condition = Health(read_only=True)
    cluster.wait(30)
    (owner,) = {cluster.members[name].site(spec).owner for name in "bc"}
    assert owner in (cluster.members["b"].id, cluster.members["c"].id)


def test_row_19_a_snapshot_of_the_same_name_is_kept_beside(tell: Tell) -> None:
    """Somebody took a snapshot under the very name that comes next: told apart by guid, both histories are there."""

    async def story(world: World) -> None:
        a, b = await world.start(A, B)
        await world.site(a, b)
        await world.wait(10)
        head = a.replicator.history(SITE)[-1]
        start, _, number = head.name.rpartition("-")
        clash = await b.pool.snapshot(main_of(), f"{start}-{int(number) + 1:07d}")
        ours = await a.pool.snapshot(main_of(), f"{start}-{int(number) + 1:07d}")
        assert clash.guid != ours.guid
        a.pool.write(main_of(), "data", b"goes on")
        await world.wait(90)
        assert b.heads()[-1] == b"goes on"
        kept = {one.guid for name in await b.pool.datasets() for one in await b.pool.history(name.name)}
        assert clash.guid in kept

    tell(story)


def test_row_20_no_two_daemons_share_what_names_their_pools() -> None:
    """Every daemon of tests and of the lab has its own list of pools, its own socket and its own locks."""
    shared = {path.replace("/run/lock", "/var/lock").replace("/run/zfs", "/var/run/zfs") for path in PRIVATE}
    assert {path.replace("/var/var", "/var") for path in shared} == set(ISOLATED)


def test_a_dataset_that_vanished_is_noticed_and_made_again(tell: Tell) -> None:
    """Somebody destroyed a replica whole, by hand: the next stream finds it out, and it is copied anew."""

    async def story(world: World) -> None:
        a, b = await world.start(A, B)
        await world.site(a, b)
        await world.wait(10)
        b.pool.vanish(main_of())
        a.pool.write(main_of(), "data", b"again")
        await world.wait(60)
        assert b.heads()[-1] == b"again"

    tell(story)


def test_a_degraded_pool_is_an_alarm_on_every_node(cluster: Cluster) -> None:
    """One disk of a mirror fails: nothing stops, and the status of any node says which, and what to do."""
    spec = cluster.create()
    cluster.members["b"].pool.condition = Health("degraded", devices=("/dev/sdb is faulted",))
    cluster.wait(80)
    seen = cluster.members["c"].core.outlook.view.nodes[NodeId(cluster.members["b"].id)]
    assert "/dev/sdb is faulted" in seen.alarms[0] and "zpool replace" in seen.alarms[0]
    assert cluster.owners(spec) == {"a": "a", "b": "a", "c": "a"}


def test_a_slow_pool_keeps_every_promise_but_speed(tell: Tell) -> None:
    """Each call takes a second: changes arrive later, none is lost, and nothing piles up."""

    async def story(world: World) -> None:
        a, b = await world.start(A, B)
        await world.site(a, b)
        await world.wait(10)

        async def slowly() -> None:
            await world.wait(1.0)

        a.pool.before_each("*", slowly)
        b.pool.before_each("*", slowly)
        for number in range(5):
            a.pool.write(main_of(), "data", b"%d" % number)
            await world.wait(30)
            assert b.heads()[-1] == b"%d" % number
        a.pool.before_each("*", None)
        b.pool.before_each("*", None)

    tell(story)


def test_the_dataset_of_a_site_is_found_by_its_id_alone() -> None:
    """Names that people give never reach a command line."""
    assert dataset_of(SITE) == f"sites/{SITE}"


def test_every_row_has_its_test() -> None:
    """The table has twenty rows, and none may lose the test that is named after it."""
    defined = re.findall(
        r"def test_row_(\d+)_", "".join(path.read_text() for path in Path(__file__).parent.glob("*.py"))
    )
    assert {int(number) for number in defined} == set(range(1, 21))
