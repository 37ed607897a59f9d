"""A node that says what no healthy node says: nobody listens to it any more, and people are told."""

from __future__ import annotations

import msgspec

from hybrid.api.status import summarise
from hybrid.cluster.sealing import MemorySeals
from hybrid.cluster.vouching import Vouching
from hybrid.model import NO_BOOT, Claim, Guid, NodeRegister, Received, SiteId, SiteRegister, StreamBroken, Version
from hybrid.wire import Gossip
from tests.node.cluster import Cluster, Steps


def findings(cluster: Cluster, seen_by: str) -> str:
    """What the status complains of."""
    return "; ".join(summarise(cluster.members[seen_by].core.outlook.view, 0.0).findings)


def test_a_node_that_leaps_ahead_is_not_listened_to(cluster: Cluster) -> None:
    """It cannot use up a site's epochs: all others go on as before, and say which node must be looked at."""
    spec = cluster.create(on="a")
    cluster.wait(15)
    b, c = cluster.members["b"], cluster.members["c"]
    bad = SiteRegister(role="replica", seen=Claim(2**63, c.id), version=Version(10**6, 0))
    for other in (cluster.members["a"], b):
        assert c.links.send(other.id, Gossip(sites={c.id: {spec.id: bad}}))
    cluster.wait(15)
    assert cluster.owners(spec)["a"] == cluster.owners(spec)["b"] == "a"
    assert b.core.outlook.view.sites[spec.id].claim == Claim(1, cluster.members["a"].id)
    for seen_by in "ab":
        assert "nothing c says is believed any more: it tells of epoch 9223372036854775808" in findings(
            cluster, seen_by
        )


def test_a_node_that_sends_broken_streams_is_told(cluster: Cluster) -> None:
    """Three streams that are not what was announced: people are told to look at that node."""
    a, b = cluster.members["a"], cluster.members["b"]
    b.core.report(StreamBroken(a.id, "one that came out well the next time"))
    b.core.report(Received(SiteId("s-x"), Claim(1, a.id), Guid(1)))
    for number in range(3):
        assert "streams" not in findings(cluster, "c")
        b.core.report(StreamBroken(a.id, f"no magic number {number}"))
    cluster.wait(5)
    assert "a sends streams that are not what it announces: no magic number 2" in findings(cluster, "c")


def test_who_passes_it_on_is_none_the_worse(cluster: Cluster) -> None:
    """A leap is its writer's fault, where it is signed; nobody can be brought into disrepute by others."""
    spec = cluster.create(on="a")
    cluster.wait(15)
    a, b, c = (cluster.members[name] for name in "abc")
    leap = SiteRegister(role="replica", seen=Claim(2**63, c.id), version=Version(10**6, 0))
    assert c.links.send(a.id, Gossip(sites={b.id: {spec.id: leap}}))
    cluster.wait(2)
    assert "believed" not in findings(cluster, "a"), "b did not say that"
    signed_leap = Vouching(b.id, MemorySeals(b.id), lambda node: None).signed(leap, spec.id)
    assert c.links.send(a.id, Gossip(sites={b.id: {spec.id: signed_leap}}))
    cluster.wait(2)
    assert "nothing b says is believed any more" in findings(cluster, "a")
    assert "nothing c says" not in findings(cluster, "a")
    assert cluster.owners(spec)["a"] == "a"


def signed(register: NodeRegister) -> NodeRegister:
    """As the node itself, or who has its key, would say it."""
    seals = MemorySeals(register.id)
    register = msgspec.structs.replace(register, key=seals.key)
    return Vouching(register.id, seals, lambda node: None).signed(register)


def test_a_second_node_with_ones_key(cluster: Cluster) -> None:
    """The older of two stands for no site any more, and says so to everybody until one of them is stopped."""
    a, c = cluster.members["a"], cluster.members["c"]
    spec = cluster.create(on="a")
    cluster.wait(15)
    cluster.run(a.core.hosting.move(spec.id, cluster.members["b"].id, Steps()))
    boot = (a.notes.starts + 1, 5)
    twin = NodeRegister(id=a.id, name="a", dc="paris", address="10.9.9.250", boot=boot, version=Version(10**6, 0))
    assert c.links.send(a.id, Gossip(nodes={a.id: twin}))
    cluster.wait(1)
    assert a.core.known.nodes()[a.id].twin == NO_BOOT, "what is not signed with this node's key proves nothing"
    assert c.links.send(a.id, Gossip(nodes={a.id: signed(twin)}))
    cluster.wait(1)
    assert "cloned" not in findings(cluster, "a"), "an earlier life would be heard of in the same way"
    outdone = a.core.known.nodes()[a.id]
    assert outdone.twin == boot and outdone.version > twin.version
    answer = NodeRegister(
        id=a.id,
        name="a",
        dc="paris",
        address="10.9.9.250",
        boot=boot,
        twin=outdone.boot,
        version=Version(outdone.version.major + 1, 0),
    )
    assert c.links.send(a.id, Gossip(nodes={a.id: signed(answer)}))
    cluster.wait(1)
    assert "10.9.9.250 is a second node with this node's key" in findings(cluster, "a")
    later = msgspec.structs.replace(answer, version=Version(10**7, 0))
    assert c.links.send(a.id, Gossip(nodes={a.id: signed(later)}))
    cluster.wait(1)
    assert a.core.known.nodes()[a.id].version < later.version, "both know by now: it is not outdone again"
    cluster.members["b"].power_cut()
    cluster.members["c"].power_cut()
    cluster.wait(40)
    assert a.site(spec).owner is None
