"""Staging copies of sites: whole nodes on one clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
from twisted.internet.defer import Deferred

from hybrid.deeds import CloneSite
from hybrid.errors import Conflict
from hybrid.hosting.holdings import dataset_of
from hybrid.hosting.purge import Purge
from hybrid.model import SiteSpec
from tests.node.cluster import Cluster, Member, Steps
from tests.node.lives import Cut


def origin(member: Member, spec: SiteSpec) -> str | None:
    """The site that this node's copy hangs on."""
    found = member.cluster.run(member.pool.dataset(dataset_of(spec.id))).origin
    while found is not None and found[0].startswith("images/from-"):
        found = member.cluster.run(member.pool.dataset(found[0])).origin
    return found[0] if found else None


def shop(cluster: Cluster) -> SiteSpec:
    """A site with two moments, replicated."""
    spec = cluster.create()
    a = cluster.members["a"]
    a.write(spec.id, "guestbook", b"before")
    cluster.wait(10)
    a.write(spec.id, "guestbook", b"after")
    cluster.wait(10)
    return spec


def clone(cluster: Cluster, spec: SiteSpec, **more: object) -> SiteSpec:
    """A clone, called staging if not said, made on a."""
    request = CloneSite(**{"name": "staging", **more})  # type: ignore[arg-type]  # as the caller gives them
    made = cluster.run(cluster.members["a"].core.hosting.clone(spec.id, request, Steps()))
    cluster.wait(15)
    return made


def leftovers(member: Member) -> list[str]:
    """What lies under `temporary/`, and copies that were set aside."""
    names = [dataset.name for dataset in member.cluster.run(member.pool.datasets())]
    return [name for name in names if name.startswith("temporary/") or "apart-" in name]


def empty_the_trash(cluster: Cluster) -> None:
    """As after more than a week."""
    for member in cluster.members.values():
        purge = Purge(member.pool, member.core.deletions.entry, lambda: cluster.wall_s() + 8 * 86400)
        cluster.run(purge.look())


def test_a_staging_copy_is_a_site_of_its_own(cluster: Cluster) -> None:
    """It begins as the shop is now, with name, domain and secrets of its own; the shop sees nothing of it."""
    spec = shop(cluster)
    staging = clone(cluster, spec, environment={"DB_PASSWORD": "another"})
    a = cluster.members["a"]
    assert (staging.domains, a.site(staging).state) == (("staging.hybrid.test",), "serving")
    assert a.files(staging.id)["guestbook"] == b"after"
    a.write(staging.id, "guestbook", b"tried out")
    cluster.wait(10)
    assert a.files(spec.id)["guestbook"] == b"after"
    container = a.containers.specs()[staging.id]
    assert (container.environment["DB_PASSWORD"], container.environment["HYBRID_CLONE_OF"]) == ("another", "shop")
    live = a.containers.specs()[spec.id]
    assert (container.address != live.address, container.id_base) == (True, live.id_base)


def test_copies_of_a_clone_are_thin_too(cluster: Cluster) -> None:
    """Nodes that hold the shop take its staging copy as a clone of what they have, and nothing is sent twice."""
    spec = shop(cluster)
    staging = clone(cluster, spec)
    for member in cluster.members.values():
        assert origin(member, staging) == dataset_of(spec.id), member.name
        assert member.files(staging.id)["guestbook"] == b"after"


def test_a_clone_of_a_past_moment(cluster: Cluster) -> None:
    """It begins as the shop was; where a node does not have that moment, it gets everything."""
    spec = shop(cluster)
    moment = next(
        one
        for one in cluster.members["a"].core.replicator.history(spec.id)
        if cluster.members["a"].pool.files(dataset_of(spec.id), one.guid).get("guestbook") == b"before"
    )
    staging = clone(cluster, spec, at=moment.guid)
    assert {member.files(staging.id)["guestbook"] for member in cluster.members.values()} == {b"before"}


def test_the_shop_goes_its_own_way(cluster: Cluster) -> None:
    """It may be rolled back beyond the moment of the clone, undone, and deleted: the staging copy stays as it is."""
    spec = shop(cluster)
    staging = clone(cluster, spec)
    a = cluster.members["a"]
    first = a.core.replicator.history(spec.id)[0]
    cluster.run(a.core.hosting.rollback(spec.id, first.guid, Steps()))
    cluster.wait(20)
    a.write(staging.id, "guestbook", b"goes on")
    cluster.wait(10)
    assert {member.files(staging.id)["guestbook"] for member in cluster.members.values()} == {b"goes on"}
    cluster.run(a.core.hosting.undo(spec.id, Steps()))
    cluster.wait(20)
    assert a.files(spec.id)["guestbook"] == b"after"
    cluster.run(a.core.hosting.delete(spec.id, Steps()))
    cluster.wait(15)
    empty_the_trash(cluster)
    a.write(staging.id, "guestbook", b"still")
    cluster.wait(10)
    assert {member.files(staging.id)["guestbook"] for member in cluster.members.values()} == {b"still"}


def test_a_rolled_back_clone_takes_nothing_from_the_shop(cluster: Cluster) -> None:
    """Also when the moment they share lies in what the shop set aside: its history stays its own."""
    spec = shop(cluster)
    staging = clone(cluster, spec)
    a = cluster.members["a"]
    cluster.run(a.core.hosting.rollback(spec.id, a.core.replicator.history(spec.id)[0].guid, Steps()))
    cluster.wait(20)
    stash = a.core.replicator.stashes(spec.id)[-1]
    kept = cluster.run(a.pool.history(f"stash/{stash.id}"))
    a.write(staging.id, "guestbook", b"one")
    cluster.wait(10)
    moment = a.core.replicator.history(staging.id)[-1]
    a.write(staging.id, "guestbook", b"two")
    cluster.wait(10)
    cluster.run(a.core.hosting.rollback(staging.id, moment.guid, Steps()))
    cluster.wait(10)
    assert a.files(staging.id)["guestbook"] == b"one"
    assert cluster.run(a.pool.history(f"stash/{stash.id}")) == kept
    cluster.run(a.core.hosting.undo(spec.id, Steps()))
    assert a.files(spec.id)["guestbook"] == b"after"


def test_detached_it_shares_nothing_and_nobody_noticed(cluster: Cluster) -> None:
    """Same snapshots, same claim, on every node a dataset of its own; then the shop can go for good."""
    spec = shop(cluster)
    staging = clone(cluster, spec)
    a = cluster.members["a"]
    before, claim = a.core.replicator.history(staging.id), a.site(staging).claim
    cluster.run(a.core.hosting.detach(staging.id, Steps()))
    cluster.wait(60)
    assert a.site(staging).spec.clone_of is None
    for member in cluster.members.values():
        assert (member.name, origin(member, staging), leftovers(member)) == (member.name, None, [])
        assert [one.name for one in cluster.run(member.pool.datasets()) if "from-" in one.name] == []
    history = a.core.replicator.history(staging.id)
    assert (history[: len(before)], a.site(staging).claim, a.site(staging).state) == (before, claim, "serving")
    a.write(staging.id, "guestbook", b"alone")
    cluster.wait(10)
    assert {member.files(staging.id)["guestbook"] for member in cluster.members.values()} == {b"alone"}
    cluster.run(a.core.hosting.delete(spec.id, Steps()))
    cluster.wait(15)
    empty_the_trash(cluster)
    for member in cluster.members.values():
        assert [d.name for d in cluster.run(member.pool.datasets()) if spec.id in d.name] == []
    assert a.files(staging.id)["guestbook"] == b"alone"


def test_what_cannot_be_detached(cluster: Cluster) -> None:
    """A site that is no clone, and a clone on which history hangs that could not follow: the reason is told."""
    spec = shop(cluster)
    a = cluster.members["a"]
    with pytest.raises(Conflict, match="no clone"):
        cluster.run(a.core.hosting.detach(spec.id, Steps()))
    staging = clone(cluster, spec)
    moment = a.core.replicator.history(staging.id)[0]
    a.write(staging.id, "guestbook", b"x")
    cluster.wait(10)
    cluster.run(a.core.hosting.rollback(staging.id, moment.guid, Steps()))
    cluster.wait(10)
    with pytest.raises(Conflict, match="set aside"):
        cluster.run(a.core.hosting.detach(staging.id, Steps()))
    assert (a.site(staging).state, origin(a, staging)) == ("serving", dataset_of(spec.id))


def test_a_power_cut_at_any_step_of_detaching(found: Callable[[Mapping[str, str]], Cluster]) -> None:
    """Before or after whichever step: the site is there with all its history, and is detached in the end."""
    cluster = found({"a": "paris"})
    spec, a = shop(cluster), cluster.members["a"]
    first, a.life.counting = clone(cluster, spec), True
    cluster.run(a.core.hosting.detach(first.id, Steps()))
    steps, a.life.counting = len(a.life.calls), False
    assert steps > 10
    for number, staging in enumerate([clone(cluster, spec, name=f"staging-{n}") for n in range(steps)], start=1):
        history = a.core.replicator.history(staging.id)
        a.life.calls.clear()
        a.life.counting, a.life.cut = True, Cut(number, after=number % 2 == 0)
        Deferred.fromCoroutine(a.core.hosting.detach(staging.id, Steps())).addErrback(lambda failure: None)
        cluster.wait(5)
        assert a.life.over
        a.start()
        cluster.wait(45)
        assert a.core.replicator.history(staging.id)[: len(history)] == history, number
        assert a.site(staging).state == "serving", number
        if a.site(staging).spec.clone_of is not None:
            cluster.run(a.core.hosting.detach(staging.id, Steps()))
        cluster.wait(35)
        assert (number, origin(a, staging), leftovers(a)) == (number, None, [])
