"""Decides when a snapshot is to be taken that the application knows of. Pure."""

from __future__ import annotations

from hybrid.history import History
from hybrid.model import SiteSpec, Snapshot

KNOWN = ("consistent", "consistent group")


def due(spec: SiteSpec, history: History, now_s: float) -> bool:
    """
    Whether one is to be taken now.

    Only where something changed since the last one, which shows in snapshots taken since. One that is dated in the
    future, by a clock that was wrong, is as if it were not there.

    Args:
        history: Of the site, oldest first.
        now_s: Seconds since the epoch.
    """
    if not spec.hooks.before or spec.consistent_every_s <= 0 or not history or history[-1].kind in KNOWN:
        return False
    last = newest(history)
    return last is None or not 0 <= now_s - last.created_at_s < spec.consistent_every_s


def newest(history: History) -> Snapshot | None:
    """The last that an application knew of."""
    return next((snapshot for snapshot in reversed(history) if snapshot.kind in KNOWN), None)
