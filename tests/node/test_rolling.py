"""Back in time and back again: whole nodes on one clock."""

from __future__ import annotations

import pytest

from hybrid.errors import Conflict, NoSuchSnapshot
from hybrid.hosting.marks import MAX_MARKS
from hybrid.hosting.purge import Purge
from hybrid.model import Mark, SiteSpec, Stash
from hybrid.sitehttp import Http
from tests.node.cluster import Cluster, Steps


def test_rollback_and_undo(cluster: Cluster) -> None:
    """A rollback brings the past back on every node; an undo brings the present back; nothing is lost either way."""
    spec = cluster.create()
    a = cluster.members["a"]
    a.write(spec.id, "guestbook", b"before")
    cluster.wait(10)
    moment = a.core.replicator.history(spec.id)[-1]
    a.write(spec.id, "guestbook", b"after")
    cluster.wait(10)
    cluster.run(a.core.hosting.rollback(spec.id, moment.guid, Steps()))
    cluster.wait(20)
    assert {member.files(spec.id)["guestbook"] for member in cluster.members.values()} == {b"before"}
    assert a.site(spec).state == "serving"
    cluster.run(a.core.hosting.undo(spec.id, Steps()))
    cluster.wait(30)
    assert {member.files(spec.id)["guestbook"] for member in cluster.members.values()} == {b"after"}


def test_an_undo_after_the_owner_changed(cluster: Cluster) -> None:
    """Who rolled back and lost the server right after can still undo it: the others set the same history aside."""
    spec = cluster.create()
    a = cluster.members["a"]
    a.write(spec.id, "guestbook", b"before")
    cluster.wait(10)
    moment = a.core.replicator.history(spec.id)[-1]
    a.write(spec.id, "guestbook", b"after")
    cluster.wait(10)
    cluster.run(a.core.hosting.rollback(spec.id, moment.guid, Steps()))
    cluster.wait(20)
    assert len(a.site(spec).stashes) == 1
    a.power_cut()
    cluster.wait(15)
    new = cluster.members[next(iter(set(cluster.owners(spec).values()))) or ""]
    cluster.run(new.core.hosting.undo(spec.id, Steps()))
    assert new.files(spec.id)["guestbook"] == b"after"


def rolled_back(cluster: Cluster) -> tuple[SiteSpec, Stash]:
    """A site whose guestbook said `before`, then `after`, and says `before` again."""
    spec = cluster.create()
    a = cluster.members["a"]
    a.write(spec.id, "guestbook", b"before")
    cluster.wait(10)
    moment = a.core.replicator.history(spec.id)[-1]
    a.write(spec.id, "guestbook", b"after")
    cluster.wait(10)
    stash = cluster.run(a.core.hosting.rollback(spec.id, moment.guid, Steps()))
    cluster.wait(40)
    return spec, stash


def test_a_stash_is_adopted_and_that_is_undone(cluster: Cluster) -> None:
    """Any branch can become the site, on every node, and what the site was is the branch then."""
    spec, stash = rolled_back(cluster)
    a = cluster.members["a"]
    a.write(spec.id, "guestbook", b"third")
    cluster.run(a.core.hosting.adopt(spec.id, stash.id, Steps()))
    cluster.wait(30)
    assert {member.files(spec.id)["guestbook"] for member in cluster.members.values()} == {b"after"}
    cluster.run(a.core.hosting.undo(spec.id, Steps()))
    cluster.wait(30)
    assert {member.files(spec.id)["guestbook"] for member in cluster.members.values()} == {b"third"}
    with pytest.raises(NoSuchSnapshot, match="not on the node"):
        cluster.run(a.core.hosting.adopt(spec.id, stash.id.replace("s-", "s-x"), Steps()))


def test_a_discarded_stash_is_gone_in_a_week_and_not_before(cluster: Cluster) -> None:
    """All copies leave the lists at once, come back if wanted, and are destroyed when a week is over."""
    spec, stash = rolled_back(cluster)
    b = cluster.members["b"]
    assert [kept.head for kept in b.site(spec).stashes].count(stash.head) >= 1
    b.core.hosting.discard(stash, "somebody")
    cluster.wait(30)
    assert all(
        stash.head not in {kept.head for kept in member.site(spec).stashes} for member in cluster.members.values()
    )
    (discarded,) = cluster.members["c"].core.hosting.discarded(spec.id)
    assert (discarded.stash, discarded.by) == (stash, "somebody")
    holders = [member for member in cluster.members.values() if in_trash(cluster, member.name) > 0]
    cluster.members["c"].core.hosting.undiscard(spec.id, stash.id, "somebody")
    cluster.wait(30)
    assert stash.head in {kept.head for kept in b.site(spec).stashes}
    assert all(in_trash(cluster, member.name) == 0 for member in cluster.members.values())
    b.core.hosting.discard(stash, "somebody")
    cluster.wait(30)
    for days, left in ((6.9, True), (7.1, False)):
        cluster.later_s = days * 86400
        for member in holders:
            cluster.run(purge_of(cluster, member.name).look())
            assert (in_trash(cluster, member.name) > 0) == left
    with pytest.raises(Conflict):
        b.core.hosting.undiscard(spec.id, stash.id, "somebody")
    a = cluster.members["a"]
    assert a.files(spec.id)["guestbook"] == b"before" and a.site(spec).state == "serving"


def test_a_discard_reaches_a_node_that_was_away(cluster: Cluster) -> None:
    """What somebody threw away is put away on a server that only comes back later, and is not offered around by it."""
    spec, stash = rolled_back(cluster)
    cluster.members["c"].power_cut()
    cluster.wait(20)
    cluster.members["a"].core.hosting.discard(stash, "somebody")
    cluster.wait(10)
    cluster.members["c"].start()
    cluster.wait(60)
    assert all(
        stash.head not in {kept.head for kept in member.site(spec).stashes} for member in cluster.members.values()
    )


def nowhere(cluster: Cluster, spec: SiteSpec, stash: Stash) -> bool:
    """Whether no node lists the stash or a copy of it."""
    listed = [kept for member in cluster.members.values() for kept in member.site(spec).stashes]
    return all(kept.head != stash.head for kept in listed)


def in_trash(cluster: Cluster, name: str) -> int:
    """How many datasets are in the trash of a node."""
    return sum(one.name.startswith("trash/") for one in cluster.run(cluster.members[name].pool.datasets()))


def purge_of(cluster: Cluster, name: str) -> Purge:
    """The purge of a node, which looks only once an hour."""
    return cluster.members[name].core._purge


def test_a_marked_snapshot_is_never_forgotten(cluster: Cluster) -> None:
    """What a person keeps stays on every node while all around it is thinned out, until it is let go."""
    spec = cluster.create()
    a, b = cluster.members["a"], cluster.members["b"]
    for number in range(6):
        a.write(spec.id, "guestbook", b"%d" % number)
        cluster.wait(10)
    kept = a.core.replicator.history(spec.id)[2]
    mark = Mark(guid=kept.guid, name="good", note="", at_s=0, by="somebody")
    assert cluster.run(a.core.hosting.mark(spec.id, mark)).marks == (mark,)
    cluster.wait(10)
    assert b.site(spec).spec.marks == (mark,)
    cluster.later_s = 60 * 86400
    a.write(spec.id, "guestbook", b"now")
    cluster.wait(700)
    for member in (a, b):
        guids = {snapshot.guid for snapshot in member.core.replicator.history(spec.id)}
        assert kept.guid in guids and len(guids) <= 4, member.name
    cluster.run(a.core.hosting.unmark(spec.id, kept.guid))
    cluster.wait(700)
    for member in (a, b):
        assert kept.guid not in {snapshot.guid for snapshot in member.core.replicator.history(spec.id)}


def test_marks_have_names_of_their_own_and_are_bounded(cluster: Cluster) -> None:
    """Two snapshots of one name would not be told apart; without a bound a site could keep everything for ever."""
    spec = cluster.create()
    a = cluster.members["a"]
    a.write(spec.id, "guestbook", b"x")
    cluster.wait(10)
    first, second, *_ = a.core.replicator.history(spec.id)
    hosting = a.core.hosting
    cluster.run(hosting.mark(spec.id, Mark(guid=first.guid, name="good", at_s=0, by="me")))
    with pytest.raises(Conflict, match="good"):
        cluster.run(hosting.mark(spec.id, Mark(guid=second.guid, name="good", at_s=0, by="me")))
    with pytest.raises(NoSuchSnapshot):
        cluster.run(hosting.mark(spec.id, Mark(guid=second.guid + 1, at_s=0, by="me")))  # type: ignore[arg-type]  # no guid
    renamed = cluster.run(hosting.mark(spec.id, Mark(guid=first.guid, name="better", note="n", at_s=0, by="me")))
    assert [mark.name for mark in renamed.marks] == ["better"]
    for number in range(MAX_MARKS):
        cluster.run(hosting.snapshot(spec.id))
        newest = a.core.replicator.history(spec.id)[-1]
        if number < MAX_MARKS - 1:
            cluster.run(hosting.mark(spec.id, Mark(guid=newest.guid, at_s=0, by="me")))
    with pytest.raises(Conflict, match=f"keeps {MAX_MARKS}"):
        cluster.run(hosting.mark(spec.id, Mark(guid=newest.guid, at_s=0, by="me")))


@pytest.mark.parametrize("cache", [True, False])
def test_a_file_brought_back_is_not_hidden_by_a_cache(cluster: Cluster, cache: bool) -> None:
    """What front doors keep of the site's answers is thrown away on every node, where anything is kept."""
    spec, hosting = cluster.create(), cluster.members["a"].core.hosting
    cluster.run(hosting.edit(spec.id, {"http": Http(cache=cache)}))
    first = hosting.history(spec.id)[0]
    cluster.run(hosting.restore(spec.id, first.guid, "index.html", "", Steps()))
    cluster.wait(2)
    assert [member.site(spec).spec.http.purges for member in cluster.members.values()] == [int(cache)] * 3
