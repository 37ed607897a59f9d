"""Copies are started to see whether they work: whole nodes on one clock."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from hybrid.errors import Conflict
from hybrid.hosting.proofs import DATASET, NAME
from hybrid.model import SiteSpec
from hybrid.ports import ContainerSpec, Executed
from tests.node.cluster import Cluster, Member, Steps

DAY_S = 86400


def clones(member: Member) -> list[str]:
    """What lies under `temporary/`."""
    names = [dataset.name for dataset in member.cluster.run(member.pool.datasets())]
    return [name for name in names if name.startswith("temporary/")]


def outcomes(cluster: Cluster, spec: SiteSpec) -> dict[str, str]:
    """What each node's copy came to, as all nodes see it."""
    names = {member.id: member.name for member in cluster.members.values()}
    seen = [
        {names[node]: proof.outcome for node, proof in member.site(spec).proofs.items()}
        for member in cluster.members.values()
        if member.up
    ]
    assert all(one == seen[0] for one in seen), seen
    return dict(seen[0])


def a_day_passes(cluster: Cluster) -> None:
    """By the time of day; then the nodes get time to do what is due."""
    cluster.later_s += DAY_S
    cluster.wait(45)


def test_each_day_a_copy_is_started_and_everybody_knows(cluster: Cluster) -> None:
    """A site is proven by one holder in turn; nothing of it stays, and nobody but the prover notices."""
    spec = cluster.create()
    cluster.wait(10)
    assert outcomes(cluster, spec) == {}
    a_day_passes(cluster)
    cluster.wait(900)
    first = outcomes(cluster, spec)
    assert list(first.values()) == ["good"] and "a" not in first
    a_day_passes(cluster)
    assert outcomes(cluster, spec) == {"b": "good", "c": "good"}
    for member in cluster.members.values():
        assert clones(member) == []
        assert NAME not in cluster.run(member.containers.running())
    assert cluster.members["a"].site(spec).state == "serving"
    head = cluster.members["b"].core.replicator.history(spec.id)[-1]
    assert head.guid in {proof.guid for proof in cluster.members["a"].site(spec).proofs.values()}


def looked_at_by_a_command(cluster: Cluster) -> SiteSpec:
    """A site whose image says which command tells that it works."""
    a = cluster.members["a"]
    manifest = '{"name": "static", "health": {"command": ["check", "db"], "within_s": 5}}'
    cluster.run(a.pool.set_properties("images/static-1", {"manifest": manifest}))
    cluster.run(a.core.shelf.load())
    spec = cluster.create()
    cluster.wait(10)
    return spec


def test_it_is_started_apart_from_the_world(cluster: Cluster) -> None:
    """What is tried out can reach nobody and nobody it, and what it writes does not reach the copy."""
    spec = looked_at_by_a_command(cluster)
    b = cluster.members["b"]
    seen: list[tuple[bool, str]] = []

    def look(container: ContainerSpec, argv: Sequence[str], stdin: bytes) -> Executed:
        seen.append((container.network, container.hostname))
        b.pool.write(DATASET, "scratch", b"written while it was tried out")
        return Executed(0, b"", b"")

    b.containers.command = look
    proof = cluster.run(b.core.hosting.verify(spec.id, Steps()))
    assert (proof.outcome, seen) == ("good", [(False, "shop")])
    assert "scratch" not in b.files(spec.id)
    assert clones(b) == []


def test_a_copy_that_does_not_work_is_told_to_everybody(cluster: Cluster) -> None:
    """The reason is seen on all nodes; when it was last good stays known; the next holder tries within the hour."""
    spec = cluster.create()
    cluster.wait(10)
    b, c = cluster.members["b"], cluster.members["c"]
    good = cluster.run(b.core.hosting.verify(spec.id, Steps()))
    b.containers.answers[NAME, 80] = 503
    failed = cluster.run(b.core.hosting.verify(spec.id, Steps()), within_s=120)
    assert (failed.outcome, failed.good_at_s) == ("failed", good.at_s)
    assert "503" in failed.why and "started" in failed.why
    cluster.wait(5)
    assert outcomes(cluster, spec) == {"b": "failed"}
    assert cluster.members["a"].site(spec).proofs[b.id].why == failed.why
    cluster.later_s += 3600
    cluster.wait(45)
    assert outcomes(cluster, spec) == {"b": "failed", "c": "good"}
    assert clones(b) == clones(c) == []


def test_one_whose_container_does_not_start(cluster: Cluster) -> None:
    """That is a failure too, with the reason, and leaves nothing."""
    spec = cluster.create()
    cluster.wait(10)
    b = cluster.members["b"]
    b.containers.broken[NAME] = "no init"
    proof = cluster.run(b.core.hosting.verify(spec.id, Steps()))
    assert proof.outcome == "failed" and "no init" in proof.why
    assert clones(b) == []


def test_a_command_of_the_image_decides(cluster: Cluster) -> None:
    """An image that says how to look at it is looked at so; status 0 is good, anything else is told."""
    spec = looked_at_by_a_command(cluster)
    b = cluster.members["b"]
    b.containers.command = lambda spec, argv, stdin: Executed(0 if argv == ("check", "db") else 1, b"", b"")
    assert cluster.run(b.core.hosting.verify(spec.id, Steps())).outcome == "good"
    b.containers.command = lambda spec, argv, stdin: Executed(2, b"", b"table users is broken")
    failed = cluster.run(b.core.hosting.verify(spec.id, Steps()))
    assert failed.outcome == "failed" and "table users is broken" in failed.why


def test_a_node_short_of_room_leaves_it_to_others(cluster: Cluster) -> None:
    """It says so, which counts neither as good nor as failed, and another holder does it."""
    spec = cluster.create()
    cluster.wait(10)
    b = cluster.members["b"]
    space = cluster.run(b.pool.space())
    b.pool.size_bytes = int((space.size_bytes - space.free_bytes) / 0.95)
    assert cluster.run(b.core.hosting.verify(spec.id, Steps())).outcome == "skipped"
    a_day_passes(cluster)
    cluster.wait(1000)
    assert outcomes(cluster, spec)["c"] == "good"


def test_a_power_cut_in_the_middle_leaves_nothing(cluster: Cluster) -> None:
    """Whenever it comes: after the next start there is no clone, no container, and the copy can be proven again."""
    spec = cluster.create()
    cluster.wait(10)
    b = cluster.members["b"]
    b.containers.answers[NAME, 80] = None
    cluster.run(begun(b, spec))
    assert clones(b) == [DATASET]
    b.kill_process()
    assert NAME in cluster.run(b.containers.running())
    b.containers.answers.clear()
    b.start()
    cluster.wait(15)
    assert clones(b) == []
    assert NAME not in cluster.run(b.containers.running())
    assert cluster.run(b.core.hosting.verify(spec.id, Steps())).outcome == "good"
    b.power_cut()
    cluster.wait(1)
    b.start()
    cluster.wait(15)
    assert outcomes(cluster, spec) == {"b": "good"}


async def begun(member: Member, spec: SiteSpec) -> None:
    """A proof goes on beside this for as long as nothing answers."""
    Deferred.fromCoroutine(member.core.hosting.verify(spec.id, Steps())).addErrback(lambda failure: None)
    await deferLater(member.cluster.clock, 2.0, lambda: None)


def test_an_election_comes_first(cluster: Cluster) -> None:
    """A holder that is to take the site over does not go on trying its copy out."""
    spec = cluster.create(copies=1)
    cluster.wait(10)
    prover = next(m for m in cluster.members.values() if m.name != "a" and m.core.replicator.history(spec.id))
    prover.containers.answers[NAME, 80] = None
    cluster.run(begun(prover, spec))
    cluster.members["a"].power_cut()
    cluster.wait(30)
    assert prover.site(spec).owner == prover.id and prover.site(spec).state == "serving"
    assert prover.site(spec).proofs[prover.id].outcome == "skipped"
    assert NAME not in cluster.run(prover.containers.running())


def test_the_owner_is_no_prover(cluster: Cluster) -> None:
    """Asked to prove what it serves, an owner refuses: that would prove nothing about copies."""
    spec = cluster.create()
    with pytest.raises(Conflict, match="owner"):
        cluster.run(cluster.members["a"].core.hosting.verify(spec.id, Steps()))


def test_how_often_can_be_changed_for_all_and_for_one(cluster: Cluster) -> None:
    """Every twelve hours, or never: from any node, and heard by all."""
    spec = cluster.create()
    cluster.members["c"].core.hosting.set_verify_every_s(0.0)
    cluster.wait(2)
    assert cluster.members["b"].core.hosting.verify_every_s() == 0.0
    a_day_passes(cluster)
    cluster.wait(1000)
    assert outcomes(cluster, spec) == {}
    cluster.run(cluster.members["a"].core.hosting.edit(spec.id, {"verify_every_s": 3600.0}))
    cluster.wait(1000)
    assert list(outcomes(cluster, spec).values()) == ["good"]
