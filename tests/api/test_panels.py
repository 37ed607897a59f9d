"""Interfaces at which billing panels order that know nothing of Hybrid: WHM's, and that of HybridCluster in 2013."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import urlencode

import pytest

GIB = 2**30


@pytest.fixture
def shop(cluster: Any) -> Any:
    """A cluster with two packages to sell."""
    for name, sites, gib in (("small", 1, 1), ("large", 5, 5)):
        body = {"sites": sites, "quota_bytes": gib * GIB, "image": "php"}
        assert cluster.n1("POST", f"/v1/packages/{name}", body).status == 200
    return cluster


def whm(cluster: Any, function: str, scheme: str = "WHM", key: str | None = None, **fields: str) -> Any:
    """What a panel gets that asks as cPanel's modules do."""
    sent = f"root:{cluster.token if key is None else key}"
    if scheme == "Basic":
        sent = base64.b64encode(sent.encode()).decode()
    headers = {"Authorization": f"{scheme} {sent}", "Content-Type": "application/x-www-form-urlencoded"}
    answered = cluster.n2("POST", f"/json-api/{function}", None, headers, urlencode(fields).encode())
    assert answered.headers["content-type"] == "application/json"
    return answered.status, json.loads(answered.body)


def classic(cluster: Any, path: str, parameters: object, **more: str) -> Any:
    """What the 2013 module gets."""
    fields = {"username": "admin", "apikey": cluster.token, "api_format": "structured_json", **more}
    if parameters is not None:
        fields["json"] = json.dumps(parameters)
    answered = cluster.n3("POST", f"/{path}", None, {"Authorization": ""}, urlencode(fields).encode())
    return answered.status, json.loads(answered.body)


def order(cluster: Any, **more: str) -> Any:
    """Acme's account."""
    fields = {"username": "acme", "domain": "Acme.test", "contactemail": "a@acme.test", "plan": "root_small", **more}
    return whm(cluster, "createacct", **fields)


def test_an_account_from_order_to_end(shop: Any) -> None:
    """In the shapes of version 0, which every module understands; each step is seen in the cluster."""
    status, made = order(shop)
    assert (status, made["result"][0]["status"], made["result"][0]["options"]["package"]) == (200, 1, "small")
    site = shop.n1("GET", "/v1/sites/acme").json
    assert (site["domains"], site["account"], site["quota_bytes"]) == (["acme.test"], "acme", GIB)
    (told,) = whm(shop, "accountsummary", user="acme")[1]["acct"]
    assert (told["user"], told["domain"], told["plan"], told["suspended"], told["disklimit"]) == (
        "acme",
        "acme.test",
        "small",
        0,
        "1024M",
    )
    assert whm(shop, "suspendacct", user="acme", reason="not paid")[1]["result"][0]["status"] == 1
    (told,) = whm(shop, "listaccts")[1]["acct"]
    assert (told["suspended"], told["suspendreason"]) == (1, "not paid")
    assert whm(shop, "unsuspendacct", user="acme")[1]["result"][0]["status"] == 1
    assert whm(shop, "changepackage", user="acme", pkg="large")[1]["result"][0]["status"] == 1
    assert (
        whm(shop, "modifyacct", user="acme", DNS="new.test", contactemail="b@acme.test")[1]["result"][0]["status"] == 1
    )
    site, account = shop.n1("GET", "/v1/sites/acme").json, shop.n1("GET", "/v1/accounts/acme").json
    assert (site["domains"], site["quota_bytes"], account["email"]) == (["new.test"], 5 * GIB, "b@acme.test")
    assert "/enter?ticket=" in whm(shop, "create_user_session", user="acme", service="cpaneld")[1]["url"]
    for _ in range(2):
        assert whm(shop, "removeacct", user="acme")[1]["result"][0]["status"] == 1
    assert shop.n1("GET", "/v1/accounts").json["items"] == []


def test_the_dialect_with_metadata(shop: Any) -> None:
    """Whoever sends `api.version` is answered with `metadata` and `data`, errors too."""
    made = order(shop, **{"api.version": "1"})[1]
    assert (made["metadata"]["result"], made["metadata"]["command"], made["data"]["package"]) == (
        1,
        "createacct",
        "small",
    )
    packages = whm(shop, "listpkgs", **{"api.version": "1"})[1]["data"]["pkg"]
    assert [(one["name"], one["QUOTA"], one["MAXADDON"]) for one in packages] == [
        ("large", "5120", "4"),
        ("small", "1024", "0"),
    ]
    unknown = whm(shop, "accountsummary", user="nobody", **{"api.version": "2"})[1]["metadata"]
    assert unknown["result"] == 0 and "nobody" in unknown["reason"]
    assert "Unknown app" in whm(shop, "killacct", **{"api.version": "1"})[1]["metadata"]["reason"]


def test_an_order_may_be_repeated_and_a_taken_name_is_refused(shop: Any) -> None:
    """A panel asks again that did not hear the answer; another order for the name touches nothing."""
    for _ in range(2):
        assert order(shop)[1]["result"][0]["status"] == 1
    assert [one["name"] for one in shop.n1("GET", "/v1/sites").json["items"]].count("acme") == 1
    refused = order(shop, domain="other.test")[1]
    assert refused["status"] == 0 and "already" in refused["statusmsg"]
    assert shop.n1("GET", "/v1/sites/acme").json["domains"] == ["acme.test"]
    assert whm(shop, "verify_new_username", user="acme")[1]["status"] == 0
    assert whm(shop, "verify_new_username", user="other")[1]["result"][0]["status"] == 1


def test_a_package_is_made(shop: Any) -> None:
    """With the bounds the panel gave in megabytes."""
    made = whm(shop, "addpkg", name="tiny", quota="100", bwlimit="unlimited", maxaddon="2")[1]
    assert made["result"][0]["pkg"] == "tiny"
    package = shop.n1("GET", "/v1/packages/tiny").json
    assert (package["quota_bytes"], package["bandwidth_bytes"], package["sites"]) == (100 * 2**20, None, 3)
    assert whm(shop, "addpkg", name="tiny", quota="much")[1]["status"] == 0


@pytest.mark.parametrize("scheme", ["WHM", "whm", "Basic"])
def test_who_asks(shop: Any, scheme: str) -> None:
    """A token is known in each of the ways panels send it; a wrong one learns nothing, a reader changes nothing."""
    status, told = whm(shop, "version", scheme)
    assert status == 200 and told["version"].startswith("11.")
    for key in ("", "hybpat_x", "hybpat_abcdefgh_" + "a" * 32):
        status, told = whm(shop, "listaccts", scheme, key)
        assert status == 401 and "acct" not in told and told["cpanelresult"]["data"]["result"] == "0"
    reader = shop.n1("POST", "/v1/tokens", {"name": "r", "rights": "read"}).json["token"]
    assert whm(shop, "listaccts", scheme, reader)[1]["acct"] == []
    refused = whm(shop, "createacct", scheme, reader, username="acme", domain="acme.test")[1]
    assert refused["status"] == 0 and "only read" in refused["statusmsg"]


def test_a_customer_gets_no_ones_accounts(shop: Any) -> None:
    """A token bound to an account is none for panels."""
    order(shop)
    url = shop.n1("POST", "/v1/accounts/acme/links", {}).json["url"]
    token, _ = shop.n1.api.tokens.redeem(url.rpartition("ticket=")[2], 60)
    told = whm(shop, "listaccts", key=token)[1]
    assert told["status"] == 0 and "acct" not in told


@pytest.mark.parametrize(
    "fields",
    [{}, {"username": "acme"}, {"username": "///", "domain": "a.test"}, {"username": "a\0b", "domain": "a.test"}],
)
def test_orders_that_make_no_sense(shop: Any, fields: dict[str, str]) -> None:
    """Each is answered, and nothing is made."""
    status, told = whm(shop, "createacct", **fields)
    assert (status, told.get("status")) in ((200, 0), (400, None))
    assert shop.n1("GET", "/v1/accounts").json["items"] == []


def parameters(service: int, domain: str, **more: object) -> dict[str, object]:
    """What WHMCS knows of a service, and sends."""
    client = {"userid": 7, "email": "alice@acme.test", "address1": "1 Street", "currencycode": "GBP"}
    return {"serviceid": service, "domain": domain, "clientsdetails": client, "configoption6": "2", **more}


def test_a_service_as_in_2013(shop: Any) -> None:
    """Two services of one customer; one is suspended, and ended, without the other."""
    for service, domain in ((1, "one.test"), (2, "two.test"), (2, "two.test")):
        status, told = classic(shop, "whmcs/create_account", parameters(service, domain))
        assert (status, told["result"]) == (200, "success")
    account = shop.n1("GET", "/v1/accounts/client-7").json
    assert (account["sites"], account["email"]) == (["service-1", "service-2"], "alice@acme.test")
    assert shop.n1("GET", "/v1/sites/service-1").json["quota_bytes"] == 2 * GIB
    assert classic(shop, "whmcs/set_suspended", {"serviceid": 1, "suspended": 1})[1] == {"result": "success"}
    suspended = [shop.world.sites[one].spec.suspended for one in shop.world.sites if shop.world.sites[one].spec.account]
    assert sorted(suspended) == [False, True]
    assert classic(shop, "whmcs/set_suspended", {"serviceid": 1, "suspended": 0})[1] == {"result": "success"}
    larger = parameters(1, "one.test", configoptions={"Disk Quota": "3"})
    assert classic(shop, "whmcs/change_user_package", larger)[1]["result"] == "success"
    assert shop.n1("GET", "/v1/sites/service-1").json["quota_bytes"] == 3 * GIB
    assert "1 Street" not in json.dumps(shop.n1("GET", "/v1/accounts").json)
    for service in (1, 1, 2):
        assert classic(shop, "whmcs/terminate_account", {"serviceid": service})[1]["result"] == "success"
    assert shop.n1("GET", "/v1/accounts").json["items"] == []


def test_a_customer_signs_in_as_in_2013(shop: Any) -> None:
    """By a form with a token that is good once."""
    classic(shop, "whmcs/create_account", parameters(1, "one.test"))
    told = classic(shop, "admin_api/get_login_token", {"username": "Alice@acme.test"})[1]
    assert told["result"] == "string"
    form = urlencode({"_login_action": "force_login", "username": "alice@acme.test", "password": told["string"]})
    answered = shop.n1("POST", "/website/domains", None, {"Authorization": ""}, form.encode())
    assert (answered.status, answered.headers["location"]) == (303, f"/enter?ticket={told['string']}")
    assert classic(shop, "admin_api/get_login_token", {"username": "eve@acme.test"})[1]["result"] == "error"


def test_snapshots_of_a_mailbox_as_in_2013(shop: Any) -> None:
    """Names to sign in with, oldest first, as Roundcube's plugin turns them round itself."""
    told = classic(shop, "admin_api/available_snapshots_for_email", {"email": "bob@blog.hybrid.test"})[1]
    known = shop.n1("GET", "/v1/sites/blog/snapshots").json["items"]
    assert [one["name"] for one in told["snapshots"]] == [one["name"] for one in reversed(known)]
    stamps = [one["timestamp"] for one in told["snapshots"]]
    assert stamps and stamps == sorted(stamps)
    assert (
        classic(shop, "admin_api/available_snapshots_for_email", {"email": "bob@nowhere.test"})[1]["result"] == "error"
    )


def test_steps_are_told_as_in_2013(shop: Any) -> None:
    """Of what takes longer."""
    made = classic(shop, "whmcs/create_account", parameters(1, "one.test"))[1]
    told = classic(shop, "whmcs/poll_step_action", {"step_action_id": made["step_action_id"]})[1]
    assert told["finished"] is True and {one["status"] for one in told["steps"]} == {"FINISHED"}


@pytest.mark.parametrize(
    ("path", "given"),
    [
        ("whmcs/create_account", {}),
        ("whmcs/create_account", {"serviceid": "1; rm"}),
        ("whmcs/create_account", {"serviceid": 1, "clientsdetails": []}),
        ("whmcs/create_account", {"serviceid": 1, "userid": 1, "configoption6": "much"}),
        ("whmcs/set_suspended", {"serviceid": 99, "suspended": 1}),
        ("whmcs/change_website_password", {"serviceid": 1}),
        ("whmcs/get_login_token", {"username": "alice@acme.test"}),
        ("admin_api/poll_step_action", {"step_action_id": "../../x"}),
        ("admin_api", {}),
        ("whmcs/create_account/x", {}),
    ],
)
def test_classic_calls_that_make_no_sense(shop: Any, path: str, given: object) -> None:
    """Each gets an error in words, as the module shows it, and makes nothing."""
    status, told = classic(shop, path, given)
    assert status == 200 and told["result"] == "error" and told["error"]
    assert shop.n1("GET", "/v1/accounts").json["items"] == []


def test_a_key_in_a_query_or_a_broken_form_is_refused(shop: Any) -> None:
    """What is in a query gets into logs; what cannot be read is not guessed at."""
    answered = shop.n1("POST", f"/whmcs/create_account?apikey={shop.token}", None, {"Authorization": ""}, b"json={}")
    assert answered.status == 401
    assert classic(shop, "whmcs/create_account", None, json="{")[0] == 400
    assert shop.n1("POST", "/whmcs/create_account", None, {"Authorization": ""}, b"a=%ff").status == 400
