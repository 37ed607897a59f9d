"""F1, F2, F20: nodes, data centres and whole clusters die, and return. Scenarios."""

from __future__ import annotations

from hybrid.lab.faults.fault import Fault
from hybrid.lab.faults.nemesis import powerless
from hybrid.lab.faults.scoring import Target
from hybrid.lab.faults.stage import Stage
from hybrid.lab.node import Node


def owner_dies(stage: Stage) -> None:
    """Power cut of the owner; the others serve; it returns."""
    dead = stage.owner
    with stage.excusing(dead), powerless(stage.lab, dead):
        stage.fault()
        await_successor(stage, dead)
        stage.steady(stage.others(dead))
        stage.undone()
    stage.agreed()


def owner_returns(stage: Stage) -> None:
    """The owner dies right after writes; when it is back, what only it had is in a stash, and nobody flaps."""
    dead = stage.owner
    stage.steady([dead])
    with stage.excusing(dead), powerless(stage.lab, dead):
        stage.fault()
        await_successor(stage, dead)
        stage.steady(stage.others(dead))
        successor = stage.owner
        stage.undone()
    stage.agreed()
    took_s = stage.wait(lambda: tail_is_safe(stage), "the tail of the old owner is set aside", 90.0)
    stage.note("tail_safe_s", took_s)
    stage.unless(took_s <= 60.0, "slow", f"the tail was set aside after {took_s:.0f} s")
    stage.unless(stage.owner is successor, "slow", f"the site moved from {successor.name} without need")
    stage.steady()


def replica_dies(stage: Stage) -> None:
    """Power cut of a node that only holds copies: nobody notices."""
    dead = stage.others(stage.owner)[0]
    with stage.excusing(dead), powerless(stage.lab, dead):
        stage.fault()
        stage.wait(lambda: stage.events("node-down") > 0, "its death is noticed", 60.0)
        stage.steady(stage.others(dead))
        stage.undone()
    stage.agreed()


def data_centre_dies(stage: Stage) -> None:
    """All nodes of the owner's data centre lose power; the other one serves."""
    place = stage.owner.dc
    dead = [node for node in stage.lab.nodes.values() if node.dc == place]
    left = stage.others(*dead)
    stage.say(f"{place} loses power: {' '.join(node.name for node in dead)}")
    with stage.excusing(*dead), powerless(stage.lab, *dead):
        stage.fault()
        names = {node.name for node in left}
        stage.wait(
            lambda: len(found := stage.owners(left)) == 1 and found <= names, "the other data centre has an owner"
        )
        stage.steady(left)
        stage.undone()
    stage.agreed()
    stage.steady()


def everything_dies(stage: Stage) -> None:
    """All nodes lose power at once and come back, the last owner first or last, as it comes."""
    nodes = stage.others()
    stage.chance.shuffle(nodes)
    stage.say(f"power for {', '.join(node.name for node in nodes)}, in this order")
    with stage.excusing(*nodes):
        with powerless(stage.lab, *nodes):
            stage.fault()
        stage.undone()
        stage.agreed()
    stage.steady()


def one_is_missing(stage: Stage) -> None:
    """All lose power; the last owner comes back long after the others, who elected the best of what they have."""
    late = stage.owner
    stage.steady([late])
    with stage.excusing(*stage.others()), powerless(stage.lab, late):
        with powerless(stage.lab, *stage.others(late)):
            stage.fault()
        await_successor(stage, late)
        stage.steady(stage.others(late))
        stage.undone()
    stage.agreed()
    stage.wait(lambda: tail_is_safe(stage), "the tail of the late node is set aside", 90.0)
    stage.steady()


def await_successor(stage: Stage, dead: Node) -> None:
    """Until all others name one live owner that is not `dead`."""
    took_s = stage.wait(
        lambda: len(found := stage.owners(stage.others(dead))) == 1 and not found & {None, dead.name},
        f"the others name an owner that is not {dead.name}",
    )
    owner = stage.owner
    stage.evidence.moved = (dead.address, owner.address)
    stage.say(f"{dead.name} lost; {owner.name} is the owner after {took_s:.1f} s")


def tail_is_safe(stage: Stage) -> bool:
    """Whether every acknowledged write is on the main line, or some stash was made since the fault."""
    since_s = stage.evidence.fault_wall_s or 0.0
    acked = {ack.id for ack in stage.acks() if ack.acked_s <= since_s}
    return acked <= set(stage.site.ids()) or stage.events("stash", since_s) > 0


FAULTS = (
    Fault("F1-three", "the owner of three nodes dies", 3, owner_dies, times=8),
    Fault("F1-two", "the owner of two nodes dies", 2, owner_dies, times=8),
    Fault("F1-replica", "a node dies that owns nothing", 3, replica_dies, Target(unavailable_s=4.0, elections=0)),
    Fault("DC", "the owner's data centre dies", 4, data_centre_dies, times=4),
    Fault("F20-all", "all nodes off, on in any order", 3, everything_dies, Target(healed_s=60.0)),
    Fault("F20-missing", "all nodes off, the last owner back late", 3, one_is_missing, Target(healed_s=60.0)),
    Fault("F2", "the owner returns with a tail", 3, owner_returns),
)
