"""Who is bound to one site sees and does nothing beyond it, and comes by a link that works once."""

from __future__ import annotations

import re
from typing import Any

import pytest

from hybrid.api import cookies
from hybrid.api.table import ROUTES

BODIES = {
    "snapshots": {},
    "marks": {"snapshot": "now"},
    "rollback": {"to": "now"},
    "restore": {"snapshot": "now", "path": "/a"},
    "extracts": {"snapshot": "now", "name": "table"},
    "previews": {"snapshot": "now"},
}


class Customer:
    """Comes by a link to `blog` and asks n1, or another node, in its own name."""

    def __init__(self, cluster: Any) -> None:
        self.cluster = cluster
        self.link = cluster.n1("POST", "/v1/sites/blog/links", {"name": "Alice"}).json["url"]
        self.ticket = self.link.partition("ticket=")[2]
        self.entered = self.enter(cluster.n2)
        self.token = cookies.token_in(self.entered.headers["set-cookie"])

    def enter(self, node: Any) -> Any:
        """Open the link, at `node`."""
        return node("GET", f"/enter?ticket={self.ticket}", headers={"Authorization": "", "Accept": "text/html"})

    def ask(self, method: str, path: str, body: object = None, node: Any = None) -> Any:
        """A call of the API."""
        return (node or self.cluster.n1)(method, path, body, headers={"Authorization": f"Bearer {self.token}"})

    def look(self, path: str) -> Any:
        """A page."""
        headers = {"Authorization": "", "Cookie": f"hybrid={self.token}", "Accept": "text/html"}
        return self.cluster.n1("GET", path, headers=headers)


@pytest.fixture
def customer(cluster: Any) -> Any:
    """Alice."""
    for node in (cluster.n1, cluster.n2, cluster.n3):
        node.api.follow(cluster.world.view(node.id))
    return Customer(cluster)


def calls_about(site: str) -> list[tuple[str, str, object]]:
    """A call of each route, about `site` where it is about one."""
    found: list[tuple[str, str, object]] = []
    for route in ROUTES:
        path = re.sub(r"\{([a-z]+)\}", lambda name: site if name[1] == "site" else "x1", route.template)
        last = route.template.rpartition("/")[2]
        found.append((route.method, path, BODIES.get(last, {}) if route.body else None))
    return found


def test_a_link_works_once_on_any_node(customer: Any) -> None:
    """It was opened at another node than made it; a second time it says why it does not work, and lets nobody in."""
    assert customer.entered.status == 303
    again = customer.enter(customer.cluster.n3)
    assert again.status == 401 and b"used already" in again.body and "set-cookie" not in again.headers


def test_a_link_ends_after_a_minute_and_a_visit_after_hours(cluster: Any) -> None:
    """What was found in an old mail, or left open on a foreign computer, opens nothing."""
    late = cluster.n1("POST", "/v1/sites/blog/links", {}).json["url"].partition("ticket=")[2]
    customer = Customer(cluster)
    cluster.reactor.advance(61)
    headers = {"Authorization": "", "Accept": "text/html"}
    assert cluster.n1("GET", f"/enter?ticket={late}", headers=headers).status == 401
    assert customer.ask("GET", "/v1/sites/blog").status == 200
    cluster.reactor.advance(8 * 3600)
    assert customer.ask("GET", "/v1/sites/blog").status == 401


def test_a_ticket_is_no_token(cluster: Any) -> None:
    """Who reads the link in a log cannot call the API with it; nor does a token pass as a ticket."""
    ticket = cluster.n1("POST", "/v1/sites/blog/links", {}).json["url"].partition("ticket=")[2]
    assert cluster.n1("GET", "/v1/sites/blog", headers={"Authorization": f"Bearer {ticket}"}).status == 401
    headers = {"Authorization": "", "Accept": "text/html"}
    assert cluster.n1("GET", f"/enter?ticket={cluster.token}", headers=headers).status == 401


def test_old_tickets_are_not_kept(cluster: Any) -> None:
    """A panel that makes a link a second for years fills no memory."""
    for _ in range(3):
        cluster.n1("POST", "/v1/sites/blog/links", {})
        cluster.reactor.advance(100)
    assert len(cluster.shared.prefix("token/")) == 2


def test_all_of_the_own_site(customer: Any) -> None:
    """By name and by id, at any node: the past, and the ways back."""
    for node in (customer.cluster.n1, customer.cluster.n2):
        for site in ("blog", customer.cluster.blog):
            assert customer.ask("GET", f"/v1/sites/{site}/snapshots", node=node).json["items"]
    begun = customer.ask("POST", "/v1/sites/blog/rollback", {"to": "60s"}, node=customer.cluster.n3)
    assert begun.status == 202
    operation = customer.ask("GET", f"/v1/operations/{begun.json['id']}").json
    assert operation["actor"] == "Alice" and operation["state"] == "done"


@pytest.mark.parametrize(("method", "path", "body"), calls_about("shop"), ids=lambda part: str(part))
def test_nothing_of_anybody_else(customer: Any, method: str, path: str, body: object) -> None:
    """Whatever is asked about another's site is answered as if it were not there, and changes nothing."""
    cluster = customer.cluster
    foreign = cluster.n2("POST", "/v1/sites/shop/rollback", {"to": "60s"}).json["id"]
    before = [list(node.hosting.calls) for node in (cluster.n1, cluster.n2, cluster.n3)]
    answer = customer.ask(method, path.replace("/v1/operations/x1", f"/v1/operations/{foreign}"), body)
    if path in ("/v1/sites", "/v1/operations") and method == "GET":
        assert answer.status == 200
    elif path != "/v1/openapi.json":
        assert answer.status in (400, 404), answer.body
    told = answer.body.decode().replace(r"there is no site \"shop\"", "")
    assert cluster.shop not in told and (path == "/v1/openapi.json" or "shop" not in told.replace(path, ""))
    assert [node.hosting.calls for node in (cluster.n1, cluster.n2, cluster.n3)] == before


def test_another_site_is_no_different_from_none(customer: Any) -> None:
    """Nobody finds out by trying which names are taken."""
    taken = customer.ask("GET", "/v1/sites/shop").json
    free = customer.ask("GET", "/v1/sites/shap").json
    assert {**taken, "title": ""} == {**free, "title": ""}
    assert taken["title"].replace("shop", "shap") == free["title"]


def test_the_pages_of_a_customer(customer: Any) -> None:
    """The time machine of the own site with its buttons, and nothing of the cluster."""
    shown = customer.look("/sites/blog/past")
    assert shown.status == 200 and b"Moments" in shown.body
    assert all(word not in shown.body for word in (b'href="/nodes"', b'href="/settings"', b"shop"))
    assert customer.look("/").headers["location"] == f"/sites/{customer.cluster.blog}/past"
    summary = customer.look("/sites/blog").body
    assert b"/do/snapshot" in summary and b"/do/move-site" not in summary and b"/do/change-site" not in summary
    assert b"shop" not in customer.look("/sites").body
    for path in ("/nodes", "/settings", "/operations", "/sites/shop", "/sites/shop/past"):
        answer = customer.look(path)
        assert answer.status == 404 and customer.cluster.shop.encode() not in answer.body, path


def test_who_may_only_read_makes_no_links(cluster: Any) -> None:
    """A link lets its holder write, so who makes one must be allowed to."""
    token = cluster.n1("POST", "/v1/tokens", {"name": "looker", "rights": "read"}).json["token"]
    refused = cluster.n1("POST", "/v1/sites/blog/links", {}, headers={"Authorization": f"Bearer {token}"})
    assert refused.status == 403
