"""Sites whose moments belong together: whole nodes on one clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from hybrid.deeds import Progress
from hybrid.errors import Busy, Conflict, NoSuchSnapshot, StorageError
from hybrid.hosting.rolling import Rolling
from hybrid.model import Guid, SiteId, SiteSpec, Stash
from tests.node.cluster import Cluster, Member, Steps
from tests.node.lives import Cut


def blog(cluster: Cluster, every_s: float = 300.0) -> tuple[SiteSpec, SiteSpec]:
    """A website and its database on a, a group."""
    web, db = cluster.create("web"), cluster.create("db")
    cluster.members["a"].core.care.groups.create("blog", [web.id, db.id], every_s)
    cluster.wait(10)
    return web, db


def entry(member: Member, web: SiteSpec, db: SiteSpec, text: bytes) -> None:
    """A row in the database and the picture that belongs to it."""
    member.write(db.id, "row", text)
    member.write(web.id, "picture", text)


def seen(member: Member, web: SiteSpec, db: SiteSpec) -> tuple[bytes | None, bytes | None]:
    """Picture and row."""
    return member.files(web.id).get("picture"), member.files(db.id).get("row")


def test_all_are_snapshotted_in_one_instant(cluster: Cluster) -> None:
    """Every few minutes where something changed, under one name; the containers are still meanwhile, and go on."""
    web, db = blog(cluster)
    a = cluster.members["a"]
    for minute in range(12):
        entry(a, web, db, str(minute).encode())
        cluster.wait(60)
    moments = a.core.care.groups.moments("blog")
    assert 2 <= len(moments) <= 4
    for moment in moments:
        pair = [
            next(one for one in a.core.replicator.history(site.id) if one.name == moment.name) for site in (web, db)
        ]
        picture = a.pool.files(f"sites/{web.id}", pair[0].guid).get("picture")
        assert picture == a.pool.files(f"sites/{db.id}", pair[1].guid).get("row")
    deeds = [deed for deed in a.containers.deeds if deed[0] in ("freeze", "thaw")]
    assert deeds[:4] == [("freeze", web.id), ("freeze", db.id), ("thaw", web.id), ("thaw", db.id)]
    assert set(cluster.run(a.containers.running()).values()) == {"running"}
    assert moments[-1].name in {one.name for one in cluster.members["b"].core.replicator.history(db.id)}


def test_a_pool_that_is_too_slow_for_an_instant(cluster: Cluster) -> None:
    """The sites go on after five seconds, and what was taken meanwhile is not called one instant."""
    web, _ = blog(cluster, every_s=0.0)
    a = cluster.members["a"]
    a.pool.before("snapshots", lambda: deferLater(cluster.clock, 6.0, lambda: None))
    before = len(a.core.replicator.history(web.id))
    with pytest.raises(Busy, match="too long"):
        cluster.run(a.core.care.groups.snapshot("blog"))
    assert all("group" not in one.kind for one in a.core.replicator.history(web.id)[before:])
    assert set(cluster.run(a.containers.running()).values()) == {"running"}
    assert "group" in cluster.run(a.core.care.groups.snapshot("blog")).kind


def test_they_gather_where_the_first_is(cluster: Cluster) -> None:
    """Made on different nodes, or after one was moved: all are on the leading site's node within seconds."""
    web, db = cluster.create("web"), cluster.create("db", on="a")
    cluster.wait(10)
    cluster.run(cluster.members["a"].core.hosting.move(db.id, cluster.members["b"].id, Steps()))
    cluster.wait(5)
    cluster.members["c"].core.care.groups.create("blog", [web.id, db.id], 300.0)
    cluster.wait(0.5)
    with pytest.raises(Conflict, match="not all on this node"):
        cluster.run(cluster.members["a"].core.care.groups.snapshot("blog"))
    cluster.wait(30)
    assert set(cluster.owners(db).values()) == {"a"}
    assert "group" in cluster.run(cluster.members["a"].core.care.groups.snapshot("blog")).kind


def test_back_together_and_forth_again(cluster: Cluster) -> None:
    """All go back to the same instant, and an undo brings all of them back to the present."""
    web, db = blog(cluster, every_s=0.0)
    a = cluster.members["a"]
    entry(a, web, db, b"before")
    moment = cluster.run(a.core.care.groups.snapshot("blog"))
    entry(a, web, db, b"after")
    cluster.wait(10)
    cluster.run(a.core.care.groups.rollback("blog", moment.name, Steps()))
    assert seen(a, web, db) == (b"before", b"before")
    cluster.wait(20)
    assert {seen(member, web, db) for member in cluster.members.values()} == {(b"before", b"before")}
    assert (a.site(web).state, a.site(db).state) == ("serving", "serving")
    cluster.run(a.core.care.groups.undo("blog", Steps()))
    assert seen(a, web, db) == (b"after", b"after")
    cluster.run(a.core.care.groups.undo("blog", Steps()))
    assert seen(a, web, db) == (b"before", b"before")


class Forgetful(Rolling):
    """Of one site the snapshot is forgotten just before its turn comes."""

    def __init__(self, rolling: Rolling, site: SiteSpec) -> None:
        self.__dict__ |= rolling.__dict__
        self._forgets = site.id

    async def rollback(self, site: SiteId, to: Guid, progress: Progress) -> Stash:
        """See `Rolling`."""
        if site == self._forgets:
            raise NoSuchSnapshot("it has just been forgotten")
        return await super().rollback(site, to, progress)


def test_all_or_none(cluster: Cluster) -> None:
    """One of them cannot be rolled back: the others are as they were, and all are served."""
    web, db = blog(cluster, every_s=0.0)
    a = cluster.members["a"]
    entry(a, web, db, b"before")
    moment = cluster.run(a.core.care.groups.snapshot("blog"))
    entry(a, web, db, b"after")
    cluster.wait(10)
    a.core.care.groups._rolling = Forgetful(a.core.care.groups._rolling, web)
    with pytest.raises(NoSuchSnapshot):
        cluster.run(a.core.care.groups.rollback("blog", moment.name, Steps()))
    cluster.wait(5)
    assert seen(a, web, db) == (b"after", b"after")
    assert (a.site(web).state, a.site(db).state) == ("serving", "serving")
    assert a.core.care.groups.find("blog").under_way == ()
    with pytest.raises(NoSuchSnapshot):
        cluster.run(a.core.care.groups.rollback("blog", "no-such-moment", Steps()))


def test_storage_that_fails_half_way(cluster: Cluster) -> None:
    """It is told, and within a minute or two all of them are where they were to go."""
    web, db = blog(cluster, every_s=0.0)
    a = cluster.members["a"]
    entry(a, web, db, b"before")
    moment = cluster.run(a.core.care.groups.snapshot("blog"))
    entry(a, web, db, b"after")
    cluster.wait(10)
    told: list[str] = []
    a.core.told.append(lambda kind, site, text: told.append(text))
    a.pool.before("clone", lambda: deferLater(cluster.clock, 0.0, lambda: None))
    a.pool.fail_next("clone", StorageError("the disk was busy"))
    with pytest.raises(StorageError):
        cluster.run(a.core.care.groups.rollback("blog", moment.name, Steps()))
    cluster.wait(150)
    assert cluster.owners(web) == cluster.owners(db)
    owner = cluster.members[cluster.owners(web)["a"] or ""]
    assert seen(owner, web, db) == (b"before", b"before")
    assert (owner.site(web).state, owner.site(db).state) == ("serving", "serving")
    assert a.core.care.groups.find("blog").under_way == ()
    assert any("gone on with soon" in text for text in told)


def test_a_power_cut_in_the_middle_is_gone_on_with(found: Callable[[Mapping[str, str]], Cluster]) -> None:
    """Wherever it comes, in the end all are at the same instant: of a roll-back that was begun, at the past one."""
    cluster = found({"a": "paris"})
    web, db = blog(cluster, every_s=0.0)
    a = cluster.members["a"]
    entry(a, web, db, b"before")
    moment = cluster.run(a.core.care.groups.snapshot("blog"))
    a.life.counting = True
    entry(a, web, db, b"after")
    cluster.run(a.core.care.groups.rollback("blog", moment.name, Steps()))
    steps = len(a.life.calls)
    assert steps > 20
    for number in range(2, steps + 1, 2):
        cluster.wait(10)
        entry(a, web, db, b"after")
        cluster.wait(10)
        a.life.calls.clear()
        a.life.counting, a.life.cut = True, Cut(number, after=number % 4 == 0)
        Deferred.fromCoroutine(a.core.care.groups.rollback("blog", moment.name, Steps())).addErrback(lambda _: None)
        cluster.wait(5)
        assert a.life.over, number
        begun = a.core.care.groups.find("blog").under_way != ()
        a.start()
        cluster.wait(40)
        expected = b"before" if begun else b"after"
        assert (number, seen(a, web, db)) == (number, (expected, expected))
        assert (a.site(web).state, a.site(db).state) == ("serving", "serving")
        assert a.core.care.groups.find("blog").under_way == ()


def test_another_node_finishes_what_was_begun(cluster: Cluster) -> None:
    """The owner is gone for good in the middle: whoever takes the sites over makes both as they were."""
    web, db = blog(cluster, every_s=0.0)
    a = cluster.members["a"]
    entry(a, web, db, b"before")
    moment = cluster.run(a.core.care.groups.snapshot("blog"))
    cluster.wait(10)
    entry(a, web, db, b"after")
    cluster.wait(10)
    a.life.counting, a.life.cut = True, Cut(12, after=True)
    Deferred.fromCoroutine(a.core.care.groups.rollback("blog", moment.name, Steps())).addErrback(lambda _: None)
    cluster.wait(90)
    owners = {cluster.owners(site)["b"] for site in (web, db)}
    assert len(owners) == 1
    new = cluster.members[owners.pop() or ""]
    assert seen(new, web, db) == (b"before", b"before")
    assert new.core.care.groups.find("blog").under_way == ()


def test_what_was_frozen_when_the_process_died_goes_on(cluster: Cluster) -> None:
    """A node process that ends between freezing and thawing leaves no site standing still."""
    _, db = blog(cluster, every_s=0.0)
    a = cluster.members["a"]
    cluster.run(a.containers.freeze(db.id))
    a.kill_process()
    a.start()
    cluster.wait(15)
    assert set(cluster.run(a.containers.running()).values()) == {"running"}
