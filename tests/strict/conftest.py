"""Whole nodes with an etcd and a guardian in memory; a failure logged anywhere fails the test."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogPublisher
from zope.interface import provider

from hybrid.model import SiteSpec
from hybrid.settings import Strict
from hybrid.strict.memory import MemoryEtcd, MemoryGuard
from hybrid.strict.ports import StrictDrivers
from tests.node.cluster import Cluster, Member


class StrictMember(Member):
    """A node with an etcd."""

    cluster: StrictCluster

    def __init__(self, cluster: StrictCluster, name: str, dc: str) -> None:
        super().__init__(cluster, name, dc)
        self.guard = MemoryGuard(cluster.clock, lambda: self.containers)
        self.lease: int | None = None

    def strict_drivers(self) -> StrictDrivers:
        """See `Member`. The lease outlives the process, the guardian too."""
        return StrictDrivers(
            cluster="c-test",
            etcd=self.life.sees(self.cluster.etcd.client(self.name)),
            guard=self.life.sees(self.guard),
            kept_lease=lambda: self.lease,
            keep_lease=self._keep,
        )

    def _keep(self, lease: int) -> None:
        self.lease = lease

    def pause(self) -> None:
        """SIGSTOP of the node process: it does nothing, hears nothing, says nothing."""
        self.life.clock.pause()
        self.cluster.isolate(self.name)

    def resume(self) -> None:
        """Undo `pause`."""
        self.cluster.join(self.name)
        self.life.clock.resume()


class StrictCluster(Cluster):
    """Nodes a, b and c, an etcd that all of them know, and a record of who could write when."""

    members: dict[str, StrictMember]  # type: ignore[assignment]  # every one of them is made below

    def __init__(self, strict: Strict | None = None) -> None:
        self.strict = strict or Strict()
        super().__init__(member=StrictMember)  # type: ignore[arg-type]  # it is given this cluster
        self.etcd = MemoryEtcd(self.clock)
        self.overlaps: list[tuple[float, list[str]]] = []
        self.watched: list[SiteSpec] = []

    def tick(self) -> None:
        """Let a moment pass; note if two containers of one site run then."""
        super().tick()
        for spec in self.watched:
            writers = self.writers(spec)
            if len(writers) > 1:
                self.overlaps.append((self.clock.seconds(), writers))

    def writers(self, spec: SiteSpec) -> list[str]:
        """Nodes on which a container of the site runs now, by name."""
        states = {name: self.run_now(member) for name, member in self.members.items()}
        return [name for name, running in states.items() if running.get(spec.id) == "running"]

    def run_now(self, member: StrictMember) -> dict[str, str]:
        """Its containers."""
        coroutine = member.containers.running()
        try:
            coroutine.send(None)
        except StopIteration as stopped:
            return dict(stopped.value)
        raise AssertionError("it waits")

    def strict_site(self, name: str = "shop", on: str = "a") -> SiteSpec:
        """A strict site, watched, with copies on all nodes."""
        spec = self.create(name, on, consistency="strict")
        self.watched.append(spec)
        self.wait(10)
        return spec

    def isolate(self, name: str) -> None:
        """Nobody hears it, and it hears nobody, etcd included."""
        self.cut_off(name)
        self.etcd.cut(name)

    def cut_off(self, name: str) -> None:
        """The other nodes do not hear it, and it does not hear them."""
        self.network.partition({self.members[name].id}, {m.id for m in self.members.values() if m.name != name})

    def join(self, name: str) -> None:
        """Undo `isolate`."""
        self.network.heal_all()
        self.etcd.heal(name)

    def until(self, seconds: float, *owners: str) -> float:
        """Wait until exactly `owners` can write to the watched site, and how long that took."""
        begin_s = self.clock.seconds()
        while self.writers(self.watched[0]) != list(owners):
            assert self.clock.seconds() - begin_s < seconds, self.writers(self.watched[0])
            self.wait(0.05)
        return self.clock.seconds() - begin_s


@pytest.fixture
def logged() -> Iterator[None]:
    """A failure logged anywhere fails the test."""
    failures: list[str] = []

    @provider(ILogObserver)
    def watch(event: LogEvent) -> None:
        if event["log_level"] >= LogLevel.critical:
            failure = event.get("log_failure")
            failures.append(f"{formatEvent(event)}: {failure.getTraceback() if failure else ''}")

    gc.collect()  # what an earlier test left unfinished ends before anybody watches, not in the middle of this one
    globalLogPublisher.addObserver(watch)
    yield
    globalLogPublisher.removeObserver(watch)
    assert failures == []


@pytest.fixture(params=[True, False], ids=["failsafe", "no-failsafe"])
def either(request: pytest.FixtureRequest, logged: None) -> Iterator[StrictCluster]:
    """A cluster that goes on without etcd when all holders agree, and one that does not."""
    cluster = StrictCluster(Strict(failsafe=request.param))
    cluster.start()
    yield cluster
    assert cluster.overlaps == []


@pytest.fixture
def cluster(logged: None) -> Iterator[StrictCluster]:
    """As by default."""
    cluster = StrictCluster()
    cluster.start()
    yield cluster
    assert cluster.overlaps == []
