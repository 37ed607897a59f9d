"""What the replicator observed becomes this node's published word. Shell."""

from __future__ import annotations

from typing import Protocol

from twisted.logger import Logger

from hybrid.hosting.holdings import Holdings
from hybrid.hosting.tasks import Background
from hybrid.model import (
    Fact,
    Forgotten,
    Measured,
    Received,
    Replicated,
    SiteId,
    SnapshotFailed,
    Snapshotted,
    Stashed,
)

LAG_STEP_S = 5.0
"""A lag that grows is published in steps of this size: each publication travels to every node."""


SIZE_STEP = 1024 * 1024
SIZE_PART = 32
"""A size is published when it moved by so much, or by this part of it."""


def stepped(before: int, now: int) -> int:
    """`before`, until `now` is a step away from it."""
    return now if abs(now - before) >= max(SIZE_STEP, before // SIZE_PART) else before


class Lags(Protocol):
    """The replicator, as it is asked here."""

    def lag_s(self, site: SiteId) -> float | None:
        """Age of the oldest change of an owned site that no other live node holds; `None` if unknown."""


class Observer:
    """Publishes again what a fact changed."""

    log = Logger()

    def __init__(self, holdings: Holdings, lags: Lags, background: Background) -> None:
        self._holdings, self._lags, self._background = holdings, lags, background

    def report(self, fact: Fact) -> None:
        """A component observed something."""
        match fact:
            case Snapshotted(site) | Replicated(site):
                self._owned(site, trouble="")
            case SnapshotFailed(site, reason):
                self._owned(site, trouble=reason)
            case Measured(site, data_bytes, history_bytes):
                self._measured(site, data_bytes, history_bytes)
            case Received(site):
                self._background(f"refresh {site}", lambda: self._holdings.refresh(site))
            case Stashed(stash):
                self._set_aside(stash.site)
            case Forgotten(site):
                self._again(site)
            case _:
                return

    def _set_aside(self, site: SiteId) -> None:
        """What a start found half-way, without a main line, is held from here on: nobody knew of it until now."""
        if self._holdings.get(site) is not None:
            self._holdings.publish(site)
        else:
            self._background(f"take up {site}", lambda: self._holdings.take_up(site))

    def _again(self, site: SiteId) -> None:
        if self._holdings.get(site) is not None:
            self._holdings.publish(site)

    def _owned(self, site: SiteId, trouble: str) -> None:
        holding = self._holdings.get(site)
        if holding is not None and holding.role == "owner":
            self._holdings.update(site, lag_s=self._rounded(site), trouble=trouble)

    def _measured(self, site: SiteId, data_bytes: int, history_bytes: int) -> None:
        """Publish what an owned site takes, where it moved by a step: each publication goes to every node."""
        holding = self._holdings.get(site)
        if holding is None or holding.role != "owner":
            return
        data, history = stepped(holding.data_bytes, data_bytes), stepped(holding.history_bytes, history_bytes)
        if (data, history) != (holding.data_bytes, holding.history_bytes):
            self._holdings.update(site, data_bytes=data, history_bytes=history)

    def _rounded(self, site: SiteId) -> float | None:
        lag_s = self._lags.lag_s(site)
        return None if lag_s is None else round(lag_s, 1)

    async def look(self) -> None:
        """Publish lags that moved by a step, also when nothing was snapshotted or sent."""
        for site in self._holdings:
            holding = self._holdings.get(site)
            if holding is None or holding.role != "owner":
                continue
            lag_s = self._rounded(site)
            if lag_s is None or holding.lag_s is None:
                moved = lag_s != holding.lag_s
            else:
                moved = abs(lag_s - holding.lag_s) >= LAG_STEP_S or (lag_s == 0.0) != (holding.lag_s == 0.0)
            if moved:
                self._holdings.update(site, lag_s=lag_s)
