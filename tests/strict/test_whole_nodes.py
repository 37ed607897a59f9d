"""Whole nodes and strict sites: never two writers at any instant, whatever is cut, killed or paused."""

from __future__ import annotations

import pytest

from hybrid.errors import BadRequest, HybridError
from hybrid.model import SiteSpec
from hybrid.settings import Strict
from hybrid.strict.steward import AGREED, BLOCKED
from tests.node.cluster import Cluster, Steps
from tests.strict.conftest import StrictCluster

TTL_S = 15.0


def test_a_strict_site_serves_under_etcds_revision(cluster: StrictCluster) -> None:
    """It runs, and its epoch is the revision at which etcd named its owner."""
    spec = cluster.strict_site()
    seen = cluster.members["b"].site(spec)
    assert seen.state == "serving"
    assert seen.claim is not None
    key = f"/hybrid/c-test/own/{spec.id}"
    entry = cluster.etcd.read([key]).entries[key]
    assert (entry.mod_revision, entry.value) == (seen.claim.epoch, cluster.members["a"].id)


def test_without_etcd_in_the_settings_nothing_becomes_strict(logged: None) -> None:
    """The request is refused with what to do; nothing is left behind. The same for a site there is."""
    plain = Cluster()
    plain.start()
    with pytest.raises(BadRequest, match="strict"):
        plain.create(consistency="strict")
    plain.wait(1)
    assert plain.members["a"].core.outlook.view.sites == {}
    spec = plain.create()
    plain.wait(1)
    with pytest.raises(BadRequest, match="strict"):
        plain.run(plain.members["a"].core.hosting.edit(spec.id, {"consistency": "strict"}))
    assert plain.members["a"].site(spec).state == "serving"


def test_an_owner_that_dies_is_replaced_after_its_lease_and_the_lock_delay(either: StrictCluster) -> None:
    """No sooner than the lease has run out and half of it again, and not much later."""
    spec = either.strict_site()
    either.members["a"].power_cut()
    assert TTL_S < either.until(60, "b") < TTL_S + 15
    either.wait(1)
    assert either.members["b"].site(spec).state == "serving"


def test_a_paused_owner_is_frozen_before_another_stands(either: StrictCluster) -> None:
    """The process hangs for a minute: its guardian freezes the container, another node serves, it stops on return."""
    spec = either.strict_site()
    either.members["a"].pause()
    frozen_s = either.until(60)
    assert frozen_s <= TTL_S * 3 / 4 + 0.1
    served_s = frozen_s + either.until(60, "b")
    assert served_s > TTL_S
    either.wait(60 - served_s)
    either.members["a"].write(spec.id, "late", b"not acknowledged")
    either.members["a"].resume()
    either.wait(20)
    assert either.writers(spec) == ["b"]
    assert either.owners(spec) == {"a": "b", "b": "b", "c": "b"}
    assert len(either.members["b"].site(spec).stashes) == 1


def test_a_short_pause_is_no_reason_for_anything(cluster: StrictCluster) -> None:
    """Half a lease is not over: the same owner, the same container, nothing frozen."""
    spec = cluster.strict_site()
    claim = cluster.members["b"].site(spec).claim
    cluster.members["a"].pause()
    cluster.wait(4)
    cluster.members["a"].resume()
    cluster.wait(20)
    assert cluster.members["b"].site(spec).claim == claim
    assert ("freeze", spec.id) not in cluster.members["a"].containers.deeds


def test_a_node_process_that_restarts_goes_on_with_its_lease(either: StrictCluster) -> None:
    """An upgrade of the control process cuts nothing: not stopped, not frozen, the same claim."""
    spec = either.strict_site()
    claim = either.members["b"].site(spec).claim
    either.members["a"].kill_process()
    either.wait(3)
    either.members["a"].start()
    either.wait(30)
    assert either.members["b"].site(spec).claim == claim
    assert either.writers(spec) == ["a"]
    assert [deed for deed, _ in either.members["a"].containers.deeds] == ["start"]


def test_a_node_process_that_comes_back_late_but_in_time_thaws(cluster: StrictCluster) -> None:
    """Frozen at three quarters of the lease, back before its end: etcd still names it, so it goes on."""
    spec = cluster.strict_site()
    cluster.members["a"].kill_process()
    cluster.until(15)
    cluster.members["a"].start()
    cluster.wait(5)
    assert cluster.writers(spec) == ["a"]
    assert [deed for deed, _ in cluster.members["a"].containers.deeds] == ["start", "freeze", "thaw"]


def test_a_node_process_that_comes_back_too_late_does_not(either: StrictCluster) -> None:
    """Its lease ran out: what it finds is killed, and never thawed before."""
    spec = either.strict_site()
    either.members["a"].kill_process()
    either.until(60, "b")
    either.members["a"].start()
    either.wait(20)
    assert either.writers(spec) == ["b"]
    assert [deed for deed, _ in either.members["a"].containers.deeds] == ["start", "freeze", "stop"]


def test_an_owner_cut_off_from_everything_stops_itself_and_another_serves(either: StrictCluster) -> None:
    """It fences itself at half its lease, tells people why, and what it wrote last is kept beside the winner."""
    spec = either.strict_site()
    either.isolate("a")
    either.members["a"].write(spec.id, "index.html", b"only here")
    assert either.until(60) < TTL_S / 2 + 5
    either.until(60, "b")
    assert either.members["a"].site(spec).trouble == BLOCKED
    assert either.members["a"].site(spec).state == "unavailable"
    either.join("a")
    either.wait(40)
    assert either.writers(spec) == ["b"]
    assert len(either.members["b"].site(spec).stashes) == 1
    assert either.members["a"].site(spec).trouble == ""


def test_without_etcd_it_goes_on_while_all_holders_agree(cluster: StrictCluster) -> None:
    """etcd is down for minutes: nothing stops. When it is back the owner claims anew, without a restart."""
    spec = cluster.strict_site()
    cluster.etcd.down = True
    cluster.wait(180)
    assert cluster.writers(spec) == ["a"]
    assert (cluster.members["b"].site(spec).state, cluster.members["b"].site(spec).trouble) == ("serving", AGREED)
    cluster.etcd.rebuild()
    cluster.etcd.down = False
    cluster.wait(10)
    assert cluster.writers(spec) == ["a"]
    assert cluster.members["b"].site(spec).trouble == ""
    assert [deed for deed, _ in cluster.members["a"].containers.deeds] == ["start"]
    cluster.members["a"].power_cut()
    cluster.until(60, "b")


def test_without_etcd_and_one_holder_silent_it_stops(cluster: StrictCluster) -> None:
    """All, not a majority: the silent one may be with somebody who hears etcd."""
    spec = cluster.strict_site()
    cluster.etcd.down = True
    cluster.wait(60)
    assert cluster.writers(spec) == ["a"]
    cluster.cut_off("c")
    cluster.until(15)
    cluster.wait(5)
    assert cluster.members["a"].site(spec).trouble == BLOCKED
    cluster.network.heal_all()
    cluster.etcd.down = False
    cluster.until(60, "a")


def test_without_failsafe_it_stops_and_goes_on_by_itself_when_etcd_is_back(logged: None) -> None:
    """What a hoster asked for who wants no exception; the site says why it is stopped."""
    cluster = StrictCluster(Strict(failsafe=False))
    cluster.start()
    spec = cluster.strict_site()
    cluster.etcd.down = True
    assert cluster.until(30) <= TTL_S / 2 + 1
    cluster.wait(5)
    for member in cluster.members.values():
        assert (member.site(spec).state, member.site(spec).trouble) == ("unavailable", BLOCKED)
    cluster.etcd.down = False
    cluster.until(30, "a")
    assert cluster.overlaps == []


def test_holders_that_hear_etcd_do_not_stand_against_their_promise(cluster: StrictCluster) -> None:
    """Only the owner is cut off from etcd, and all holders agree: it goes on, though etcd names nobody any more."""
    spec = cluster.strict_site()
    cluster.etcd.cut("a")
    cluster.wait(120)
    assert cluster.writers(spec) == ["a"]
    cluster.cut_off("a")
    cluster.until(15)
    cluster.until(60, "b")
    cluster.join("a")
    cluster.wait(30)
    assert cluster.writers(spec) == ["b"]


def test_a_promise_outlasts_an_owner_that_hangs(cluster: StrictCluster) -> None:
    """It goes on by agreement, then its process hangs: its guardian freezes it before those who agreed may stand."""
    spec = cluster.strict_site()
    cluster.etcd.cut("a")
    cluster.wait(60)
    assert cluster.writers(spec) == ["a"]
    cluster.members["a"].pause()
    frozen_s = cluster.until(15)
    assert frozen_s + cluster.until(60, "b") > TTL_S / 2
    cluster.members["a"].resume()
    cluster.wait(30)
    assert cluster.writers(spec) == ["b"]


def test_an_answer_that_is_lost_makes_no_second_owner(cluster: StrictCluster) -> None:
    """etcd did what was asked, the answer did not come: the node finds its own name there, or somebody else's."""
    spec = cluster.strict_site()
    cluster.etcd.deafen("b")
    cluster.members["a"].power_cut()
    cluster.wait(90)
    cluster.etcd.heal("b")
    cluster.wait(60)
    assert len(cluster.writers(spec)) == 1


def test_a_strict_site_moves_and_rolls_back(cluster: StrictCluster) -> None:
    """A planned move takes the key along; each claim is a new revision; the old owner does not take it back."""
    spec = cluster.strict_site()
    first = cluster.members["a"].site(spec).claim
    b = cluster.members["b"]
    cluster.run(cluster.members["a"].core.hosting.move(spec.id, b.id, Steps()))
    cluster.wait(30)
    assert cluster.writers(spec) == ["b"]
    second = b.site(spec).claim
    assert first is not None
    assert second is not None
    assert second.epoch > first.epoch
    oldest = b.core.hosting.history(spec.id)[0]
    cluster.run(b.core.hosting.rollback(spec.id, oldest.guid, Steps()))
    cluster.wait(30)
    third = b.site(spec).claim
    assert third is not None
    assert third.epoch > second.epoch
    assert cluster.owners(spec) == {"a": "b", "b": "b", "c": "b"}


def test_a_move_that_fails_leaves_it_where_it_was(cluster: StrictCluster) -> None:
    """The successor cannot be reached at the last step: the old owner goes on, under a new claim."""
    spec = cluster.strict_site()
    b = cluster.members["b"]
    b.containers.broken[spec.id] = "no memory"
    with pytest.raises(HybridError):
        cluster.run(cluster.members["a"].core.hosting.move(spec.id, b.id, Steps()), within_s=120)
    cluster.until(60, "a")
    cluster.wait(20)
    assert cluster.owners(spec) == {"a": "a", "b": "a", "c": "a"}


def roll_back(cluster: StrictCluster, spec: SiteSpec, number: int) -> None:
    """Write something on `a` and take it back."""
    a = cluster.members["a"]
    kept = cluster.run(a.core.hosting.snapshot(spec.id))
    a.write(spec.id, f"file{number}", b"wrong")
    cluster.run(a.core.hosting.rollback(spec.id, kept.guid, Steps()))
    cluster.wait(1)


def test_a_site_becomes_strict_and_available_again_and_its_epoch_never_falls(cluster: StrictCluster) -> None:
    """Also from a young etcd whose revisions are behind the epochs that the site has seen."""
    spec = cluster.create()
    cluster.watched.append(spec)
    cluster.wait(10)
    a = cluster.members["a"]
    for number in range(5):
        roll_back(cluster, spec, number)
    epochs = []
    for consistency in ("strict", "available", "strict"):
        cluster.run(a.core.hosting.edit(spec.id, {"consistency": consistency}))
        cluster.wait(15)
        claim = cluster.members["c"].site(spec).claim
        assert claim is not None
        epochs.append(claim.epoch)
        if consistency == "available":
            assert cluster.etcd.read([f"/hybrid/c-test/own/{spec.id}"]).entries == {}
            roll_back(cluster, spec, 99)
    assert epochs == sorted(epochs)
    assert epochs[0] > 5
    assert epochs[2] > epochs[1] + 1
    assert cluster.writers(spec) == ["a"]


def test_an_etcd_that_others_use_too(cluster: StrictCluster) -> None:
    """Its revisions are millions ahead: the site's epoch leaps, and everybody believes it."""
    cluster.etcd.rebuild(3_000_000)
    spec = cluster.create()
    cluster.watched.append(spec)
    cluster.wait(10)
    cluster.run(cluster.members["a"].core.hosting.edit(spec.id, {"consistency": "strict"}))
    cluster.wait(10)
    for name in cluster.members:
        claim = cluster.members[name].site(spec).claim
        assert claim is not None
        assert claim.epoch > 3_000_000
    cluster.members["a"].power_cut()
    cluster.until(60, "b")


def test_without_a_guardian_no_strict_site_starts(cluster: StrictCluster) -> None:
    """Nobody could stop it if the node process hung; a site that was not to be strict starts."""
    cluster.members["a"].guard.missing = True
    with pytest.raises(HybridError, match="guardian"):
        cluster.create(consistency="strict")
    cluster.wait(5)
    assert cluster.members["a"].core.outlook.view.sites == {}
    other = cluster.create("other")
    cluster.wait(1)
    assert cluster.members["a"].site(other).state == "serving"


def test_a_deleted_strict_site_is_nobodys_in_etcd(cluster: StrictCluster) -> None:
    """Nothing is left there that would keep its name taken."""
    spec = cluster.strict_site()
    cluster.run(cluster.members["a"].core.hosting.delete(spec.id, Steps()))
    cluster.wait(5)
    assert cluster.etcd.read([f"/hybrid/c-test/own/{spec.id}"]).entries == {}


def test_an_owner_whose_storage_died_gives_the_site_up(cluster: StrictCluster) -> None:
    """Nothing runs there any more, so it hands the key back after a while and another serves."""
    spec = cluster.strict_site()
    cluster.members["a"].pool.sick = "the disk is gone"
    cluster.until(120, "b")
    cluster.wait(1)
    assert cluster.members["b"].site(spec).state == "serving"
