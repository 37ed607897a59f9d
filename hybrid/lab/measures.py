"""What was heard, turned into figures. Pure: all times are arguments, in seconds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Answered:
    """A request, on the monotonic clock."""

    begin_s: float
    end_s: float
    ok: bool
    why: str = ""


@dataclass(frozen=True, slots=True)
class Ack:
    """A write that the site acknowledged; wall time in seconds, before it was sent and after the answer was read."""

    id: str
    node: str
    sent_s: float
    acked_s: float
    size: int = 0
    """Bytes of what was written."""
    claim: str = ""
    """Under which the container that acknowledged it had been started, as it says itself."""
    number: int = 0
    """Grows with every write of these writers."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """A DNS answer, on the monotonic clock; `None`: there was none."""

    at_s: float
    addresses: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Sighting:
    """At `seen_s` a peer held a snapshot taken at `taken_s` or up to a second later (wall times)."""

    seen_s: float
    taken_s: float


@dataclass(frozen=True, slots=True)
class Happened:
    """An event of a node's log; `at_s` is that node's wall time."""

    at_s: float
    node: str
    kind: str
    text: str


def lags(written_s: Iterable[float], sightings: Iterable[Sighting]) -> list[float | None]:
    """
    For each write, how long after its acknowledgement some peer was first seen to hold it.

    A snapshot surely contains a write acknowledged before the second in which it was taken; a lag is therefore never
    measured too short, and up to a second (and a probe's pause) too long.

    Args:
        written_s: Wall times of acknowledgement.
        sightings: Of all peers, in any order.

    Returns:
        In the order of `written_s`; `None` for a write not seen on any peer.
    """
    ordered = sorted(sightings, key=lambda sighting: sighting.seen_s)
    found: list[float | None] = []
    for moment_s in written_s:
        seen = next((s.seen_s for s in ordered if s.taken_s >= moment_s and s.seen_s >= moment_s), None)
        found.append(None if seen is None else seen - moment_s)
    return found


def percentile(values: Sequence[float], part: float) -> float | None:
    """The value that `part` (0..1) of `values` do not exceed (nearest rank); `None` for none."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(part * len(values)) - 1)]


def served_again_s(killed_s: float, now_s: float, heard: Sequence[Answered], quiet_s: float) -> float | None:
    """
    From the kill until requests through one node succeed and keep succeeding.

    Args:
        killed_s: When.
        now_s: Until when was listened.
        heard: Requests through that node, oldest first.
        quiet_s: So long, at least, nothing may have failed at the end.

    Returns:
        Seconds to the end of the first request that succeeded after the last failure; a request begun before the kill
        proves nothing. `None` while it cannot be said.
    """
    after = [answer for answer in heard if answer.begin_s >= killed_s]
    failed = max((index for index, answer in enumerate(after) if not answer.ok), default=-1)
    good = after[failed + 1 :]
    if not good or now_s - good[0].end_s < quiet_s:
        return None
    return good[0].end_s - killed_s


def moved_s(killed_s: float, heard: Sequence[Resolved], dead: str, owner: str) -> float | None:
    """
    From the kill until a server's answers begin with `owner` and do not contain `dead`, for good.

    `None` while the last answer heard is not so. Servers that did not answer at a moment said nothing wrong.
    """
    after = [answer for answer in heard if answer.at_s >= killed_s and answer.addresses is not None]
    wrong = [index for index, answer in enumerate(after) if not _right(answer, dead, owner)]
    good = after[wrong[-1] + 1 :] if wrong else after
    return good[0].at_s - killed_s if good else None


def _right(answer: Resolved, dead: str, owner: str) -> bool:
    addresses = answer.addresses or ()
    return bool(addresses) and addresses[0] == owner and dead not in addresses
