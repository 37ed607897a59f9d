"""Copies far away, of whole nodes in memory: what is there survives the loss of every node."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from hybrid.away.memory import MemoryObjects
from hybrid.away.service import carrier
from hybrid.away.stores import AwayStore
from hybrid.errors import AwayError, Conflict, Damaged, NoSuchSite, NoSuchStore, StoreUnreachable
from hybrid.model import SiteSpec
from tests.node.cluster import Cluster, Steps

STORE = AwayStore(
    name="vault",
    endpoint="https://s3.example.net",
    bucket="copies",
    access_key="a",
    secret_key="b",
    key=b"",
    every_s=60.0,
)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Two nodes."""
    made = Cluster({"a": "paris", "b": "london"})
    yield made
    made.bury()


@pytest.fixture
def other() -> Iterator[Cluster]:
    """One node of another cluster."""
    made = Cluster({"a": "berlin"})
    yield made
    made.bury()


def until(cluster: Cluster, ready: Callable[[], bool], within_s: float) -> None:
    """Let time pass until it is so."""
    end_s = cluster.clock.seconds() + within_s
    while not ready():
        assert cluster.clock.seconds() < end_s, "it did not come to that"
        cluster.tick()


def grown(cluster: Cluster) -> SiteSpec:
    """A running cluster with a site that holds `index.html`, replicated."""
    cluster.start()
    spec = cluster.create("shop")
    cluster.wait(10.0)
    owner = cluster.members["a"]
    owner.write(spec.id, "index.html", b"first")
    until(cluster, lambda: owner.site(spec).safe_copies == len(cluster.members) - 1, 60)
    return spec


def added(cluster: Cluster, key: bytes | None = None) -> bytes:
    """The store's key, once it is known everywhere."""
    key = cluster.run(cluster.members["a"].core.away.add(STORE, key)).key
    until(cluster, lambda: all("vault" in member.core.away.stores() for member in cluster.members.values()), 30)
    return key


def shipped(cluster: Cluster, spec: SiteSpec) -> None:
    """All that is on `a` now is in the store."""
    cluster.wait(10.0)
    cluster.run(cluster.members["a"].core.away.ship("vault", spec))


def test_a_site_goes_to_the_store_by_itself_and_comes_back_into_an_empty_cluster(
    cluster: Cluster, other: Cluster
) -> None:
    """The replica puts it there, not the owner; every node is lost; another cluster with the recovery key serves it."""
    spec = grown(cluster)
    key = added(cluster)
    owner, replica = cluster.members["a"], cluster.members["b"]
    assert carrier(owner.site(spec), "vault") == replica.id
    until(cluster, lambda: any("/labels/" in name for name in cluster.bucket.objects), 150)
    owner.write(spec.id, "index.html", b"second")
    cluster.wait(150.0)
    assert sum("/labels/" in name for name in cluster.bucket.objects) == 2, "the second is an increment"
    assert not any(b"second" in data or b"shop" in data for data in cluster.bucket.objects.values())

    other.bucket = cluster.bucket
    other.start()
    assert added(other, key) == key
    home = other.members["a"]
    assert [one.name for one in other.run(home.core.away.sites("vault"))] == ["shop"]
    steps = Steps()
    other.run(home.core.away.restore("vault", "shop", None, steps))
    other.wait(1.0)
    until(other, lambda: home.site(spec).state == "serving", 60)
    assert home.files(spec.id) == {"index.html": b"second"}
    assert home.site(spec).spec == spec
    assert steps.done[-1] == "put it in its place"


def test_an_earlier_moment_comes_back_if_it_is_asked_for(cluster: Cluster, other: Cluster) -> None:
    """By time: the newest moment not later."""
    spec = grown(cluster)
    key = added(cluster)
    shipped(cluster, spec)
    first_at_s = int(cluster.wall_s())
    cluster.members["a"].write(spec.id, "index.html", b"second")
    shipped(cluster, spec)
    other.bucket = cluster.bucket
    other.start()
    added(other, key)
    home = other.members["a"]
    other.run(home.core.away.restore("vault", spec.id, first_at_s, Steps()))
    other.wait(1.0)
    until(other, lambda: home.site(spec).state == "serving", 60)
    assert home.files(spec.id) == {"index.html": b"first"}


def test_a_site_that_the_cluster_has_is_not_overwritten(cluster: Cluster) -> None:
    """Restoring beside the living, or what was deleted and is in the trash: refused, with what to do instead."""
    spec = grown(cluster)
    added(cluster)
    shipped(cluster, spec)
    owner = cluster.members["a"]
    with pytest.raises(Conflict, match="is here"):
        cluster.run(owner.core.away.restore("vault", "shop", None, Steps()))
    cluster.run(owner.core.hosting.delete(spec.id, Steps()))
    until(cluster, lambda: spec.id not in owner.core.outlook.view.sites, 60)
    with pytest.raises(Conflict, match="undelete"):
        cluster.run(owner.core.away.restore("vault", "shop", None, Steps()))
    with pytest.raises(NoSuchSite):
        cluster.run(owner.core.away.restore("vault", "blog", None, Steps()))


def test_a_damaged_piece_is_noticed_and_leaves_nothing_behind(cluster: Cluster, other: Cluster) -> None:
    """One changed byte in the store: an error that says so, no dataset; an undamaged moment can still be restored."""
    spec = grown(cluster)
    key = added(cluster)
    shipped(cluster, spec)
    other.bucket = MemoryObjects()
    other.bucket.objects = dict(cluster.bucket.objects)
    piece = next(name for name in other.bucket.objects if "/data/" in name)
    whole = other.bucket.objects[piece]
    other.bucket.objects[piece] = whole[:-20] + b"!" + whole[-19:]
    other.start()
    added(other, key)
    home = other.members["a"]
    with pytest.raises(Damaged):
        other.run(home.core.away.restore("vault", "shop", None, Steps()))
    assert [one.name for one in other.run(home.pool.datasets()) if spec.id in one.name] == []
    other.bucket.objects[piece] = whole
    other.run(home.core.away.restore("vault", "shop", None, Steps()))


def test_a_store_that_fails_is_told_once_and_tried_again(cluster: Cluster) -> None:
    """An event when copying begins to fail, one when it works again; between them it is tried more and more seldom."""
    spec = grown(cluster)
    added(cluster)
    told: list[str] = []
    for member in cluster.members.values():
        member.core.told.append(lambda kind, site, text: told.append(kind))
    cluster.bucket.reachable = False
    cluster.wait(400.0)
    assert told.count("away-failed") == 1
    cluster.bucket.reachable = True
    until(cluster, lambda: "away-again" in told, 700)
    assert any(spec.id in name and "/labels/" in name for name in cluster.bucket.objects)


@pytest.mark.parametrize("calls", range(2, 7))
def test_a_copy_cut_off_anywhere_counts_for_nothing(cluster: Cluster, calls: int) -> None:
    """Whatever call fails, what is there can be restored or is not listed; the next try is whole."""
    spec = grown(cluster)
    added(cluster)
    cluster.bucket.fails_after = calls
    try:
        shipped(cluster, spec)
    except StoreUnreachable:
        pass
    cluster.bucket.fails_after = None
    away = cluster.members["a"].core.away
    before = cluster.run(away.sites("vault"))
    assert len(before) <= 1
    cluster.members["a"].write(spec.id, "index.html", b"second")
    shipped(cluster, spec)
    assert [one.name for one in cluster.run(away.sites("vault"))] == ["shop"]


def test_a_wrong_key_and_a_wrong_name_are_refused(cluster: Cluster) -> None:
    """A folder in use is not written to with another key; a store is known by its name, once."""
    cluster.start()
    away = cluster.members["a"].core.away
    key = added(cluster)
    with pytest.raises(Conflict, match="already"):
        cluster.run(away.add(STORE, None))
    away.remove("vault")
    with pytest.raises(NoSuchStore):
        away.store("vault")
    with pytest.raises(Conflict, match="another key"):
        cluster.run(away.add(STORE, bytes(32)))
    cluster.bucket.reachable = False
    with pytest.raises(AwayError, match="does not answer"):
        cluster.run(away.add(STORE, key))
    cluster.bucket.reachable = True
    assert cluster.run(away.add(STORE, key)).key == key


def test_the_base_of_the_next_copy_is_held_and_the_one_before_is_not(cluster: Cluster) -> None:
    """Retention cannot take the snapshot from which the next increment goes on; nothing is held for ever."""
    spec = grown(cluster)
    added(cluster)
    pool, away = cluster.members["a"].pool, cluster.members["a"].core.away
    shipped(cluster, spec)
    cluster.members["a"].write(spec.id, "index.html", b"second")
    shipped(cluster, spec)
    history = cluster.run(pool.history(f"sites/{spec.id}"))
    held = [one.guid for one in history if "away-vault" in cluster.run(pool.holds(f"sites/{spec.id}", one.guid))]
    assert held == [history[-1].guid]
    assert cluster.run(away.ship("vault", spec)) is None
