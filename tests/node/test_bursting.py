"""A spike on one site of a whole node: its neighbours leave, every move is explained, and nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from hybrid.cluster.loads import Counted, Machine
from hybrid.deeds import Progress
from hybrid.hosting.holdings import dataset_of
from hybrid.hosting.tasks import Silent
from hybrid.model import SiteId, SiteSpec
from tests.node.cluster import Cluster, Member

CORES = 4.0


class MemoryGauge:
    """A machine on which each site uses as many cores as is said in `uses`; elsewhere than at its owner none."""

    def __init__(self, cluster: Cluster, member: Member, uses: dict[SiteId, float]) -> None:
        self._cluster, self._member, self._uses = cluster, member, uses
        self._cpu_s: dict[SiteId, float] = {}
        self._at_s = cluster.clock.seconds()

    def read(self) -> tuple[Machine, Mapping[SiteId, Counted]]:
        """See `hybrid.cluster.loads.Gauge`."""
        now_s = self._cluster.clock.seconds()
        seconds, self._at_s = now_s - self._at_s, now_s
        for site in self._member.containers.specs():
            self._cpu_s[site] = self._cpu_s.get(site, 0.0) + self._uses.get(site, 0.0) * seconds
        counted = {site: Counted(self._cpu_s[site], 2**26) for site in self._member.containers.specs()}
        return Machine(CORES, 2**33, 1.0 + sum(self._cpu_s.values()), 0.0, 0.0), counted


class Hosted:
    """Three nodes that measure, and sites on the first of them."""

    def __init__(self) -> None:
        self.cluster = Cluster()
        self.uses: dict[SiteId, float] = {}
        for member in self.cluster.members.values():
            member.gauge = MemoryGauge(self.cluster, member, self.uses)
        self.cluster.start()
        self.sites = {name: self.cluster.create(name) for name in ("shop", "blog", "news")}
        for spec in self.sites.values():
            self.a.write(spec.id, "page", spec.name.encode())
        self.cluster.wait(60)

    @property
    def a(self) -> Member:
        """The first node."""
        return self.cluster.members["a"]

    def owner(self, name: str) -> str | None:
        """The name of its owner, where all agree."""
        owners = set(self.cluster.owners(self.sites[name]).values())
        return owners.pop() if len(owners) == 1 else None


@pytest.fixture
def hosted() -> Iterator[Hosted]:
    """Three nodes with three quiet sites on `a`."""
    hosted = Hosted()
    yield hosted
    hosted.cluster.bury()


def test_a_spike_has_the_node_to_itself(hosted: Hosted) -> None:
    """Its neighbours go to where their copies are, with all their data, and stay there; it does not move itself."""
    told: list[tuple[str, SiteId, str]] = []
    hosted.a.core.told.append(lambda *event: told.append(event))
    hosted.uses |= {hosted.sites["shop"].id: 3.8, hosted.sites["blog"].id: 0.1}
    hosted.cluster.wait(240)
    assert hosted.owner("shop") == "a"
    homes = {name: hosted.owner(name) for name in ("blog", "news")}
    assert set(homes.values()) <= {"b", "c"}
    events = [(site, text) for kind, site, text in told if kind == "burst"]
    assert [site for site, _ in events] == [hosted.sites["blog"].id, hosted.sites["news"].id]
    assert "shop takes most" in events[0][1]
    for name, home in homes.items():
        member = hosted.cluster.members[str(home)]
        assert member.files(hosted.sites[name].id)["page"] == name.encode()
        why = member.core.placing.why(hosted.sites[name].id)
        assert (why.placed[-1].came, why.placed[-1].on) == ("burst", member.id)
        assert "less than 30 min" in why.stays
    assert [left.name for left in hosted.a.core.placing.why(hosted.sites["shop"].id).made_room] == ["blog", "news"]
    hosted.uses.clear()
    hosted.cluster.wait(60)
    assert {name: hosted.owner(name) for name in ("blog", "news")} == homes


def test_what_is_measured_is_seen_on_every_node(hosted: Hosted) -> None:
    """In coarse steps, told when it changes to another kind of busy."""
    hosted.uses[hosted.sites["shop"].id] = 1.0
    hosted.cluster.wait(240)
    for member in hosted.cluster.members.values():
        load = member.site(hosted.sites["shop"]).load
        assert load is not None
        assert load.cpu == 1.0
        measured = member.core.outlook.view.nodes[hosted.a.id].measured
        assert measured is not None
        assert measured.cores == CORES
        assert measured.cpu == pytest.approx(0.25, abs=0.125)


def test_nothing_moves_where_the_cluster_does_not_want_it(hosted: Hosted) -> None:
    """The switch is for all nodes."""
    hosted.a.core.shared.put("defaults", '{"bursting": false}')
    hosted.uses[hosted.sites["shop"].id] = 3.9
    hosted.cluster.wait(240)
    assert [hosted.owner(name) for name in hosted.sites] == ["a", "a", "a"]


def test_why_outlives_moves_and_restarts(hosted: Hosted) -> None:
    """By a person, by an election: each new owner knows what came before, also after its process was restarted."""
    spec, members = hosted.sites["blog"], hosted.cluster.members
    progress: Progress = Silent()
    hosted.cluster.run(hosted.a.core.hosting.move(spec.id, members["b"].id, progress))
    hosted.cluster.wait(40)
    members["b"].power_cut()
    hosted.cluster.wait(40)
    new = members[str(_owner(hosted, spec))]
    came = [(placed.came, placed.on) for placed in new.core.placing.why(spec.id).placed]
    assert came == [("move", members["b"].id), ("election", new.id)]
    assert "the last owner was b" in new.core.placing.why(spec.id).placed[-1].why
    new.kill_process()
    new.start()
    hosted.cluster.wait(15)
    assert new.pool.files(dataset_of(spec.id))["page"] == b"blog"
    assert [placed.came for placed in new.core.placing.why(spec.id).placed] == ["move", "election"]


def _owner(hosted: Hosted, spec: SiteSpec) -> str | None:
    owners = set(hosted.cluster.owners(spec).values())
    assert len(owners) == 1
    return owners.pop()
