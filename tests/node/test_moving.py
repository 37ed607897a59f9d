"""Planned moves (rule R10), on whole nodes: whatever fails, one node serves, never two, never none for long."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from twisted.internet.defer import Deferred

from hybrid.errors import Busy, Conflict, HybridError, OutOfSpace, PeerError, StorageError
from hybrid.model import SiteSpec
from hybrid.wire import TakeOver
from tests.node.cluster import Cluster, Steps

Sabotage = Callable[[Cluster, SiteSpec], None]


def test_a_planned_move(cluster: Cluster) -> None:
    """A moved site serves on the other node with all it had, under a new claim, and the old owner is a replica."""
    spec = cluster.create()
    a, c = cluster.members["a"], cluster.members["c"]
    cluster.wait(5)
    a.write(spec.id, "guestbook", b"moving")
    cluster.run(a.core.hosting.move(spec.id, c.id, Steps()))
    cluster.wait(2)
    assert cluster.owners(spec) == {"a": "c", "b": "c", "c": "c"}
    assert c.files(spec.id)["guestbook"] == b"moving"
    assert c.site(spec).state == "serving"
    assert a.site(spec).stashes == ()


def run_on(cluster: Cluster, spec: SiteSpec, seconds: float) -> list[str]:
    """Let time pass in which the site never runs twice. Returns where it runs then."""
    for _ in range(round(seconds / 0.05)):
        cluster.wait(0.05)
        running = [name for name, member in cluster.members.items() if spec.id in member.containers.reachable()]
        assert len(running) < 2, f"it runs on {running}"
    return running


def moved_under(cluster: Cluster, sabotage: Sabotage) -> tuple[SiteSpec, list[object]]:
    """A site whose move from a to c goes wrong; and what the move ended with, once it does."""
    spec = cluster.create()
    a, c = cluster.members["a"], cluster.members["c"]
    cluster.wait(15)
    a.write(spec.id, "guestbook", b"moving")
    sabotage(cluster, spec)
    ended: list[object] = []
    Deferred.fromCoroutine(a.core.hosting.move(spec.id, c.id, Steps())).addBoth(ended.append)
    return spec, ended


def no_room_there(cluster: Cluster, spec: SiteSpec) -> None:
    """C cannot take the history."""
    cluster.members["c"].pool.fail_next("receive", OutOfSpace("full"))


def busy_here(cluster: Cluster, spec: SiteSpec) -> None:
    """Something on a keeps the file system busy for longer than anybody waits."""
    for _ in range(200):
        cluster.members["a"].pool.fail_next("unmount", Busy("in use"))


def no_last_snapshot(cluster: Cluster, spec: SiteSpec) -> None:
    """The snapshot after the stop does not come about."""
    a = cluster.members["a"]

    async def then_fail() -> None:
        for _ in range(2):  # also with the reserve
            a.pool.fail_next("snapshot_if_changed", OutOfSpace("full"))

    a.pool.before("unmount", then_fail)


def no_last_changes(cluster: Cluster, spec: SiteSpec) -> None:
    """The last changes do not arrive."""
    a, c = cluster.members["a"], cluster.members["c"]

    async def write_and_fail() -> None:
        a.write(spec.id, "late", b"just before the stop")
        c.pool.fail_next("receive", OutOfSpace("full"))

    a.pool.before("unmount", write_and_fail)


def does_not_start_there(cluster: Cluster, spec: SiteSpec) -> None:
    """C claims, and then the container does not start there."""
    cluster.members["c"].containers.broken[spec.id] = "no memory"


def disk_fails_there(cluster: Cluster, spec: SiteSpec) -> None:
    """C cannot even write its claim down."""
    c = cluster.members["c"]

    async def then_fail() -> None:
        c.pool.fail_next("set_properties", StorageError("broken"))

    cluster.members["a"].pool.before("unmount", then_fail)


STAYS = {
    "no room there": no_room_there,
    "busy here": busy_here,
    "no last snapshot": no_last_snapshot,
    "no last changes": no_last_changes,
    "disk fails there": disk_fails_there,
    "does not start there": does_not_start_there,
}


@pytest.mark.parametrize("sabotage", STAYS.values(), ids=STAYS)
def test_a_failed_move_stays_where_it_was(cluster: Cluster, sabotage: Sabotage) -> None:
    """When any step before the successor serves fails, the old owner serves again at once, with all it had."""
    spec, ended = moved_under(cluster, sabotage)
    while not ended:
        run_on(cluster, spec, 0.05)
    assert run_on(cluster, spec, 3) == ["a"]
    assert getattr(ended[0], "check", lambda _: None)(HybridError)
    assert cluster.owners(spec) == {"a": "a", "b": "a", "c": "a"}
    assert cluster.members["a"].site(spec).state == "serving"
    run_on(cluster, spec, 40)
    assert {member.files(spec.id)["guestbook"] for member in cluster.members.values()} == {b"moving"}


def test_a_container_that_does_not_stop_is_not_run_twice(cluster: Cluster) -> None:
    """A site that cannot be stopped is cut off there, a person is told, and another server takes it over."""
    spec, ended = moved_under(cluster, lambda cluster, spec: cluster.members["a"].containers.stuck.add(spec.id))
    run_on(cluster, spec, 30)
    assert len(ended) == 1
    (owner,) = set(cluster.owners(spec).values())
    assert owner in ("b", "c")
    assert [wanted.kind for wanted in cluster.members["b"].core.hosting.decisions()] == ["fence"]
    cluster.members["a"].containers.stuck.clear()
    assert run_on(cluster, spec, 60) == [owner]
    assert [wanted.kind for wanted in cluster.members["b"].core.hosting.decisions()] != ["fence"]


def answer_lost(cluster: Cluster, spec: SiteSpec) -> None:
    """C has claimed when its link to a is cut; both still reach b."""
    a, c = cluster.members["a"], cluster.members["c"]

    async def cut() -> None:
        cluster.network.cut(a.id, c.id)

    c.pool.before("mount", cut)


def old_owner_dies(cluster: Cluster, spec: SiteSpec) -> None:
    """A loses power while c mounts."""

    async def die() -> None:
        cluster.clock.callLater(0, cluster.members["a"].power_cut)

    cluster.members["c"].pool.before("mount", die)


def claim_not_given_up(cluster: Cluster, spec: SiteSpec) -> None:
    """A cannot write down that it gave its claim up."""

    async def then_fail() -> None:
        cluster.members["a"].pool.fail_next("set_properties", StorageError("broken"))

    cluster.members["c"].pool.before("mount", then_fail)


GOES = {"answer lost": answer_lost, "old owner dies": old_owner_dies, "claim not given up": claim_not_given_up}


@pytest.mark.parametrize("sabotage", GOES.values(), ids=GOES)
def test_a_successor_that_claimed_goes_on(cluster: Cluster, sabotage: Sabotage) -> None:
    """Once the successor has claimed, it serves, whatever becomes of the old owner."""
    spec, _ = moved_under(cluster, sabotage)
    assert run_on(cluster, spec, 12) == ["c"]
    assert set(cluster.owners(spec).values()) == {"c"}
    assert cluster.members["c"].site(spec).state == "serving"
    assert run_on(cluster, spec, 30) == ["c"]
    assert cluster.members["c"].files(spec.id)["guestbook"] == b"moving"


def successor_dies(cluster: Cluster, spec: SiteSpec) -> None:
    """C loses power just after it claimed."""
    c = cluster.members["c"]

    async def die() -> None:
        cluster.clock.callLater(0, c.power_cut)
        await Deferred()

    c.pool.before("mount", die)


def owner_dies_before(cluster: Cluster, spec: SiteSpec) -> None:
    """A loses power after its container was stopped, before anybody else claimed."""
    a = cluster.members["a"]

    async def die() -> None:
        cluster.clock.callLater(0, a.power_cut)
        await Deferred()

    a.pool.before("unmount", die)


DIES = {"successor dies": successor_dies, "owner dies before": owner_dies_before}


@pytest.mark.parametrize("sabotage", DIES.values(), ids=DIES)
def test_a_death_during_a_move_is_a_death_like_any_other(cluster: Cluster, sabotage: Sabotage) -> None:
    """A server that dies in the middle of a move costs the time of a failover, not the site."""
    spec, _ = moved_under(cluster, sabotage)
    running = run_on(cluster, spec, 20)
    assert len(running) == 1
    assert set(cluster.owners(spec).values()) == set(running)
    assert cluster.members[running[0]].files(spec.id).get("guestbook") in (b"moving", None)


def test_a_request_that_comes_late_makes_no_second_owner(cluster: Cluster) -> None:
    """A successor that slept through the move does not take over what its owner serves again."""
    spec = cluster.create()
    a, c = cluster.members["a"], cluster.members["c"]
    cluster.wait(15)
    claim, history = a.site(spec).claim, c.core.replicator.history(spec.id)
    assert claim is not None
    with pytest.raises((Conflict, PeerError), match="does not hand"):
        cluster.run(a.links.request(c.id, TakeOver(spec.id, claim, history[-1].guid)))
    assert run_on(cluster, spec, 5) == ["a"]
    with pytest.raises(PeerError, match="comes from the owner"):
        cluster.run(cluster.members["b"].links.request(c.id, TakeOver(spec.id, claim, history[-1].guid)))
