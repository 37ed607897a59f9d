"""F12, F13: pools and quotas without room. Scenarios."""

from __future__ import annotations

from contextlib import ExitStack

from hybrid.lab.client import Api
from hybrid.lab.command import LabError
from hybrid.lab.faults.fault import Fault
from hybrid.lab.faults.hands import dataset, full, guids, snapshots, take_all, zfs
from hybrid.lab.faults.nemesis import apart, deaf
from hybrid.lab.faults.scoring import Target
from hybrid.lab.faults.stage import Stage
from hybrid.lab.guestbook import SITE
from hybrid.lab.node import Node

MEBIBYTE = 2**20
BIG_BYTES = 64 * MEBIBYTE
QUOTA_ROOM_BYTES = 24 * MEBIBYTE
RELIEF_S = 120.0
TIGHT = "tight"
FILE = "/srv/www/big"


def owners_pool_is_full(stage: Stage) -> None:
    """Nothing can be written where the site is: it goes where there is room, and pages are shown all the while."""
    owner = stage.owner
    with full(owner):
        stage.fault()
        told_s = stage.wait(lambda: _told_of(stage, owner), "the status tells of the full pool", 60.0)
        stage.note("alarm_s", told_s)
        moved_s = stage.wait(
            lambda: not stage.owners(stage.others()) & {None, owner.name}, "the site goes where there is room", RELIEF_S
        )
        stage.note("relieved_s", moved_s)
        stage.steady()
    stage.undone()
    stage.agreed()
    stage.steady()


def replicas_pool_is_full(stage: Stage) -> None:
    """A node that holds copies has no room for more: people are told, the others go on, and later it catches up."""
    replica = stage.others(stage.owner)[0]
    with full(replica):
        stage.fault()
        told_s = stage.wait(lambda: _told_of(stage, replica), "the status tells of the full pool", 60.0)
        stage.note("alarm_s", told_s)
        stage.last(15.0)
        stage.steady()
    stage.undone()
    stage.agreed()


def fills_up_during_a_receive(stage: Stage) -> None:
    """A large change comes in where there is room for a part of it: the old head stands until there is room again."""
    owner = stage.owner
    replica, site = stage.others(owner)[0], site_id(stage)
    try:
        with full(replica, BIG_BYTES // 4):
            before = snapshots(replica, dataset(replica, site))
            stage.fault()
            stage.unless(write(stage.lab.api(owner.name), SITE, BIG_BYTES), "person", "the change was not written")
            stage.last(10.0)
            take_all(replica)
            stage.last(10.0)
            stage.steady()
            after = snapshots(replica, dataset(replica, site))
            stage.unless(set(before[-1:]) <= set(after), "fatal", "the head of the replica is gone")
        stage.undone()
        stage.agreed()
    finally:
        stage.lab.any_api().call("POST", f"/sites/{SITE}/exec", {"argv": ["rm", "-f", FILE]}, 75.0)


def full_where_a_stash_is_made(stage: Stage) -> None:
    """Cut apart, both sides write; the side that loses has a full pool: its history is kept until there is room."""
    owner, site = stage.owner, site_id(stage)
    others = stage.others(owner)
    with ExitStack() as filled:
        with stage.parted(), deaf(stage.lab.network, apart(stage.lab.network, [owner], others)):
            stage.fault()
            stage.wait(
                lambda: not stage.owners(others) & {None, owner.name}, f"the others have one beside {owner.name}"
            )
            stage.steady()
            had = guids(owner, site)
            filled.enter_context(full(owner))
        stage.undone()
        stage.agreed()
        stage.wait(
            lambda: had <= set().union(*(guids(node, site) for node in stage.lab.live())),
            "all that was written on both sides is kept",
        )
    stage.steady()


def quota_is_full(stage: Stage) -> None:
    """A site at its quota: it alone notices, it is protected all the same, and makes room by deleting."""
    lab, owner = stage.lab, stage.owner
    lab.deploy(TIGHT, "php", owner.name, copies=1)
    api = lab.api(owner.name)
    try:
        name = dataset(owner, str(api.site(TIGHT)["id"]))
        quota_bytes = int(zfs(owner, "get", "-Hp", "-o", "value", "referenced", name)) + QUOTA_ROOM_BYTES
        api.call("PATCH", f"/sites/{TIGHT}", {"quota_bytes": quota_bytes})
        stage.fault()
        stage.unless(not write(api, TIGHT, 2 * QUOTA_ROOM_BYTES), "fatal", "more was written than the quota allows")
        stage.steady()
        stage.unless(api.site(SITE)["trouble"] == "", "fatal", "another site is in trouble as well")
        stage.wait(lambda: api.site(TIGHT)["safe_copies"] >= 1, "the full site is protected", 60.0)
        stage.wait(lambda: api.site(TIGHT)["data_bytes"] > quota_bytes / 2, "what it takes is shown", 60.0)
        freed = api.call("POST", f"/sites/{TIGHT}/exec", {"argv": ["rm", FILE]}, 75.0)
        stage.unless(not freed["status"], "person", f"nothing could be deleted at the quota: {freed['stderr']}")
        took_s = stage.wait(lambda: write(api, TIGHT, QUOTA_ROOM_BYTES // 2), "there is room after deleting", 60.0)
        stage.note("room_again_s", took_s)
        stage.undone()
    finally:
        api.call("DELETE", f"/sites/{TIGHT}")
        stage.wait(lambda: all(site["name"] != TIGHT for site in api.items("/sites")), "the site is deleted", 60.0)
    stage.agreed()


def write(api: Api, site: str, size_bytes: int) -> bool:
    """Write a file in the site that cannot be compressed. Returns whether there was room."""
    script = f"dd if=/dev/urandom of={FILE} bs=65536 count={size_bytes // 65536} && sync"
    return not api.call("POST", f"/sites/{site}/exec", {"argv": ["sh", "-c", script]}, 75.0)["status"]


def site_id(stage: Stage) -> str:
    """The guestbook's."""
    return str(stage.lab.any_api().site(SITE)["id"])


def _told_of(stage: Stage, node: Node) -> bool:
    """Whether the status says that the pool of `node` has no room."""
    try:
        return any(f"pool of {node.name} is" in finding for finding in stage.findings())
    except LabError:
        return False


_PAGES_GO_ON = Target(unavailable_s=20.0, elections=0)

FAULTS = (
    Fault("F12-owner", "the owner's pool is full", 3, owners_pool_is_full, _PAGES_GO_ON),
    Fault("F12-replica", "a replica's pool is full", 3, replicas_pool_is_full, Target(4.0, elections=0, stashes=0)),
    Fault("F12-receive", "a pool fills up during a receive", 3, fills_up_during_a_receive, Target(4.0, elections=0)),
    Fault("F12-stash", "a pool is full where a stash is made", 3, full_where_a_stash_is_made),
    Fault("F13", "a site reaches its quota", 3, quota_is_full, Target(4.0, elections=0, stashes=0)),
)
