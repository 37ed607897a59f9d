"""The deeds whose every crash point is tried: what comes before, what is done, and on which node the power goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hybrid.deeds import CreateSite
from hybrid.hosting.holdings import dataset_of
from hybrid.hosting.purge import Purge
from hybrid.storage.memory import MemoryPool
from tests.crashes.stage import Stage
from tests.node.cluster import Steps


@dataclass(frozen=True, slots=True)
class Deed:
    """
    One thing that a node does.

    Attributes:
        name: For people.
        actor: The node whose power is cut.
        act: Begin it.
        lasts_s: After so long it is over, when nothing happens to it.
        prepare: Bring the cluster to where it begins.
        afterwards: Once the power was cut and is back, or once all is over: let the cluster be whole again.
    """

    name: str
    actor: str
    act: Callable[[Stage], None]
    lasts_s: float
    prepare: Callable[[Stage], None]
    afterwards: Callable[[Stage], None] = lambda stage: None


def _site(stage: Stage) -> None:
    """A site on a, copies on b and c."""
    stage.site = stage.create(stage.a)


def _nothing(stage: Stage) -> None:
    """Three nodes and an image."""


def _create(stage: Stage) -> None:
    stage.begin(stage.a.core.hosting.create(CreateSite(name="shop", image="static"), Steps()))


def _dead_owner(stage: Stage) -> None:
    """The owner died with writes that nobody else has, and another took over."""
    _site(stage)
    stage.wait(2)
    stage.a.power_cut()
    stage.wait(25)


def _split(stage: Stage) -> None:
    """Both data centres went on by themselves."""
    _site(stage)
    stage.cluster.network.partition({stage.a.id, stage.b.id}, {stage.c.id})
    stage.wait(25)


def _split_alone(stage: Stage) -> None:
    """The owner was alone, and both others have changed since."""
    _site(stage)
    stage.cluster.network.partition({stage.a.id}, {stage.b.id, stage.c.id})
    stage.wait(25)


def _split_asking(stage: Stage) -> None:
    """Both data centres went on by themselves, and a person is to say whose history goes on."""
    _site(stage)
    stage.cluster.run(stage.a.core.hosting.edit(stage.site, {"policy": "ask"}))
    stage.wait(12)
    stage.cluster.network.partition({stage.a.id, stage.b.id}, {stage.c.id})
    stage.wait(25)


def _asked(stage: Stage) -> None:
    """They met again, and both wait for a person."""
    _split_asking(stage)
    _heal(stage)
    stage.wait(20)


def _pick(stage: Stage) -> None:
    """A person picks what c has, as soon as anybody asks, and says so at a node that is up."""
    node = stage.b.core
    if node.outlook.view.sites[stage.site].awaiting:
        node.hosting.pick(stage.site, stage.c.id, "anna")


def _pick_later(stage: Stage) -> None:
    stage.wait(20)
    _pick(stage)


def _deleted(stage: Stage) -> None:
    """In the trash everywhere."""
    _site(stage)
    stage.wait(12)
    _delete(stage)
    stage.wait(10)


def _undelete(stage: Stage) -> None:
    stage.b.core.hosting.undelete(stage.site, "anna")


def _deleted_elsewhere(stage: Stage) -> None:
    """The owner was cut off and nobody wrote there; another took the site over and deleted it."""
    _site(stage)
    stage.writing = False
    stage.wait(15)
    stage.cluster.network.partition({stage.a.id}, {stage.b.id, stage.c.id})
    stage.wait(25)
    for member in (stage.b, stage.c):
        if member.core.outlook.view.sites[stage.site].owner == member.id:
            stage.begin(member.core.hosting.delete(stage.site, Steps()))
    stage.wait(10)


def _heal(stage: Stage) -> None:
    stage.cluster.network.heal_all()


def _start_a(stage: Stage) -> None:
    if not stage.a.up:
        stage.start(stage.a)


def _strangers(stage: Stage) -> None:
    """While b was down, somebody put a data set of quite another history in the place of its copy."""
    _site(stage)
    stage.b.power_cut()
    pool, name, run = stage.b.pool, dataset_of(stage.site), stage.cluster.run
    properties = run(pool.dataset(name)).properties
    run(pool.rename(name, "trash/by-hand"))
    run(pool.create(name, properties))
    pool.write(name, "strange", b"kept")
    stage.taken[run(pool.snapshot(name, "by-hand")).guid] = "b by hand"
    stage.wait(1)


def _start_b(stage: Stage) -> None:
    if not stage.b.up:
        stage.start(stage.b)


def _new_disk(stage: Stage) -> None:
    """The disk of b was replaced."""
    _site(stage)
    stage.b.power_cut()
    stage.b.pool = MemoryPool(stage.cluster.wall_s, seed="b2")
    stage.wait(1)


def _owner_new_disk(stage: Stage) -> None:
    """All was replicated; then the owner's disk was replaced, so fast that nobody missed it."""
    _site(stage)
    stage.writing = False
    stage.wait(12)
    stage.taken = {guid: name for guid, name in stage.taken.items() if stage.b.holds(stage.site, guid)}
    stage.a.power_cut()
    stage.a.pool = MemoryPool(stage.cluster.wall_s, seed="a2")


def _rolled_back(stage: Stage) -> None:
    _site(stage)
    _rollback(stage)
    stage.wait(20)


def _rollback(stage: Stage) -> None:
    history = stage.a.core.replicator.history(stage.site)
    stage.begin(stage.a.core.hosting.rollback(stage.site, history[len(history) // 2].guid, Steps()))


def _undo(stage: Stage) -> None:
    stage.begin(stage.a.core.hosting.undo(stage.site, Steps()))


def _move(stage: Stage) -> None:
    stage.begin(stage.a.core.hosting.move(stage.site, stage.c.id, Steps()))


def _delete(stage: Stage) -> None:
    stage.begin(stage.a.core.hosting.delete(stage.site, Steps()))


def _edit(stage: Stage) -> None:
    stage.begin(stage.a.core.hosting.edit(stage.site, {"memory_bytes": 300 << 20, "quota_bytes": 1 << 30}))


def _ghost(stage: Stage) -> None:
    """b was down, and remembers a claim larger than the owner's that nobody holds any more."""
    _site(stage)
    stage.b.power_cut()
    stage.cluster.run(stage.b.pool.set_properties(dataset_of(stage.site), {"seen": f"9,{stage.c.id}"}))
    stage.wait(1)


def _by_hand(stage: Stage) -> None:
    """Somebody took a snapshot of a copy."""
    taken = stage.cluster.run(stage.b.pool.snapshot(dataset_of(stage.site), "by-hand"))
    stage.taken[taken.guid] = "b by hand"


def _old_history(stage: Stage) -> None:
    """Five minutes of snapshots that are three hours old, just before they are thinned out."""
    _site(stage)
    stage.wait(20)
    stage.writing = False
    while stage.cluster.clock.seconds() < 313:
        stage.cluster.clock.advance(0.5)
    stage.writing = True
    stage.cluster.later_s = 3 * 3600


def _deleted_long_ago(stage: Stage) -> None:
    """The trash is a week old: what was in it need not be kept any more."""
    _site(stage)
    stage.cluster.run(stage.a.core.hosting.delete(stage.site, Steps()))
    stage.wait(10)
    stage.cluster.later_s = 8 * 86400
    stage.taken, stage.written = {}, []


def _purge(stage: Stage) -> None:
    pool = stage.a.life.sees(stage.a.pool)
    stage.begin(Purge(pool, stage.a.core.deletions.entry, stage.cluster.wall_s).look())


def _purge_again(stage: Stage) -> None:
    _purge(stage)
    stage.wait(1)
    left = [one.name for one in stage.cluster.run(stage.a.pool.datasets()) if one.name.startswith("trash/")]
    assert left == [], f"{left} cannot be emptied"


def _kill_process(stage: Stage) -> None:
    stage.a.kill_process()
    stage.start(stage.a)


def _crash_container(stage: Stage) -> None:
    stage.a.containers.crash(stage.site)


def _kill_a(stage: Stage) -> None:
    stage.a.power_cut()


def _wait_on(stage: Stage) -> None:
    """Writes, snapshots and sends go on."""


DEEDS = (
    Deed("create", "a", _create, 5, _nothing),
    Deed("take over", "b", _kill_a, 20, _site, _start_a),
    Deed("return of a dead owner", "a", _start_a, 45, _dead_owner),
    Deed("the new owner when the dead one returns", "b", _start_a, 45, _dead_owner, _start_a),
    Deed("conflict, at the old owner", "a", _heal, 45, _split),
    Deed("conflict, at the new owner", "c", _heal, 45, _split),
    Deed("conflict, at the old owner alone", "a", _heal, 45, _split_alone),
    Deed("conflict, at a replica", "b", _heal, 45, _split),
    Deed("receive with no common base", "b", _start_b, 40, _strangers, _start_b),
    Deed("receive all", "b", _start_b, 30, _new_disk, _start_b),
    Deed("send all", "a", _start_b, 30, _new_disk, _start_b),
    Deed("take over from an owner whose disk was replaced", "b", _start_a, 25, _owner_new_disk, _start_a),
    Deed("receive increments", "b", _wait_on, 12, _site),
    Deed("rollback", "a", _rollback, 5, _site),
    Deed("rollback, at a replica", "b", _rollback, 20, _site),
    Deed("undo", "a", _undo, 5, _rolled_back),
    Deed("undo, at a replica", "b", _undo, 20, _rolled_back),
    Deed("move, old owner", "a", _move, 5, _site),
    Deed("move, new owner", "c", _move, 5, _site),
    Deed("delete", "a", _delete, 5, _site),
    Deed("delete, at a replica", "b", _delete, 5, _site),
    Deed("wait for a pick", "a", _heal, 20, _split_asking, _pick_later),
    Deed("go on as picked", "c", _pick, 20, _asked, _pick_later),
    Deed("give way as picked", "a", _pick, 20, _asked, _pick_later),
    Deed("undelete", "a", _undelete, 10, _deleted),
    Deed("obey a deletion that another decided", "a", _heal, 20, _deleted_elsewhere),
    Deed("edit", "a", _edit, 3, _site),
    Deed("receive over a snapshot made by hand", "b", _by_hand, 20, _site),
    Deed("retention", "a", _wait_on, 12, _old_history),
    Deed("retention, at a replica", "b", _wait_on, 12, _old_history),
    Deed("purge", "a", _purge, 1, _deleted_long_ago, _purge_again),
    Deed("re-affirm", "a", _start_b, 25, _ghost, _start_b),
    Deed("adopt", "a", _kill_process, 5, _site),
    Deed("restart of a container", "a", _crash_container, 8, _site),
)

TWICE = frozenset(
    {
        "return of a dead owner",
        "conflict, at the new owner",
        "receive with no common base",
        "rollback",
    }
)
"""Deeds with a fence or a stash, after which the power is cut again in the recovery."""
