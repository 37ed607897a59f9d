"""Visitors of sites through the API."""

from __future__ import annotations

from typing import Any

from hybrid.api.traffic import ALL_LOGS_BYTES, LOG_BYTES, TrafficBook, quantile
from hybrid.model import Served, SiteId
from hybrid.sitetraffic import LATENCY_S, Logged

A, B = SiteId("s-a"), SiteId("s-b")


def classes(**counts: int) -> tuple[int, ...]:
    """Answers by class."""
    found = [0] * (len(LATENCY_S) + 1)
    for name, count in counts.items():
        found[int(name[1:])] = count
    return tuple(found)


def test_counts_add_up_and_rates_are_of_the_last_minute() -> None:
    """Of all proxies of a node; what is older than a minute counts in sums only."""
    book = TrafficBook()
    book.report(Served(A, 60, 600, 1, classes(c0=50, c3=10)), 0.0)
    book.report(Served(A, 60, 600, 0, (), 2, 3, 4.5), 100.0)
    told = book.of(A, "shop", "n1", 100.0)
    assert (told.requests, told.bytes, told.errors, told.refused, told.waited) == (120, 1200, 1, 2, 3)
    assert (told.requests_per_s, told.bytes_per_s, told.waited_s) == (1.0, 10.0, 4.5)
    assert (told.p50_s, told.p95_s, told.latency["0.005"], told.latency["0.05"]) == (LATENCY_S[0], 0.05, 50, 10)
    nobody = book.of(B, "b", "n1", 0.0)
    assert (nobody.requests, nobody.p50_s) == (0, None)
    assert quantile([*[0] * len(LATENCY_S), 1], 0.5) == LATENCY_S[-1]


def test_logs_are_bounded() -> None:
    """Per site and in all; of all sites those go that were written to longest ago."""
    book = TrafficBook()
    line = "x" * 1000
    for _ in range(3):
        book.report(Logged(A, (line,) * 1000, 1), 0.0)
    lines, dropped = book.log(A, 10**6)
    assert (len(lines), dropped) == (LOG_BYTES // 1000, 3)
    for number in range(ALL_LOGS_BYTES // LOG_BYTES + 1):
        book.report(Logged(f"s-{number}", (line,) * 1048), 0.0)
    assert book.log(A, 1) == ((), 0) and len(book.log(SiteId("s-5"), 3)[0]) == 3


def test_what_the_front_doors_tell(cluster: Any) -> None:
    """Told to the owner, shown by every node; the busiest first."""
    cluster.n2.api.report(Served(cluster.shop, 9, 90, 0, classes(c1=9)))
    cluster.n2.api.report(Served(cluster.blog, 0, 0, 0, (), 1))
    cluster.n2.api.report(Logged(cluster.shop, ("one", "two", "three")))
    assert [one["site"] for one in cluster.n1("GET", "/v1/traffic?node=n2").json["items"]] == ["shop", "blog"]
    told = cluster.n3("GET", "/v1/sites/shop/traffic").json
    assert (told["node"], told["requests"], told["p95_s"]) == ("n2", 9, 0.01)
    log = cluster.n1("GET", "/v1/sites/shop/access-log?lines=2").json
    assert log == {"lines": ["two", "three"], "dropped": 0, "from_node": "n2"}
    assert cluster.n1("GET", "/v1/sites/blog/access-log").json["lines"] == []
    assert cluster.n1("GET", "/v1/sites/none/traffic").status == 404
