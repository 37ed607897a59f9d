"""Certificates in the shared map of several nodes: sealed, opened by every node, never by anybody else."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable

import msgspec
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hybrid.certs import records, vault
from hybrid.certs.records import Shown, best
from hybrid.certs.service import Certificates
from hybrid.certs.vault import Vault
from hybrid.errors import BadRequest, NoSuchCertificate
from hybrid.model import Claim, NodeId, SiteId, SiteSpec, Version
from hybrid.view import SiteView, View
from tests.certs.authority import NOW_S, Authority, new_key, pem, text

ROOT = Authority()
SHOP, BLOG = SiteId("s-shop"), SiteId("s-blog")


class Map:
    """The shared map of a cluster in which everything arrives at once."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def get(self, key: str) -> str | None:
        """See `hybrid.certs.ports.Shared`."""
        return self.values.get(key)

    def put(self, key: str, value: str | None) -> None:
        """See `hybrid.certs.ports.Shared`."""
        if value is None:
            self.values.pop(key, None)
        else:
            self.values[key] = value

    def prefix(self, prefix: str) -> dict[str, str]:
        """See `hybrid.certs.ports.Shared`."""
        return {key: value for key, value in self.values.items() if key.startswith(prefix)}


def entropy(seed: str) -> Callable[[int], bytes]:
    """Bytes that differ from call to call and from seed to seed."""
    counter = itertools.count()
    return lambda count: hashlib.shake_128(f"{seed} {next(counter)}".encode()).digest(count)


class Node:
    """One node's certificates."""

    def __init__(self, name: str, cluster: Cluster) -> None:
        self.id, self.key = NodeId(name), new_key()
        self.shown: dict[str, str] = {}
        cluster.nodes[self.id] = self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.certificates = Certificates(
            Vault(self.id, self.key, entropy(name)),
            cluster.map,
            lambda: cluster.nodes,
            lambda: cluster.view,
            lambda: NOW_S,
            lambda secrets: self.shown.update(secrets) or self.drop(secrets.keys()),  # type: ignore[func-returns-value]
        )

    def drop(self, known: object) -> None:
        """Forget what is not fed any more."""
        self.shown = {key: value for key, value in self.shown.items() if key in known}  # type: ignore[operator]

    def keys(self) -> dict[str, str]:
        """Names to the private keys that the front doors have."""
        return {place: msgspec.json.decode(value, type=Shown).key for place, value in self.shown.items()}


class Cluster:
    """Two nodes, and two sites."""

    def __init__(self) -> None:
        self.map = Map()
        self.nodes: dict[NodeId, bytes] = {}
        sites = {site: self._site(site, name) for site, name in ((SHOP, "shop"), (BLOG, "blog"))}
        self.view = View(me=NodeId("n-1"), serial=1, zones=("test",), nodes={}, sites=sites)
        self.one, self.two = Node("n-1", self), Node("n-2", self)

    @staticmethod
    def _site(site: SiteId, name: str) -> SiteView:
        spec = SiteSpec(id=site, version=Version(1, 1), name=name, domains=(f"{name}.test",), image="x@1", number=1)
        return SiteView(spec=spec, state="serving", owner=NodeId("n-1"), claim=Claim(1, NodeId("n-1")))


@pytest.fixture
def cluster() -> Cluster:
    """Without any certificate."""
    return Cluster()


def uploaded(cluster: Cluster, *names: str, site: SiteId | None = None) -> str:
    """Upload a certificate for `names`; gives its key."""
    key = new_key()
    cluster.one.certificates.upload(text(ROOT.issue(key, *names)), pem(key), site, "admin")
    return pem(key)


def test_every_node_shows_what_was_uploaded_to_one(cluster: Cluster) -> None:
    """Without a restart; and takes it back when it is removed anywhere."""
    key = uploaded(cluster, "shop.test")
    cluster.two.certificates.look()
    assert cluster.one.keys() == cluster.two.keys() == {"cert/shop.test": key}
    cluster.two.certificates.remove("shop.test")
    cluster.one.certificates.look()
    assert cluster.one.shown == cluster.two.shown == {}
    with pytest.raises(NoSuchCertificate):
        cluster.one.certificates.remove("shop.test")


def test_the_map_alone_gives_no_key_away(cluster: Cluster) -> None:
    """Who has a copy of the map, or a node's key of another cluster, reads no private key."""
    key = uploaded(cluster, "shop.test")
    body = "".join(key.split("\n")[1:-2])
    assert all(body[:40] not in value for value in cluster.map.values.values())
    stranger = Vault(NodeId("n-1"), new_key(), entropy("x"))
    assert not stranger.learn(cluster.map.prefix(vault.KEY))
    (record,) = records.decode(cluster.map.prefix(records.KEY)).values()
    assert stranger.open(record.key, "shop.test") is None


def test_a_newcomer_gets_the_keys_from_whoever_has_them(cluster: Cluster) -> None:
    """As soon as its public key is known."""
    uploaded(cluster, "shop.test")
    third = Node("n-3", cluster)
    third.certificates.look()
    assert third.shown == {}
    cluster.two.certificates.look()
    third.certificates.look()
    assert third.keys() == cluster.one.keys()


def test_keys_made_on_both_sides_of_a_partition_both_open(cluster: Cluster) -> None:
    """What either side was given is shown by all, once they hear of each other."""
    mine, other = cluster.one, cluster.two
    both = cluster.map
    uploaded(cluster, "shop.test")
    cluster.map.values = {}
    key = new_key()
    other.certificates._shared = apart = Map()
    other.certificates.upload(text(ROOT.issue(key, "blog.test")), pem(key), None, "admin")
    other.certificates._shared = both
    mine.certificates.look()
    uploaded(cluster, "shop.test")
    both.values.update(apart.values)
    for _ in range(2):
        mine.certificates.look()
        other.certificates.look()
    assert mine.keys() == other.keys() and len(mine.keys()) == 2


def test_a_certificate_under_another_name_does_not_open(cluster: Cluster) -> None:
    """A sealed key is bound to its certificate's name, and one that was changed is not shown."""
    uploaded(cluster, "shop.test")
    (record,) = records.decode(cluster.map.prefix(records.KEY)).values()
    cluster.map.put(*records.encode(msgspec.structs.replace(record, name="blog.test")))
    cluster.map.put("cert/odd", "not JSON")
    cluster.two.certificates.look()
    assert set(cluster.two.shown) == {"cert/shop.test"}


def test_a_certificate_must_be_for_a_site(cluster: Cluster) -> None:
    """What no site here is named by is refused; so is another site's domain for a certificate of one site's own."""
    with pytest.raises(BadRequest, match="no site here"):
        uploaded(cluster, "other.test")
    with pytest.raises(BadRequest, match="no domain of that site"):
        uploaded(cluster, "blog.test", site=SHOP)
    assert cluster.map.prefix(records.KEY) == {}
    uploaded(cluster, "shop.test", "blog.test")
    (record,) = cluster.one.certificates.all()
    assert cluster.one.certificates.sites_of(record) == ["blog", "shop"]


def test_the_best_certificate_is_shown_and_never_that_of_another_site() -> None:
    """The host's own before a wildcard, an uploaded before an issued one, the later end; one of a site for it alone."""

    def shown(*names: str, ends_s: int = 9, source: records.Source = "issued", site: SiteId | None = None) -> Shown:
        return Shown(names=names, chain="", key="", not_after_s=ends_s, source=source, site=site)

    wide, own, later = shown("*.a.test", ends_s=99), shown("x.a.test"), shown("x.a.test", ends_s=10)
    mine, foreign = shown("x.a.test", source="uploaded"), shown("x.a.test", ends_s=99, source="uploaded", site=BLOG)
    assert best("x.a.test", SHOP, [wide, own]) == own
    assert best("x.a.test", SHOP, [own, later]) == later
    assert best("x.a.test", SHOP, [later, mine, foreign]) == mine
    assert best("x.a.test", SHOP, [foreign]) is None
    assert best("a.test", SHOP, [wide]) is None
