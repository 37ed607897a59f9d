"""Sessions of people who logged in: whole nodes on one clock."""

from __future__ import annotations

import pytest

from hybrid.errors import ContainerError, NotHere
from hybrid.model import Claim, SiteId
from hybrid.sessions import Opening
from hybrid.sshkeys import PublicKey, read_line
from tests.node.cluster import Cluster
from tests.node.test_previews import made
from tests.proxy.sshclient import key_of, line_of


def opening(site: SiteId, claim: Claim) -> Opening:
    """A shell in a site under that claim."""
    return Opening(site, claim.epoch, claim.node, "shell")


def ann() -> PublicKey:
    """Somebody's key."""
    return read_line(line_of(key_of(1), "ann@work"))


def test_only_where_the_site_runs_under_the_claim_that_is_named(cluster: Cluster) -> None:
    """A front door that is behind is sent to look again; one that is frozen is told apart."""
    spec = cluster.create()
    cluster.wait(10)
    a, b = cluster.members["a"], cluster.members["b"]
    claim = a.site(spec).claim
    assert claim is not None
    a.core.logins.begin(opening(spec.id, claim), -1)
    assert [one.site for one in a.containers.sessions] == [spec.id]
    for member, named in ((b, claim), (a, Claim(claim.epoch - 1, claim.node)), (a, Claim(claim.epoch, b.id))):
        with pytest.raises(NotHere):
            member.core.logins.begin(opening(spec.id, named), -1)
    with pytest.raises(NotHere):
        a.core.logins.begin(opening(SiteId("s-nosuch"), claim), -1)
    cluster.run(a.containers.freeze(spec.id))
    with pytest.raises(ContainerError):
        a.core.logins.begin(opening(spec.id, claim), -1)


def test_a_past_moment_is_logged_in_to_where_it_runs(cluster: Cluster) -> None:
    """In its throw-away container, and no longer than that is there."""
    _, preview = made(cluster, "c")
    c = cluster.members["c"]
    c.core.logins.begin(opening(preview.id, Claim(1, c.id)), -1)
    assert c.containers.sessions[-1].site.startswith("past-")
    with pytest.raises(NotHere):
        cluster.members["a"].core.logins.begin(opening(preview.id, Claim(1, c.id)), -1)
    cluster.wait(700)
    with pytest.raises(NotHere):
        c.core.logins.begin(opening(preview.id, Claim(1, c.id)), -1)


def test_keys_travel_with_the_site(cluster: Cluster) -> None:
    """Every node knows who may log in, also when another one owns the site."""
    spec = cluster.create()
    a = cluster.members["a"]
    cluster.run(a.core.hosting.add_key(spec.id, ann()))
    cluster.wait(10)
    assert all(member.site(spec).spec.ssh_keys == (ann().line,) for member in cluster.members.values())
    a.power_cut()
    cluster.wait(60)
    b, c = cluster.members["b"], cluster.members["c"]
    assert b.site(spec).owner in (b.id, c.id) and b.site(spec).spec.ssh_keys == (ann().line,)
