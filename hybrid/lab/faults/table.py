"""The campaign's end, for people and for programs. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hybrid.lab.faults.scoring import Verdict, spread

GOOD = 2
"""From this score on a fault counts as survived."""
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
    return "\n".join([*lines, "", f"{survived} of {len(verdicts)} survived"])


def _row(verdict: Verdict) -> tuple[str, ...]:
    figures = [_shown(verdict.figures.get(name)) for name in (*_COLUMNS, *_MORE)]
    return (verdict.fault, str(verdict.score), *figures, verdict.says)


def _shown(value: float | int | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1f}" if isinstance(value, float) else str(value)


def report(verdicts: Sequence[Verdict], commit: str) -> dict[str, Any]:
    """The campaign's file: `faults` (a list), `failover_s` over all of them, and the commit."""
    failovers = [
        float(figure)
        for verdict in verdicts
        if verdict.fault.startswith(("F1-", "F2")) and (figure := verdict.figures.get("first_good_s")) is not None
    ]
    return {
        "commit": commit,
        "survived": sum(1 for verdict in verdicts if verdict.score >= GOOD),
        "lowest_score": min((verdict.score for verdict in verdicts), default=None),
        "failover_s": spread(failovers),
        "faults": [verdict.as_json() for verdict in verdicts],
    }
