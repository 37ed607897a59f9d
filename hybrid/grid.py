"""
How much of a history is kept: a grid of steps, read from text, and which snapshots it keeps. Pure.

`all for 1h, 1 per 10min for 24h, hourly for 7d, daily for 30d`: each step goes from where the one before ends to its
own age, and of each interval of a step the newest snapshot stays. Intervals are counted from the epoch (UTC), so that
every node keeps the same ones. Nothing here knows of bases, holds or the newest: whoever forgets keeps those besides.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from hybrid.errors import BadRequest
from hybrid.history import History
from hybrid.model import Guid, Snapshot

HOUR_S = 3600
DAY_S = 24 * HOUR_S
LEAST_S = 600
"""All of the last ten minutes is kept, whatever is asked for: holds on what peers need follow within five."""
LONGEST_S = 100 * 365 * DAY_S
MAX_STEPS = 12
MAX_TEXT = 400
DEFAULT_TEXT = "all for 1h, hourly for 24h, daily for 30d"
EXAMPLE = "for example `all for 1h, 1 per 10min for 24h, hourly for 7d, daily for 30d`"

_UNITS = {"s": 1, "min": 60, "h": HOUR_S, "d": DAY_S, "w": 7 * DAY_S, "y": 365 * DAY_S}
_WORDS = {"hourly": HOUR_S, "daily": DAY_S, "weekly": 7 * DAY_S, "monthly": 30 * DAY_S, "yearly": 365 * DAY_S}
_DURATION = r"([0-9]{1,9})\s*([a-z]+)"
_STEP = re.compile(
    rf"(?:(?P<word>[a-z]+)|(?P<count>[0-9]{{1,6}})\s*(?:per|every)\s*(?P<per>{_DURATION}))"
    rf"\s+(?:for\s+)?(?P<span>{_DURATION})"
)


@dataclass(frozen=True, slots=True)
class Step:
    """Of each `interval_s` the newest snapshot stays, up to an age of `until_s`; `interval_s` 0: every one."""

    interval_s: int
    until_s: int


@dataclass(frozen=True, slots=True)
class Grid:
    """Steps by age, youngest first. `str` gives the text that `parse` reads."""

    steps: tuple[Step, ...]

    def __str__(self) -> str:
        return ", ".join(f"{_interval(step.interval_s)} for {_duration(step.until_s)}" for step in self.steps)

    def shrunk(self, factor: float) -> Grid:
        """With every age multiplied by `factor` (0 to 1), the first step's at least `LEAST_S`: forgets earlier."""
        steps: list[Step] = []
        for step in self.steps:
            until_s = max(LEAST_S, int(step.until_s * factor))
            if not steps or until_s > steps[-1].until_s:
                steps.append(Step(step.interval_s, until_s))
        return Grid(tuple(steps))

    def keeps(self, history: History, now_s: float) -> frozenset[Guid]:
        """
        The newest snapshot of every interval.

        Args:
            history: Oldest first. A clock that jumped is allowed for: a snapshot counts as at least as new as all
                before it, so one "from the future" is kept, and so are those after it until time has caught up.
            now_s: Wall time, seconds since the epoch.
        """
        return frozenset(found.guid for found in self._newest(history, now_s).values())

    def _newest(self, history: History, now_s: float) -> dict[tuple[int, int], Snapshot]:
        newest: dict[tuple[int, int], Snapshot] = {}
        latest_s = 0
        for one in history:
            latest_s = max(latest_s, one.created_at_s)
            bucket = self._bucket(one, latest_s, now_s)
            if bucket is not None:
                newest[bucket] = one
        return newest

    def _bucket(self, one: Snapshot, at_s: int, now_s: float) -> tuple[int, int] | None:
        """Which interval of which step it is in; `None`: it is too old for any."""
        for place, step in enumerate(self.steps):
            if now_s - at_s <= step.until_s:
                return (place, at_s // step.interval_s) if step.interval_s else (place, one.guid)
        return None


def parse(text: str) -> Grid:
    """
    Read the text of a grid.

    Raises:
        BadRequest: It is none, or would keep nothing sensible; names the part, and what to write.
    """
    if len(text) > MAX_TEXT or text.count(",") >= MAX_STEPS:
        raise BadRequest("that grid is too long", f"{MAX_STEPS} steps and {MAX_TEXT} characters at most")
    steps = tuple(_step(" ".join(part.lower().split())) for part in text.split(","))
    _check(steps)
    return Grid(steps)


DEFAULT = Grid((Step(0, HOUR_S), Step(HOUR_S, DAY_S), Step(DAY_S, 30 * DAY_S)))
"""`DEFAULT_TEXT`: for whoever asked for nothing else."""


def _step(part: str) -> Step:
    form = _STEP.fullmatch(part)
    if form is None:
        raise BadRequest(f"{part!r} is no step of a grid", f"steps are separated by commas, {EXAMPLE}")
    until_s = _seconds(form["span"], part)
    if form["word"] == "all":
        return Step(0, until_s)
    if form["word"] is not None:
        if form["word"] not in _WORDS:
            raise BadRequest(
                f"{part!r} is no step of a grid", f"{form['word']!r} is not one of all, {', '.join(_WORDS)}"
            )
        return Step(_WORDS[form["word"]], until_s)
    count, per_s = int(form["count"]), _seconds(form["per"], part)
    if not count or per_s % count:
        raise BadRequest(f"{part!r} keeps no whole number of seconds apart", f"{form['count']} per {form['per']}")
    return Step(per_s // count, until_s)


def _seconds(text: str, part: str) -> int:
    number, unit = re.fullmatch(_DURATION, text).groups()  # type: ignore[union-attr]  # `_STEP` holds the same form
    if unit not in _UNITS:
        hint = "write min for minutes, monthly for months" if unit in ("m", "mo") else ""
        raise BadRequest(f"{part!r}: {unit!r} is no unit of time", f"one of {', '.join(_UNITS)}", hint)
    seconds = int(number) * _UNITS[unit]
    if not 0 < seconds <= LONGEST_S:
        raise BadRequest(f"{part!r}: {text!r} is no length of time", "more than nothing, at most 100 years")
    return seconds


def _check(steps: Sequence[Step]) -> None:
    first = steps[0]
    if first.interval_s or first.until_s < LEAST_S:
        why = "what was deleted by mistake a moment ago is what people look for"
        raise BadRequest("a grid begins with `all for` at least 10min", why, EXAMPLE)
    for before, step in pairwise(steps):
        if step.until_s <= before.until_s or step.interval_s <= before.interval_s:
            what = f"`{_interval(step.interval_s)} for {_duration(step.until_s)}` keeps nothing"
            why = f"`{_interval(before.interval_s)} for {_duration(before.until_s)}` comes before it"
            raise BadRequest(what, why, "each step reaches farther back than the one before, and keeps fewer")


def _interval(interval_s: int) -> str:
    word = next((word for word, seconds in _WORDS.items() if seconds == interval_s), None)
    return "all" if interval_s == 0 else word or f"1 per {_duration(interval_s)}"


def _duration(seconds: int) -> str:
    """In the largest unit that fits; a day is `24h` no longer than two."""
    for unit in ("y", "w", "d", "h", "min"):
        if seconds % _UNITS[unit] == 0 and (unit != "w" or seconds > 8 * _UNITS["w"]) and seconds != DAY_S:
            return f"{seconds // _UNITS[unit]}{unit}"
    return f"{seconds}s" if seconds != DAY_S else "24h"
