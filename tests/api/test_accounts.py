"""Accounts and packages: what billing panels need, done to all sites of a customer wherever they are."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from hybrid.api import cookies
from hybrid.errors import StorageSick

GIB = 2**30


@pytest.fixture
def shop(cluster: Any) -> Any:
    """The cluster, in which blog (on n1) and shop (on n2) belong to the account `acme`, of the package `small`."""
    n1 = cluster.n1
    assert n1("POST", "/v1/packages/small", {"sites": 3, "quota_bytes": GIB, "memory_bytes": GIB}).status == 200
    made = n1("POST", "/v1/accounts", {"name": "acme", "package": "small", "email": "a@acme.test", "reference": "77"})
    assert made.status == 201
    for site in (cluster.blog, cluster.shop):
        seen = cluster.world.sites[site]
        spec = msgspec.structs.replace(seen.spec, account="acme", quota_bytes=GIB)
        cluster.world.sites[site] = msgspec.structs.replace(seen, spec=spec, data_bytes=1000, history_bytes=10)
    return cluster


def wanted(cluster: Any) -> list[bool]:
    """Whether blog and shop should run."""
    return [cluster.world.sites[site].spec.runs for site in (cluster.blog, cluster.shop)]


def test_one_answer_tells_what_all_accounts_use(shop: Any) -> None:
    """A panel's daily run asks once, not once for each customer."""
    (told,) = shop.n3("GET", "/v1/accounts").json["items"]
    assert (told["name"], told["sites"], told["domains"]) == (
        "acme",
        ["blog", "shop"],
        ["blog.hybrid.test", "shop.hybrid.test"],
    )
    assert (told["data_bytes"], told["history_bytes"], told["quota_bytes"]) == (2000, 20, 2 * GIB)


def test_the_same_order_twice_makes_one_account(shop: Any) -> None:
    """A panel that did not hear the answer asks again: it is told the same. Another order for the name is refused."""
    again = shop.n1("POST", "/v1/accounts", {"name": "acme", "reference": "77"})
    assert again.status == 201 and again.json["package"] == "small"
    assert shop.n1("POST", "/v1/accounts", {"name": "acme", "reference": "78"}).status == 409
    assert shop.n1("POST", "/v1/accounts", {"name": "acme"}).status == 409


def test_suspended_and_resumed(shop: Any) -> None:
    """All its sites stop, on whatever node, and run again as before: one that its customer had stopped stays so."""
    shop.n2("POST", "/v1/sites/shop/stop", {})
    done = shop.n1("POST", "/v1/accounts/acme/suspend", {"reason": "not paid"}).json
    assert [step["name"] for step in done["steps"]] == ["suspend blog", "suspend shop"] and done["state"] == "done"
    assert wanted(shop) == [False, False]
    assert shop.n3("GET", "/v1/accounts/acme").json["reason"] == "not paid"
    shop.n3("POST", "/v1/accounts/acme/resume", {})
    assert wanted(shop) == [True, False]
    assert shop.n1("GET", "/v1/accounts/acme").json["suspended"] is False


def test_a_suspended_account_gets_no_new_site(shop: Any) -> None:
    """Nor does its customer go on under another name."""
    shop.n1("POST", "/v1/accounts/acme/suspend", {})
    refused = shop.n1("POST", "/v1/sites", {"name": "new", "image": "php", "account": "acme"})
    assert refused.status == 409 and "suspended" in refused.json["title"]


def test_one_sites_trouble_keeps_no_other_from_its_turn(shop: Any) -> None:
    """The operation says what is left, and called again it does that."""
    shop.n1.hosting.fail = StorageSick("the pool does not answer")
    left = shop.n3("POST", "/v1/accounts/acme/suspend", {}).json
    assert left["state"] == "failed" and "1 of 2" in left["error"]["title"] and "blog" in left["error"]["detail"]
    assert wanted(shop) == [True, False]
    shop.n1.hosting.fail = None
    assert shop.n3("POST", "/v1/accounts/acme/suspend", {}).json["state"] == "done"
    assert wanted(shop) == [False, False]


def test_another_package_changes_all_its_sites(shop: Any) -> None:
    """Up or down: the limits of each site are those of the new package."""
    shop.n1("POST", "/v1/packages/large", {"quota_bytes": 5 * GIB, "memory_bytes": 2 * GIB, "cpus": 2.0})
    assert shop.n1("PATCH", "/v1/accounts/acme", {"package": "large"}).json["state"] == "done"
    for site in (shop.blog, shop.shop):
        spec = shop.world.sites[site].spec
        assert (spec.quota_bytes, spec.memory_bytes, spec.cpus) == (5 * GIB, 2 * GIB, 2.0)
    assert shop.n2("GET", "/v1/accounts/acme").json["package"] == "large"


def test_a_new_site_has_what_its_package_says(shop: Any) -> None:
    """As far as the order says nothing itself; and no more sites than the package holds."""
    made = shop.n1(
        "POST", "/v1/sites", {"name": "third", "image": "php", "account": "acme", "memory_bytes": 64 * 2**20}
    )
    assert made.json["state"] == "done"
    calls = [call for node in (shop.n1, shop.n2, shop.n3) for call in node.hosting.calls]
    request = next(call[1] for call in calls if call[0] == "create")
    assert (request.account, request.quota_bytes, request.memory_bytes) == ("acme", GIB, 64 * 2**20)
    shop.n1("POST", "/v1/packages/small", {"sites": 2})
    refused = shop.n1("POST", "/v1/sites", {"name": "fourth", "image": "php", "account": "acme"})
    assert refused.status == 409 and "no more sites" in refused.json["title"]
    assert shop.n1("POST", "/v1/sites", {"name": "x", "image": "php", "account": "nobody"}).status == 404


def test_ended(shop: Any) -> None:
    """Its sites are in the trash, from which they can be brought back; the account is gone."""
    assert shop.n1("DELETE", "/v1/accounts/acme").json["state"] == "done"
    assert not shop.world.sites
    assert shop.n1("GET", "/v1/accounts/acme").status == 404


def test_a_package_that_is_in_use_stays(shop: Any) -> None:
    """Nobody's limits vanish."""
    assert shop.n1("DELETE", "/v1/packages/small").status == 409
    shop.n1("DELETE", "/v1/accounts/acme")
    assert shop.n1("DELETE", "/v1/packages/small").status == 204
    assert shop.n1("GET", "/v1/packages").json["items"] == []


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/packages/p", {"sites": -1}),
        ("/v1/packages/p", {"retention": "now and then"}),
        ("/v1/packages/p%2F..", {}),
        ("/v1/packages/p", {"colour": "red"}),
        ("/v1/accounts", {"name": "Not Good"}),
        ("/v1/accounts", {"name": "x", "package": "nosuch"}),
        ("/v1/accounts", {"name": "x", "email": "a\nb"}),
        ("/v1/accounts/nosuch/suspend", {}),
    ],
)
def test_bad_orders(cluster: Any, path: str, body: object) -> None:
    """Refused with a reason; nothing is kept of them."""
    assert cluster.n1("POST", path, body).status in (400, 404)
    assert not cluster.shared.prefix("account/") and not cluster.shared.prefix("package/")


def test_what_cannot_be_read_is_nobodys(shop: Any) -> None:
    """A record of a newer release, or a broken one, breaks no list."""
    shop.shared.put("account/odd", "{")
    shop.shared.put("account/other", '{"name": "acme2"}')
    assert [one["name"] for one in shop.n1("GET", "/v1/accounts").json["items"]] == ["acme"]


def test_a_link_to_all_sites_of_an_account(shop: Any) -> None:
    """From the panel's button: the sites of that customer, their past, and nothing of anybody else."""
    seen = shop.world.sites[shop.shop]
    shop.world.sites[shop.shop] = msgspec.structs.replace(
        seen, spec=msgspec.structs.replace(seen.spec, account="other")
    )
    url = shop.n1("POST", "/v1/accounts/acme/links", {"name": "Alice"}).json["url"]
    html = {"Authorization": "", "Accept": "text/html"}
    entered = shop.n2("GET", "/enter?" + url.partition("?")[2], headers=html)
    assert entered.headers["location"] == "/sites"
    token = cookies.token_in(entered.headers["set-cookie"])
    pages = {**html, "Cookie": f"hybrid={token}"}
    assert b"blog" in shop.n1("GET", "/sites", headers=pages).body
    assert b"shop" not in shop.n1("GET", "/sites", headers=pages).body
    calls = {"Authorization": f"Bearer {token}"}
    assert [site["name"] for site in shop.n3("GET", "/v1/sites", headers=calls).json["items"]] == ["blog"]
    begun = shop.n3("POST", "/v1/sites/blog/rollback", {"to": "60s"}, headers=calls)
    assert begun.status == 202
    foreign = shop.n2("POST", "/v1/sites/shop/rollback", {"to": "60s"}).json["id"]
    assert shop.n1("GET", f"/v1/operations/{begun.json['id']}", headers=calls).status == 200
    assert shop.n1("GET", f"/v1/operations/{foreign}", headers=calls).status == 404
    assert shop.n1("GET", "/v1/sites/shop", headers=calls).status == 404
    assert shop.n1("GET", "/v1/accounts", headers=calls).status == 404
