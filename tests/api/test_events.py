"""Events: as a list, and as a stream that survives reconnects and slow readers."""

from collections.abc import Callable
from typing import Any

import msgspec

from hybrid.model import SendFailed, SnapshotFailed, StorageFailed

Read = Callable[[Any], Any]


def happen(cluster: Any) -> None:
    """n3 dies and the site moves."""
    cluster.n1.api.follow(cluster.world.view(cluster.n1.id))
    cluster.world.live.discard(cluster.n3.id)
    seen = cluster.world.sites[cluster.shop]
    changed = msgspec.structs.replace(seen, owner=cluster.n1.id, state="changing", trouble="image missing")
    cluster.world.sites[cluster.shop] = changed
    cluster.n1.api.follow(cluster.world.view(cluster.n1.id))


def test_what_changes_in_the_view_is_told(cluster: Any) -> None:
    """In words, with the site and the node it is about."""
    happen(cluster)
    page = cluster.n1("GET", "/v1/events").json
    assert [event["text"] for event in page["items"]] == [
        "node n3 is down",
        "shop is on n1 now",
        "shop is changing (was serving)",
        "shop: image missing",
    ]
    assert page["items"][1]["site"] == cluster.shop
    assert page["newest"] == page["items"][-1]["seq"]
    assert cluster.n1("GET", f"/v1/events?since={page['newest']}").json["items"] == []
    assert len(cluster.n1("GET", f"/v1/events?since={page['items'][1]['seq']}&limit=1").json["items"]) == 1


def test_sites_come_and_go(cluster: Any) -> None:
    """New, changed, stashed, deleted."""
    cluster.n1.api.follow(cluster.world.view(cluster.n1.id))
    stash = cluster.world.stash(cluster.blog, cluster.world.history[cluster.blog][0].guid)
    seen = cluster.world.sites[cluster.blog]
    spec = msgspec.structs.replace(seen.spec, version=seen.spec.version.next())
    cluster.world.sites[cluster.blog] = msgspec.structs.replace(seen, spec=spec)
    cluster.world.sites["s-new"] = msgspec.structs.replace(cluster.world.sites.pop(cluster.shop))
    cluster.n1.api.follow(cluster.world.view(cluster.n1.id))
    kinds = [event["kind"] for event in cluster.n1("GET", "/v1/events").json["items"]]
    assert kinds == ["site-deleted", "stash", "site-changed", "site-new"]
    assert stash.id in cluster.n1("GET", "/v1/events").json["items"][1]["text"]


def test_trouble_is_told(cluster: Any) -> None:
    """Facts that people want to hear of become events."""
    site, node = cluster.blog, cluster.n2.id
    for fact in (SnapshotFailed(site, "pool full"), SendFailed(site, node, "cut"), StorageFailed("gone")):
        cluster.n1.api.report(fact)
    texts = [event["text"] for event in cluster.n1("GET", "/v1/events").json["items"]]
    assert [text.split(":")[0] for text in texts[:3]] == [
        "no snapshot could be taken",
        "replication did not arrive",
        "the pool does not answer",
    ]


def test_operations_are_events(cluster: Any) -> None:
    """Begin and end of every operation, with its id."""
    operation = cluster.n1("POST", "/v1/sites/blog/rollback", {"to": "60s"}).json["id"]
    events = cluster.n1("GET", "/v1/events").json["items"]
    assert [(event["text"], event["operation"]) for event in events] == [
        ("rollback of blog: running", operation),
        ("rollback of blog: done", operation),
    ]


def stream(cluster: Any, headers: dict[str, str] | None = None, query: str = "") -> Any:
    """Follow the events of n1."""
    return cluster.n1.begin("GET", "/v1/events" + query, headers={"Accept": "text/event-stream"} | (headers or {}))


def test_stream(cluster: Any, read: Read) -> None:
    """Events arrive as they happen, a comment keeps the connection alive."""
    transport = stream(cluster)
    assert b"text/event-stream" in transport.value()
    happen(cluster)
    assert b"node n3 is down" in transport.value()
    assert b"id: aaaaaaaa-" in transport.value()
    transport.clear()
    cluster.reactor.advance(15)
    assert b": still here" in transport.value()


def test_stream_goes_on_after_the_last_event(cluster: Any) -> None:
    """A client that reconnects gets what it missed, and nothing twice."""
    happen(cluster)
    events = cluster.n1("GET", "/v1/events").json["items"]
    again = stream(cluster, {"Last-Event-ID": f"aaaaaaaa-{events[1]['seq']}"}).value()
    assert again.count(b"data: ") == 2
    assert b"node n3 is down" not in again
    assert stream(cluster, query="?since=0").value().count(b"data: ") == 4
    assert stream(cluster).value().count(b"data: ") == 0
    from_another_node = stream(cluster, {"Last-Event-ID": f"bbbbbbbb-{events[1]['seq']}"})
    assert from_another_node.value().count(b"data: ") == 0
    assert stream(cluster, {"Last-Event-ID": "rubbish"}).value().startswith(b"HTTP/1.1 400")
    before_restart = stream(cluster, {"Last-Event-ID": "aaaaaaaa-17"}).value()
    assert b"event: missed" in before_restart


def test_a_slow_reader_costs_nothing(cluster: Any) -> None:
    """While it does not read nothing is written; then it gets everything in order."""
    transport = stream(cluster)
    transport.producer.pauseProducing()
    transport.clear()
    happen(cluster)
    cluster.reactor.advance(60)
    assert transport.value() == b""
    transport.producer.resumeProducing()
    assert transport.value().count(b"data: ") == 4


def test_streams_end(cluster: Any) -> None:
    """They are forgotten when the client goes, closed when the node stops, and bounded."""
    transports = [stream(cluster) for _ in range(200)]
    assert stream(cluster).value().startswith(b"HTTP/1.1 503")
    cluster.closing.close()
    one = stream(cluster)
    assert one.value().startswith(b"HTTP/1.1 200")
    cluster.n1.api.stopService()
    assert one.value().endswith(b"0\r\n\r\n")
    happen(cluster)
    assert len(transports) == 200


def test_the_log_is_bounded(cluster: Any) -> None:
    """The oldest go, and a client that asks for them is told so."""
    first = cluster.n1.api.events.newest
    for number in range(10_050):
        cluster.n1.api.report(StorageFailed(str(number)))
    page = cluster.n1("GET", f"/v1/events?since={first + 1}&limit=1").json
    assert page["missed"]
    assert page["items"][0]["text"].endswith(" 50")
    assert not cluster.n1("GET", f"/v1/events?since={page['newest']}&limit=1").json["missed"]
