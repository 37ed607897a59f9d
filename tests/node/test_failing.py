"""Servers, disks, processes and containers fail (rules R0, R1, R2): whole nodes on one clock."""

from __future__ import annotations

from msgspec import Struct
from twisted.internet.task import deferLater

from hybrid.hosting.holdings import dataset_of
from hybrid.model import Claim, NodeId, Received
from hybrid.storage.memory import MemoryPool
from hybrid.wire import OwnerSeen, SeesOwner
from tests.node.cluster import Cluster


def test_the_owner_dies_and_another_serves(cluster: Cluster) -> None:
    """Fifteen seconds after a power cut another node serves what was replicated, and all agree who."""
    spec = cluster.create()
    cluster.members["a"].write(spec.id, "guestbook", b"one")
    cluster.wait(15)
    cluster.members["a"].power_cut()
    cluster.wait(15)
    owners = set(cluster.owners(spec).values())
    assert len(owners) == 1 and owners < {"b", "c"}
    new = cluster.members[owners.pop() or ""]
    assert new.site(spec).state == "serving"
    assert new.files(spec.id)["guestbook"] == b"one"


def test_the_next_owner_writes_records_of_the_same_size(cluster: Cluster) -> None:
    """A database's pages lie on disk one by one wherever it runs, though no stream tells how."""
    a = cluster.members["a"]
    cluster.run(a.pool.set_properties("images/static-1", {"manifest": '{"name": "static", "record_bytes": 16384}'}))
    cluster.run(a.core.shelf.load())
    spec = cluster.create()
    assert a.pool.record_bytes(dataset_of(spec.id)) == 16384
    cluster.wait(15)
    a.power_cut()
    cluster.wait(15)
    new = cluster.members[next(iter(set(cluster.owners(spec).values()))) or ""]
    assert new.name != "a"
    assert new.pool.record_bytes(dataset_of(spec.id)) == 16384


def test_what_the_dead_owner_had_not_sent_is_kept_in_a_stash(cluster: Cluster) -> None:
    """When it returns, its last writes are set aside, listed, and everybody has one main line."""
    spec = cluster.create()
    cluster.members["a"].write(spec.id, "guestbook", b"one")
    cluster.wait(15)
    cluster.members["a"].write(spec.id, "guestbook", b"one two")
    cluster.members["a"].power_cut()
    cluster.wait(15)
    new = cluster.members[next(iter(set(cluster.owners(spec).values()))) or ""]
    new.write(spec.id, "guestbook", b"one three")
    cluster.members["a"].start()
    cluster.wait(40)
    (stash,) = new.site(spec).stashes
    assert cluster.members["a"].pool.read(f"stash/{stash.id}", "guestbook") == b"one two"
    assert {member.files(spec.id)["guestbook"] for member in cluster.members.values()} == {b"one three"}
    assert set(cluster.owners(spec).values()) == {new.name}


def test_the_node_process_dies_alone_and_adopts_its_container(cluster: Cluster) -> None:
    """Killing the control process interrupts nothing: the container goes on, and is taken back under the same claim."""
    spec = cluster.create()
    cluster.wait(15)
    a = cluster.members["a"]
    claim = a.site(spec).claim
    a.kill_process()
    cluster.wait(3)
    a.start()
    cluster.wait(5)
    assert cluster.owners(spec) == {"a": "a", "b": "a", "c": "a"}
    assert a.site(spec).claim == claim
    assert a.site(spec).state == "serving"


def test_the_storage_dies_and_comes_back(cluster: Cluster) -> None:
    """While the pool is away the site is not served; when it is back, it is, under the same claim."""
    spec = cluster.create()
    cluster.wait(5)
    a = cluster.members["a"]
    claim = a.site(spec).claim
    a.pool.sick = "it died"
    cluster.wait(4)
    assert a.site(spec).state == "changing"
    a.pool.sick = ""
    cluster.wait(4)
    assert (a.site(spec).state, a.site(spec).claim) == ("serving", claim)


def test_a_full_pool_keeps_the_site_up_and_says_so(cluster: Cluster) -> None:
    """No space for a snapshot: the site goes on serving, its trouble is shown; with space again all is well again."""
    spec = cluster.create()
    a = cluster.members["a"]
    cluster.wait(5)
    a.write(spec.id, "guestbook", b"one")
    roomy, a.pool.size_bytes = a.pool.size_bytes, 0
    cluster.wait(15)
    assert a.site(spec).state == "serving"
    assert "the pool is full" in cluster.members["b"].site(spec).trouble
    assert (cluster.members["b"].site(spec).lag_s or 0) > 5
    a.pool.size_bytes = roomy
    cluster.wait(45)
    assert cluster.members["b"].site(spec).trouble == ""
    assert cluster.members["b"].files(spec.id)["guestbook"] == b"one"


def test_a_container_that_dies_is_started_again(cluster: Cluster) -> None:
    """A crash of the container costs seconds, not a failover."""
    spec = cluster.create()
    a = cluster.members["a"]
    cluster.wait(5)
    claim = a.site(spec).claim
    a.containers.crash(spec.id)
    cluster.wait(8)
    assert (a.site(spec).state, a.site(spec).claim) == ("serving", claim)
    assert spec.id in a.containers.specs()


def test_a_site_that_cannot_start_moves_to_a_node_where_it_can(cluster: Cluster) -> None:
    """A failed start is that node's trouble: it is published, and the next candidate takes over."""
    spec = cluster.create()
    cluster.wait(15)
    a, b, c = (cluster.members[name] for name in "abc")
    b.containers.broken[spec.id] = "no memory"
    a.power_cut()
    cluster.wait(40)
    assert c.site(spec).state == "serving"
    assert c.site(spec).owner == c.id


def test_a_start_that_failed_is_tried_again_where_nobody_else_can(cluster: Cluster) -> None:
    """On the only server left, a site whose container would not start comes up by itself once it can."""
    spec = cluster.create()
    cluster.wait(5)
    a = cluster.members["a"]
    for name in "bc":
        cluster.members[name].power_cut()
    cluster.wait(10)
    a.containers.broken[spec.id] = "no memory"
    a.containers.crash(spec.id)
    cluster.wait(10)
    assert (a.site(spec).state, "no memory" in a.site(spec).trouble) == ("unavailable", True)
    a.containers.broken.clear()
    cluster.wait(45)
    assert (a.site(spec).state, a.site(spec).trouble) == ("serving", "")


def test_what_a_container_wrote_before_its_start_was_given_up_is_kept(cluster: Cluster) -> None:
    """A container that ran but never answered may have written: that is in a stash, and nothing of it runs on."""
    spec = cluster.create()
    cluster.wait(15)
    a, b, c = (cluster.members[name] for name in "abc")
    for member in (b, c):
        member.refuses_connections = True
    a.power_cut()
    cluster.wait(14)
    (tried,) = (member for member in (b, c) if spec.id in member.containers.specs())
    other = c if tried is b else b
    tried.write(spec.id, "guestbook", b"half started")
    other.refuses_connections = False
    cluster.wait(30)
    assert other.site(spec).state == "serving"
    assert tried.containers.specs() == {}
    kept = [tried.pool.files(f"stash/{stash.id}") for stash in tried.core.replicator.stashes(spec.id)]
    main = other.files(spec.id)
    assert b"half started" in {files.get("guestbook") for files in [*kept, main]}


def test_a_disk_is_replaced_by_an_empty_one(cluster: Cluster) -> None:
    """A server that comes back with an empty disk says so: its sites find another owner, which fills it again."""
    spec = cluster.create()
    cluster.wait(15)
    a = cluster.members["a"]
    a.power_cut()
    a.pool = MemoryPool(cluster.wall_s, seed="a2")
    a.start()
    cluster.wait(40)
    (owner,) = set(cluster.owners(spec).values())
    assert owner in ("b", "c")
    assert a.pool.files(f"sites/{spec.id}") == cluster.members[owner].files(spec.id)


def test_an_owner_whose_storage_is_gone_is_relieved_within_seconds(cluster: Cluster) -> None:
    """A server that lives on without its disks keeps its sites down no longer than one that died."""
    spec = cluster.create()
    cluster.wait(15)
    a = cluster.members["a"]
    a.pool.sick = "the disks are gone"
    cluster.wait(12)
    (owner,) = {member.site(spec).owner for member in cluster.members.values()}
    assert owner in (cluster.members["b"].id, cluster.members["c"].id)
    assert {member.site(spec).state for member in cluster.members.values()} == {"serving"}
    a.pool.sick = ""
    cluster.wait(40)
    assert {member.site(spec).owner for member in cluster.members.values()} == {owner}
    assert a.core.outlook.view.sites[spec.id].stuck == ()


def test_a_candidate_decides_again_when_the_answers_have_come(cluster: Cluster) -> None:
    """What is learnt while the others are asked counts: who then is not the best any more lets the better one."""
    spec = cluster.create()
    cluster.wait(15)
    a, b, c = (cluster.members[name] for name in "abc")
    told: list[str] = []
    b.core.told.append(lambda kind, site, text: told.append(kind))

    async def slow(sender: NodeId, request: Struct) -> OwnerSeen:
        newer = await c.core.replicator.snapshot(spec.id, Claim(1, a.id))
        assert newer is not None
        c.core.report(Received(spec.id, Claim(1, a.id), newer.guid))
        await deferLater(cluster.clock, 1.0, lambda: None)
        return OwnerSeen(None)

    c.links.handle(SeesOwner, slow)
    a.power_cut()
    cluster.wait(25)
    assert told[:1] == ["election-called-off"] and "elected" not in told
    assert cluster.owners(spec) == {"b": "c", "c": "c"}


def test_a_ghost_of_a_larger_claim_does_not_stop_replication(cluster: Cluster) -> None:
    """After somebody claimed and vanished for good, the owner re-affirms, and its changes are taken again (R9)."""
    spec = cluster.create()
    cluster.wait(15)
    a, b = cluster.members["a"], cluster.members["b"]
    b.power_cut()
    cluster.run(b.pool.set_properties(dataset_of(spec.id), {"seen": "9,n-dddddddddddddddd"}))
    b.start()
    cluster.wait(20)
    assert (a.site(spec).claim or Claim(0, a.id)).epoch > 9
    a.write(spec.id, "guestbook", b"goes on")
    cluster.wait(15)
    assert {member.files(spec.id)["guestbook"] for member in cluster.members.values()} == {b"goes on"}
    assert a.site(spec).stashes == ()


def test_what_an_earlier_process_left_running_and_cannot_be_stopped_is_cut_off(cluster: Cluster) -> None:
    """A restarted node that can neither go on with a container nor stop it cuts it off; others serve the site."""
    spec = cluster.create()
    cluster.wait(15)
    a = cluster.members["a"]
    a.write(spec.id, "guestbook", b"late")
    a.kill_process()
    a.refuses_connections = True
    a.containers.stuck.add(spec.id)
    a.start()
    cluster.wait(25)
    assert a.containers.reachable() == set()
    assert {owner for owner in cluster.owners(spec).values()} <= {"b", "c"}
    assert cluster.members["b"].site(spec).state == "serving"
    assert [one.kind for one in a.core.hosting.decisions()] == ["fence"]
    a.containers.stuck.clear()
    a.refuses_connections = False
    cluster.wait(60)
    assert a.containers.specs() == {}
    assert [one.kind for one in a.core.hosting.decisions()] == ["stash"]
    kept = {a.pool.files(f"stash/{stash.id}").get("guestbook") for stash in a.core.replicator.stashes(spec.id)}
    assert kept == {b"late"}


def test_a_term_of_which_nothing_is_left_ends(cluster: Cluster) -> None:
    """A node whose main line was set aside, all of it, claims nothing any more, and takes the site again."""
    spec = cluster.create()
    cluster.wait(15)
    b = cluster.members["b"]
    cluster.run(b.pool.rename(dataset_of(spec.id), f"stash/{spec.id}.000001.bbbbbbbb.none"))
    cluster.run(b.core.replicator.admit(spec.id))
    cluster.run(b.core._terms.close(spec.id))
    assert b.core._holdings.get(spec.id) is None
    cluster.members["a"].write(spec.id, "guestbook", b"since")
    cluster.wait(90)
    assert b.files(spec.id)["guestbook"] == b"since"
    assert cluster.owners(spec) == {"a": "a", "b": "a", "c": "a"}
