"""The FOSSBilling server manager: an order from its begin to its end."""

from __future__ import annotations

from typing import Any


def test_an_order_from_begin_to_end(panel: Any) -> None:
    """Each step true, each seen in the cluster."""
    assert panel.fossbilling("testConnection")["result"] is True
    for _ in range(2):
        assert panel.fossbilling("createAccount")["result"] is True
    assert panel.hybrid("site", "show", "acme")["domains"] == ["acme.test"]
    assert panel.fossbilling("suspendAccount")["result"] is True
    assert panel.fossbilling("synchronizeAccount")["result"] == {"suspended": True}
    assert panel.fossbilling("unsuspendAccount")["result"] is True
    assert panel.fossbilling("changeAccountPackage", to="large")["result"] is True
    assert panel.hybrid("site", "show", "acme")["quota_bytes"] == 5 * 2**30
    assert panel.fossbilling("changeAccountDomain", to="New.test")["result"] is True
    assert panel.hybrid("site", "show", "acme")["domains"] == ["new.test"]
    assert "/enter?ticket=" in panel.fossbilling("getLoginUrl")["result"]
    assert panel.fossbilling("cancelAccount")["result"] is True
    assert panel.hybrid("account", "list") == []


def test_what_cannot_be_is_said(panel: Any) -> None:
    """Wrong token, wrong CA, what Hybrid does not have: an error with its reason."""
    assert "not valid" in panel.fossbilling("testConnection", config={"accesshash": "wrong"})["error"]
    assert "cannot be reached" in panel.fossbilling("testConnection", config={"ca": "/nowhere"})["error"]
    assert "without a password" in panel.fossbilling("changeAccountPassword", to="x")["error"]
