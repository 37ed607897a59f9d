"""Snapshots that an application knows of: whole nodes on one clock."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from hybrid.errors import ContainerError, OutOfSpace
from hybrid.model import Manifest, SiteSpec
from hybrid.ports import ContainerSpec, Executed
from tests.node.cluster import Cluster

HOOKS = '{"name": "static", "hooks": {"before": ["lock"], "after": ["unlock"], "deadline_s": 1.5}}'


class Database:
    """What runs in the container: locked between its hooks."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster, self.member = cluster, cluster.members["a"]
        self.locked = False
        self.said: list[str] = []
        self.fails: dict[str, Executed | ContainerError] = {}
        self.member.containers.command = self.command
        a = self.member
        cluster.run(a.pool.set_properties("images/static-1", {"manifest": HOOKS}))
        cluster.run(a.core.shelf.load())

    def command(self, spec: ContainerSpec, argv: Sequence[str], stdin: bytes) -> Executed:
        """A hook."""
        self.said.append(argv[0])
        failure = self.fails.get(argv[0])
        if isinstance(failure, ContainerError):
            raise failure
        self.locked = argv[0] == "lock" if failure is None else self.locked
        return failure or Executed(0, b"", b"")

    def kinds(self, spec: SiteSpec) -> list[str]:
        """Of the site's snapshots, oldest first."""
        return [snapshot.kind for snapshot in self.member.core.replicator.history(spec.id)]

    def work(self, spec: SiteSpec, minutes: int) -> None:
        """Something changes each minute."""
        for minute in range(minutes):
            self.member.write(spec.id, "table", f"{self.cluster.clock.seconds()} {minute}".encode())
            self.cluster.wait(60)


def told(cluster: Cluster) -> list[str]:
    """Events of node a about hooks, from now on."""
    texts: list[str] = []
    cluster.members["a"].core.told.append(
        lambda kind, site, text: texts.append(text) if kind == "hook-failed" else None
    )
    return texts


def test_the_manifest_is_read_strictly() -> None:
    """A word that is not known in a manifest's hooks or health check is refused, and so is a deadline of a minute."""
    good = msgspec.json.decode(HOOKS, type=Manifest)
    assert (good.hooks.before, good.health.within_s) == (("lock",), 60.0)
    for wrong in ('"hooks": {"befor": []}', '"hooks": {"deadline_s": 60}', '"health": {"path": "a b"}'):
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode('{"name": "x", ' + wrong + "}", type=Manifest)


def test_now_and_then_the_application_is_asked(cluster: Cluster) -> None:
    """Of many snapshots one in a quarter of an hour is taken between the hooks; all are there, on the copies too."""
    database = Database(cluster)
    spec = cluster.create()
    database.work(spec, 32)
    kinds = database.kinds(spec)
    assert (kinds.count("consistent"), len(kinds) > 20) == (3, True)
    assert database.said == ["unlock", *["lock", "unlock"] * 3]
    assert not database.locked
    b = cluster.members["b"].core.replicator.history(spec.id)
    assert [snapshot.kind for snapshot in b].count("consistent") >= 1


def test_a_snapshot_asked_for_by_a_person_is_one(cluster: Cluster) -> None:
    """Before an update one wants the best there is."""
    database = Database(cluster)
    spec = cluster.create()
    cluster.wait(10)
    taken = cluster.run(cluster.members["a"].core.hosting.snapshot(spec.id))
    assert (taken.kind, database.said[-2:], database.locked) == ("consistent", ["lock", "unlock"], False)


def test_a_hook_that_hangs_delays_nothing(cluster: Cluster) -> None:
    """It is killed at its deadline: then there is a snapshot as after a power cut, an event, and the lock is undone."""
    database, texts = Database(cluster), told(cluster)
    database.fails["lock"] = ContainerError("'lock' was killed", "not done in 1.5 s")
    spec = cluster.create()
    database.work(spec, 5)
    kinds = database.kinds(spec)
    assert set(kinds) == {"crash"} and len(kinds) > 4
    assert database.said == ["unlock", "lock", "unlock"]
    assert len(texts) == 1 and "not done in 1.5 s" in texts[0]


def test_a_hook_that_fails_is_told_with_its_words(cluster: Cluster) -> None:
    """The snapshot is there all the same, and is not called what it is not."""
    database, texts = Database(cluster), told(cluster)
    spec = cluster.create()
    database.fails["lock"] = Executed(1, b"", b"Access denied for user 'root'")
    taken = cluster.run(cluster.members["a"].core.hosting.snapshot(spec.id))
    assert taken.kind == "crash"
    assert "Access denied" in texts[-1]


def test_what_was_locked_is_unlocked_whatever_happens(cluster: Cluster) -> None:
    """When no snapshot can be taken; when unlocking fails the first time; when the node process dies in between."""
    database = Database(cluster)
    spec = cluster.create()
    cluster.wait(10)
    a = cluster.members["a"]
    roomy, a.pool.size_bytes = a.pool.size_bytes, 0
    with pytest.raises(OutOfSpace):
        cluster.run(a.core.hosting.snapshot(spec.id))
    a.pool.size_bytes = roomy
    assert (database.said[-2:], database.locked) == (["lock", "unlock"], False)
    database.locked = True
    a.kill_process()
    database.said.clear()
    a.start()
    cluster.wait(30)
    assert a.site(spec).state == "serving"
    assert (database.said[:1], database.locked) == (["unlock"], False)
