"""
etcd's v3 API as JSON: bodies of requests and the meaning of answers. Pure.

As in etcd's `rpc.proto` through its gRPC gateway: keys and values are base64, 64-bit numbers are strings, what is zero
or false is left out. Reads are never `serializable`: a member that is cut off would answer them from what it knew.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import msgspec

from hybrid.errors import HybridError
from hybrid.strict.ports import Entry, EtcdRefused, EtcdUnreachable, NoSuchLease, Reading

T = TypeVar("T")
Json = dict[str, Any]

_ELSEWHERE = frozenset((1, 2, 4, 13, 14))
"""gRPC codes after which another member may answer: cancelled, unknown, deadline exceeded, internal, unavailable."""
_NOT_FOUND = 5


def read_body(keys: Collection[str]) -> Json:
    """Of `/v3/kv/txn`: some keys at one moment."""
    return {"success": [{"request_range": {"key": _b64(key)}} for key in keys]}


def put_body(compares: Mapping[str, int], key: str, value: str, lease: int) -> Json:
    """Of `/v3/kv/txn`: write one key under conditions."""
    put = {"key": _b64(key), "value": _b64(value), "lease": str(lease)}
    return {"compare": _compares(compares), "success": [{"request_put": put}]}


def remove_body(compares: Mapping[str, int], key: str) -> Json:
    """Of `/v3/kv/txn`: remove one key under conditions."""
    return {"compare": _compares(compares), "success": [{"request_delete_range": {"key": _b64(key)}}]}


def _compares(compares: Mapping[str, int]) -> list[Json]:
    return [
        {"key": _b64(key), "target": "MOD", "result": "EQUAL", "mod_revision": str(revision)}
        if revision
        else {"key": _b64(key), "target": "CREATE", "result": "EQUAL", "create_revision": "0"}
        for key, revision in compares.items()
    ]


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


class _KeyValue(msgspec.Struct, frozen=True):
    key: str
    mod_revision: str
    value: str = ""
    lease: str = "0"


class _Range(msgspec.Struct, frozen=True):
    kvs: tuple[_KeyValue, ...] = ()


class _Part(msgspec.Struct, frozen=True):
    response_range: _Range = _Range()


class _Header(msgspec.Struct, frozen=True):
    revision: str = "0"


class _Transaction(msgspec.Struct, frozen=True):
    header: _Header
    succeeded: bool = False
    responses: tuple[_Part, ...] = ()


class _Lease(msgspec.Struct, frozen=True):
    ID: str
    TTL: str = "0"


class _Kept(msgspec.Struct, frozen=True):
    result: _Lease


class _Error(msgspec.Struct, frozen=True):
    code: int = 2
    message: str = ""


def reading(content: bytes, keys: int) -> Reading:
    """
    The answer to `read_body` of so many `keys`.

    Raises:
        EtcdUnreachable: It is none of etcd's, or not whole: then nothing is known, least of all that nobody owns it.
    """
    answer = _decode(content, _Transaction)
    if not answer.succeeded or len(answer.responses) != keys:
        raise _not_etcd(f"{len(answer.responses)} of {keys} keys answered")
    with _understood():
        entries = {
            base64.b64decode(pair.key, validate=True).decode(): Entry(
                base64.b64decode(pair.value, validate=True).decode(), int(pair.mod_revision), int(pair.lease)
            )
            for part in answer.responses
            for pair in part.response_range.kvs
        }
        return Reading(int(answer.header.revision), entries)


def written(content: bytes) -> int | None:
    """The revision of a change that was done; `None` when its conditions did not hold."""
    answer = _decode(content, _Transaction)
    with _understood():
        return int(answer.header.revision) if answer.succeeded else None


def granted(content: bytes) -> int:
    """The id of a new lease."""
    lease = _decode(content, _Lease)
    with _understood():
        return int(lease.ID)


def kept(content: bytes) -> bool:
    """Whether the lease that was to be kept alive still was."""
    answer = _decode(content, _Kept)
    with _understood():
        return int(answer.result.TTL) > 0


def _decode(content: bytes, kind: type[T]) -> T:
    with _understood():
        return msgspec.json.decode(content, type=kind)


@contextmanager
def _understood() -> Iterator[None]:
    """What cannot be understood was not said by etcd."""
    try:
        yield
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise _not_etcd(str(error)) from error


def _not_etcd(why: str) -> EtcdUnreachable:
    return EtcdUnreachable("what answered is not etcd", why, "look at [strict] endpoints")


def failure(status: int, content: bytes) -> HybridError:
    """
    What an answer other than 200 means.

    Returns:
        `EtcdUnreachable` where another member may do better, else `NoSuchLease` or `EtcdRefused`.
    """
    try:
        error = msgspec.json.decode(content, type=_Error)
    except (msgspec.MsgspecError, RecursionError):
        return _not_etcd(f"status {status}")
    why = error.message.removeprefix("etcdserver: ") or f"status {status}"
    if error.code in _ELSEWHERE:
        return EtcdUnreachable("etcd cannot answer now", why)
    if error.code == _NOT_FOUND and "lease" in why:
        return NoSuchLease("etcd knows no such lease", why)
    try_ = "compact and defragment it, then disarm the alarm" if "space exceeded" in why else ""
    return EtcdRefused("etcd refused", why, try_)
