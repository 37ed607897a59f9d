"""The WHMCS module: a service from its order to its end."""

from __future__ import annotations

from typing import Any


def test_a_service_from_order_to_end(panel: Any) -> None:
    """Created, suspended, resumed, given another package, ended: each answered as WHMCS wants it."""
    assert panel.whmcs("CreateAccount")["result"] == "success"
    site = panel.hybrid("site", "show", "acme")
    assert (site["domains"], site["account"]) == (["acme.test"], "acme")
    assert panel.whmcs("SuspendAccount", suspendreason="not paid")["result"] == "success"
    assert panel.hybrid("account", "show", "acme")["reason"] == "not paid"
    assert panel.hybrid("site", "show", "acme")["suspended"] is True
    assert panel.whmcs("UnsuspendAccount")["result"] == "success"
    assert panel.whmcs("ChangePackage", configoption1="large")["result"] == "success"
    assert panel.hybrid("site", "show", "acme")["quota_bytes"] == 5 * 2**30
    assert panel.whmcs("TerminateAccount")["result"] == "success"
    assert panel.hybrid("account", "list") == []


def test_every_call_may_be_repeated(panel: Any) -> None:
    """WHMCS tries again, administrators click twice: nothing is made twice, and nothing fails for it."""
    for _ in range(2):
        assert panel.whmcs("CreateAccount")["result"] == "success"
    assert [site["name"] for site in panel.hybrid("site", "list")].count("acme") == 1
    for _ in range(2):
        assert panel.whmcs("TerminateAccount")["result"] == "success"


def test_another_order_for_a_taken_name_is_refused(panel: Any) -> None:
    """In words an administrator understands, without what was there being touched."""
    panel.whmcs("CreateAccount")
    refused = panel.whmcs("CreateAccount", serviceid=78)["result"]
    assert "there is an account acme already" in refused


def test_usage_is_asked_for_once(panel: Any) -> None:
    """The daily run writes what each service uses, in WHMCS's units."""
    panel.whmcs("CreateAccount")
    (written,) = panel.whmcs("UsageUpdate")["written"]
    assert written["where"] == {"server": 1, "username": "acme"}
    assert written["values"]["disklimit"] in (0, 1024)


def test_a_customer_is_signed_in(panel: Any) -> None:
    """The button leads to a link that works once."""
    panel.whmcs("CreateAccount")
    told = panel.whmcs("ServiceSingleSignOn")["result"]
    assert told["success"] and "/enter?ticket=" in told["redirectTo"]
    assert panel.whmcs("AdminSingleSignOn")["result"]["redirectTo"] == f"https://127.0.0.1:{panel.port}/"


def test_services_are_listed_for_synchronisation(panel: Any) -> None:
    """As WHMCS imports them."""
    panel.whmcs("CreateAccount")
    panel.whmcs("SuspendAccount")
    (account,) = panel.whmcs("ListAccounts")["result"]["accounts"]
    assert (account["username"], account["domain"], account["product"]) == ("acme", "acme.test", "small")
    assert account["status"] == "Suspended"
    shown = panel.whmcs("ClientArea")["result"]["templateVariables"]
    assert shown["account"]["domains"] == ["acme.test"] and shown["error"] == ""


def test_the_connection_is_tested(panel: Any) -> None:
    """Good, a wrong token, nobody there: told apart."""
    assert panel.whmcs("TestConnection")["result"] == {"success": True, "error": ""}
    wrong = panel.whmcs("TestConnection", serveraccesshash="hybpat_wrong")["result"]
    assert not wrong["success"] and "not valid" in wrong["error"]
    away = panel.whmcs("TestConnection", serverport="1")["result"]
    assert not away["success"] and "cannot be reached" in away["error"]


def test_who_is_not_of_the_cluster_is_told_nothing(panel: Any, tmp_path: Any) -> None:
    """A server with another certificate never sees the token."""
    panel.ca.write_text((tmp_path / "state" / "admin.json").read_text())
    refused = panel.whmcs("TestConnection")["result"]
    assert not refused["success"]


def test_secrets_are_not_logged(panel: Any) -> None:
    """What WHMCS keeps in its module log holds no token and no customer's address."""
    told = panel.whmcs("CreateAccount")["logged"]
    assert told == [["CreateAccount", "acme", "success"]]
