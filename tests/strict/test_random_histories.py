"""
Random histories of whole nodes: whatever happens in whatever order, never two containers of a strict site run at once.

`HYBRID_STRICT_SEEDS=200 pytest tests/strict/test_random_histories.py` runs more of them; a failure names its seed.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable

import pytest
from twisted.internet.defer import Deferred

from hybrid.errors import HybridError
from hybrid.model import SiteSpec
from hybrid.settings import Strict
from tests.node.cluster import Steps
from tests.strict.conftest import StrictCluster, StrictMember

SEEDS = int(os.environ.get("HYBRID_STRICT_SEEDS", "6"))
FIRST = int(os.environ.get("HYBRID_STRICT_FROM", "0"))
STEPS = 40


class Nemesis:
    """Does something bad, or undoes it, and remembers what."""

    def __init__(self, cluster: StrictCluster, spec: SiteSpec, seed: int) -> None:
        self.cluster, self.spec, self.random = cluster, spec, random.Random(seed)
        self.history: list[str] = []
        self._paused: set[str] = set()
        self._alone: set[str] = set()

    def step(self) -> None:
        """One event, then some time."""
        happen = self.random.choice(
            [
                self.pause,
                self.kill,
                self.cut_power,
                self.part,
                self.part_from_etcd,
                self.etcd_down,
                self.rebuild,
                self.move,
                self.mend,
                self.mend,
            ]
        )
        happen()
        self.cluster.wait(self.random.choice([0.3, 1.0, 3.0, 6.0, 9.0, 14.0, 25.0]))

    def _note(self, text: str) -> None:
        self.history.append(f"{self.cluster.clock.seconds():8.2f} {text}")

    def _one(self, fit: Callable[[StrictMember], bool]) -> StrictMember | None:
        able = [member for member in self.cluster.members.values() if fit(member)]
        return self.random.choice(able) if able else None

    def pause(self) -> None:
        """SIGSTOP of a node process."""
        member = self._one(lambda member: member.up and member.name not in self._paused)
        if member is not None:
            self._note(f"pause {member.name}")
            member.life.clock.pause()
            self._paused.add(member.name)
            self._wire()

    def kill(self) -> None:
        """SIGKILL of a node process; its container goes on."""
        member = self._one(lambda member: member.up)
        if member is not None:
            self._note(f"kill the process of {member.name}")
            self._paused.discard(member.name)
            member.kill_process()

    def cut_power(self) -> None:
        """Of a whole node."""
        member = self._one(lambda member: member.up)
        if member is not None:
            self._note(f"power cut of {member.name}")
            self._paused.discard(member.name)
            member.power_cut()

    def part(self) -> None:
        """A node is cut off from the others, or not any more."""
        name = self.random.choice(sorted(self.cluster.members))
        self._alone ^= {name}
        self._note(f"alone: {sorted(self._alone)}")
        self._wire()

    def part_from_etcd(self) -> None:
        """A node does not reach etcd, does not hear its answers, or does again."""
        name = self.random.choice(sorted(self.cluster.members))
        what = self.random.choice([self.cluster.etcd.cut, self.cluster.etcd.deafen, self.cluster.etcd.heal])
        if name not in self._paused:
            self._note(f"etcd: {what.__name__} {name}")
            what(name)

    def etcd_down(self) -> None:
        """No majority, or one again."""
        self.cluster.etcd.down = not self.cluster.etcd.down
        self._note(f"etcd down: {self.cluster.etcd.down}")

    def rebuild(self) -> None:
        """etcd lost everything it knew."""
        if self.random.random() < 0.3:
            self._note("etcd is rebuilt")
            self.cluster.etcd.rebuild()

    def move(self) -> None:
        """A person has the site moved; how that ends is not waited for."""
        owner = self._one(lambda member: member.up and self.cluster.writers(self.spec) == [member.name])
        to = self.random.choice(sorted(self.cluster.members))
        if owner is not None and owner.name not in self._paused and owner.name != to:
            self._note(f"move from {owner.name} to {to}")
            moving = owner.core.hosting.move(self.spec.id, self.cluster.members[to].id, Steps())
            Deferred.fromCoroutine(moving).addErrback(lambda failure: failure.trap(HybridError))

    def mend(self) -> None:
        """Some of what is broken works again."""
        member = self._one(lambda member: member.name in self._paused)
        if member is not None and self.random.random() < 0.5:
            self._go_on(member)
        down = self._one(lambda member: not member.up)
        if down is not None and self.random.random() < 0.7:
            self._note(f"start {down.name}")
            down.start()

    def _go_on(self, member: StrictMember) -> None:
        self._note(f"go on {member.name}")
        self._paused.discard(member.name)
        self.cluster.etcd.heal(member.name)
        self._wire()
        member.life.clock.resume()

    def _wire(self) -> None:
        """Have exactly those cut off that are alone or paused."""
        network, ids = self.cluster.network, {name: member.id for name, member in self.cluster.members.items()}
        network.heal_all()
        for name in sorted(self._alone | self._paused):
            network.partition({ids[name]}, {id for other, id in ids.items() if other != name})
        for name in self._paused:
            self.cluster.etcd.cut(name)

    def mend_all(self) -> None:
        """Everything works again."""
        self._note("all is well")
        self._alone.clear()
        self.cluster.etcd.down = False
        for name in sorted(self._paused):
            self._go_on(self.cluster.members[name])
        for member in self.cluster.members.values():
            self.cluster.etcd.heal(member.name)
        self._wire()
        for member in self.cluster.members.values():
            if not member.up:
                member.start()


@pytest.mark.parametrize("seed", range(FIRST, FIRST + SEEDS))
def test_never_two_writers_and_one_in_the_end(seed: int, logged: None) -> None:
    """Pauses, kills, power cuts, partitions, lost answers, an etcd that is down or begins anew."""
    cluster = StrictCluster(Strict(failsafe=seed % 3 != 0))
    cluster.start()
    spec = cluster.strict_site()
    nemesis = Nemesis(cluster, spec, seed)
    try:
        for _ in range(STEPS):
            nemesis.step()
            assert cluster.overlaps == []
        nemesis.mend_all()
        cluster.wait(120)
        assert cluster.overlaps == []
        assert len(cluster.writers(spec)) == 1, cluster.members["a"].site(spec)
        assert {cluster.members[name].site(spec).state for name in cluster.members} == {"serving"}
    except BaseException:
        print(f"HYBRID_STRICT_FROM={seed} HYBRID_STRICT_SEEDS=1", *nemesis.history, sep="\n")
        raise
