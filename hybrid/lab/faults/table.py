"""The campaign's end, for people and for programs. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hybrid.lab.faults.scoring import Verdict, spread

GOOD = 2
"""From this score on a fault counts as survived."""
KILLS = ("F1-two", "F1-three", "F2", "DC")
"""The faults in which an owner loses power and nothing else happens."""
SPREAD = ("detected_s", "elected_s", "dns_s", "healed_s", "overlap_s", "rpo_s", "fenced_s", "tail_safe_s")
_COLUMNS = ("seconds_unavailable", "detected_s", "elected_s", "healed_s", "overlap_s", "elections", "stashes", "acked")
_TITLES = (
    "fault",
    "score",
    "away s",
    "noticed s",
    "elected s",
    "healed s",
    "overlap s",
    "elections",
    "stashes",
    "acked",
)
_MORE = ("in_stash", "acked_lost")


def table(verdicts: Sequence[Verdict]) -> str:
    """A row for each fault, and why what is not a 3 is not."""
    rows = [(*_TITLES, "in stash", "lost", ""), *(_row(verdict) for verdict in verdicts)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    lines += [f"   {verdict.fault}: {verdict.detail}" for verdict in verdicts if verdict.detail]
    survived = sum(1 for verdict in verdicts if verdict.score >= GOOD)
    return "\n".join([*lines, "", _failover(verdicts), f"{survived} of {len(verdicts)} survived"])


def _failover(verdicts: Sequence[Verdict]) -> str:
    """For example `failover of 22 kills: half within 9.1 s, 95 % within 11.0 s, the slowest 11.2 s`."""
    figures = spread(failovers(verdicts))
    if not figures["n"]:
        return "no owner was killed"
    half, most, slowest = (_shown(figures[name]) for name in ("p50", "p95", "max"))
    return f"failover of {figures['n']} kills: half within {half} s, 95 % within {most} s, the slowest {slowest} s"


def _row(verdict: Verdict) -> tuple[str, ...]:
    figures = [_shown(verdict.figures.get(name)) for name in (*_COLUMNS, *_MORE)]
    return (verdict.fault, str(verdict.score), *figures, verdict.says)


def _shown(value: float | int | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1f}" if isinstance(value, float) else str(value)


def failovers(verdicts: Sequence[Verdict], *names: str) -> list[float]:
    """Seconds until the first good answer through the slowest other node, for each kill of an owner."""
    return _all([verdict for verdict in verdicts if verdict.fault in (names or KILLS)], "first_good_s")


def _all(verdicts: Sequence[Verdict], name: str) -> list[float]:
    """A figure of all faults in which it was measured."""
    return [float(value) for verdict in verdicts if (value := verdict.figures.get(name)) is not None]


def report(verdicts: Sequence[Verdict], commit: str) -> dict[str, Any]:
    """The campaign's file: `faults` (a list), the spread of failovers and of other figures, and the commit."""
    return {
        "commit": commit,
        "survived": sum(1 for verdict in verdicts if verdict.score >= GOOD),
        "lowest_score": min((verdict.score for verdict in verdicts), default=None),
        "failover_s": {
            "all": spread(failovers(verdicts)),
            **{name: spread(failovers(verdicts, name)) for name in KILLS},
        },
        "figures": {name: spread(_all(verdicts, name)) for name in SPREAD},
        "faults": [verdict.as_json() for verdict in verdicts],
    }
