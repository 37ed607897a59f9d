"""Streams between nodes, as people see them."""

from typing import Any

from twisted.internet.defer import Deferred

from hybrid.deeds import TransferSeen
from hybrid.model import NodeId


def test_streams_of_a_named_node_are_listed(cluster: Any) -> None:
    """Asked anywhere, the node itself answers: which way, to whom, how much, how fast, how long still."""
    n2 = cluster.n2
    n2.hosting.transferring.append(
        TransferSeen(
            way="send",
            dataset=f"sites/{cluster.blog}",
            node=cluster.n3.id,
            bytes=50_000_000,
            size_bytes=200_000_000,
            bytes_per_s=10_000_000,
            seconds=5.0,
            left_s=15.0,
            saved_bytes=20_000_000,
        )
    )
    n2.hosting.transferring.append(
        TransferSeen(
            way="receive",
            dataset="images/php-0123",
            node=NodeId("n-gone"),
            bytes=0,
            size_bytes=None,
            bytes_per_s=0,
            seconds=0.1,
            left_s=None,
        )
    )
    assert cluster.n1("GET", "/v1/transfers").json["items"] == []
    blog, image = cluster.n1("GET", "/v1/transfers?node=n2").json["items"]
    assert (blog["way"], blog["node"], blog["site_name"], blog["left_s"]) == ("send", "n3", "blog", 15.0)
    assert (blog["saved_bytes"], image["saved_bytes"]) == (20_000_000, 0)
    assert (image["node"], image["site_name"], image["size_bytes"], image["left_s"]) == ("n-gone", None, None, None)


def test_a_node_that_is_not_there(cluster: Any) -> None:
    """Who asks for a node that does not exist is told so."""
    assert cluster.n1("GET", "/v1/transfers?node=n9").status == 404


def test_an_operation_tells_what_its_site_moves(cluster: Any) -> None:
    """Who waits for a move or a restore sees bytes, rate and time left of that site, and of no other."""
    n1 = cluster.n1
    n1.hosting.gate = Deferred()
    operation = n1("POST", "/v1/sites/blog/rollback", {"to": "60s"}).json
    for dataset in (f"sites/{cluster.blog}", "sites/s-other", "images/php-0123"):
        n1.hosting.transferring.append(
            TransferSeen(
                way="restore",
                dataset=dataset,
                node=n1.id,
                bytes=1_000_000,
                size_bytes=4_000_000,
                bytes_per_s=500_000,
                seconds=2.0,
                left_s=6.0,
            )
        )
    (blog,) = n1("GET", f"/v1/operations/{operation['id']}").json["transfers"]
    assert (blog["way"], blog["node"], blog["site_name"]) == ("restore", "n1", "blog")
    assert (blog["bytes"], blog["size_bytes"], blog["bytes_per_s"], blog["left_s"]) == (1e6, 4e6, 5e5, 6.0)
    n1.hosting.gate.callback(None)
    assert n1("GET", f"/v1/operations/{operation['id']}").json["transfers"] == []
