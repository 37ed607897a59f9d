"""Operations: watched while they run, remembered, honest about a restart."""

from collections.abc import Callable
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs

Read = Callable[[Any], Any]


def begin(cluster: Any) -> Any:
    """A rollback of `blog` that waits at its first step."""
    cluster.n1.hosting.gate = Deferred()
    return cluster.n1("POST", "/v1/sites/blog/rollback", {"to": "60s"}).json


def test_wait_returns_at_the_end(cluster: Any, read: Read) -> None:
    """A long poll is answered when the operation ends, through any node, not before."""
    operation = begin(cluster)
    waiting = cluster.n1.begin("GET", f"/v1/operations/{operation['id']}?wait=30")
    through_n2 = cluster.n2.begin("GET", f"/v1/operations/{operation['id']}?wait=30")
    cluster.reactor.advance(10)
    assert waiting.value() == b"" == through_n2.value()
    cluster.n1.hosting.gate.callback(None)
    for transport in (waiting, through_n2):
        ended = read(transport).json
        assert (ended["state"], ended["seconds"]) == ("done", 10.0)
        assert ended["steps"] == [{"name": "stash", "state": "done", "seconds": 10.0}]


def test_wait_returns_in_time(cluster: Any, read: Read) -> None:
    """It is answered at its time-out with the operation as it is."""
    operation = begin(cluster)
    waiting = cluster.n1.begin("GET", f"/v1/operations/{operation['id']}?wait=5")
    cluster.reactor.advance(5)
    assert read(waiting).json["state"] == "running"


def test_wait_returns_at_a_change(cluster: Any, read: Read) -> None:
    """With `seen`, each step is told as it completes."""
    operation = begin(cluster)
    path = f"/v1/operations/{operation['id']}?wait=30"
    now = cluster.n1("GET", f"{path}&seen=0").json
    assert now["steps"] == [{"name": "stash", "state": "running", "seconds": None}]
    waiting = cluster.n1.begin("GET", f"{path}&seen={now['revision']}")
    assert waiting.value() == b""
    cluster.n1.hosting.gate.callback(None)
    assert read(waiting).json["steps"][0]["state"] == "done"


def test_a_client_that_leaves_does_not_matter(cluster: Any) -> None:
    """Neither the operation nor the log minds."""
    operation = begin(cluster)
    head = f"GET /v1/operations/{operation['id']}?wait=30 HTTP/1.1\r\nAuthorization: Bearer {cluster.token}\r\n\r\n"
    with capturedLogs() as logs:
        _, protocol = cluster.n1.connect(head.encode())
        cluster.n1.lose(protocol)
        cluster.n1.hosting.gate.callback(None)
    assert [event for event in logs if event["log_level"].name in ("error", "critical")] == []
    assert cluster.n1("GET", f"/v1/operations/{operation['id']}").json["state"] == "done"


def test_unknown_operations(cluster: Any) -> None:
    """No id, nobody's id, a dead node's id: 400, 404, and 503 that says so."""
    assert cluster.n1("GET", "/v1/operations/nonsense").status == 400
    assert cluster.n1("GET", "/v1/operations/op-zzzzzzzz-1234").status == 404
    assert cluster.n1("GET", "/v1/operations/op-bbbbbbbb-1234").status == 404
    cluster.world.live.discard(cluster.n2.id)
    dead = cluster.n1("GET", "/v1/operations/op-bbbbbbbb-1234")
    assert (dead.status, dead.json["code"]) == (503, "node-down")
    assert "n2" in dead.json["detail"]


def test_list(cluster: Any) -> None:
    """Newest first, of one node, by site and state."""
    first = cluster.n1("POST", "/v1/sites/blog/rollback", {"to": "60s"}).json["id"]
    second = cluster.n1("POST", "/v1/sites/blog/undo").json["id"]
    listed = cluster.n1("GET", "/v1/operations").json["items"]
    assert [operation["id"] for operation in listed] == [second, first]
    assert len(cluster.n1("GET", "/v1/operations?limit=1").json["items"]) == 1
    assert cluster.n1("GET", "/v1/operations?site=shop").json["items"] == []
    assert len(cluster.n1("GET", f"/v1/operations?site={cluster.blog}&state=done").json["items"]) == 2
    assert len(cluster.n2("GET", "/v1/operations?node=n1").json["items"]) == 2
    assert cluster.n1("GET", "/v1/operations?state=odd").status == 400


def test_restart_interrupts(cluster: Any) -> None:
    """What ran when the process died is told as interrupted, with the reason; the site can be used at once."""
    operation = begin(cluster)
    cluster.n1.api = cluster.n1.make()
    cluster.n1.api.operations.recover()
    told = cluster.n1("GET", f"/v1/operations/{operation['id']}").json
    assert (told["state"], told["error"]["code"]) == ("interrupted", "interrupted")
    assert "ended while it was running" in told["error"]["detail"]
    cluster.n1.hosting.gate = None
    assert cluster.n1("POST", "/v1/sites/blog/rollback", {"to": "60s"}).status == 202


def test_restart_keeps_results(cluster: Any) -> None:
    """What had ended stays as it was; a record that cannot be read is left out, not fatal."""
    done = cluster.n1("POST", "/v1/sites/blog/rollback", {"to": "60s"}).json["id"]
    before = cluster.n1("GET", f"/v1/operations/{done}").json
    cluster.n1.store.records["op-aaaaaaaa-bad"] = b"{rubbish"
    cluster.n1.api = cluster.n1.make()
    with capturedLogs():
        cluster.n1.api.operations.recover()
    assert cluster.n1("GET", f"/v1/operations/{done}").json == before


def test_history_is_bounded(cluster: Any) -> None:
    """A busy year does not fill the disk; what runs is never forgotten."""
    running = begin(cluster)
    cluster.n1.hosting.gate = None
    for _ in range(1010):
        assert cluster.n1("POST", "/v1/images", {"name": "php"}).status == 202
        cluster.closing.close()
    assert len(cluster.n1.store.records) <= 1001
    assert cluster.n1("GET", f"/v1/operations/{running['id']}").json["state"] == "running"


def test_a_store_that_fails_does_not_stop_the_work(cluster: Any) -> None:
    """A full disk costs the memory of the operation, not the operation."""

    def broken(operation_id: str, record: bytes) -> None:
        raise OSError("disk full")

    cluster.n1.store.save_operation = broken
    with capturedLogs() as logs:
        operation = cluster.n1("POST", "/v1/sites/blog/rollback", {"to": "60s"})
    assert cluster.n1("GET", operation.headers["location"]).json["state"] == "done"
    assert any("cannot be written down" in str(event["log_format"]) for event in logs)


def test_a_bug_in_an_operation(cluster: Any) -> None:
    """It fails with a reference; the log has the traceback; the next one can start."""
    cluster.n1.hosting.fail = ValueError("oops")
    with capturedLogs() as logs:
        operation = cluster.n1("POST", "/v1/sites/blog/rollback", {"to": "60s"})
    told = cluster.n1("GET", operation.headers["location"]).json
    assert (told["state"], told["error"]["code"]) == ("failed", "internal")
    assert told["steps"][0]["state"] == "failed"
    assert any(isinstance(event["log_failure"].value, ValueError) for event in logs if "log_failure" in event)
    cluster.n1.hosting.fail = None
    assert cluster.n1("POST", "/v1/sites/blog/rollback", {"to": "60s"}).status == 202


def test_records_are_plain_json(cluster: Any) -> None:
    """An operator can read the store with any tool."""
    cluster.n1("POST", "/v1/sites/blog/rollback", {"to": "60s"})
    (record,) = cluster.n1.store.records.values()
    assert msgspec.json.decode(record)["kind"] == "rollback"
