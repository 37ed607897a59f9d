"""F3, F4, F14: parts of a node die or hang while the rest goes on. Scenarios."""

from __future__ import annotations

import time
from collections.abc import Callable

from hybrid.lab.client import ApiError
from hybrid.lab.faults.deaths import await_successor
from hybrid.lab.faults.fault import Fault
from hybrid.lab.faults.nemesis import halted, hung
from hybrid.lab.faults.scoring import Target
from hybrid.lab.faults.stage import Stage
from hybrid.lab.measures import Answered
from hybrid.lab.node import Node
from hybrid.lab.probes import Probe, probing

RESPONSIVE_S = 1.0
"""An API call at a node whose disk hangs may take so long."""


def node_process_dies(stage: Stage) -> None:
    """SIGKILL of the control process: the container goes on and is adopted under the same claim."""
    owner = stage.owner
    before = stage.claim(owner)
    stage.fault()
    owner.kill_process("node")
    stage.wait(lambda: stage.claim(owner) is None, "the API is gone", 30.0)
    stage.undone()
    stage.wait(lambda: stage.claim(owner) == before, "the container is adopted under the same claim")
    stage.agreed()
    stage.steady()


def node_process_hangs(seconds: float) -> Callable[[Stage], None]:
    """SIGSTOP of the owner's control process for so long; its container and its front door go on."""

    def run(stage: Stage) -> None:
        owner = stage.owner
        with halted(owner, "node"):
            stage.fault()
            stage.last(seconds)
            stage.undone()
        _fenced(stage, owner)
        stage.agreed()
        stage.steady()

    return run


def machine_hangs(stage: Stage) -> None:
    """The owner's whole machine hangs, containers included, and goes on half a minute later."""
    owner = stage.owner
    with stage.excusing(owner):
        with hung(owner):
            stage.fault()
            await_successor(stage, owner)
            stage.steady(stage.others(owner))
            stage.undone()
        _fenced(stage, owner)
    stage.agreed()
    stage.steady()


def _fenced(stage: Stage, old: Node) -> None:
    """Once it runs again the old owner, if another was elected, knows within seconds that it is none any more."""
    elected = stage.events("elected")
    took_s = stage.wait(lambda: old.name not in stage.owners([old]) or not elected, f"{old.name} is fenced", 60.0)
    stage.note("fenced_s", took_s)
    stage.unless(took_s <= 5.0, "slow", f"the old owner was fenced after {took_s:.1f} s, 5 are allowed")


def storage_of_owner_hangs(stage: Stage) -> None:
    """The owner's storage hangs: another node takes over; the owner's API, front door and DNS go on answering."""
    owner = stage.owner
    api = ApiProbe(stage, owner)
    with stage.excusing(owner), probing([api]), halted(owner, "zfs-fuse"):
        stage.fault()
        await_successor(stage, owner)
        stage.steady(stage.others(owner))
        stage.undone()
    _responsive(stage, api)
    stage.agreed()
    stage.steady()


def storage_of_replica_hangs(stage: Stage) -> None:
    """A replica's storage hangs: nobody notices, and through that node all is served."""
    replica = stage.others(stage.owner)[0]
    api = ApiProbe(stage, replica)
    with probing([api]), halted(replica, "zfs-fuse"):
        stage.fault()
        stage.wait(lambda: not stage.storage_ok(replica), "the node says that its storage does not answer", 40.0)
        stage.note("noticed_s", time.monotonic() - (stage.evidence.fault_s or 0.0))
        stage.steady()
        stage.undone()
    _responsive(stage, api)
    stage.agreed()
    stage.steady()


class ApiProbe(Probe):
    """Asks one node's API for the cluster's status. `heard` is oldest first."""

    def __init__(self, stage: Stage, node: Node, every_s: float = 0.2) -> None:
        super().__init__(self._call, every_s)
        self._api = stage.lab.api(node.name)
        self.heard: list[Answered] = []

    def _call(self) -> None:
        begin_s, why = time.monotonic(), ""
        try:
            self._api.call("GET", "/status", deadline_s=10.0)
        except ApiError as error:
            why = str(error)
        self.heard.append(Answered(begin_s, time.monotonic(), not why, why))


def _responsive(stage: Stage, api: ApiProbe) -> None:
    times = sorted(answer.end_s - answer.begin_s for answer in api.heard)
    failed = sum(1 for answer in api.heard if not answer.ok)
    slow_s = times[int(len(times) * 0.95)] if times else 0.0
    stage.note("api_p95_s", slow_s)
    stage.unless(not failed, "slow", f"{failed} of {len(times)} API calls failed while the disk hung")
    stage.unless(slow_s <= RESPONSIVE_S, "slow", f"an API call took {slow_s:.1f} s while the disk hung")


_HELD = Target(unavailable_s=5.0, elections=0, stashes=0)

FAULTS = (
    Fault("F3", "the control process is killed", 3, node_process_dies, _HELD),
    Fault("F4-5", "the owner's control process hangs for 5 s", 3, node_process_hangs(5.0), _HELD),
    Fault("F4-20", "the owner's control process hangs for 20 s", 3, node_process_hangs(20.0)),
    Fault("F4-120", "the owner's control process hangs for 120 s", 3, node_process_hangs(100.0)),
    Fault("F4-machine", "the owner's machine hangs", 3, machine_hangs),
    Fault("F14-owner", "the owner's storage hangs", 3, storage_of_owner_hangs),
    Fault("F14-replica", "a replica's storage hangs", 3, storage_of_replica_hangs, _HELD),
)
