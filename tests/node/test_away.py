"""Copies far away, of whole nodes in memory: what is there survives the loss of every node."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec
import pytest

from hybrid.away.lines import chains, labels_of, streams
from hybrid.away.memory import MemoryObjects
from hybrid.away.service import carrier
from hybrid.away.stores import AwayStore
from hybrid.errors import AwayError, Conflict, Damaged, NoSuchSite, NoSuchStore, StoreUnreachable
from hybrid.model import SiteSpec
from tests.node.cluster import Cluster, Member, Steps

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
    made = Cluster({"z": "berlin"})
    yield made
    made.bury()


def until(cluster: Cluster, ready: Callable[[], bool], within_s: float) -> None:
    """Let time pass until it is so."""
    end_s = cluster.clock.seconds() + within_s
    while not ready():
        assert cluster.clock.seconds() < end_s, "it did not come to that"
        cluster.tick()


def first(cluster: Cluster) -> Member:
    """The first node."""
    return next(iter(cluster.members.values()))


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
    key = cluster.run(first(cluster).core.away.add(STORE, key)).key
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
    home = other.members["z"]
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
    home = other.members["z"]
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
    home = other.members["z"]
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


def paired(cluster: Cluster, other: Cluster) -> SiteSpec:
    """A site of `cluster`, kept on standby in `other` through a store that both know."""
    spec = grown(cluster)
    key = added(cluster)
    shipped(cluster, spec)
    other.bucket = cluster.bucket
    other.start()
    follower = msgspec.structs.replace(STORE, follow=True)
    other.run(other.members["z"].core.away.add(follower, key))
    until(other, lambda: on_standby(other, spec), 100)
    return spec


def on_standby(cluster: Cluster, spec: SiteSpec) -> bool:
    """Whether the first node has it so."""
    names = [one.name for one in cluster.run(first(cluster).pool.datasets())]
    return f"standby/{spec.id}" in names and f"sites/{spec.id}" not in names


def brought(cluster: Cluster, spec: SiteSpec) -> Steps:
    """The site runs on the first node, out of the store."""
    steps, home = Steps(), first(cluster)
    cluster.run(home.core.away.restore("vault", "shop", None, steps))
    cluster.wait(1.0)
    until(cluster, lambda: home.site(spec).state == "serving", 60)
    return steps


def test_a_second_cluster_stands_by_and_is_promoted_at_once(cluster: Cluster, other: Cluster) -> None:
    """What is on standby follows the store, nobody serves it, and nothing is fetched when the first cluster is lost."""
    spec = paired(cluster, other)
    cluster.members["a"].write(spec.id, "index.html", b"second")
    shipped(cluster, spec)
    other.wait(90.0)
    assert spec.id not in other.members["z"].core.outlook.view.sites
    steps = brought(other, spec)
    assert steps.done == ["look into the store", "see what is there", "put it in its place"]
    assert other.members["z"].files(spec.id) == {"index.html": b"second"}


def test_a_site_goes_to_the_other_cluster_and_back_without_losing_a_byte(cluster: Cluster, other: Cluster) -> None:
    """Demoted here, promoted there, written there, demoted there, promoted here: every write is on both nodes."""
    spec = paired(cluster, other)
    home, away = cluster.members["a"], other.members["z"]
    home.write(spec.id, "index.html", b"second")
    cluster.run(home.core.away.demote("vault", home.site(spec).spec, Steps()))
    until(cluster, lambda: spec.id not in home.core.outlook.view.sites, 60)
    brought(other, spec)
    assert away.files(spec.id) == {"index.html": b"second"}
    assert away.site(spec).spec.wanted == "running"
    away.write(spec.id, "more.html", b"third")
    other.wait(10.0)
    other.run(away.core.away.demote("vault", away.site(spec).spec, Steps()))
    fetched = brought(cluster, spec)
    new = sum(step.startswith("fetch") for step in fetched.done)
    assert new == 2, "what was copied while it ran there and when it was stopped: the rest comes out of the trash"
    assert home.files(spec.id) == {"index.html": b"second", "more.html": b"third"}
    until(cluster, lambda: home.site(spec).safe_copies == 1, 60)


def test_a_demotion_that_cannot_be_finished_changes_nothing(cluster: Cluster) -> None:
    """The store fails at any call: the site runs here as before."""
    spec = grown(cluster)
    added(cluster)
    shipped(cluster, spec)
    home = cluster.members["a"]
    for calls in range(1, 5):
        home.write(spec.id, "index.html", bytes([calls]))
        cluster.bucket.fails_after = calls
        with pytest.raises(StoreUnreachable):
            cluster.run(home.core.away.demote("vault", home.site(spec).spec, Steps()))
        cluster.bucket.fails_after = None
        until(cluster, lambda: home.site(spec).state == "serving", 30)
        assert home.files(spec.id)["index.html"] == bytes([calls])


def test_a_site_that_runs_in_two_clusters_is_told_and_both_lines_are_kept(cluster: Cluster, other: Cluster) -> None:
    """Promoted there while it runs here: the first cluster hears of it, and what each wrote can be restored."""
    spec = paired(cluster, other)
    told: list[str] = []
    for member in cluster.members.values():
        member.core.told.append(lambda kind, site, text: told.append(kind))
    brought(other, spec)
    other.members["z"].write(spec.id, "index.html", b"there")
    other.wait(10.0)
    other.run(other.members["z"].core.away.ship("vault", spec))
    cluster.members["a"].write(spec.id, "index.html", b"here")
    shipped(cluster, spec)
    shipped(cluster, spec)
    assert told.count("away-elsewhere") == 1
    stored = streams(cluster.run(cluster.bucket.names(labels_of(spec.id))))
    heads = {cluster.run(member.pool.history(f"sites/{spec.id}"))[-1].guid for member in cluster.members.values()}
    heads |= {other.run(other.members["z"].pool.history(f"sites/{spec.id}"))[-1].guid}
    assert heads <= chains(stored).keys()


def test_a_damaged_site_keeps_no_other_from_being_followed(cluster: Cluster, other: Cluster) -> None:
    """The labels of the first site in the store cannot be opened: all others there are on standby all the same."""
    specs = [paired(cluster, other), *(cluster.create(name) for name in ("blog", "zoo"))]
    cluster.wait(10.0)
    for spec in specs[1:]:
        shipped(cluster, spec)
    damaged, *others = sorted(specs, key=lambda spec: spec.id)
    for name in cluster.run(cluster.bucket.names(labels_of(damaged.id))):
        cluster.bucket.objects[name] = bytes(100)
    until(other, lambda: all(on_standby(other, spec) for spec in others), 150)
