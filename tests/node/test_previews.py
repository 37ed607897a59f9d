"""Past moments behind names of their own: whole nodes on one clock."""

from __future__ import annotations

import pytest

from hybrid.api.wishes import Wishes
from hybrid.deeds import Preview
from hybrid.errors import BadRequest, ContainerError, NoSuchPath
from hybrid.hosting.previews import Fronts
from hybrid.model import Guid, SiteId, SiteSpec, Wished
from hybrid.view import SiteView, View
from tests.node.cluster import Cluster, Member, Steps


def made(cluster: Cluster, on: str, seconds: int = 600) -> tuple[SiteSpec, Preview]:
    """A site whose history is on all nodes, and a preview of its newest moment on one of them."""
    spec = cluster.create()
    cluster.members["a"].write(spec.id, "data", b"1")
    cluster.wait(20)
    head = cluster.members["a"].core.replicator.history(spec.id)[-1].guid
    preview = cluster.run(cluster.members[on].core.hosting.preview(spec.id, head, seconds, "me", Steps()))
    cluster.wait(10)
    return spec, preview


def seen(member: Member, preview: Preview) -> SiteView | None:
    """The preview as the front doors of a node are told of it."""
    return member.core.previews.among(member.core.outlook.view).sites.get(preview.id)


def clones(cluster: Cluster, member: Member) -> list[str]:
    """What is lent there."""
    return [one.name for one in cluster.run(member.pool.datasets()) if one.name.startswith("temporary/")]


def test_every_front_door_leads_to_it_until_it_ends(cluster: Cluster) -> None:
    """On a replica as on the owner: a site of its own for those who let people in, and for nobody else."""
    spec, preview = made(cluster, "c")
    assert preview.host == f"{preview.id}.hybrid.test" and len(preview.id) == len("preview-") + 16
    c = cluster.members["c"]
    for member in cluster.members.values():
        site = seen(member, preview)
        assert site is not None
        assert (site.owner, site.state, site.spec.domains) == (c.id, "serving", (preview.host,))
        assert (site.upstream is not None) == (member is c)
        assert preview.id not in member.core.outlook.view.sites
        assert member.core.hosting.previews(spec.id) == [preview]
    (container,) = [one for one in c.containers.specs().values() if one.site.startswith("past-")]
    assert (container.network, container.gateway, container.address) == (True, "", "10.88.0.2")
    cluster.wait(600)
    assert all(seen(member, preview) is None for member in cluster.members.values())
    assert clones(cluster, c) == [] and [one for one in c.containers.specs() if one.startswith("past-")] == []
    assert cluster.members["a"].site(spec).state == "serving"


def test_anybody_who_may_ends_it_from_any_node(cluster: Cluster) -> None:
    """It is gone within seconds, and saying so twice is told."""
    spec, preview = made(cluster, "a")
    cluster.members["b"].core.hosting.end_preview(spec.id, preview.id)
    cluster.wait(10)
    assert all(seen(member, preview) is None for member in cluster.members.values())
    assert clones(cluster, cluster.members["a"]) == []
    with pytest.raises(NoSuchPath):
        cluster.members["b"].core.hosting.end_preview(spec.id, preview.id)


def test_it_ends_with_its_node_process(cluster: Cluster) -> None:
    """What a dead process promised is taken back by the next one; nothing of it runs or is mounted."""
    _, preview = made(cluster, "c")
    c = cluster.members["c"]
    c.kill_process()
    cluster.wait(5)
    c.start()
    cluster.wait(20)
    assert all(seen(member, preview) is None for member in cluster.members.values())
    assert clones(cluster, c) == [] and [one for one in c.containers.specs() if one.startswith("past-")] == []


@pytest.mark.parametrize("on", ["a", "c"])
def test_it_ends_where_the_history_of_its_site_is_changed(cluster: Cluster, on: str) -> None:
    """A rollback does not wait for who looks at the past; nor does a replica that has to follow it."""
    spec, preview = made(cluster, on)
    a, member = cluster.members["a"], cluster.members[on]
    a.write(spec.id, "data", b"2")
    cluster.wait(10)
    cluster.run(a.core.hosting.rollback(spec.id, preview.guid, Steps()))
    cluster.wait(40)
    assert seen(member, preview) is None and clones(cluster, member) == []
    assert member.files(spec.id)["data"] == b"1"


def test_what_cannot_be_previewed(cluster: Cluster) -> None:
    """A moment that does not answer leaves nothing; nor is it for seconds, or for weeks."""
    spec, preview = made(cluster, "a")
    a = cluster.members["a"]
    cluster.members["a"].core.hosting.end_preview(spec.id, preview.id)
    cluster.wait(10)
    head = a.core.replicator.history(spec.id)[-1].guid
    for seconds in (59, 86401):
        with pytest.raises(BadRequest):
            cluster.run(a.core.hosting.preview(spec.id, head, seconds, "me", Steps()))
    a.refuses_connections = True
    with pytest.raises(ContainerError, match="does not answer"):
        cluster.run(a.core.hosting.preview(spec.id, Guid(head), 60, "me", Steps()))
    assert clones(cluster, a) == []
    assert a.core.hosting.previews(spec.id) == []


def test_front_doors_are_told_when_one_comes_and_goes(cluster: Cluster) -> None:
    """Also when nothing else in the cluster changes; what is told otherwise is the view itself."""
    told: list[View] = []
    a = cluster.members["a"]
    a.core.outlook.add(Fronts(a.core.previews, told.append).follow)
    assert told[-1] is a.core.outlook.view
    spec, preview = made(cluster, "a")
    assert preview.id in told[-1].sites and spec.id in told[-1].sites
    count = len(told)
    a.core.hosting.end_preview(spec.id, preview.id)
    cluster.wait(1)
    assert len(told) > count and preview.id not in told[-1].sites and told[-1].sites == a.core.outlook.view.sites


def test_a_login_opens_the_moment_it_asks_for(cluster: Cluster) -> None:
    """On the node it came to, once, for half an hour; not for a site or a moment that is not there, nor without end."""
    spec = cluster.create()
    cluster.members["a"].write(spec.id, "data", b"1")
    cluster.wait(20)
    b = cluster.members["b"]
    wishes = Wishes(b.core.hosting, lambda: b.core.outlook.view, cluster.wall_s)
    for site, moment in ((spec.id, "5s"), (spec.id, "5s"), (spec.id, "nonsense!"), (SiteId("s-none"), "5s")):
        wishes.observe(Wished(site, moment))
    cluster.wait(10)
    (preview,) = b.core.hosting.previews(spec.id)
    assert (preview.node, preview.label, preview.by, preview.name) == (b.id, "5s", "a login", spec.name)
    for member in cluster.members.values():
        told = seen(member, preview)
        assert told is not None
        assert (told.spec.name, told.spec.clone_of) == (f"{spec.name}#5s", spec.id)
        assert [port.port for port in told.spec.ports] == [port.port for port in spec.ports]
    for moment in ("5s", "6s", "7s"):
        wishes.observe(Wished(spec.id, moment))
    cluster.wait(10)
    assert sorted(one.label for one in b.core.hosting.previews(spec.id)) == ["5s", "6s"]
    cluster.wait(1800)
    assert b.core.hosting.previews(spec.id) == [] and clones(cluster, b) == []
