"""What etcd's answers mean, and what is no answer of etcd's."""

from __future__ import annotations

import pytest

from hybrid.strict import messages
from hybrid.strict.ports import Entry, EtcdRefused, EtcdUnreachable, NoSuchLease, Reading

ANSWER = (
    b'{"header":{"cluster_id":"1","revision":"7","raft_term":"2"},"succeeded":true,"responses":[{"response_range":{"header":'
    b'{"revision":"7"},"kvs":[{"key":"L293bi9h","create_revision":"2","mod_revision":"5","version":"1","value":"bi1h",'
    b'"lease":"2324035663879054856"}],"count":"1"}},{"response_range":{"header":{"revision":"7"}}}]}'
)
"""As a member of release 3.4 gave it."""


def test_a_reading_as_a_real_member_gives_it() -> None:
    """Numbers are strings, names and values base64, keys that do not exist are left out."""
    assert messages.reading(ANSWER, 2) == Reading(7, {"/own/a": Entry("n-a", 5, 2324035663879054856)})


def test_reads_are_never_serializable() -> None:
    """A member that is cut off would answer such a read with an owner of yesterday."""
    assert messages.read_body(["/own/a"]) == {"success": [{"request_range": {"key": "L293bi9h"}}]}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>502 Bad Gateway</html>",
        b"[]",
        b"{}",
        ANSWER,
        b'{"header":{"revision":"7"}}',
        b'{"header":{"revision":"7"},"succeeded":true}',
        b'{"header":{"revision":7},"succeeded":true,"responses":[{}]}',
        b'{"header":{"revision":"seven"},"succeeded":true,"responses":[]}',
        b'{"header":{"revision":"7"},"succeeded":true,"responses":[{"response_range":{"kvs":[{"key":"*","mod_revision":"1"}]}}]}',
        b'{"header":{"revision":"7"},"succeeded":true,"responses":[{"response_range":{"kvs":[{"key":"/w==","mod_revision":"1"}]}}]}',
        b'{"header":{"revision":"7"},"succeeded":true,"responses":[{"response_range":{"kvs":[{"key":"YQ==","mod_revision":"x"}]}}]}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_reading_says_nothing(content: bytes) -> None:
    """A proxy, another program, half an answer: never an empty reading, from which somebody would take over."""
    with pytest.raises(EtcdUnreachable):
        messages.reading(content, 1)


@pytest.mark.parametrize(
    ("status", "content", "kind"),
    [
        (404, b'{"error":"x","message":"etcdserver: requested lease not found","code":5}', NoSuchLease),
        (503, b'{"error":"x","message":"etcdserver: no leader","code":14}', EtcdUnreachable),
        (504, b'{"message":"context deadline exceeded","code":4}', EtcdUnreachable),
        (429, b'{"message":"etcdserver: mvcc: database space exceeded","code":8}', EtcdRefused),
        (403, b'{"message":"etcdserver: permission denied","code":7}', EtcdRefused),
        (404, b"404 page not found", EtcdUnreachable),
        (502, b"", EtcdUnreachable),
    ],
)
def test_what_an_error_means(status: int, content: bytes, kind: type[Exception]) -> None:
    """Where another member may do better it is asked; what etcd does not want is not asked again."""
    assert type(messages.failure(status, content)) is kind


def test_a_full_etcd_says_what_to_do() -> None:
    """The reason and the way out are in the error that people see."""
    error = messages.failure(429, b'{"message":"etcdserver: mvcc: database space exceeded","code":8}')
    assert "space exceeded" in str(error)
    assert "defragment" in str(error)


def test_a_lease_that_is_gone_has_no_time_left() -> None:
    """etcd answers a renewal of it like any other, but for its `TTL`."""
    assert messages.kept(b'{"result":{"header":{},"ID":"12345","TTL":"5"}}')
    assert not messages.kept(b'{"result":{"header":{},"ID":"12345"}}')
