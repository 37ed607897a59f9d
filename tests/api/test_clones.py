"""Clones of sites through the API: what is asked for, by whom it is done, what is refused."""

from typing import Any

from hybrid.deeds import CloneSite


def test_a_clone_is_made_by_the_owner(cluster: Any) -> None:
    """From any node, of now or of a moment in any of the usual forms."""
    answer = cluster.n1("POST", "/v1/sites/shop/clone", {"name": "staging", "at": "10m", "environment": {"KEY": "x"}})
    assert (answer.status, answer.json["kind"], answer.json["node"]) == (202, "clone", "n2")
    moment = cluster.world.history[cluster.shop][1]
    wanted = CloneSite(name="staging", at=moment.guid, environment={"KEY": "x"})
    assert cluster.n2.hosting.calls == [("clone", cluster.shop, wanted)]
    shown = cluster.n3("GET", "/v1/sites/staging").json
    assert (shown["clone_of"], shown["owner"]) == ("shop", "n2")


def test_what_is_refused(cluster: Any) -> None:
    """A taken name, a moment there is not, a variable that is none, a field nobody knows: nothing is begun."""
    refused = [
        ({"name": "blog"}, 409),
        ({"name": "a/b"}, 400),
        ({"name": "x", "at": "1"}, 404),
        ({"name": "x", "at": ""}, 400),
        ({"name": "x", "environment": {"A B": "1"}}, 400),
        ({"name": "x", "environment": {"A": 1}}, 400),
        ({"name": "x", "from": "blog"}, 400),
    ]
    for body, status in refused:
        assert (body, cluster.n1("POST", "/v1/sites/shop/clone", body).status) == (body, status)
    assert cluster.n1("POST", "/v1/sites/nobody/clone", {"name": "x"}).status == 404
    assert cluster.n2.hosting.calls == []


def test_detaching_is_an_operation(cluster: Any) -> None:
    """The parent's name is shown until then."""
    cluster.n2("POST", "/v1/sites/shop/clone", {"name": "staging"})
    assert cluster.n1("POST", "/v1/sites/staging/detach").status == 202
    assert cluster.n1("GET", "/v1/sites/staging").json["clone_of"] is None
