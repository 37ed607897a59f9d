"""The story's end as a table for people. Pure."""

from __future__ import annotations

from hybrid.lab.promises import Figure, Figures, Verdict


def table(figures: Figures, judged: list[Verdict]) -> str:
    """Promised beside measured, then the count of writes."""
    rows = [("", "promise", "target", "measured"), *(_row(verdict) for verdict in judged)]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    lines += [f"   {verdict.promise.name}: {verdict.reason}" for verdict in judged if verdict.reason]
    return "\n".join([*lines, "", _writes(figures)])


def _row(verdict: Verdict) -> tuple[str, str, str, str]:
    mark = {True: "ok", False: "NO", None: "??"}[verdict.ok]
    return mark, verdict.promise.says, verdict.promise.target, _shown(verdict.measured)


def _shown(value: Figure) -> str:
    if value is None:
        return "not measured"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.2f} s" if isinstance(value, float) else str(value)


def _writes(figures: Figures) -> str:
    if figures.writes_acked is None:
        return "No writes were counted."
    return (
        f"{figures.writes_acked} writes acknowledged: {figures.writes_on_main_line} on the main line, "
        f"{figures.writes_in_stash} only in a stash, {figures.writes_lost} lost; {figures.stashes} stashes."
    )
