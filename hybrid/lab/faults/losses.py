"""F15, F24: the storage daemon dies in the middle of something, and disks are lost for good. Scenarios."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

from hybrid.lab.cluster import POOL_BYTES
from hybrid.lab.command import LabError
from hybrid.lab.faults.ambush import Ambush, Moment, daemon, lying_in_wait
from hybrid.lab.faults.deaths import await_successor
from hybrid.lab.faults.fault import Fault
from hybrid.lab.faults.hands import dataset, guids, snapshots
from hybrid.lab.faults.room import BIG_BYTES, FILE, site_id, write
from hybrid.lab.faults.scoring import Target
from hybrid.lab.faults.stage import Stage
from hybrid.lab.guestbook import SITE
from hybrid.lab.node import Node

MOMENTS: tuple[Moment, ...] = ("before", "amid", "after")
COPIED_AGAIN_S = 60.0


def daemon_dies_while_receiving(stage: Stage) -> None:
    """The replica's zfs-fuse is killed while a large change comes in: the old head or the new, never between."""
    owner, site = stage.owner, site_id(stage)
    replica = stage.others(owner)[0]
    before = snapshots(replica, dataset(replica, site))
    stage.fault()
    try:
        with lying_in_wait(replica, "receive") as ambush:
            ambush.arm(daemon(replica), "amid", stage.chance.uniform(0.12, 0.2))
            stage.unless(write(stage.lab.api(owner.name), SITE, BIG_BYTES), "person", "the change was not written")
            _killed(stage, replica, ambush, "receives")
        stage.wait(partial(_holds, replica, site), "its pool is back", 60.0)
        after = snapshots(replica, dataset(replica, site))
        stage.unless(set(before[-1:]) <= set(after), "fatal", "the head that was there is gone")
        stage.undone()
        stage.agreed()
    finally:
        stage.lab.any_api().call("POST", f"/sites/{SITE}/exec", {"argv": ["rm", "-f", FILE]}, 75.0)
    stage.steady()


def daemon_of_the_owner_dies(stage: Stage) -> None:
    """The owner's zfs-fuse is killed three times: as a snapshot is asked for, made, and done: nothing is lost."""
    for number, moment in enumerate(MOMENTS):
        owner = stage.owner
        if not number:
            stage.fault()
        with lying_in_wait(owner, "snapshot") as ambush:
            ambush.arm(daemon(owner), moment, stage.chance.uniform(0.001, 0.004))
            _killed(stage, owner, ambush, "takes a snapshot")
        since_s = time.time()
        stage.steady()
        stage.say(f"killed {moment} a snapshot, written again through all nodes after {time.time() - since_s:.1f} s")
    stage.undone()
    stage.agreed()


def _killed(stage: Stage, node: Node, ambush: Ambush, what: str) -> None:
    """Until the storage daemon of `node` was killed as it `what`, and another one runs."""
    old = node.pids("zfs-fuse")
    stage.wait(lambda: ambush.sprung, f"{node.name} {what}", 60.0)
    stage.wait(lambda: not set(old) & set(node.pids("zfs-fuse")), f"the daemon of {node.name} is killed", 10.0)
    stage.wait(partial(_has_daemon, node), "the daemon is started again", 60.0)


def _has_daemon(node: Node) -> bool:
    """Whether its storage daemon runs."""
    return bool(node.pids("zfs-fuse"))


def _holds(node: Node, site: str) -> bool:
    """Whether it has a history of the site."""
    return bool(snapshots(node, dataset(node, site)))


def owners_disk_is_lost(stage: Stage) -> None:
    """The owner's disk is gone with the machine's power; an empty one is put in: all that was safe on two is there."""
    owner, site = stage.owner, site_id(stage)
    with stage.quiet() as guid:
        others = stage.others(owner)
        stage.wait(lambda: all(guid in guids(node, site) for node in others), "all that was written is on all copies")
        owner.kill()
        stage.fault()
    _replace_disks(stage, [owner], lambda: await_successor(stage, owner))


def disks_of_replicas_are_lost(stage: Stage) -> None:
    """Two disks of three are lost at once, those of the replicas: the site never notices, and is copied again."""
    lost = stage.others(stage.owner)
    for node in lost:
        node.kill()
    stage.fault()
    _replace_disks(stage, lost, lambda: None)


def _replace_disks(stage: Stage, nodes: Sequence[Node], meanwhile: Callable[[], None]) -> None:
    with stage.excusing(*nodes):
        try:
            meanwhile()
            stage.steady(stage.others(*nodes))
            for node in nodes:
                _new_disk(node)
        finally:
            for node in nodes:
                stage.lab.start(node.name)
        stage.undone()
        begin_s = time.monotonic()
        site = site_id(stage)
        for node in nodes:
            stage.wait(partial(_holds, node, site), f"{node.name} holds the site again", 120.0)
        took_s = time.monotonic() - begin_s
        stage.note("copied_again_s", took_s)
        stage.unless(took_s <= COPIED_AGAIN_S, "slow", f"copied again after {took_s:.0f} s")
        stage.agreed()
    stage.steady()


def _new_disk(node: Node) -> None:
    """An empty pool under the same name, as somebody makes who has replaced a broken disk."""
    node.disk.unlink()
    for cache in (node.base / "zfs").glob("*/zpool.cache"):
        cache.unlink()
    script = (
        f"truncate -s {POOL_BYTES} {node.disk} && {{ zfs-fuse -n & }} && for i in $(seq 100); do"
        f" zpool list >/dev/null 2>&1 && break; sleep 0.1; done; zpool create -m none {node.pool} {node.disk}; sync"
    )
    node.run(["sh", "-c", script])
    if not any((node.base / "zfs").glob("*/zpool.cache")):
        raise LabError(f"{node.name}: its new pool is not remembered")


_ONCE = Target(elections=1)
_CALM = Target(unavailable_s=4.0, elections=0)

FAULTS = (
    Fault(
        "F15-receive",
        "a replica's storage daemon dies while it receives",
        3,
        daemon_dies_while_receiving,
        Target(4.0, elections=0, stashes=0),
    ),
    Fault(
        "F15-snapshot",
        "the owner's storage daemon dies, three times",
        3,
        daemon_of_the_owner_dies,
        Target(unavailable_s=30.0, elections=3),
    ),
    Fault("F24-owner", "the owner's disk is lost", 3, owners_disk_is_lost, _ONCE),
    Fault("F24-replicas", "the disks of both replicas are lost", 3, disks_of_replicas_are_lost, _CALM),
)
