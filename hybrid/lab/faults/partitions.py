"""F5 to F9: cuts, in one direction and both, rings, flapping, losses and slow lines. Scenarios."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from hybrid.lab.faults.fault import Fault
from hybrid.lab.faults.nemesis import apart, deaf, flapping, lossy, slow
from hybrid.lab.faults.scoring import Target
from hybrid.lab.faults.stage import Stage
from hybrid.lab.network import Pair
from hybrid.lab.node import Node


def owner_alone(stage: Stage) -> None:
    """The owner is cut off from all others: both sides serve, then one history wins and the other is a stash."""
    owner = stage.owner
    split(stage, [owner], stage.others(owner))


def data_centres(stage: Stage) -> None:
    """The data centres are cut apart."""
    sides: dict[str, list[Node]] = {}
    for node in stage.others():
        sides.setdefault(node.dc, []).append(node)
    split(stage, *sides.values())


def split(stage: Stage, *sides: Sequence[Node]) -> None:
    """Until each side has an owner of its own and acknowledges writes; then healed."""
    stage.say("cut apart: " + " | ".join(" ".join(node.name for node in side) for side in sides))
    with stage.parted(), deaf(stage.lab.network, apart(stage.lab.network, *sides)):
        stage.fault()
        for side in sides:
            own = {node.name for node in side}
            stage.wait(
                lambda side=side, own=own: len(found := stage.owners(side)) == 1 and found <= own,  # type: ignore[misc]  # bound now
                f"{' '.join(sorted(own))} have an owner of their own",
            )
        stage.steady()
        stage.undone()
    stage.agreed()
    stage.steady()


def nobody_hears_the_owner(stage: Stage) -> None:
    """The owner hears all and is heard by none."""
    owner = stage.owner
    cut(stage, [(owner.name, node.name) for node in stage.others(owner)], excused=[owner])


def the_owner_hears_nobody(stage: Stage) -> None:
    """All hear the owner, and it hears none."""
    owner = stage.owner
    cut(stage, [(node.name, owner.name) for node in stage.others(owner)], excused=[owner])


def one_replica_is_deaf(stage: Stage) -> None:
    """One replica does not hear the owner; the third node hears both."""
    owner = stage.owner
    deaf_one = stage.others(owner)[-1]
    cut(stage, [(owner.name, deaf_one.name)], excused=[deaf_one], calm=True)


def bridge(stage: Stage) -> None:
    """The owner and one replica do not hear each other; the third node hears both."""
    owner = stage.owner
    far = stage.others(owner)[-1]
    cut(stage, apart(stage.lab.network, [owner], [far]), excused=[far], calm=True)


def ring(stage: Stage) -> None:
    """Four nodes in a ring: each hears its two neighbours."""
    n1, n2, n3, n4 = stage.others()
    across = n3 if stage.owner is n1 else n4 if stage.owner is n2 else n1 if stage.owner is n3 else n2
    pairs = apart(stage.lab.network, [n1], [n3]) + apart(stage.lab.network, [n2], [n4])
    cut(stage, pairs, excused=[across], calm=True)


def cut(stage: Stage, pairs: Sequence[Pair], excused: Sequence[Node], calm: bool = False) -> None:
    """
    Cut for `CUT_S`; at least one node acknowledges writes meanwhile, and epochs do not grow for ever.

    Args:
        excused: Who cannot reach the owner need not answer.
        calm: All still hear of each other through somebody, so nobody may be elected.
    """
    with stage.excusing(*excused), stage.parted(), deaf(stage.lab.network, pairs):
        stage.fault()
        stage.last(CUT_S)
        late_s = time.time()
        through = {ack.node for ack in stage.acks() if ack.sent_s > late_s - CUT_S / 3}
        stage.unless(bool(through), "person", "no node acknowledged a write any more while the cut lasted")
        stage.undone()
    stage.agreed()
    stage.steady()
    elected = stage.events("elected")
    stage.unless(not calm or not elected, "slow", f"{elected} elections though all heard of each other")
    _quiet(stage)


def _quiet(stage: Stage) -> None:
    """After healing no further election comes."""
    since_s = time.time()
    stage.last(QUIET_S)
    more = stage.events("elected", since_s)
    stage.unless(not more, "person", f"{more} elections after all was healed: they do not end")


def flaps(half_s: float) -> Callable[[Stage], None]:
    """The owner's line goes and comes again."""

    def run(stage: Stage) -> None:
        owner = stage.owner
        pairs = apart(stage.lab.network, [owner], stage.others(owner))
        with stage.parted():
            stage.fault()
            flapping(stage.lab.network, pairs, half_s, FLAP_S)
            stage.undone()
        stage.agreed()
        stage.steady()

    return run


def loses(percent: int) -> Callable[[Stage], None]:
    """So many of a hundred frames between nodes get lost."""

    def run(stage: Stage) -> None:
        with lossy(stage.lab.network, percent):
            stage.fault()
            stage.last(LOSS_S)
            stage.undone()
        stage.agreed()
        stage.steady()

    return run


def slow_lines(stage: Stage) -> None:
    """Every node's line carries a megabit a second."""
    with slow(stage.lab.network, stage.others(), 1_000_000):
        stage.fault()
        stage.last(LOSS_S)
        stage.undone()
    stage.agreed()
    stage.steady()


CUT_S = 35.0
FLAP_S = 40.0
LOSS_S = 40.0
QUIET_S = 15.0
_CALM = Target(elections=0, stashes=0)

FAULTS = (
    Fault("F5-two", "two nodes do not hear each other", 2, owner_alone, Target(elections=1)),
    Fault("F5-three", "the owner of three is cut off", 3, owner_alone, Target(elections=1)),
    Fault("F6-out", "nobody hears the owner", 3, nobody_hears_the_owner, Target(elections=1)),
    Fault("F6-in", "the owner hears nobody", 3, the_owner_hears_nobody, Target(elections=1)),
    Fault("F6-one", "one replica does not hear the owner", 3, one_replica_is_deaf, _CALM),
    Fault("F7-bridge", "owner and one replica cut apart, the third hears both", 3, bridge, _CALM),
    Fault("F7-ring", "four nodes in a ring", 4, ring, _CALM),
    Fault("F8-1s", "the owner's line flaps, 1 s", 3, flaps(1.0), Target(unavailable_s=30.0, elections=0)),
    Fault("F8-3s", "the owner's line flaps, 3 s", 3, flaps(3.0), Target(unavailable_s=30.0, elections=0)),
    Fault("F8-7s", "the owner's line flaps, 7 s", 3, flaps(7.0), Target(unavailable_s=40.0, elections=2)),
    Fault("F9-5", "5 % of frames lost", 3, loses(5), _CALM),
    Fault("F9-20", "20 % of frames lost", 3, loses(20), Target(unavailable_s=40.0, elections=0, stashes=0)),
    Fault("F9-40", "40 % of frames lost", 3, loses(40), Target(unavailable_s=60.0, elections=1)),
    Fault("F9-slow", "lines of 1 Mbit/s", 3, slow_lines, _CALM),
    Fault("F5-dc", "two data centres do not hear each other", 4, data_centres, Target(elections=1)),
)
