"""What sites and domains may be called, and what may be edited."""

import pytest

from hybrid.errors import BadRequest, Conflict, NoSuchSite
from hybrid.hosting.addresses import address_of, container_spec
from hybrid.hosting.names import check_domain, check_free, check_name, edited, find
from hybrid.model import Claim, NodeId, SiteId, SiteSpec, Version
from hybrid.settings import Settings
from hybrid.view import SiteView, View

SPEC = SiteSpec(
    id=SiteId("s-a"), version=Version(3, 7), name="shop", domains=("shop.hybrid.test",), image="php@1", number=2
)
VIEW = View(
    me=NodeId("n-1"),
    serial=1,
    zones=("hybrid.test",),
    nodes={},
    sites={SPEC.id: SiteView(spec=SPEC, state="serving")},
)


@pytest.mark.parametrize("name", ["", "a/b", "a@b", "a#b", "a%b", "..", "-a", "a-", "A", "a b", "a\0", "ä", "x" * 64])
def test_names_that_could_be_mistaken_are_refused(name: str) -> None:
    """A site's name is one DNS label; anything else gets the rule, not a strange failure later."""
    with pytest.raises(BadRequest, match="a-z 0-9"):
        check_name(name)


@pytest.mark.parametrize("name", ["a", "shop", "shop-2", "0", "x" * 63])
def test_plain_names_are_fine(name: str) -> None:
    """Ordinary names pass unchanged."""
    assert check_name(name) == name


@pytest.mark.parametrize("domain", ["", "localhost", "a..b", "-a.de", "a_b.de", "a/b.de", "x" * 64 + ".de", "a." * 130])
def test_domains_that_dns_refuses_are_refused(domain: str) -> None:
    """What cannot be a host name is told apart at once."""
    with pytest.raises(BadRequest):
        check_domain(domain)


def test_domains_are_normalised() -> None:
    """Upper case, a final dot and international letters all lead to the one form that requests carry."""
    assert check_domain("WWW.Example.ORG.") == "www.example.org"
    assert check_domain("bücher.example") == "xn--bcher-kva.example"


def test_a_name_or_domain_belongs_to_one_site() -> None:
    """The second site of a name or domain is refused, the same site may keep its own."""
    with pytest.raises(Conflict, match="named shop"):
        check_free(VIEW, "shop", [])
    with pytest.raises(Conflict, match=r"shop\.hybrid\.test belongs"):
        check_free(VIEW, "other", ["shop.hybrid.test"])
    check_free(VIEW, "shop", ["shop.hybrid.test"], but=SPEC.id)


def test_sites_are_found_by_name_or_id() -> None:
    """Both lead to the site; neither: an error that names what was asked."""
    assert find(VIEW, "shop").spec == find(VIEW, "s-a").spec == SPEC
    with pytest.raises(NoSuchSite, match="there is no site nope"):
        find(VIEW, "nope")


def test_an_edit_makes_the_next_version() -> None:
    """Each edit of a spec is ordered after the last."""
    new = edited(SPEC, {"ttl_s": 60, "wanted": "stopped"})
    assert (new.ttl_s, new.wanted, new.version) == (60, "stopped", Version(3, 8))


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "s-b"},
        {"number": 1},
        {"bogus": 1},
        {"ttl_s": "x"},
        {"ttl_s": 0},
        {"copies": -1},
        {"domains": []},
        {"retention": "daily for 30d"},
        {"retention": 7},
        {"history_budget_bytes": 1},
        *({"sleep_after_s": after_s} for after_s in (-1.0, 5.0, 40 * 86400.0, float("inf"), float("nan"), "soon")),
        {"asleep": True},
    ],
)
def test_odd_edits_are_refused(changes: dict[str, object]) -> None:
    """Identity cannot be edited, and a value that does not fit changes nothing."""
    with pytest.raises(BadRequest):
        edited(SPEC, changes)


def test_addresses_and_ids_follow_from_the_number() -> None:
    """The same number gives the same address and id range on every node, so failover never rewrites files."""
    settings = Settings(name="n1", address="127.0.0.1")
    spec = container_spec(SPEC, "/x", settings, None)
    assert (spec.address, spec.prefix, spec.gateway) == ("10.88.1.1", 16, "10.88.0.1")
    assert spec.id_base == 1_000_000 + 2 * 65536
    assert address_of(32000, "10.88.0.0/16") == "10.88.125.255"
    with pytest.raises(Conflict, match="too small"):
        address_of(2, "10.88.0.0/24")


def test_a_site_knows_the_claim_it_runs_under() -> None:
    """An application can note beside its data which term of ownership wrote it."""
    settings = Settings(name="n1", address="127.0.0.1")
    environment = container_spec(SPEC, "/x", settings, Claim(7, NodeId("a"))).environment
    assert (environment["HYBRID_SITE"], environment["HYBRID_CLAIM"]) == (SPEC.name, "7,a")
