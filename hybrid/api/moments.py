"""
Naming a moment of a site's history: a guid, a snapshot's name, a time, or an age; and finding its snapshot. Pure.

`15502784117466430219`, `hyb-000042-abcdefgh-0001832`, `2026-11-20T14:05:00Z`, `90s`, `10m ago`, `2h`, `1d`, `now`.
"""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass

from hybrid.api.names import shown
from hybrid.errors import BadRequest, NoSuchSnapshot
from hybrid.history import History
from hybrid.model import Guid, Snapshot

FORMS = "a guid, a snapshot's name, a time like 2026-11-20T14:05:00Z, an age like 60s, 10m, 2h, 1d, or `now`"
_AGE = re.compile(r"([0-9]{1,9})\s*([smhdw])(?:\s+ago)?")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_GUID = re.compile(r"[0-9]{1,20}")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.:-]{0,127}")


@dataclass(frozen=True, slots=True)
class ByGuid:
    """This snapshot and no other."""

    guid: Guid


@dataclass(frozen=True, slots=True)
class ByName:
    """The snapshot of this name."""

    name: str


@dataclass(frozen=True, slots=True)
class At:
    """The newest snapshot at or before a time (seconds since the epoch)."""

    at_s: float


@dataclass(frozen=True, slots=True)
class Ago:
    """The newest snapshot that is at least so old."""

    age_s: float


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest snapshot."""


Moment = ByGuid | ByName | At | Ago | Newest


def parse(text: str) -> Moment:
    """Read one of the forms. Raises `BadRequest` naming them all."""
    text = text.strip()
    if text.lower() == "now":
        return Newest()
    if age := _AGE.fullmatch(text.lower()):
        return Ago(float(age[1]) * _SECONDS[age[2]])
    if _GUID.fullmatch(text) and int(text) < 2**64:
        return ByGuid(Guid(int(text)))
    at_s = _time(text)
    if at_s is not None:
        return At(at_s)
    if _NAME.fullmatch(text):
        return ByName(text)
    raise BadRequest(f"{shown(text)} names no moment", f"give {FORMS}")


def find(history: History, moment: Moment, now_s: float) -> Snapshot:
    """
    The snapshot of `history` (oldest first) that `moment` means.

    Raises:
        NoSuchSnapshot: There is none; says how far back the history goes.
    """
    match moment:
        case ByGuid(guid):
            found = next((snapshot for snapshot in history if snapshot.guid == guid), None)
            wanted = f"no snapshot has the guid {guid}"
        case ByName(name):
            found = next((snapshot for snapshot in history if snapshot.name == name), None)
            wanted = f"no snapshot is called {shown(name)}"
        case Newest():
            found, wanted = (history[-1] if history else None), "there is no snapshot yet"
        case At(at_s):
            found = _newest_before(history, at_s)
            wanted = f"no snapshot is as old as {rfc3339(at_s)}"
        case Ago(age_s):
            found = _newest_before(history, now_s - age_s)
            wanted = f"no snapshot is {age_s:.0f} s old"
    if found is None:
        raise NoSuchSnapshot(wanted, _reach(history), "`hybrid snap list` shows them")
    return found


def rfc3339(at_s: float) -> str:
    """A time as people and programs read it (RFC 3339, UTC, whole seconds)."""
    return datetime.datetime.fromtimestamp(int(at_s), datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _time(text: str) -> float | None:
    """Seconds since the epoch, for an RFC 3339 time with a zone; `None` for anything else."""
    if not re.match(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ]", text):
        return None
    try:
        moment = datetime.datetime.fromisoformat(text.upper())
    except ValueError as error:
        raise BadRequest(f"{shown(text)} is no time", str(error), "write 2026-11-20T14:05:00Z") from error
    if moment.tzinfo is None:
        raise BadRequest(f"{shown(text)} has no time zone", "", "add Z for UTC or an offset like +01:00")
    return moment.timestamp()


def _newest_before(history: History, at_s: float) -> Snapshot | None:
    """The newest snapshot at or before `at_s`; the history's own order decides, not the clocks of its writers."""
    return next((snapshot for snapshot in reversed(history) if snapshot.created_at_s <= at_s), None)


def _reach(history: History) -> str:
    """How far back `history` goes."""
    return f"the oldest is from {rfc3339(history[0].created_at_s)}" if history else "there are no snapshots here yet"
