"""
What a fault cost, and its score from 0 to 3. Pure.

3: nothing lost, by itself, within the target. 2: by itself, but slower than the target, or elections or stashes for
nothing. 1: nothing lost, but a person had to act. 0: acknowledged data lost or wrong, or two writers where there must
never be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hybrid.lab import measures
from hybrid.lab.faults import timeline
from hybrid.lab.faults.checking import Kept, check
from hybrid.lab.faults.evidence import Breach, Evidence, Gravity

SCORES: Mapping[Gravity, int] = {"slow": 2, "person": 1, "fatal": 0}


@dataclass(frozen=True, slots=True)
class Target:
    """What a fault may cost: seconds without good answers through a node, seconds to one owner after it, elections."""

    unavailable_s: float = 20.0
    healed_s: float = 45.0
    elections: int = 1
    stashes: int | None = None
    """More than these are for nothing; `None`: as many as there are."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A fault's line in the report; `figures` is by name, with `None` for what could not be measured."""

    fault: str
    says: str
    score: int
    breaches: tuple[Breach, ...]
    figures: Mapping[str, float | int | None]

    @property
    def detail(self) -> str:
        """Why it is not a 3; empty when it is."""
        return "; ".join(breach.what for breach in self.breaches)

    def as_json(self) -> dict[str, Any]:
        """The entry of the report's list."""
        figures = {name: round(value, 3) if isinstance(value, float) else value for name, value in self.figures.items()}
        return {"fault": self.fault, "says": self.says, "score": self.score, "detail": self.detail, **figures}


@dataclass(slots=True)
class _Judged:
    breaches: list[Breach] = field(default_factory=list)

    def unless(self, ok: bool, gravity: Gravity, what: str) -> None:
        if not ok:
            self.breaches.append(Breach(gravity, what))


def judge(fault: str, says: str, evidence: Evidence, target: Target) -> Verdict:
    """The score of a fault, and why."""
    kept = check(evidence.acks, evidence.branches) if evidence.branches is not None else None
    figures = figures_of(evidence, kept)
    judged = _Judged(list(evidence.breaches))
    _judge_data(judged, evidence, kept)
    _judge_time(judged, figures, target)
    score = min((SCORES[breach.gravity] for breach in judged.breaches), default=3)
    return Verdict(fault, says, score, tuple(judged.breaches), figures)


def _judge_data(judged: _Judged, evidence: Evidence, kept: Kept | None) -> None:
    if kept is None or evidence.branches is None:
        judged.unless(False, "person", "what the site holds in the end could not be read")
        return
    unread = evidence.branches.unread
    judged.unless(not unread, "person", f"stash {next(iter(unread.items()), '')} could not be read")
    judged.unless(not kept.lost, "fatal", f"{len(kept.lost)} acknowledged writes lost: {' '.join(kept.lost[:3])}")
    judged.unless(not kept.wrong, "fatal", "; ".join(kept.wrong[:3]))
    judged.unless(kept.acked > 0, "person", "nothing was acknowledged in all this time")


def _judge_time(judged: _Judged, figures: Mapping[str, float | int | None], target: Target) -> None:
    away_s, healed_s = figures["seconds_unavailable"] or 0.0, figures["healed_s"]
    judged.unless(healed_s is not None, "person", "the nodes did not agree on one owner again")
    slow = f"served {away_s:.1f} s late, {target.unavailable_s:g} s are allowed"
    judged.unless(away_s <= target.unavailable_s, "slow", slow)
    late = f"one owner {healed_s or 0:.1f} s after the fault ended, {target.healed_s:g} s are allowed"
    judged.unless((healed_s or 0.0) <= target.healed_s, "slow", late)
    needless = max(0, (figures["elections"] or 0) - target.elections)
    judged.unless(not needless, "slow", f"{needless} elections more than needed")
    stashes = figures["stashes"] or 0
    judged.unless(target.stashes is None or stashes <= target.stashes, "slow", f"{stashes} stashes")


def figures_of(evidence: Evidence, kept: Kept | None) -> dict[str, float | int | None]:
    """Everything measured, by name."""
    away = {
        node: timeline.unavailable_s(heard, evidence.excused.get(node, ())) for node, heard in evidence.pages.items()
    }
    return {
        "seconds_unavailable": max(away.values(), default=0.0),
        "first_good_s": _first_good_s(evidence),
        "dns_s": _dns_s(evidence),
        "detected_s": _first_s(evidence, "node-down"),
        "elected_s": _first_s(evidence, "elected"),
        "healed_s": _difference(evidence.undone_s, evidence.agreed_s),
        "overlap_s": timeline.overlap_s(evidence.acks, evidence.apart),
        "elections": _count(evidence, "elected"),
        "called_off": _count(evidence, "election-called-off"),
        "suspicions": _count(evidence, "node-down"),
        "epochs": evidence.epochs,
        "stashes": len(evidence.branches.stashes) if evidence.branches is not None else None,
        "acked": len(evidence.acks),
        "on_main_line": kept.on_main_line if kept else None,
        "in_stash": kept.in_stash if kept else None,
        "acked_lost": len(kept.lost) if kept else None,
        "acked_lost_bytes": kept.lost_bytes if kept else None,
        "in_stash_bytes": kept.in_stash_bytes if kept else None,
        "rpo_s": _rpo_s(evidence),
        **evidence.notes,
    }


def _first_good_s(evidence: Evidence) -> float | None:
    """The slowest node's first good answer after the fault, of those that have to answer all the time."""
    if evidence.fault_s is None:
        return None
    answered = [
        timeline.first_good_s(heard, evidence.fault_s)
        for node, heard in evidence.pages.items()
        if not evidence.excused.get(node)
    ]
    return None if None in answered or not answered else max(seconds or 0.0 for seconds in answered)


def _dns_s(evidence: Evidence) -> float | None:
    """From the fault until every living node's DNS names the successor first, and the lost owner not at all."""
    if evidence.fault_s is None or evidence.undone_s is None or evidence.moved is None:
        return None
    moved = [
        measures.moved_s(evidence.fault_s, [one for one in heard if one.at_s <= evidence.undone_s], *evidence.moved)
        for node, heard in evidence.names.items()
        if not evidence.excused.get(node)
    ]
    return None if None in moved or not moved else max(seconds or 0.0 for seconds in moved)


def _rpo_s(evidence: Evidence) -> float | None:
    if evidence.fault_wall_s is None or evidence.branches is None:
        return None
    return timeline.rpo_s(evidence.acks, evidence.fault_wall_s, evidence.branches.main)


def _first_s(evidence: Evidence, kind: str) -> float | None:
    """From the fault to the first event of that kind."""
    begin_s = evidence.fault_wall_s
    if begin_s is None:
        return None
    return min(
        (event.at_s - begin_s for event in evidence.events if event.kind == kind and event.at_s >= begin_s),
        default=None,
    )


def _count(evidence: Evidence, kind: str) -> int:
    return sum(1 for event in evidence.events if event.kind == kind)


def _difference(begin_s: float | None, end_s: float | None) -> float | None:
    return None if begin_s is None or end_s is None else max(0.0, end_s - begin_s)


def spread(values: list[float]) -> dict[str, float | int | None]:
    """`n`, median, 95th percentile and maximum."""
    return {
        "n": len(values),
        "p50": measures.percentile(values, 0.5),
        "p95": measures.percentile(values, 0.95),
        "max": measures.percentile(values, 1.0),
    }
