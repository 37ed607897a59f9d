"""The audit log: who asked for what change, and what the node decided; nobody changes it unnoticed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hybrid.api import auditing
from hybrid.api.auditing import Audit
from hybrid.api.ports import AuditStore
from hybrid.audit import Entry, Witness, digest, first_fault
from hybrid.cluster.store import Store
from hybrid.model import NodeId
from tests.api.conftest import FakeStore


class Shared:
    """A shared map in a dict."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def get(self, key: str) -> str | None:
        """See `SharedMap`."""
        return self.values.get(key)

    def put(self, key: str, value: str | None) -> None:
        """See `SharedMap`."""
        assert value is not None
        self.values[key] = value

    def prefix(self, prefix: str) -> dict[str, str]:
        """See `SharedMap`."""
        return {key: value for key, value in self.values.items() if key.startswith(prefix)}


def database(path: Path) -> AuditStore:
    """The real one."""
    return Store(path / "node.db")


@pytest.fixture(params=[database, lambda path: FakeStore()], ids=["sqlite", "fake"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> AuditStore:
    """Both keep the same promises."""
    make: Callable[[Path], AuditStore] = request.param
    return make(tmp_path)


def audit(store: AuditStore, shared: Shared) -> Audit:
    """That of a process that just started."""
    return Audit(store, shared, NodeId("n-a"), "n1", lambda: 1000.5)


def written(store: AuditStore, shared: Shared, count: int) -> list[Entry]:
    """A log of `count` decisions."""
    made = audit(store, shared)
    for number in range(count):
        made.decided("elected", "s-x", f"number {number}")
    return made.entries(0, count)


def test_entries_hang_together_over_restarts(store: AuditStore) -> None:
    """A process goes on where the one before ended."""
    shared = Shared()
    written(store, shared, 3)
    entries = written(store, shared, 5)
    assert [one.number for one in audit(store, shared).entries(0, 100)] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [one.number for one in entries] == [1, 2, 3, 4, 5]
    assert first_fault(audit(store, shared).entries(0, 100)) is None
    assert [one.number for one in audit(store, shared).entries(6, 1)] == [7]


def test_old_entries_go_and_the_rest_hangs_together(store: AuditStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log is bounded."""
    monkeypatch.setattr(auditing, "MAX_KEPT", 20)
    monkeypatch.setattr(auditing, "TRIM", 10)
    written(store, Shared(), 50)
    left = audit(store, Shared()).entries(0, 100)
    assert [left[0].number, left[-1].number] == [31, 50] and first_fault(left) is None


def changed(entries: list[Entry]) -> list[Entry]:
    """What one entry says."""
    return [*entries[:1], msgspec.structs.replace(entries[1], actor="somebody else"), *entries[2:]]


def removed(entries: list[Entry]) -> list[Entry]:
    """An entry."""
    return [*entries[:2], *entries[3:]]


def beheaded(entries: list[Entry]) -> list[Entry]:
    """The newest ones."""
    return entries[:3]


def rewritten(entries: list[Entry]) -> list[Entry]:
    """All of it, in good order."""
    made: list[Entry] = []
    for entry in entries:
        before = digest(made[-1]) if made else entry.before
        made.append(msgspec.structs.replace(entry, actor="nobody", before=before))
    return made


@pytest.mark.parametrize(("deed", "at"), [(changed, 3), (removed, 4), (beheaded, 5), (rewritten, 5)])
def test_whoever_changes_it_is_noticed(deed: Callable[[list[Entry]], list[Entry]], at: int) -> None:
    """One entry by those after it; all of them by what the cluster was told."""
    shared, store = Shared(), FakeStore()
    entries = written(store, shared, 5)
    asyncio.run(audit(store, shared).look())
    witness = audit(store, shared).witness()
    assert witness == Witness(5, digest(entries[-1])) and first_fault(entries, witness) is None
    fault = first_fault(deed(entries), witness)
    assert fault is not None and fault.number == at


def test_writing_it_down_never_fails_a_call() -> None:
    """A full disk is no reason to refuse what saves the day."""

    class Full(FakeStore):
        def keep_audit(self, number: int, record: bytes) -> None:
            raise OSError("no room")

    audit(Full(), Shared()).decided("elected", "s-x", "now")


def test_who_changed_what(cluster: Any) -> None:
    """Changes and attempts at them, with the name of the token, at the node that was asked; no reading."""
    reader = cluster.n1("POST", "/v1/tokens", {"name": "reader", "rights": "read"}).json["token"]
    cluster.n1("GET", "/v1/sites")
    assert cluster.n1("POST", "/v1/sites/blog/stop", {}, {"Authorization": f"Bearer {reader}"}).status == 403
    assert cluster.n1("POST", "/v1/sites/shop/stop", {}).status == 200  # n2 owns it
    cluster.n1.api.audit.decided("elected", cluster.blog, "this node takes over")
    told = cluster.n2("GET", "/v1/audit?node=n1").json
    assert [(one["kind"], one["actor"], one["what"], one["outcome"]) for one in told["items"]] == [
        ("call", "admin", "POST /v1/tokens", "201"),
        ("call", "reader", "POST /v1/sites/blog/stop", "403"),
        ("call", "admin", "POST /v1/sites/shop/stop", "200"),
        ("decision", "n1", "elected", "this node takes over"),
    ]
    assert told["from_node"] == "n1" and cluster.n1("GET", "/v1/audit?node=n2").json["items"] == []
    assert reader not in str(told)


def test_it_is_for_operators(cluster: Any) -> None:
    """Who is bound to an account learns nothing of others."""
    cluster.n1("POST", "/v1/accounts", {"name": "acme"})
    url = cluster.n1("POST", "/v1/accounts/acme/links", {}).json["url"]
    token, _ = cluster.n1.api.tokens.redeem(url.rpartition("ticket=")[2], 60)
    assert cluster.n1("GET", "/v1/audit", None, {"Authorization": f"Bearer {token}"}).status == 404


@pytest.mark.parametrize("query", ["after=-1", "limit=0", "limit=10001", "node=nowhere", "what=x"])
def test_questions_that_make_no_sense(cluster: Any, query: str) -> None:
    """Each gets an answer."""
    assert cluster.n1("GET", f"/v1/audit?{query}").status in (400, 404)
