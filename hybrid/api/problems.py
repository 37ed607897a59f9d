"""Errors as the API tells them: RFC 9457 `application/problem+json` with `code`, `hint` and `operation`. Pure."""

from __future__ import annotations

import msgspec

from hybrid import errors

CONTENT_TYPE = "application/problem+json"


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An error: what (`title`), why (`detail`), what to try (`hint`)."""

    type: str
    """`urn:hybrid:problem:<code>`."""
    title: str
    status: int
    code: str
    """Stable, for programs."""
    detail: str = ""
    hint: str = ""
    operation: str = ""
    """The operation it is about, where there is one."""
    retry_after_s: int | None = None
    """Worth another try after so long; also sent as `Retry-After`."""


class Refusal(Exception):
    """An answer other than success, raised where it is found out."""

    def __init__(self, problem: Problem, headers: dict[str, str] | None = None) -> None:
        super().__init__(problem.title)
        self.problem = problem
        self.headers = headers or {}


def problem(
    status: int,
    code: str,
    title: str,
    detail: str = "",
    hint: str = "",
    *,
    operation: str = "",
    retry_after_s: int | None = None,
) -> Problem:
    """A `Problem` with its type filled in."""
    return Problem(
        type=f"urn:hybrid:problem:{code}",
        title=title,
        status=status,
        code=code,
        detail=detail,
        hint=hint,
        operation=operation,
        retry_after_s=retry_after_s,
    )


_KNOWN: dict[type[errors.HybridError], tuple[int, str, int | None]] = {
    errors.NoSuchSite: (404, "no-such-site", None),
    errors.NoSuchSnapshot: (404, "no-such-snapshot", None),
    errors.NoSuchDataset: (404, "no-such-dataset", None),
    errors.NoSuchPath: (404, "no-such-path", None),
    errors.NoSuchContainer: (409, "not-running", None),
    errors.NoSuchZone: (404, "no-such-zone", None),
    errors.NoSuchKey: (404, "no-such-key", None),
    errors.BadRecord: (422, "bad-record", None),
    errors.ManagedRecord: (422, "managed-record", None),
    errors.BadRequest: (400, "bad-request", None),
    errors.Conflict: (409, "conflict", None),
    errors.AlreadyExists: (409, "already-exists", None),
    errors.HasHistory: (409, "has-history", None),
    errors.TooLarge: (413, "too-large", None),
    errors.ImageError: (422, "image", None),
    errors.OutOfSpace: (507, "out-of-space", None),
    errors.QuotaReached: (507, "quota-reached", None),
    errors.Busy: (503, "busy", 2),
    errors.StorageSick: (503, "storage-sick", 10),
    errors.PeerError: (503, "peer-unreachable", 5),
    errors.StreamRefused: (502, "stream-refused", None),
    errors.ContainerError: (500, "container", None),
    errors.NoSuchCertificate: (404, "no-such-certificate", None),
    errors.NoSuchStore: (404, "no-such-store", None),
    errors.StoreUnreachable: (503, "store-unreachable", 30),
    errors.AwayError: (502, "store", None),
    errors.StorageError: (500, "storage", None),
    errors.HybridError: (500, "failed", None),
}


def of_error(error: errors.HybridError, operation: str = "") -> Problem:
    """The problem that tells `error`: by the nearest class of it that is known here."""
    status, code, retry_after_s = next(_KNOWN[kind] for kind in type(error).__mro__ if kind in _KNOWN)
    if error.temporary and status == 500:
        status, retry_after_s = 503, 5
    return problem(status, code, error.what, error.why, error.try_, operation=operation, retry_after_s=retry_after_s)


def may_be_elsewhere(status: int, body: bytes) -> bool:
    """Whether another node may have what was not found here: nobody else has a path that a snapshot does not hold."""
    if status != 404:
        return status == 503
    try:
        return msgspec.json.decode(body, type=Problem).code != "no-such-path"
    except msgspec.MsgspecError:
        return True


def internal(reference: str) -> Problem:
    """Something nobody foresaw; the log has the rest under `reference` (a request's or an operation's id)."""
    return problem(
        500, "internal", "something went wrong inside Hybrid", "", f"the log of the node has the details of {reference}"
    )
