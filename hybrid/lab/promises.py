"""What the story promises, and whether the figures keep it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Figure = float | int | bool | None


@dataclass(slots=True)
class Figures:
    """What the story measured; `None` is not measured, and `reasons` says why. Durations in seconds."""

    deploy_s: float | None = None
    lag_p50_s: float | None = None
    lag_p99_s: float | None = None
    failover_s: float | None = None
    dns_moved_s: float | None = None
    writes_acked: int | None = None
    writes_on_main_line: int | None = None
    writes_in_stash: int | None = None
    writes_lost: int | None = None
    rollback_s: float | None = None
    undo_s: float | None = None
    file_restore_s: float | None = None
    partition_both_sides_served: bool | None = None
    burst_s: float | None = None
    burst_lost: int | None = None
    burst_p95_s: float | None = None
    stashes: int | None = None
    reasons: dict[str, str] = field(default_factory=dict)


NAMES = tuple(name for name in Figures.__dataclass_fields__ if name != "reasons")


@dataclass(frozen=True, slots=True)
class Promise:
    """A figure and what it must not exceed; `True`: it must be so."""

    name: str
    says: str
    limit: float | bool

    @property
    def target(self) -> str:
        """For people: `<= 20 s`."""
        if self.limit is True:
            return "yes"
        return "0" if self.limit == 0 else f"<= {self.limit:g} s"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A promise and its figure; `ok` is `None` where that could not be measured."""

    promise: Promise
    measured: Figure
    ok: bool | None
    reason: str


PROMISES = (
    Promise("lag_p50_s", "a write is on another node, median", 5.0),
    Promise("lag_p99_s", "a write is on another node, 99 of 100", 30.0),
    Promise("failover_s", "owner killed: served again through every other node", 20.0),
    Promise("dns_moved_s", "owner killed: DNS names the new owner, not the dead node", 30.0),
    Promise("rollback_s", "a whole site one minute back", 10.0),
    Promise("undo_s", "and forth again", 10.0),
    Promise("file_restore_s", "one deleted file back", 5.0),
    Promise("partition_both_sides_served", "data centres cut apart: both sides served", True),
    Promise("burst_s", "a site gets busy: its neighbours have left", 60.0),
    Promise("burst_p95_s", "and then 95 of 100 of its pages take", 5.0),
    Promise("burst_lost", "requests lost meanwhile, to any of them", 0.0),
    Promise("writes_lost", "acknowledged writes lost, in all of this", 0.0),
)


def verdicts(figures: Figures) -> list[Verdict]:
    """One for each promise."""
    return [_verdict(promise, figures) for promise in PROMISES]


def _verdict(promise: Promise, figures: Figures) -> Verdict:
    measured: Figure = getattr(figures, promise.name)
    if measured is None:
        return Verdict(promise, None, None, figures.reasons.get(promise.name, "the story did not get so far"))
    kept = measured is True if promise.limit is True else measured <= promise.limit
    return Verdict(promise, measured, kept, figures.reasons.get(promise.name, ""))


def all_kept(judged: list[Verdict]) -> bool:
    """Whether every promise was measured and kept."""
    return all(verdict.ok for verdict in judged)


def as_json(figures: Figures, judged: list[Verdict]) -> Mapping[str, Any]:
    """The story's file: every figure (`null` where not measured) and `promises_kept`."""
    return {**{name: _rounded(getattr(figures, name)) for name in NAMES}, "promises_kept": [_entry(v) for v in judged]}


def _entry(verdict: Verdict) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": verdict.promise.name, "target": verdict.promise.target}
    entry |= {"measured": _rounded(verdict.measured), "ok": verdict.ok}
    return {**entry, "reason": verdict.reason} if verdict.reason else entry


def _rounded(value: Figure) -> Figure:
    return round(value, 3) if isinstance(value, float) else value
