"""A server dies that ran very many sites: the others take them over in an order, not all at once."""

from __future__ import annotations

from twisted.internet.task import deferLater

from hybrid.hosting.turns import AT_ONCE
from hybrid.model import SiteId, SiteSpec
from tests.node.cluster import Cluster, Member

SITES = 50
START_S = 2.0


class Slow(Member):
    """A node on which a container takes its time to start."""

    coming = 0
    most_at_once = 0

    async def _accepts(self, address: str, port: int) -> bool:
        self.coming += 1
        self.most_at_once = max(self.most_at_once, self.coming)
        try:
            await deferLater(self.life.clock, START_S, lambda: None)
            return await super()._accepts(address, port)
        finally:
            self.coming -= 1


def test_fifty_sites_of_a_dead_server() -> None:
    """Each survivor starts at most four at a time, the busiest first; soon all run, on the history they had."""
    cluster = Cluster(member=Slow)
    cluster.start()
    a, b, c = cluster.members.values()
    specs = [cluster.create(name=f"site-{number}", snapshot_every_s=5.0) for number in range(SITES)]
    busy = specs[7]
    for count in range(10):
        a.write(busy.id, f"page-{count}", b"x")
        cluster.wait(6)
    for spec in specs:
        a.write(spec.id, "last", b"x")
    cluster.wait(60)
    heads = {spec.id: b.core.known.registers(spec.id)[b.id].head for spec in specs}
    for survivor in (b, c):
        assert isinstance(survivor, Slow)
        survivor.most_at_once = 0
    started: dict[SiteId, float] = {}
    a.power_cut()
    died_s = cluster.clock.seconds()
    while len(started) < SITES and cluster.clock.seconds() < died_s + 120:
        cluster.wait(0.5)
        for survivor in (b, c):
            started.update((s, cluster.clock.seconds()) for s in survivor.containers.specs() if s not in started)
    assert len(started) == SITES
    for survivor in (b, c):
        assert isinstance(survivor, Slow)
        assert 0 < survivor.most_at_once <= AT_ONCE
    assert sorted(started.values()).index(started[busy.id]) < 2 * AT_ONCE
    cluster.wait(20)
    assert all(served(cluster, spec) for spec in specs)
    for spec in specs:
        owner = next(member for member in (b, c) if member.id == b.site(spec).owner)
        assert owner.files(spec.id)["last"] == b"x"
        head = heads[spec.id]
        assert head is not None and owner.holds(spec.id, head)


def served(cluster: Cluster, spec: SiteSpec) -> bool:
    """Whether every survivor sees it served by one of them."""
    owners = cluster.owners(spec)
    return len(set(owners.values())) == 1 and cluster.members["b"].site(spec).state == "serving"
