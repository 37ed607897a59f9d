"""Something comes out of a past moment that is no file there: whole nodes on one clock."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from hybrid.errors import BadRequest, Conflict, ContainerError, NoSuchPath, NoSuchSnapshot
from hybrid.hosting.extracts import KEEP_S, OUTPUT
from hybrid.hosting.sandboxes import AT_ONCE
from hybrid.manifest import Extract
from hybrid.model import Guid, Manifest, SiteSpec
from hybrid.ports import ContainerSpec, Executed
from hybrid_containers.memory import MemoryContainers
from tests.node.cluster import Cluster, Member, Steps

TABLE = Extract(("/bin/dump", "--sql"), "one table", "table.sql", {"table": "its name", "format": "sql or csv"})
VALUES = {"format": "csv", "table": "entries; rm -rf /"}


def ran(spec: ContainerSpec, argv: Sequence[str], stdin: bytes) -> Executed:
    """The command of the image."""
    if "broken" in argv:
        return Executed(3, b"", b"no such table\n")
    return Executed(0, b"", b"")


@pytest.fixture
def site(cluster: Cluster) -> SiteSpec:
    """A site whose image can extract a table, with its history on all three nodes."""
    for member in cluster.members.values():
        if member.name == "a":
            manifest = msgspec.json.encode(Manifest("static", extracts={"table": TABLE})).decode()
            cluster.run(member.pool.set_properties("images/static-1", {"manifest": manifest}))
            cluster.run(member.core.shelf.load())
    spec = cluster.create()
    cluster.members["a"].write(spec.id, "data", b"1")
    cluster.wait(20)
    for member in cluster.members.values():
        containers_of(member).command = ran
        cluster.run(member.core.shelf.load())
    return spec


def containers_of(member: Member) -> MemoryContainers:
    """The fake."""
    return member.containers


def head(cluster: Cluster, spec: SiteSpec) -> Guid:
    """The newest snapshot on a."""
    return cluster.members["a"].core.replicator.history(spec.id)[-1].guid


def clones(cluster: Cluster, member: Member) -> list[str]:
    """What is lent there."""
    names = [one.name for one in cluster.run(member.pool.datasets())]
    return [name for name in names if name.startswith("temporary/")]


@pytest.mark.parametrize("on", ["a", "c"])
def test_a_command_of_the_image_runs_on_a_clone_without_network(cluster: Cluster, site: SiteSpec, on: str) -> None:
    """On the owner or on a replica, beside the site and without it noticing; arguments are words, never a shell's."""
    member = cluster.members[on]
    steps, running = Steps(), containers_of(member)
    seen: list[tuple[ContainerSpec, Sequence[str]]] = []

    def watched(spec: ContainerSpec, argv: Sequence[str], stdin: bytes) -> Executed:
        seen.append((spec, argv))
        return Executed(0, b"", b"")

    running.command = watched
    cluster.run(member.core.hosting.extract(site.id, head(cluster, site), "table", VALUES, "t", steps))
    ((spec, argv),) = seen
    assert list(argv) == ["/bin/dump", "--sql", OUTPUT, "entries; rm -rf /", "csv"]
    assert (spec.network, spec.id_base, spec.memory_bytes) == (False, spec.id_base, site.memory_bytes)
    assert spec.site not in cluster.run(running.running())
    assert steps.done == ["clone", "start container", "extract", "stop container"]
    cluster.run(cluster.run(member.core.hosting.content("t")).abort())
    assert clones(cluster, member) == ["temporary/past-1"]
    cluster.wait(KEEP_S + 5)
    assert clones(cluster, member) == []
    with pytest.raises(NoSuchPath):
        cluster.run(member.core.hosting.content("t"))
    assert cluster.members["a"].site(site).state == "serving"


def test_what_fails_leaves_nothing(cluster: Cluster, site: SiteSpec) -> None:
    """A command that fails says why; wrong parameters, moments and names are refused before anything is made."""
    a = cluster.members["a"]
    extract, moment = a.core.hosting.extract, head(cluster, site)
    with pytest.raises(ContainerError, match="no such table"):
        cluster.run(extract(site.id, moment, "table", {"table": "broken", "format": "csv"}, "t", Steps()))
    for values in (
        {"table": "x"},
        {**VALUES, "more": "y"},
        {**VALUES, "table": "x\0"},
        {**VALUES, "table": "x" * 1001},
    ):
        with pytest.raises(BadRequest):
            cluster.run(extract(site.id, moment, "table", values, "t", Steps()))
    with pytest.raises(BadRequest, match="it can: table"):
        cluster.run(extract(site.id, moment, "tabel", VALUES, "t", Steps()))
    with pytest.raises(NoSuchSnapshot):
        cluster.run(extract(site.id, Guid(1), "table", VALUES, "t", Steps()))
    containers_of(a).broken = {f"past-{number}": "no" for number in range(9)}  # type: ignore[misc]  # ids are text
    with pytest.raises(ContainerError):
        cluster.run(extract(site.id, moment, "table", VALUES, "t", Steps()))
    assert clones(cluster, a) == []
    assert set(cluster.run(containers_of(a).running())) == {site.id}


def test_only_so_many_at_once(cluster: Cluster, site: SiteSpec) -> None:
    """A node keeps a few results; who wants another one is told to wait, and need not for long."""
    a = cluster.members["a"]
    for number in range(AT_ONCE):
        cluster.run(a.core.hosting.extract(site.id, head(cluster, site), "table", VALUES, str(number), Steps()))
    with pytest.raises(Conflict):
        cluster.run(a.core.hosting.extract(site.id, head(cluster, site), "table", VALUES, "one more", Steps()))
    cluster.wait(KEEP_S + 5)
    cluster.run(a.core.hosting.extract(site.id, head(cluster, site), "table", VALUES, "now", Steps()))


def test_what_a_crash_leaves_is_gone_after_the_next_start(cluster: Cluster, site: SiteSpec) -> None:
    """The process dies while a past moment runs: its container is ended and its clone destroyed, the site goes on."""
    c = cluster.members["c"]
    died: list[str] = []

    def dies(spec: ContainerSpec, argv: Sequence[str], stdin: bytes) -> Executed:
        died.append(spec.site)
        c.kill_process()
        raise ContainerError("the node process is dead")

    containers_of(c).command = dies
    with pytest.raises(AssertionError):
        cluster.run(c.core.hosting.extract(site.id, head(cluster, site), "table", VALUES, "t", Steps()), 5.0)
    assert died == ["past-1"] and set(cluster.run(containers_of(c).running())) == {"past-1"}
    c.start()
    cluster.wait(5)
    assert cluster.run(containers_of(c).running()) == {}
    assert clones(cluster, c) == []
