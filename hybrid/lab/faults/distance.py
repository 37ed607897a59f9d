"""F10, F18: a node far away, and a line that changes bits. Scenarios."""

from __future__ import annotations

import time

from hybrid.lab.command import LabError
from hybrid.lab.faults.fault import Fault
from hybrid.lab.faults.hands import dataset, snapshots
from hybrid.lab.faults.nemesis import relayed
from hybrid.lab.faults.room import BIG_BYTES, FILE, site_id, write
from hybrid.lab.faults.scoring import Target
from hybrid.lab.faults.stage import Stage
from hybrid.lab.guestbook import SITE

ONE_WAY_S = 0.1
FAR_S = 60.0
PROMISE_S = 30.0
FLIP_EVERY = 40


def a_node_is_far_away(stage: Stage) -> None:
    """200 ms to one node and back: nobody takes it for dead, and it has every change within the promised time."""
    owner = stage.owner
    far = stage.others(owner)[-1]
    lags: list[float] = []
    with relayed(stage.lab.network, far, ONE_WAY_S):
        stage.fault()
        end_s = time.monotonic() + FAR_S
        while time.monotonic() < end_s:
            lag_s = _lag_s(stage, owner.name)
            lags += [] if lag_s is None else [lag_s]
            stage.last(1.0)
        stage.steady()
        behind_s = stage.wait(
            lambda: stage.lab.api(owner.name).site(SITE)["safe_copies"] >= 1, "the changes arrive", PROMISE_S
        )
        stage.undone()
    stage.note("lag_max_s", max(lags, default=-1.0))
    stage.note("copies_behind_s", behind_s)
    stage.unless(bool(lags) and max(lags) <= PROMISE_S, "slow", f"changes waited {max(lags, default=-1):.0f} s")
    stage.unless(not stage.events("node-down"), "slow", "a node that is far away was taken for dead")
    stage.agreed()


def _lag_s(stage: Stage, node: str) -> float | None:
    try:
        lag_s = stage.lab.api(node).call("GET", f"/sites/{SITE}", deadline_s=3.0)["lag_s"]
    except LabError:
        return None
    return None if lag_s is None else float(lag_s)


def a_line_changes_bits(stage: Stage) -> None:
    """Large frames to a replica come with wrong bits while a large change is sent: nothing of that reaches its pool."""
    owner, site = stage.owner, site_id(stage)
    replica = stage.others(owner)[0]
    name = dataset(replica, site)
    try:
        with relayed(stage.lab.network, replica, 0.0, FLIP_EVERY):
            before = snapshots(replica, name)
            stage.fault()
            stage.unless(write(stage.lab.api(owner.name), SITE, BIG_BYTES), "person", "the change was not written")
            stage.last(25.0)
            stage.steady()
            after = snapshots(replica, name)
            stage.unless(set(before[-1:]) <= set(after), "fatal", "the head that was there is gone")
            stage.undone()
        stage.agreed()
        stage.lab.wait(lambda: _same(stage, site), "the replica holds what the owner holds", 90.0)
    finally:
        stage.lab.any_api().call("POST", f"/sites/{SITE}/exec", {"argv": ["rm", "-f", FILE]}, 75.0)
    stage.steady()


def _same(stage: Stage, site: str) -> bool:
    """Whether every node holds one of the owner's newest snapshots."""
    newest = {name.partition("@")[2] for name in snapshots(stage.owner, dataset(stage.owner, site))[-4:]}
    heads = [snapshots(node, dataset(node, site))[-1:] for node in stage.lab.live()]
    return all(head and head[0].partition("@")[2] in newest for head in heads)


_CALM = Target(unavailable_s=4.0, elections=0, stashes=0)

FAULTS = (
    Fault("F10", "200 ms to a node and back", 3, a_node_is_far_away, _CALM),
    Fault("F18", "a line changes bits of a stream", 3, a_line_changes_bits, Target(elections=0, stashes=0)),
)
