"""
What must hold at every moment, by the names of the protocol's description (S1 …), looked at after every event.

What a single call shows is checked where the call is made (`disk.py`); here is what takes a look at the whole. A disk
that did not change is not looked at again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations, pairwise
from typing import TYPE_CHECKING

from hybrid.cluster.candidates import CLAIMING
from hybrid.hosting.holdings import PREFIX
from hybrid.model import NO_CLAIM, Bid, Claim, Guid, Received, SiteId
from hybrid.storage.memory_state import Moment, Volume
from hybrid_replicator.names import intent_key
from tests.simulation.oracle import written

if TYPE_CHECKING:
    from tests.simulation.disk import Disk
    from tests.simulation.node import Node, Process
    from tests.simulation.world import World

TOLD = 8
"""Of each line so many snapshots are published, the newest."""
SAMPLE_S = 1.0
"""What no event tells of is looked at so often."""
MEETING_S = 10.0
"""What nodes that talk to each other have in common is noted so often."""
Shape = tuple[int, int, Guid | None]


class Invariants:
    """Checks one world as it goes."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._changes: dict[str, int] = {}
        self._shapes: dict[str, dict[str, Shape]] = {}
        self._on_disk: dict[str, set[Guid]] = {}
        self._bid: dict[tuple[str, SiteId, str], Bid] = {}
        self._accepted: dict[tuple[str, SiteId, int], Claim] = {}
        self._met_s = 0.0
        self._met: dict[tuple[str, str, str], tuple[Guid, bool]] = {}
        """Newest in common of two disks in a dataset when they last talked, and whether it had been that for long."""

    def check(self) -> None:
        """All of them. Raises the first violation."""
        world = self._world
        for node in world.nodes.values():
            disk = node.disk
            if self._changes.get(disk.label) != disk.changes:
                self._changes[disk.label] = disk.changes
                self._look_at(disk)
        if world.oracle.violations:
            raise world.oracle.violations[0]

    # ------------------------------------------------------------------------------------------ what is on disk

    def _look_at(self, disk: Disk) -> None:
        shapes = {name: _shape(volume) for name, volume in disk.volumes().items()}
        before = self._shapes.get(disk.label, {})
        if shapes == before:
            return
        self._shapes[disk.label] = shapes
        on_disk = self._on_disk.setdefault(disk.label, set())
        longer = shapes.keys() == before.keys()
        for name, shape in shapes.items():
            if before.get(name) == shape:
                continue
            moments = disk.volumes()[name].moments
            one_more = longer and _one_more(before[name], shape, moments)
            longer = longer and one_more
            if name.startswith(PREFIX):
                self._line(disk, name, moments[-2:] if one_more else moments)
            if one_more:
                on_disk.add(moments[-1].snapshot.guid)
        if not longer:  # something else than one new snapshot at the end of each line that changed
            now = {moment.snapshot.guid for volume in disk.volumes().values() for moment in volume.moments}
            self._nothing_gone(disk, on_disk - now)
            self._on_disk[disk.label] = now

    def _nothing_gone(self, disk: Disk, gone: Iterable[Guid]) -> None:
        """S3: no disk loses a snapshot, but by retention and what a user deleted; S1 with it."""
        oracle = self._world.oracle
        for guid in gone:
            if (disk.label, guid) not in oracle.gone:
                oracle.violated("S3", f"{disk.label} has lost snapshot {guid}")
            self._safe(guid)

    def _safe(self, guid: Guid) -> None:
        """S1: what was acknowledged by so many disks is on so many, less those that were destroyed."""
        oracle = self._world.oracle
        told = oracle.acknowledged.get(guid, set()) - oracle.lost_disks
        missing = [
            label for label in told if guid not in self._on_disk.get(label, ()) and (label, guid) not in oracle.gone
        ]
        if missing:
            oracle.violated("S1", f"snapshot {guid} was acknowledged and is not on {missing}")

    def _line(self, disk: Disk, name: str, moments: Sequence[Moment]) -> None:
        """S4: a main line is a path in the graph of snapshots."""
        oracle = self._world.oracle
        guids = [moment.snapshot.guid for moment in moments]
        for old, new in pairwise(guids):
            taken = oracle.snapshots.get(new)
            if taken is not None and taken.parent != old and not oracle.is_ancestor(old, new):
                oracle.violated("S4", f"{name} on {disk.label}: {new} does not come after {old}")

    # ----------------------------------------------------------------------------------------- now and then

    def sample(self) -> None:
        """What no event tells of."""
        self._writes()
        if self._world.timeline.now_s >= self._met_s + MEETING_S:
            self._met_s = self._world.timeline.now_s
            self._meetings()
        for node in self._world.nodes.values():
            process = node.process
            if process is None:
                continue
            for site in self._world.sites:
                register = process.register(site)
                if register is None:
                    continue
                if register.role == "replica" and node.up and not process.clock.paused:
                    self._replica_at_rest(node, site)
                if register.bids:
                    self._bids(node, site, register.bids)
                if register.awaiting:
                    self._asked(node, process, site)

    def _writes(self) -> None:
        """S2: every write that was accepted is in a snapshot, in live data, or in the intent log."""
        world = self._world
        if not world.oracle.loose:
            return
        lost = set(world.oracle.loose)
        for node in world.nodes.values():
            for journal in node.disk.journals():
                if journal:
                    held = written(journal)
                    lost = {write for write in lost if write not in held}
                if not lost:
                    return
        if lost:
            world.oracle.violated(
                "S2", f"writes {sorted(lost)} of {[world.oracle.loose[one] for one in lost]} are lost"
            )

    def _meetings(self) -> None:
        """Note what nodes that can ask each other have in common."""
        nodes = [node for node in self._world.nodes.values() if node.up]
        for name in [PREFIX + site for site in self._world.sites]:
            for node, other in combinations([node for node in nodes if name in node.disk.volumes()], 2):
                if node.talks_to(other):
                    common = _newest_common(node.disk.volumes()[name], other.disk.volumes()[name])
                    for key in ((node.disk.label, other.disk.label, name), (other.disk.label, node.disk.label, name)):
                        before = self._met.get(key)
                        if common is None:
                            self._met.pop(key, None)
                        else:
                            self._met[key] = common, before is not None and before[0] == common

    def _replica_at_rest(self, node: Node, site: SiteId) -> None:
        """S8: where a node says that it is a replica, nothing is mounted, writable, or running."""
        volume = node.disk.volumes().get(PREFIX + site)
        if volume is None:
            return
        swapping = intent_key(site) in node.disk.properties("stash/journal")
        if volume.changed() and not swapping and volume.moments and node.disk.durable(site) is None:
            self._world.oracle.violated(
                "S2", f"{node.name} is a replica of {site}, and what was written is in no snapshot"
            )
        opened = ["writable"] * (not volume.readonly and not swapping)
        opened += ["mounted"] * (volume.mountpoint is not None) + ["running"] * node.serves(site)
        if opened:
            self._world.oracle.violated("S8", f"{node.name} is a replica of {site}, which is {opened} there")

    def _bids(self, node: Node, site: SiteId, bids: Mapping[str, Bid]) -> None:
        """R5: a bid never changes once it was published."""
        for key, bid in bids.items():
            if (node.name, site, key) not in self._bid:
                self._conflict(site, key)
            if self._bid.setdefault((node.name, site, key), bid) != bid:
                self._world.oracle.violated("R5", f"{node.name} changed its bid for {key} to {bid.value}")

    def _asked(self, node: Node, process: Process, site: SiteId) -> None:
        """R5, `ask`: who waits for a person's pick, and says that it stopped, neither serves nor writes."""
        holding = process.core._holdings.get(site) if node.running else None
        if holding is None or not (holding.awaiting and holding.paused) or process.core._tasks.busy(site):
            return
        self._world.oracle.count("waiting for a pick")
        volume = node.disk.volumes().get(PREFIX + site)
        if node.serves(site) or (volume is not None and volume.mountpoint is not None):
            self._world.oracle.violated("R5", f"{node.name} waits for a pick of {site}, which is open there")

    def _conflict(self, site: SiteId, key: str) -> None:
        """Somebody bid: what kind of conflict is it?"""
        world = self._world
        registers = [node.process.register(site) for node in world.nodes.values() if node.process is not None]
        claiming = [one for one in registers if one is not None and one.claim is not None and one.role in CLAIMING]
        low, high = (Claim.parse(text) for text in key.split("/"))
        world.oracle.count("conflict")
        if low.epoch == high.epoch:
            world.oracle.count("conflict of equal epochs")
        if len(claiming) > 2:
            world.oracle.count("conflict of three")
        if any(one.role == "leaving" for one in claiming):
            world.oracle.count("conflict in a hand-over")

    # ------------------------------------------------------------------------------------------- single events

    def accepted(self, node: Node, site: SiteId) -> None:
        """S5: who writes holds a claim, on disk."""
        if node.disk.durable(site) is None:
            self._world.oracle.violated("S5", f"{node.name} writes to {site} without a claim on its disk")

    def started(self, process: Process, site: SiteId) -> None:
        """A container was started. S5: under a claim on disk; S10: no old claim is served after a start."""
        node = process.node
        claim = node.disk.durable(site)
        if claim is None:
            self._world.oracle.violated("S5", f"{node.name} runs {site} without a claim on its disk")
        elif (
            claim == process.claims.get(site)
            and site not in process.adopted
            and process.age_s() < self._world.timing.boot_s
        ):
            self._world.oracle.violated("S10", f"{node.name} serves {site} under the old claim {claim} after its start")

    def told(self, process: Process, kind: str, site: SiteId) -> None:
        """A transition. S10: nobody is elected before it listened for `boot_s`."""
        world = self._world
        world.oracle.count(kind)
        if kind == "elected" and self._better_is_dead(process.node, site):
            world.oracle.count("elected while a better copy was dead")
        if kind == "elected" and process.age_s() < world.timing.boot_s - 0.001 and len(world.nodes) > 1:
            world.oracle.violated("S10", f"{process.node.name} stands {process.age_s():.1f} s after its start")

    def _better_is_dead(self, node: Node, site: SiteId) -> bool:
        """Whether a node that does nothing now has a better line than the one that stands."""
        heads = {
            other: volume.moments[-1].snapshot
            for other in self._world.nodes.values()
            if (volume := other.disk.volumes().get(PREFIX + site)) is not None and volume.moments
        }
        mine = (heads[node].epoch, heads[node].counter) if node in heads else (0, 0)
        return any((head.epoch, head.counter) > mine for other, head in heads.items() if not other.running)

    def stashed(self, node: Node, site: SiteId) -> None:
        """Divergent history was set aside."""
        self._world.oracle.count("stashed")
        aside = [name for name in node.disk.volumes() if name.startswith(f"stash/{site}.")]
        if len(aside) > 1:
            self._world.oracle.count("stashed again")

    def received(self, process: Process, fact: Received) -> None:
        """S7: after a stream under one claim none is taken under a smaller one."""
        disk = process.node.disk
        key = (disk.label, fact.site, disk.burials[fact.site])
        before = self._accepted.get(key, NO_CLAIM)
        if fact.claim < before:
            self._world.oracle.violated("S7", f"{process.node.name} took {fact.claim} after {before}")
        self._accepted[key] = fact.claim

    def needed(self, node: Node, name: str, guid: Guid) -> str | None:
        """
        S11: why a snapshot must stay: it is a head, or the newest in common with another disk.

        As far as that can be known: a node that can be asked is asked; of one that cannot be it is known what it
        published last, its newest eight, and what was in common when it could be asked. One that is swapping histories
        tells, also when it is asked, of the line before, until it is done: more cannot be known of it.
        """
        volume = node.disk.volumes().get(name)
        if volume is None or not volume.moments:  # what is being begun anew has none to need
            return None
        if guid == volume.moments[-1].snapshot.guid:
            return "which is the newest"
        for other in self._world.nodes.values():
            theirs = other.disk.volumes().get(name)
            before = other.swapping(name) if other is not node else None
            if before is not None:
                ours = {moment.snapshot.guid for moment in volume.moments}
                if guid == next((one for one in before if one in ours), None):
                    return f"which is the newest in common with what {other.name} tells while it swaps histories"
            elif other is not node and theirs is not None and guid == _newest_common(volume, theirs):
                published = {moment.snapshot.guid for moment in theirs.moments[-TOLD:]}
                met = self._met.get((node.disk.label, other.disk.label, name))
                if other.talks_to(node) or guid in published or met == (guid, True):
                    return f"which is the newest in common with {other.name}"
        return None


def _one_more(before: Shape, now: Shape, moments: Sequence[Moment]) -> bool:
    """Whether all that differs is one more snapshot at the end."""
    was_last = moments[-2].snapshot.guid if len(moments) > 1 else None
    return before[0] == now[0] and before[1] + 1 == now[1] and before[2] == was_last


def _newest_common(volume: Volume, other: Volume) -> Guid | None:
    theirs = {moment.snapshot.guid for moment in other.moments}
    return next((moment.snapshot.guid for moment in reversed(volume.moments) if moment.snapshot.guid in theirs), None)


def _shape(volume: Volume) -> Shape:
    moments = volume.moments
    return (id(volume), len(moments), moments[-1].snapshot.guid if moments else None)
