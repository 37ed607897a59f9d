"""How figures are told to people on pages. Pure."""

from __future__ import annotations

import datetime

from hybrid.cli.units import shown_duration, shown_size

STATES = {
    "serving": "good",
    "asleep": "good",
    "up": "good",
    "done": "good",
    "ok": "good",
    "changing": "odd",
    "stopped": "odd",
    "running": "odd",
    "degraded": "odd",
    "interrupted": "odd",
    "unavailable": "bad",
    "down": "bad",
    "failed": "bad",
    "critical": "bad",
}
"""A state to its colour; the word itself always stands beside it."""


def size(count: int | None) -> str:
    """`1.5 GB` of powers of 1024; `-` where it is not known."""
    if count is None:
        return "-"
    text = shown_size(count)
    return f"{text} B" if text[-1].isdigit() else f"{text[:-1]} {text[-1]}B"


def duration(seconds: float | None) -> str:
    """`12 s`, `5 min`, `3 h`, `2 d`; `-` where it is not known."""
    if seconds is None:
        return "-"
    text = shown_duration(seconds)
    return f"{text[:-1]} {'min' if text[-1] == 'm' else text[-1]}"


def ago(at: str, now: str) -> str:
    """How long before `now` it was `at`, both RFC 3339: `12 s ago`."""
    seconds = (_time(now) - _time(at)).total_seconds()
    if 0 <= seconds < 1:
        return "just now"
    return f"{duration(seconds)} ago" if seconds >= 0 else f"in {duration(-seconds)}"


def clock(at: str) -> str:
    """`2026-11-28 14:05:00 UTC` for an RFC 3339 time."""
    return _time(at).astimezone(datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def count(number: int, thing: str) -> str:
    """`1 site`, `3 sites`, `no site`."""
    if number == 0:
        return f"no {thing}"
    return f"{number} {thing}" if number == 1 else f"{number} {plural(thing)}"


def plural(thing: str) -> str:
    """Of an English noun."""
    if thing.endswith("y"):
        return thing.removesuffix("y") + "ies"
    return thing + ("es" if thing.endswith(("s", "ch")) else "s")


def _time(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text)
