"""What people call a moment, in their own time zone."""

from __future__ import annotations

import datetime

import pytest

from hybrid.api import moments as api_moments
from hybrid.cli.moments import spelled

ZONE = datetime.timezone(datetime.timedelta(hours=2))
NOW = datetime.datetime(2026, 11, 25, 14, 5, 30, tzinfo=ZONE)
"""A Wednesday."""


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("yesterday 14:00", "2026-11-24T14:00:00+02:00"),
        ("Yesterday at 9:30", "2026-11-24T09:30:00+02:00"),
        ("today 08:15:20", "2026-11-25T08:15:20+02:00"),
        ("14:05", "2026-11-25T14:05:00+02:00"),
        ("14:06", "2026-11-24T14:06:00+02:00"),
        ("monday 23:59", "2026-11-23T23:59:00+02:00"),
        ("wednesday 1:00", "2026-11-25T01:00:00+02:00"),
        ("wednesday 15:00", "2026-11-18T15:00:00+02:00"),
        ("2026-11-20 14:05", "2026-11-20T14:05:00+02:00"),
        ("2026-11-20T14:05:06", "2026-11-20T14:05:06+02:00"),
    ],
)
def test_times_are_those_of_the_user(said: str, meant: str) -> None:
    """A time of day is the last one there was, a weekday the last one; all of them are given to the API with a zone."""
    assert spelled(said, NOW) == meant
    assert isinstance(api_moments.parse(meant), api_moments.At)


@pytest.mark.parametrize(
    "text", ["10m", "now", "15502784117466430219", "hyb-000001-abcdefgh-0000001", "2026-11-20T14:05:00Z", "25:00", ""]
)
def test_anything_else_stays_as_it_is(text: str) -> None:
    """What the API understands, and what nobody does, is the API's to judge."""
    assert spelled(text, NOW) == text


def test_a_day_that_does_not_exist_is_left_to_the_api() -> None:
    """It says why."""
    assert spelled("2026-02-30 14:05", NOW) == "2026-02-30 14:05"
