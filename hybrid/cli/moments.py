"""Times as people say them, in their own time zone, made into those that the API takes. Pure."""

from __future__ import annotations

import datetime
import re

HELP = (
    "a guid, a snapshot's name, a name it is kept under, a stash's id, an age (60s, 10m, 2h, 1d), now, or a time:"
    " 14:05, yesterday 14:00, monday 9:30, 2026-11-20 14:05, 2026-11-20T14:05:00Z"
)
_CLOCK = r"([01]?[0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9]))?"
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_SAID = re.compile(rf"(?:(today|yesterday|{'|'.join(_DAYS)})(?:\s+at)?\s+)?{_CLOCK}")
_DATED = re.compile(rf"([0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}})[ Tt]+{_CLOCK}")


def spelled(text: str, now: datetime.datetime) -> str:
    """
    `text` as the API takes it: a time without a zone becomes one with it, anything else stays as it is.

    Args:
        now: With a time zone: the one that is meant. A time of day alone is the last one that there was.
    """
    said = _SAID.fullmatch(text.strip().lower())
    if said is not None:
        return _written(_day(said[1], _clock(said, 2), now), _clock(said, 2), now)
    dated = _DATED.fullmatch(text.strip())
    if dated is None:
        return text
    try:
        return _written(datetime.date.fromisoformat(dated[1]), _clock(dated, 2), now)
    except ValueError:
        return text  # there is no such day, as the API will say


def _clock(found: re.Match[str], first: int) -> datetime.time:
    return datetime.time(int(found[first]), int(found[first + 1]), int(found[first + 2] or 0))


def _day(word: str | None, clock: datetime.time, now: datetime.datetime) -> datetime.date:
    today = now.date()
    if word == "yesterday":
        return today - datetime.timedelta(days=1)
    if word == "today":
        return today
    back = (today.weekday() - _DAYS.index(word)) % 7 if word is not None else 0
    if back == 0 and clock > now.time():
        back = 7 if word is not None else 1
    return today - datetime.timedelta(days=back)


def _written(day: datetime.date, clock: datetime.time, now: datetime.datetime) -> str:
    return datetime.datetime.combine(day, clock, now.tzinfo).isoformat()
