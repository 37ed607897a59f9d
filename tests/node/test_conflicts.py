"""Two owners meet after a partition (rules R5, R6, R7): whole nodes on one clock."""

from __future__ import annotations

from hybrid.deeds import CreateSite
from hybrid.model import SiteSpec
from tests.node.cluster import Cluster, Steps


def test_both_sides_of_a_partition_serve_and_nothing_is_lost(cluster: Cluster) -> None:
    """Each data centre goes on alone; after the cut one main line remains and the other is a stash."""
    spec = cluster.create()
    cluster.wait(15)
    a, b, c = (cluster.members[name] for name in "abc")
    cluster.network.partition({a.id, b.id}, {c.id})
    cluster.wait(15)
    assert (a.site(spec).state, c.site(spec).state) == ("serving", "serving")
    assert (a.site(spec).owner, c.site(spec).owner) == (a.id, c.id)
    a.write(spec.id, "guestbook", b"paris")
    c.write(spec.id, "guestbook", b"london")
    cluster.wait(10)
    cluster.network.heal_all()
    cluster.wait(45)
    (winner,) = {name for name in cluster.owners(spec).values() if name}
    main = cluster.members[winner].files(spec.id)["guestbook"]
    stashes = cluster.members[winner].site(spec).stashes
    kept = {
        member.pool.read(f"stash/{stash.id}", "guestbook")
        for stash in stashes
        for member in cluster.members.values()
        if any(held.id == stash.id for held in member.core.replicator.stashes(spec.id))
    }
    assert {main} | kept == {b"paris", b"london"}
    assert {member.files(spec.id)["guestbook"] for member in cluster.members.values()} == {main}


def test_a_close_that_failed_is_tried_again(cluster: Cluster) -> None:
    """A loser that could not stop its container keeps trying; it never serves meanwhile, and nothing is lost."""
    spec = cluster.create()
    cluster.wait(15)
    a, b, c = (cluster.members[name] for name in "abc")
    cluster.network.partition({a.id}, {b.id, c.id})
    cluster.wait(15)
    a.write(spec.id, "guestbook", b"alone")
    for member in (b, c):
        if member.site(spec).upstream:
            for number in range(8):
                member.write(spec.id, "guestbook", b"many %d" % number)
                cluster.wait(6)
    a.containers.stuck.add(spec.id)
    cluster.network.heal_all()
    cluster.wait(30)
    assert a.site(spec).upstream is None
    a.containers.stuck.clear()
    cluster.wait(60)
    assert len({owner for owner in cluster.owners(spec).values()}) == 1
    assert {member.files(spec.id)["guestbook"] for member in (a, b, c)} == {b"many 7"}
    assert b"alone" in {
        a.pool.files(f"stash/{stash.id}").get("guestbook") for stash in a.core.replicator.stashes(spec.id)
    }


def parted_and_healed(cluster: Cluster, policy: str) -> SiteSpec:
    """A site with `policy`, written on a and on c while they were parted; they see each other again since 5 s."""
    spec = cluster.create()
    a, b, c = (cluster.members[name] for name in "abc")
    cluster.run(a.core.hosting.edit(spec.id, {"policy": policy}))
    cluster.wait(15)
    cluster.network.partition({a.id, b.id}, {c.id})
    cluster.wait(15)
    a.write(spec.id, "guestbook", b"paris")
    c.write(spec.id, "guestbook", b"london")
    cluster.wait(10)
    cluster.network.heal_all()
    cluster.wait(5)
    return spec


def test_ask_stops_both_until_a_person_picks(cluster: Cluster) -> None:
    """With policy `ask` neither side writes after the heal, also not after a restart; the picked one then goes on."""
    spec = parted_and_healed(cluster, "ask")
    a, c = cluster.members["a"], cluster.members["c"]
    assert [member.containers.specs() for member in (a, c)] == [{}, {}]
    assert {member.site(spec).state for member in cluster.members.values()} == {"unavailable"}
    c.power_cut()
    cluster.wait(2)
    c.start()
    cluster.wait(60)
    assert [member.containers.specs() for member in (a, c)] == [{}, {}]
    for _ in range(2):
        cluster.members["b"].core.hosting.pick(spec.id, c.id, "anna")
    cluster.wait(40)
    assert set(cluster.owners(spec).values()) == {"c"}
    assert {member.files(spec.id)["guestbook"] for member in cluster.members.values()} == {b"london"}
    kept = {a.pool.files(f"stash/{stash.id}").get("guestbook") for stash in a.core.replicator.stashes(spec.id)}
    assert kept == {b"paris"}


def test_ask_holds_also_when_lost_storage_comes_back(cluster: Cluster) -> None:
    """An owner whose storage was away finds another owner, and waits for a person: it does not open the site again."""
    spec = cluster.create()
    a = cluster.members["a"]
    cluster.run(a.core.hosting.edit(spec.id, {"policy": "ask"}))
    cluster.wait(15)
    a.pool.sick = "it died"
    cluster.wait(30.3)
    a.pool.sick = ""
    for _ in range(60):
        cluster.wait(1)
        assert a.containers.specs() == {}
    assert {member.site(spec).state for member in cluster.members.values()} == {"unavailable"}
    cluster.members["b"].core.hosting.pick(spec.id, a.id, "anna")
    cluster.wait(40)
    assert set(cluster.owners(spec).values()) == {"a"}


def test_who_was_picked_and_cannot_open_is_shut_again(cluster: Cluster) -> None:
    """The picked history does not come up: nothing of it stays open meanwhile, and another one can be picked."""
    spec = parted_and_healed(cluster, "ask")
    a, c = cluster.members["a"], cluster.members["c"]
    c.refuses_connections = True
    cluster.members["b"].core.hosting.pick(spec.id, c.id, "anna")
    at_rest = 0
    for _ in range(100):
        cluster.wait(0.5)
        if not c.core._tasks.busy(spec.id):
            at_rest += 1
            assert cluster.run(c.pool.dataset(f"sites/{spec.id}")).mountpoint is None
            assert c.containers.specs() == {}
    assert at_rest
    cluster.members["b"].core.hosting.pick(spec.id, a.id, "anna")
    cluster.wait(60)
    assert set(cluster.owners(spec).values()) == {"a"}
    assert {member.files(spec.id)["guestbook"] for member in cluster.members.values()} == {b"paris"}


def test_the_preferred_data_centre_wins(cluster: Cluster) -> None:
    """With `prefer:london` what was written there is the main line, however much was written in paris."""
    spec = parted_and_healed(cluster, "prefer:london")
    cluster.wait(40)
    assert set(cluster.owners(spec).values()) == {"c"}
    assert {member.files(spec.id)["guestbook"] for member in cluster.members.values()} == {b"london"}


def test_mail_of_both_sides_is_in_the_site_again(cluster: Cluster) -> None:
    """What came into a mailbox on the losing side of a partition is brought into it, and nobody has to ask for it."""
    a, b, c = (cluster.members[name] for name in "abc")
    manifest = '{"name": "post", "kind": "mail"}'
    cluster.run(a.pool.create("images/post-1", {"image": "post@1", "manifest": manifest, "complete": "yes"}))
    cluster.run(a.pool.snapshot("images/post-1", "image"))
    spec = cluster.run(a.core.hosting.create(CreateSite(name="post", image="post"), Steps()))
    cluster.wait(15)
    cluster.network.partition({a.id, b.id}, {c.id})
    cluster.wait(15)
    a.write(spec.id, "new/1", b"paris")
    c.write(spec.id, "new/2", b"london")
    for member in cluster.members.values():
        member.content.fails_to_unite = True
    cluster.wait(10)
    cluster.network.heal_all()
    cluster.wait(60)
    (name,) = {owner for owner in cluster.owners(spec).values() if owner}
    owner = cluster.members[name]
    (wanted,) = {one.kind for one in owner.core.hosting.decisions()}
    assert wanted == "stash", "it could not be done: a person is told"
    owner.content.fails_to_unite = False
    cluster.wait(310)
    heads = {stash.head for stash in owner.core.replicator.stashes(spec.id)}
    assert set(owner.content.united) == {f"{head:016x}" for head in heads}
    assert [member.core.hosting.decisions() for member in cluster.members.values()] == [[], [], []]
    done = len(owner.content.united)
    cluster.wait(400)
    assert len(owner.content.united) == done, "once is enough"
