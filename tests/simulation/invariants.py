"""What must hold at every moment (S), and once things have been quiet for a while (L)."""

from __future__ import annotations

from hybrid.model import NO_CLAIM, Guid, NodeId
from tests.simulation.disk import Line
from tests.simulation.life import SITE
from tests.simulation.process import Process
from tests.simulation.world import STEP_S, World

STABLE_S = 60.0
"""After so long without a fault a component has exactly one owner."""
BEHIND = 12
"""Snapshots by which a copy may be behind once all is quiet."""


class Invariants:
    """Checks one world as it goes."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._checked: dict[NodeId, Line] = {}
        self._stable: dict[frozenset[NodeId], float] = {}
        self._scene: object = None
        self._lines_held: list[tuple[NodeId, Line]] = []
        self._held: dict[Guid, set[NodeId]] = {}
        self.owners_s = self.none_s = self.total_s = 0.0

    def check(self) -> None:
        """All of them. Raises `AssertionError` that names the invariant."""
        self._index()
        self._acknowledged()
        self._reachable()
        self._lines()
        self._durable()
        self._components()

    def _index(self) -> None:
        """Find out anew who holds what, if any line changed."""
        lines = [(name, line) for name, disk in self._world.disks.items() for line in disk.lines()]
        if len(lines) == len(self._lines_held) and all(
            a[1] is b[1] for a, b in zip(lines, self._lines_held, strict=True)
        ):
            return
        self._lines_held = lines
        self._held = {}
        for name, line in lines:
            for guid in line:
                self._held.setdefault(guid, set()).add(name)

    def _acknowledged(self) -> None:
        """S1: what two nodes acknowledged is on two disks."""
        for guid in self._world.oracle.acknowledged:
            held = self._held.get(guid, set())
            assert len(held) >= 2, f"S1 snapshot {guid} was acknowledged by two, is on {sorted(held)}"

    def _reachable(self) -> None:
        """S2, S3: every snapshot is somewhere, and every write in a snapshot or in live data."""
        gone = self._world.oracle.snapshots.keys() - self._held.keys()
        assert not gone, f"S3 snapshots {sorted(gone)} are nowhere"
        live = {write for disk in self._world.disks.values() for write in disk.live}
        lost = self._world.oracle.loose - live
        assert not lost, f"S2 writes {sorted(lost)} are lost"

    def _lines(self) -> None:
        """S4: a main line is a path in the graph of snapshots."""
        for name, disk in self._world.disks.items():
            if self._checked.get(name) is disk.line:
                continue
            for parent, child in zip(disk.line, disk.line[1:], strict=False):
                assert self._world.oracle.snapshots[child].parent == parent, f"S4 line of {name} jumps at {child}"
            self._checked[name] = disk.line

    def _durable(self) -> None:
        """S5, S10: who writes has a durable claim, not above what it has seen, and did not just start."""
        for process in self._world.processes.values():
            disk = process.disk
            assert (disk.claim or NO_CLAIM) <= disk.seen, f"S5 {process.me} claims {disk.claim}, has seen {disk.seen}"
            if process.up and process.serving:
                assert disk.claim is not None, f"S5 {process.me} serves without a claim"
                age_s = process.now_s() - process.started_s
                assert process.excused or age_s >= self._world.timing.boot_s, f"S10 {process.me} serves after {age_s} s"

    def _components(self) -> None:
        """L1: one owner in every component that was left alone for a while."""
        world = self._world
        now_s = world.clock.seconds()
        scene = (
            frozenset(world.network.cut),
            tuple((p.up, p.paused, p.disk.sick, p.started_s) for p in world.processes.values()),
            world.states["move"],
            world.states["could not open"],
        )
        if scene != self._scene:
            self._scene = scene
            self._stable = {}
        for component, closed in components(world):
            age_s = now_s - self._stable.setdefault(component, now_s)
            members = [world.processes[node] for node in component]
            owners = sorted(process.me for process in members if process.serving and process.container)
            able = any(process.disk.line and not process.disk.sick for process in members)
            self._tally(len(owners), able)
            if age_s > STABLE_S:
                assert len(owners) <= 1, f"L1 {owners} all own in {sorted(component)} after {age_s} s"
                assert owners or not able or not closed, f"L1 nobody owns in {sorted(component)} after {age_s} s"

    def _tally(self, owners: int, able: bool) -> None:
        if able:
            self.total_s += STEP_S
            self.none_s += STEP_S * (owners == 0)
            self.owners_s += STEP_S * (owners > 1)

    def quiet(self, epoch_before: int) -> None:
        """
        After all faults ended and `STABLE_S` and more passed.

        Args:
            epoch_before: The largest epoch some time ago: it must not have grown.
        """
        world = self._world
        owners = [process for process in world.processes.values() if process.serving]
        assert len(owners) == 1, f"L1 owners after the end: {[process.me for process in owners]}"
        owner = owners[0]
        for process in world.processes.values():
            self._settled(process, owner)
        epoch = max(disk.seen.epoch for disk in world.disks.values())
        assert epoch == epoch_before, f"L5 epochs still grow: {epoch_before} to {epoch}"

    def _settled(self, process: Process, owner: Process) -> None:
        line, main = process.disk.line, owner.disk.line
        if line:
            assert line == main[: len(line)], f"L2 {process.me} does not follow {owner.me}"
            assert len(main) - len(line) <= BEHIND, f"L2 {process.me} is {len(main) - len(line)} snapshots behind"
        assert owner.disk.claim is not None
        assert owner.disk.claim >= process.disk.seen, f"L7 {process.me} has seen {process.disk.seen}, refuses the owner"
        site = process.view().sites[SITE]
        assert (site.owner, site.state) == (owner.me, "serving"), f"L6 {process.me} sees {site.owner} {site.state}"


def components(world: World) -> list[tuple[frozenset[NodeId], bool]]:
    """
    Groups of running nodes that reach each other both ways, by way of others too.

    Returns:
        Each with whether it is closed: hears nobody outside. One that hears an owner it cannot reach has none itself.
    """
    running = [name for name, process in world.processes.items() if process.up and not process.paused]
    cut = world.network.cut
    left, found = set(running), []
    while left:
        group = {min(left)}
        while joined := {b for b in left - group if any((a, b) not in cut and (b, a) not in cut for a in group)}:
            group |= joined
        left -= group
        closed = all((a, b) in cut for a in world.names if a not in group and world.processes[a].up for b in group)
        found.append((frozenset(group), closed))
    return found
