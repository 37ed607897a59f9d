"""F17: people work on datasets by hand, on both sides. Scenarios."""

from __future__ import annotations

from functools import partial

from hybrid.lab.faults.fault import Fault
from hybrid.lab.faults.hands import dataset, forget, guids, line, snapshots, zfs
from hybrid.lab.faults.nemesis import apart, deaf
from hybrid.lab.faults.room import site_id
from hybrid.lab.faults.scoring import Target
from hybrid.lab.faults.stage import Stage
from hybrid.lab.node import Node


def base_is_destroyed(stage: Stage) -> None:
    """All that owner and a replica have in common is destroyed by hand: both lines are kept, the copy is made anew."""
    owner, site = stage.owner, site_id(stage)
    replica = stage.others(owner)[0]
    with stage.excusing(replica), deaf(stage.lab.network, apart(stage.lab.network, [replica], stage.others(replica))):
        stage.fault()
        theirs = line(replica, site)
        stage.wait(lambda: bool(line(owner, site) - theirs), "the owner has newer snapshots", 60.0)
        stage.wait(partial(_nothing_in_common, owner, site, theirs), "all that they had in common is destroyed", 60.0)
        stage.undone()
    stage.agreed()
    _in_step(stage, owner, replica, site)
    stage.unless(theirs <= guids(replica, site), "fatal", "the replica gave up what it had")
    stage.wait(lambda: stage.events("stash") > 0, "what the replica had is set aside", 60.0)


def _nothing_in_common(node: Node, site: str, theirs: set[str]) -> bool:
    """Destroy what is in common on the main line; what is being sent just now stays until the next try."""
    for snapshot in snapshots(node, dataset(node, site)):
        if _guid(node, snapshot) in theirs:
            forget(node, snapshot)
    return not line(node, site) & theirs


def replica_is_modified(stage: Stage) -> None:
    """Somebody mounts a replica and writes to it: that is set aside, and replication goes on."""
    owner, site = stage.owner, site_id(stage)
    replica = stage.others(owner)[0]
    name, place = dataset(replica, site), replica.base / "by-hand"
    place.mkdir(exist_ok=True)
    stage.fault()
    try:
        zfs(replica, "set", "readonly=off", name)
        zfs(replica, "set", f"mountpoint={place}", name)
        replica.shell(["zfs", "mount", name])  # that may have mounted it already
        done = replica.shell(["sh", "-c", f"echo mine > {place}/by-hand"])
        stage.unless(not done.returncode, "person", f"nothing could be written by hand: {done.stderr.decode()}")
    finally:
        zfs(replica, "unmount", name)
        zfs(replica, "set", "mountpoint=none", name)
        zfs(replica, "set", "readonly=on", name)
    stage.undone()
    stage.wait(lambda: stage.events("stash") > 0, "the change is set aside", 90.0)
    _in_step(stage, owner, replica, site)
    stage.agreed()


def foreign_snapshot(stage: Stage) -> None:
    """Somebody takes a snapshot on a replica, as scripts do: it is kept, and replication goes on."""
    owner, site = stage.owner, site_id(stage)
    replica = stage.others(owner)[0]
    stage.fault()
    zfs(replica, "snapshot", f"{dataset(replica, site)}@before-upgrade")
    had = guids(replica, site)
    stage.undone()
    _in_step(stage, owner, replica, site)
    stage.unless(had <= guids(replica, site), "fatal", "the snapshot taken by hand is gone")
    stage.agreed()


def names_clash(stage: Stage) -> None:
    """Snapshots on a replica have the very names that the owner uses next: told apart by guid, both are kept."""
    owner, site = stage.owner, site_id(stage)
    replica = stage.others(owner)[0]
    stage.fault()
    head = snapshots(owner, dataset(owner, site))[-1].partition("@")[2]
    start, _, number = head.rpartition("-")
    for step in range(1, 6):
        clash = f"{dataset(replica, site)}@{start}-{int(number) + step:07d}"
        done = replica.shell(["zfs", "snapshot", clash])
        stage.say(f"{clash.partition('@')[2]}: {'taken by hand' if not done.returncode else 'is there already'}")
    had = guids(replica, site)
    stage.undone()
    _in_step(stage, owner, replica, site)
    stage.unless(had <= guids(replica, site), "fatal", "snapshots taken by hand are gone")
    stage.agreed()


def _in_step(stage: Stage, owner: Node, replica: Node, site: str) -> None:
    """Until the replica's newest snapshot is one of the owner's newest."""

    def same() -> bool:
        ours, theirs = (snapshots(node, dataset(node, site)) for node in (owner, replica))
        newest = [name.partition("@")[2] for name in ours[-4:]]
        return (
            bool(theirs) and theirs[-1].partition("@")[2] in newest and _guid(replica, theirs[-1]) in guids(owner, site)
        )

    took_s = stage.wait(same, f"{replica.name} follows {owner.name} again", 120.0)
    stage.note("in_step_s", took_s)


def _guid(node: Node, snapshot: str) -> str:
    return zfs(node, "get", "-Hp", "-o", "value", "guid", snapshot).strip()


_UNNOTICED = Target(unavailable_s=4.0, elections=0)

FAULTS = (
    Fault("F17-base", "the common base is destroyed by hand", 3, base_is_destroyed, _UNNOTICED),
    Fault("F17-modified", "a replica is modified by hand", 3, replica_is_modified, _UNNOTICED),
    Fault("F17-foreign", "a snapshot is taken by hand on a replica", 3, foreign_snapshot, _UNNOTICED),
    Fault("F17-clash", "snapshots of the same names are on a replica", 3, names_clash, _UNNOTICED),
)
