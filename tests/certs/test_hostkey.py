"""The host key of SSH: one for all nodes, whoever made it."""

from __future__ import annotations

import msgspec
import pytest
from twisted.conch.ssh.keys import Key

from hybrid.certs.hostkey import KEY, TOLD, HostKey
from hybrid.view import View
from tests.certs.test_service import SHOP, Cluster, Node, entropy


@pytest.fixture
def cluster() -> Cluster:
    """Two nodes, of which the first owns two sites."""
    return Cluster()


def host_key(cluster: Cluster, node: Node, at_s: float = 1000.0) -> HostKey:
    """That of a node."""

    def view() -> View:
        return msgspec.structs.replace(cluster.view, me=node.id)

    return HostKey(cluster.map, node.certificates, view, lambda: at_s, entropy(f"host {node.id}"))


def with_keys(cluster: Cluster) -> None:
    """People may log in to one of the sites from now on, which node 1 owns."""
    sites = dict(cluster.view.sites)
    spec = msgspec.structs.replace(sites[SHOP].spec, ssh_keys=("ssh-ed25519 AAAA x",))
    sites[SHOP] = msgspec.structs.replace(sites[SHOP], spec=spec)
    cluster.view = msgspec.structs.replace(cluster.view, sites=sites)


def test_it_is_made_when_it_is_wanted_first(cluster: Cluster) -> None:
    """By the owner of the site, once; every node shows it, and the map alone does not give it away."""
    one, two = host_key(cluster, cluster.one), host_key(cluster, cluster.two)
    assert one.told() == two.told() == {}
    with_keys(cluster)
    assert two.told() == {}
    told = one.told()
    cluster.two.certificates.look()
    assert two.told() == told == one.told() and len(cluster.map.prefix(KEY)) == 1
    key = Key.fromString(told[TOLD])
    assert key.sshType() == b"ssh-ed25519" and not key.isPublic()
    ((_, value),) = cluster.map.prefix(KEY).items()
    assert key.public().toString("OPENSSH").decode() in value
    assert told[TOLD].splitlines()[1][:40] not in "".join(cluster.map.values.values())


def test_of_two_the_older_one_stays(cluster: Cluster) -> None:
    """Two sides of a partition may each make one; nobody changes what clients know for a younger one."""
    with_keys(cluster)
    old = host_key(cluster, cluster.one, 1000.0).told()
    aside = {place: cluster.map.values.pop(place) for place in cluster.map.prefix(KEY)}
    young = host_key(cluster, cluster.one, 2000.0)
    assert young.told() != old
    cluster.map.values.update(aside)
    assert young.told() == old


def test_what_cannot_be_opened_is_waited_for(cluster: Cluster) -> None:
    """A newcomer shows no other key meanwhile."""
    with_keys(cluster)
    told = host_key(cluster, cluster.one).told()
    third = Node("n-3", cluster)
    newcomer = host_key(cluster, third)
    assert newcomer.told() == {}
    cluster.one.certificates.look()
    assert newcomer.told() == told


def test_it_is_shown_with_the_certificates(cluster: Cluster) -> None:
    """Front doors get it as they get those."""
    with_keys(cluster)
    cluster.one.certificates.beside.append(host_key(cluster, cluster.one).told)
    cluster.one.certificates.look()
    assert TOLD in cluster.one.shown
