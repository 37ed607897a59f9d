"""Access logs become files of their site, at whoever owns it."""

from __future__ import annotations

from hybrid.hosting.accesslogs import AGAIN_S
from hybrid.model import SiteSpec
from hybrid.sitetraffic import Logged
from tests.node.cluster import Cluster, Member, Steps


def told(member: Member, spec: SiteSpec, *lines: str) -> None:
    """A front door of that node answered so many requests."""
    member.core.report(Logged(spec.id, lines))


def test_lines_are_in_the_site_s_file_within_seconds(cluster: Cluster) -> None:
    """In the order in which they were told."""
    spec, a = cluster.create(), cluster.members["a"]
    told(a, spec, "one", "two")
    told(a, spec, "three")
    cluster.wait(6)
    assert a.logs == {spec.id: b"one\ntwo\nthree\n"}


def test_what_is_told_late_goes_to_the_next_owner(cluster: Cluster) -> None:
    """A planned move loses no line: what the old owner has not written yet is written by the new one."""
    spec, a, b = cluster.create(), cluster.members["a"], cluster.members["b"]
    cluster.wait(5)
    told(a, spec, "before")
    cluster.run(a.core.hosting.move(spec.id, b.id, Steps()))
    told(a, spec, "told late")
    cluster.wait(15)
    both = a.logs.get(spec.id, b"") + b.logs.get(spec.id, b"")
    assert both == b"before\ntold late\n" and b.logs[spec.id].endswith(b"told late\n")


def test_a_full_quota_harms_nobody(cluster: Cluster) -> None:
    """The site goes on being served; what could not be written is, when there is room again."""
    spec, a = cluster.create(), cluster.members["a"]
    a.no_room = "its quota is used up"
    told(a, spec, "one")
    cluster.wait(20)
    assert a.logs == {} and a.site(spec).state == "serving" and a.site(spec).trouble == ""
    told(a, spec, "two")
    a.no_room = ""
    cluster.wait(AGAIN_S + 6)
    assert a.logs == {spec.id: b"one\ntwo\n"}


def test_nothing_is_written_while_a_site_is_off(cluster: Cluster) -> None:
    """Its data change only while it is served; then what waited is written."""
    spec, a = cluster.create(), cluster.members["a"]
    cluster.run(a.core.hosting.edit(spec.id, {"wanted": "stopped"}))
    told(a, spec, "one")
    cluster.wait(10)
    assert a.logs == {}
    cluster.run(a.core.hosting.edit(spec.id, {"wanted": "running"}))
    cluster.wait(6)
    assert a.logs == {spec.id: b"one\n"}


def test_lines_of_a_site_that_is_gone_are_forgotten(cluster: Cluster) -> None:
    """Deleted meanwhile: nothing fails, nothing is kept."""
    spec, a = cluster.create(), cluster.members["a"]
    a.no_room = "no"
    told(a, spec, "one")
    cluster.wait(6)
    cluster.run(a.core.hosting.delete(spec.id, Steps()))
    cluster.wait(10)
    a.no_room = ""
    cluster.wait(AGAIN_S + 6)
    assert a.logs == {}


def test_a_node_process_that_ends_writes_what_it_has(cluster: Cluster) -> None:
    """An upgrade of the node loses no line."""
    spec, a = cluster.create(), cluster.members["a"]
    told(a, spec, "one")
    cluster.run(a.core.die())
    assert a.logs == {spec.id: b"one\n"}
