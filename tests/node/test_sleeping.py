"""Sites that sleep: stopped when nobody asks, started when somebody does, whoever owns them by then."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hybrid.errors import ContainerError
from hybrid.model import SiteId, SiteSpec
from hybrid.sitetraffic import Awaited, Used
from tests.node.cluster import Cluster, Member, Steps


class Doors:
    """The front door of each node: tells every ten seconds which sites are in use."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._numbers = dict.fromkeys(cluster.members, 0)
        self.used: set[SiteId] = set()
        """In use at the owner."""

    def pass_time(self, seconds: float) -> None:
        """Let time pass, while they tell what they see."""
        for _ in range(round(seconds / 10)):
            self._cluster.wait(10)
            for name, member in self._cluster.members.items():
                if member.up:
                    self._numbers[name] += 1
                    member.core.report(Used(name, self._numbers[name], tuple(sorted(self.used))))
        self._cluster.wait(1)

    def until_it_dozes(self, spec: SiteSpec) -> None:
        """Let time pass until nobody is sent to the site any more; its container runs on."""
        self.pass_time(40)
        for _ in range(10):
            if states(self._cluster, spec) == {"asleep"}:
                return
            self.pass_time(10)
        raise AssertionError("it does not doze")


@pytest.fixture
def doors(cluster: Cluster) -> Doors:
    """Nobody asks for anything yet."""
    return Doors(cluster)


def sleepy(cluster: Cluster, doors: Doors) -> SiteSpec:
    """A site that sleeps, at node a."""
    spec = cluster.create(sleep_after_s=60.0)
    cluster.wait(5)
    doors.pass_time(90)
    assert states(cluster, spec) == {"asleep"}
    return spec


def states(cluster: Cluster, spec: SiteSpec) -> set[str]:
    """As the living nodes see it."""
    return {member.site(spec).state for member in cluster.members.values() if member.up}


def runs(member: Member, spec: SiteSpec) -> bool:
    """Whether its container runs there."""
    return spec.id in member.containers.specs()


def ask(cluster: Cluster, member: Member, spec: SiteSpec) -> None:
    """Somebody waits for it at that node."""
    member.core.report(Awaited(spec.id))
    cluster.wait(2)


def test_asleep_and_awake(cluster: Cluster, doors: Doors) -> None:
    """Its container stops when nobody asked for a while, all nodes know, and one that asks starts it again."""
    spec, a = cluster.create(sleep_after_s=60.0), cluster.members["a"]
    doors.pass_time(50)
    assert states(cluster, spec) == {"serving"} and runs(a, spec)
    doors.pass_time(40)
    assert states(cluster, spec) == {"asleep"} and not runs(a, spec)
    assert a.site(spec).upstream is None and set(cluster.owners(spec).values()) == {"a"}
    ask(cluster, a, spec)
    assert states(cluster, spec) == {"serving"} and runs(a, spec)
    doors.used.add(spec.id)
    doors.pass_time(200)
    assert states(cluster, spec) == {"serving"}


def test_what_it_wrote_last_is_on_the_other_nodes(cluster: Cluster, doors: Doors) -> None:
    """A change made just before it fell asleep is replicated, though nobody looks at it while it sleeps."""
    spec, a = cluster.create(sleep_after_s=60.0), cluster.members["a"]
    doors.until_it_dozes(spec)
    assert runs(a, spec)
    a.write(spec.id, "flushed", b"at the end")
    doors.pass_time(20)
    assert states(cluster, spec) == {"asleep"} and not runs(a, spec)
    assert [cluster.members[name].files(spec.id)["flushed"] for name in "bc"] == [b"at the end"] * 2


def test_whoever_takes_it_over_lets_it_sleep(cluster: Cluster, doors: Doors) -> None:
    """The death of an owner wakes none of the sites that slept; asked for, they run at the new one."""
    spec = sleepy(cluster, doors)
    cluster.members["a"].power_cut()
    doors.pass_time(60)
    (owner,) = {name for name in cluster.owners(spec).values() if name}
    assert owner != "a" and states(cluster, spec) == {"asleep"}
    assert not any(runs(member, spec) for member in cluster.members.values())
    ask(cluster, cluster.members[owner], spec)
    assert states(cluster, spec) == {"serving"} and runs(cluster.members[owner], spec)


def test_asked_for_at_a_node_that_does_not_own_it(cluster: Cluster, doors: Doors) -> None:
    """A word that comes to the wrong node starts no second container."""
    spec = sleepy(cluster, doors)
    for name in "bc":
        ask(cluster, cluster.members[name], spec)
    assert states(cluster, spec) == {"asleep"}
    assert not any(runs(member, spec) for member in cluster.members.values())


def test_moved_rolled_back_and_deleted_asleep(cluster: Cluster, doors: Doors) -> None:
    """None of it needs it awake, and none of it wakes it."""
    spec, hosting = sleepy(cluster, doors), cluster.members["a"].core.hosting
    cluster.members["a"].write(spec.id, "guestbook", b"one")
    first = hosting.history(spec.id)[0]
    cluster.run(hosting.rollback(spec.id, first.guid, Steps()))
    cluster.wait(2)
    assert states(cluster, spec) == {"asleep"}
    cluster.run(hosting.move(spec.id, cluster.members["b"].id, Steps()))
    cluster.wait(2)
    assert states(cluster, spec) == {"asleep"} and set(cluster.owners(spec).values()) == {"b"}
    ask(cluster, cluster.members["b"], spec)
    assert states(cluster, spec) == {"serving"}
    doors.pass_time(100)
    assert states(cluster, spec) == {"asleep"}
    cluster.run(cluster.members["b"].core.hosting.delete(spec.id, Steps()))
    cluster.wait(5)
    assert all(spec.id not in member.core.outlook.view.sites for member in cluster.members.values())


@pytest.mark.parametrize(
    ("change", "state"),
    [
        ({"sleep_after_s": 0.0}, "serving"),
        ({"wanted": "running"}, "serving"),
        ({"wanted": "stopped"}, "stopped"),
        ({"suspended": True}, "stopped"),
        ({"memory_bytes": 2**28, "domains": ["other.test"]}, "asleep"),
    ],
)
def test_settings_changed_while_it_sleeps(
    cluster: Cluster, doors: Doors, change: dict[str, object], state: str
) -> None:
    """To start it, or to let it sleep no more, is to wake it; what does not concern that does not."""
    spec, a = sleepy(cluster, doors), cluster.members["a"]
    cluster.run(a.core.hosting.edit(spec.id, change))
    cluster.wait(2)
    assert states(cluster, spec) == {state} and runs(a, spec) == (state == "serving")
    ask(cluster, a, spec)
    assert states(cluster, spec) == {"stopped" if state == "stopped" else "serving"}


def test_a_command_in_one_that_sleeps(cluster: Cluster, doors: Doors) -> None:
    """It is woken for it."""
    spec, a = sleepy(cluster, doors), cluster.members["a"]
    cluster.run(a.core.hosting.execute(spec.id, ["true"], b""))
    cluster.wait(1)
    assert states(cluster, spec) == {"serving"}


def test_somebody_comes_while_it_dozes(cluster: Cluster, doors: Doors) -> None:
    """Before every front door confirmed that nobody uses it its container runs on, and is not started a second time."""
    spec, a = cluster.create(sleep_after_s=60.0), cluster.members["a"]
    began = a.containers.specs()[spec.id]
    doors.until_it_dozes(spec)
    assert a.containers.specs()[spec.id] is began
    ask(cluster, a, spec)
    assert states(cluster, spec) == {"serving"} and a.containers.specs()[spec.id] is began


@pytest.mark.parametrize("end", [Member.power_cut, Member.kill_process])
def test_over_a_restart_of_its_node(cluster: Cluster, doors: Doors, end: Callable[[Member], None]) -> None:
    """What slept sleeps on, with its container stopped, also where that still ran as the node went down."""
    spec, a = cluster.create(sleep_after_s=60.0), cluster.members["a"]
    doors.until_it_dozes(spec)
    for member in cluster.members.values():
        if member is not a:
            member.kill_process()
    end(a)
    for member in cluster.members.values():
        member.start()
    cluster.wait(60)
    assert states(cluster, spec) == {"asleep"}
    assert not any(runs(member, spec) for member in cluster.members.values())


def test_an_owner_whose_storage_is_gone(cluster: Cluster, doors: Doors) -> None:
    """Could not wake it: another node owns it within seconds, lets it sleep, and wakes it when it is asked for."""
    spec, a = sleepy(cluster, doors), cluster.members["a"]
    a.pool.sick = "the disks are gone"
    cluster.wait(15)
    (owner,) = set(cluster.owners(spec).values())
    assert owner in ("b", "c") and states(cluster, spec) == {"asleep"}
    ask(cluster, cluster.members[owner], spec)
    assert states(cluster, spec) == {"serving"}


def test_one_that_does_not_come_up(cluster: Cluster, doors: Doors) -> None:
    """Its trouble is told, and another node tries, like with any site that cannot be started."""
    spec, a = sleepy(cluster, doors), cluster.members["a"]
    a.refuses_connections = True
    a.core.report(Awaited(spec.id))
    cluster.wait(90)
    (owner,) = set(cluster.owners(spec).values())
    assert owner in ("b", "c") and states(cluster, spec) == {"serving"}
    assert not runs(a, spec)


def test_a_command_in_one_that_does_not_come_up(cluster: Cluster, doors: Doors) -> None:
    """Says why."""
    spec, a = sleepy(cluster, doors), cluster.members["a"]
    a.refuses_connections = True
    with pytest.raises(ContainerError, match="does not accept"):
        cluster.run(a.core.hosting.execute(spec.id, ["true"], b""))
