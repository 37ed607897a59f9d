"""Writes: passed on to the owner, long ones as operations, done once."""

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from hybrid.errors import OutOfSpace, PeerError
from hybrid.model import Manifest, Port
from hybrid.ports import Executed
from hybrid.wire import ApiCall


def test_create_is_an_operation_with_steps(cluster: Any) -> None:
    """202 with a place to watch it; its steps have names and its result says what was made."""
    answer = cluster.n1("POST", "/v1/sites", {"name": "new", "image": "php", "node": "n1"})
    assert answer.status == 202
    assert answer.headers["location"] == f"/v1/operations/{answer.json['id']}"
    ended = cluster.n1("GET", answer.headers["location"]).json
    assert [(step["name"], step["state"]) for step in ended["steps"]] == [
        ("clone image", "done"),
        ("start container", "done"),
    ]
    assert (ended["state"], ended["result"]["domains"], ended["node"]) == ("done", ["new.hybrid.test"], "n1")
    assert cluster.n3("GET", "/v1/sites/new").json["owner"] == "n1"


def test_a_site_comes_with_a_database(cluster: Any) -> None:
    """Both on one node and in one group; how to log in is told to the site and to who may write, not to the cluster."""
    cluster.n2.hosting.known.append(Manifest("mariadb", kind="database", ports=(Port("mysql", 3306, "mysql"),)))
    cluster.n2.hosting.output = Executed(0, b"database=d\nuser=u\npassword=it's\n", b"")
    asked = {"name": "new", "image": "php", "node": "n2", "database": "mariadb", "copies": 1}
    begun = cluster.n1("POST", "/v1/sites", asked)
    ended = cluster.n1("GET", begun.headers["location"]).json
    assert (ended["state"], ended["result"]["name"]) == ("done", "new")
    first, second = [call[1] for call in cluster.n2.hosting.calls if call[0] == "create"]
    assert (first.name, first.image, first.copies, first.private) == ("new-mariadb", "mariadb", 1, "")
    assert second.private.splitlines() == [
        "DATABASE_KIND=mysql",
        "DATABASE_HOST=$HYBRID_GATEWAY",
        "DATABASE_PORT=3306",
        "DATABASE_NAME=d",
        "DATABASE_USER=u",
        "DATABASE_PASSWORD='it'\"'\"'s'",
    ]
    assert cluster.n1("GET", "/v1/groups").json["items"][0]["sites"] == ["new", "new-mariadb"]
    assert "it's" not in cluster.n1("GET", "/v1/sites/new").body.decode() + str(ended)
    told = cluster.n1("POST", "/v1/sites/new-mariadb/credentials")
    assert told.json["values"] == {"database": "d", "user": "u", "password": "it's"}


def test_a_database_that_is_none(cluster: Any) -> None:
    """Nothing is made beside what is no database, and a database does not stay without its site."""
    begun = cluster.n1("POST", "/v1/sites", {"name": "new", "image": "php", "node": "n2", "database": "static"})
    ended = cluster.n1("GET", begun.headers["location"]).json
    assert (ended["state"], "no image of a database" in ended["error"]["title"]) == ("failed", True)
    assert [call for call in cluster.n2.hosting.calls if call[0] == "create"] == []
    assert cluster.n1("POST", "/v1/sites", {"name": "x", "image": "php", "database": "../x"}).status == 400


@pytest.mark.parametrize("database", [None, "postgres"])
def test_an_application_without_its_database(cluster: Any, database: str | None) -> None:
    """What cannot work is not made: it is said which database is needed, and how to ask for it."""
    cluster.n2.hosting.known.append(Manifest("wordpress", needs="mysql"))
    cluster.n2.hosting.known.append(Manifest("postgres", kind="database", ports=(Port("p", 5432, "postgres"),)))
    asked = {"name": "new", "image": "wordpress", "node": "n2", "database": database}
    ended = cluster.n1("GET", cluster.n1("POST", "/v1/sites", asked).headers["location"]).json
    assert (ended["state"], "needs one that speaks mysql" in str(ended["error"])) == ("failed", True)
    assert ("--with mariadb" in str(ended["error"])) == (database is None)
    assert [call for call in cluster.n2.hosting.calls if call[0] == "create"] == []


def test_create_goes_to_the_best_node(cluster: Any) -> None:
    """Without a node the one with the fewest sites gets it, whichever node was asked."""
    answer = cluster.n1("POST", "/v1/sites", {"name": "new", "image": "php"})
    assert (answer.status, answer.json["node"]) == (202, "n3")
    assert cluster.n2("GET", "/v1/sites/new").json["owner"] == "n3"


def test_create_refuses_what_cannot_be(cluster: Any) -> None:
    """A taken name, a node that is down or unknown: each its own answer."""
    taken = cluster.n1("POST", "/v1/sites", {"name": "blog", "image": "php"})
    assert (taken.status, taken.json["code"]) == (409, "conflict")
    cluster.world.live.discard(cluster.n3.id)
    assert cluster.n1("POST", "/v1/sites", {"name": "x", "image": "php", "node": "n3"}).status == 409
    assert cluster.n1("POST", "/v1/sites", {"name": "x", "image": "php", "node": "n9"}).status == 404


def test_changes_go_to_the_owner(cluster: Any) -> None:
    """PATCH, start and stop work through any node and answer with the site as it will be."""
    changed = cluster.n1("PATCH", "/v1/sites/shop", {"ttl_s": 60, "quota_bytes": None})
    assert (changed.status, changed.json["ttl_s"], changed.json["from_node"]) == (200, 60, "n2")
    assert cluster.n2.hosting.calls == [("edit", cluster.shop, {"ttl_s": 60, "quota_bytes": None})]
    assert cluster.n3("POST", "/v1/sites/shop/stop").json["wanted"] == "stopped"
    assert cluster.n3("POST", "/v1/sites/shop/start").json["wanted"] == "running"
    assert cluster.n1("PATCH", "/v1/sites/shop", {}).status == 400


def test_a_site_is_asked_to_be_strict(cluster: Any) -> None:
    """At its creation or later, and taken back; anything but the two words is refused."""
    assert cluster.n1("GET", "/v1/sites/blog").json["consistency"] == "available"
    for word in ("strict", "available"):
        assert cluster.n1("PATCH", "/v1/sites/blog", {"consistency": word}).json["consistency"] == word
    for odd in ("", "Strict", "strict ", True, None, 1):
        assert cluster.n1("PATCH", "/v1/sites/blog", {"consistency": odd}).status == 400
        assert cluster.n1("POST", "/v1/sites", {"name": "x", "image": "php", "consistency": odd}).status == 400
    assert cluster.n1("POST", "/v1/sites", {"name": "x", "image": "php", "consistency": "strict"}).status == 202


def test_move(cluster: Any) -> None:
    """A site is handed over; nonsense is refused before anything happens."""
    moved = cluster.n2("POST", "/v1/sites/blog/move", {"to": "n2"})
    assert (moved.status, moved.json["node"]) == (202, "n1")
    assert cluster.n3("GET", f"/v1/operations/{moved.json['id']}").json["result"] == {"owner": "n2"}
    assert cluster.n3("GET", "/v1/sites/blog").json["owner"] == "n2"
    assert cluster.n1("POST", "/v1/sites/blog/move", {"to": "n2"}).status == 409
    cluster.world.live.discard(cluster.n3.id)
    assert cluster.n1("POST", "/v1/sites/blog/move", {"to": "n3"}).status == 409


def test_delete(cluster: Any) -> None:
    """Gone everywhere once the operation is done."""
    assert cluster.n3("DELETE", "/v1/sites/blog").status == 202
    assert cluster.n2("GET", "/v1/sites/blog").status == 404


def test_one_operation_at_a_time(cluster: Any) -> None:
    """A second one, and a change, are refused with the name of the first."""
    cluster.n1.hosting.gate = Deferred()
    first = cluster.n1("POST", "/v1/sites/blog/rollback", {"to": "60s"}).json
    second = cluster.n2("POST", "/v1/sites/blog/move", {"to": "n2"})
    assert (second.status, second.json["operation"]) == (409, first["id"])
    assert first["id"] in second.json["detail"]
    assert cluster.n1("PATCH", "/v1/sites/blog", {"ttl_s": 5}).status == 409
    assert cluster.n2("PATCH", "/v1/sites/shop", {"ttl_s": 5}).status == 200
    cluster.n1.hosting.gate.callback(None)
    assert cluster.n1("GET", f"/v1/operations/{first['id']}").json["state"] == "done"


def test_roll_back_by_every_form(cluster: Any) -> None:
    """By guid, name, time or age; the newest snapshot at or before that moment."""
    history = cluster.world.history[cluster.blog]
    forms = {
        str(history[0].guid): 0,
        history[1].name: 1,
        "60s": 2,
        "10m ago": 1,
        "1h": 0,
        "2026-09-21T14:12:30Z": 2,
        "2026-09-21T16:12:30+02:00": 2,
    }
    for form, index in forms.items():
        answer = cluster.n1("POST", "/v1/sites/blog/rollback", {"to": form})
        assert answer.status == 202, (form, answer.body)
        assert cluster.n1.hosting.calls[-1] == ("rollback", cluster.blog, history[index].guid), form
    ended = cluster.n1("GET", f"/v1/operations/{answer.json['id']}").json
    assert ended["result"]["stash"] == f"{cluster.blog}.1.aaaaaaaa.12345678"


def test_roll_back_to_nowhere(cluster: Any) -> None:
    """A moment before the history, or none at all, says how far back it goes and how to say it."""
    early = cluster.n1("POST", "/v1/sites/blog/rollback", {"to": "2d"})
    assert (early.status, early.json["code"]) == (404, "no-such-snapshot")
    assert "the oldest is from 2026-09-21T13:13:20Z" in early.json["detail"]
    for odd in ("yesterday!", "2026-09-21T14:12:30", "2026-13-45T00:00:00Z", "-5s", "", "9" * 30):
        assert cluster.n1("POST", "/v1/sites/blog/rollback", {"to": odd}).status == 400, odd


def test_undo_with_nothing_to_undo(cluster: Any) -> None:
    """It is said, as the operation's end."""
    nothing = cluster.n2("POST", "/v1/sites/blog/undo")
    failed = cluster.n2("GET", nothing.headers["location"]).json
    assert (failed["state"], failed["error"]["status"]) == ("failed", 409)
    assert failed["error"]["operation"] == failed["id"]


def test_a_long_answer_from_another_node(cluster: Any) -> None:
    """One larger than a message between nodes may be comes in pieces, which no client sees anything of."""
    cluster.n1.hosting.log_text = "line\n" * 2_000_000
    answer = cluster.n3("GET", "/v1/sites/blog/logs")
    assert answer.json["text"] == cluster.n1.hosting.log_text
    assert "x-hybrid-more" not in answer.headers
    assert len([call for call in cluster.n3.peers.requests if call[1].method == "PIECE"]) == 2


def test_exec_and_logs(cluster: Any) -> None:
    """Commands run where the site is; output that is no text comes in base64."""
    done = cluster.n3("POST", "/v1/sites/blog/exec", {"argv": ["echo", "hello"], "stdin": "in"})
    assert done.json == {"status": 0, "stdout": "hello\n", "stderr": "", "encoding": "utf-8", "truncated": False}
    assert cluster.n1.hosting.calls == [("execute", cluster.blog, ("echo", "hello"), b"in")]
    from hybrid.ports import Executed

    cluster.n1.hosting.output = Executed(1, b"\xff", b"")
    assert cluster.n3("POST", "/v1/sites/blog/exec", {"argv": ["x"]}).json["stdout"] == "/w=="
    assert cluster.n3("POST", "/v1/sites/blog/exec", {"argv": []}).status == 400
    assert cluster.n3("POST", "/v1/sites/blog/exec", {"argv": ["a\0b"]}).status == 400
    assert cluster.n3("GET", "/v1/sites/blog/logs?lines=5").json["text"] == "started\n"
    assert cluster.n3("GET", "/v1/sites/blog/logs?lines=many").status == 400


def test_snapshot_now(cluster: Any) -> None:
    """Taken by the owner, told by any node."""
    taken = cluster.n3("POST", "/v1/sites/blog/snapshots")
    assert (taken.status, taken.json["age_s"]) == (201, 0)
    assert cluster.n3("GET", "/v1/sites/blog/snapshots").json["items"][0] == taken.json


def test_owner_out_of_reach(cluster: Any) -> None:
    """503 with Retry-After: who should answer, and that a write may have happened."""
    cluster.n3.peers.cut.add(cluster.n1.id)
    refused = cluster.n3("POST", "/v1/sites/blog/snapshots")
    assert (refused.status, refused.headers["retry-after"]) == (503, "3")
    assert "n1" in refused.json["title"] and "may have been carried out" in refused.json["hint"]
    assert cluster.n3("GET", "/v1/sites/blog/logs").json["hint"] == "try again"


def test_no_owner(cluster: Any) -> None:
    """While nobody owns the site it cannot be changed, but its state and history can still be read."""
    import msgspec

    seen = cluster.world.sites[cluster.blog]
    cluster.world.sites[cluster.blog] = msgspec.structs.replace(
        seen, owner=None, claim=None, state="unavailable", trouble="no live node holds it"
    )
    refused = cluster.n2("POST", "/v1/sites/blog/snapshots")
    assert (refused.status, refused.json["detail"]) == (503, "no live node holds it")
    assert cluster.n2("GET", "/v1/sites/blog").json["state"] == "unavailable"
    assert cluster.n2("GET", "/v1/sites/blog/snapshots").status == 200


def test_a_call_is_never_passed_on_twice(cluster: Any) -> None:
    """When the owner changes under way, the client is told to try again; calls never go round in circles."""
    results: list[Any] = []
    message = ApiCall(method="POST", path="/v1/sites/blog/snapshots", actor="admin")
    answering = Deferred.fromCoroutine(cluster.n1.peers.request(cluster.n2.id, message))
    answering.addCallback(results.append)
    assert results[0].status == 503
    assert b"owner-changed" in results[0].body
    assert cluster.n2.peers.requests == []


def test_errors_below_have_their_answers(cluster: Any) -> None:
    """A full pool is 507, a lost peer 503, a bug 500 without its details."""
    cluster.n1.hosting.fail = OutOfSpace("the pool is full", "", "delete something")
    full = cluster.n1("POST", "/v1/sites/blog/snapshots")
    assert (full.status, full.json["hint"]) == (507, "delete something")
    cluster.n1.hosting.fail = PeerError("n2 is away")
    assert cluster.n1("POST", "/v1/sites/blog/snapshots").headers["retry-after"] == "5"


def test_a_bug_is_told_without_details(cluster: Any) -> None:
    """The client gets a reference, the log gets the traceback."""
    from twisted.logger import capturedLogs

    cluster.n1.hosting.fail = RuntimeError("secret detail")
    with capturedLogs() as logs:
        broken = cluster.n1("POST", "/v1/sites/blog/snapshots")
    assert broken.status == 500
    assert b"secret" not in broken.body
    assert broken.headers["x-request-id"] in broken.json["hint"]
    failures = [event["log_failure"] for event in logs if event.get("log_failure")]
    assert [str(failure.value) for failure in failures] == ["secret detail"]


def test_idempotency_key(cluster: Any) -> None:
    """The same key again gets the same answer, also through another node; with another body it is refused."""
    body, headers = {"name": "new", "image": "php", "node": "n1"}, {"Idempotency-Key": "whmcs-7-create"}
    first = cluster.n1("POST", "/v1/sites", body, headers)
    again = cluster.n1("POST", "/v1/sites", body, headers)
    elsewhere = cluster.n2("POST", "/v1/sites", body, headers)
    assert first.json["id"] == again.json["id"] == elsewhere.json["id"]
    assert again.headers["idempotency-replayed"] == "true"
    assert len(cluster.n1.hosting.calls) == 1
    other = cluster.n1("POST", "/v1/sites", {"name": "other", "image": "php"}, headers)
    assert (other.status, other.json["code"]) == (422, "key-reused")
    assert cluster.n1("POST", "/v1/sites", body, {"Idempotency-Key": "x" * 300}).status == 400


def test_idempotency_key_survives_a_restart(cluster: Any) -> None:
    """A panel that tries again after the node came back does not create twice."""
    body, headers = {"to": "60s"}, {"Idempotency-Key": "k1"}
    first = cluster.n1("POST", "/v1/sites/blog/rollback", body, headers).json
    cluster.n1.api = cluster.n1.make()
    cluster.n1.api.operations.recover()
    assert cluster.n1("POST", "/v1/sites/blog/rollback", body, headers).json["id"] == first["id"]
    assert len(cluster.n1.hosting.calls) == 1


def test_idempotency_key_of_a_failure_can_be_used_again(cluster: Any) -> None:
    """What was refused is not remembered."""
    headers = {"Idempotency-Key": "k2"}
    cluster.n1.hosting.fail = OutOfSpace("the pool is full")
    assert cluster.n1("POST", "/v1/sites/blog/snapshots", headers=headers).status == 507
    cluster.n1.hosting.fail = None
    assert cluster.n1("POST", "/v1/sites/blog/snapshots", headers=headers).status == 201
