"""What is new at the end of a log that is read again and again. Pure."""

from __future__ import annotations

from collections.abc import Sequence


def unseen(before: Sequence[str], now: Sequence[str]) -> list[str]:
    """
    The lines of `now` that were not yet in `before`, both the last lines of one growing log.

    Where they have no end and beginning in common, more was written meanwhile than is read at once: all of `now`.
    """
    for common in range(min(len(before), len(now)), 0, -1):
        if list(before[-common:]) == list(now[:common]):
            return list(now[common:])
    return list(now)
