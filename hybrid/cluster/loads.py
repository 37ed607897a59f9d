"""
Smooths what a node measures of itself and of its sites, and says what of that is worth telling. Pure.

Counters come in, averages go out: exponentially weighted over ten seconds and over a minute, so that a moment is no
load and an end is noticed soon. What is told is coarse and changes rarely: each telling travels to every node.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import exp, log2
from typing import Literal, Protocol

from hybrid.load import NodeLoad, SiteLoad
from hybrid.model import SiteId

QUICK_PART = 1 / 6
"""The short average is over this part of the long one's time."""
QUIET_CPU = 0.02
QUIET_REQUESTS_S = 0.2
QUIET_IO_BYTES_S = 64 * 1024
"""Below this a site does nothing worth telling."""
STALL_WEIGHT = 4.0
"""Memory that is waited for a quarter of the time is as good as used up."""
STEP = 0.125
"""Parts of a node in use are told in steps of this size."""
TELL_EVERY_S = 30.0
"""A site's load is told no more often."""
Dimension = Literal["cpu", "memory", "io"]
DIMENSIONS: tuple[Dimension, ...] = ("cpu", "memory", "io")


@dataclass(frozen=True, slots=True)
class Counted:
    """What the kernel counted of one container since it began, but for memory, which is as it is now."""

    cpu_s: float
    memory_bytes: int = 0
    io_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Machine:
    """The whole machine: what there is, and what was counted since it booted; `None` where nobody counts."""

    cores: float
    memory_bytes: int
    busy_s: float | None = None
    memory_stalled_s: float | None = None
    io_stalled_s: float | None = None


class Gauge(Protocol):
    """Reads the counters of this machine and of the containers on it."""

    def read(self) -> tuple[Machine, Mapping[SiteId, Counted]]:
        """Now; where there are very many containers some of them, others the next time."""


@dataclass(slots=True)
class _Mean:
    """Of a rate: long and short."""

    long: float = 0.0
    short: float = 0.0

    def took(self, value: float, seconds: float, window_s: float) -> None:
        self.long += (value - self.long) * (1 - exp(-seconds / window_s))
        self.short += (value - self.short) * (1 - exp(-seconds / (window_s * QUICK_PART)))

    @property
    def lasting(self) -> float:
        """As high as both say: neither a moment, nor what is over."""
        return min(self.long, self.short)

    @property
    def peak(self) -> float:
        """As high as either says: also what has only begun."""
        return max(self.long, self.short)


@dataclass(slots=True)
class _Site:
    counted: Counted
    at_s: float
    cpu: _Mean = field(default_factory=_Mean)
    io: _Mean = field(default_factory=_Mean)
    requests: _Mean = field(default_factory=_Mean)
    served: int = 0
    told: SiteLoad = field(default_factory=SiteLoad)
    told_s: float = float("-inf")


class Loads:
    """The averages of one node."""

    def __init__(self, window_s: float = 60.0, cores: float = 0.0) -> None:
        """
        Args:
            window_s: Of the long average.
            cores: What this node may use of its machine; then only its containers count, as the rest is not its own.
                0: all of it.
        """
        self._window_s, self._cores = window_s, cores
        self._sites: dict[SiteId, _Site] = {}
        self._means: dict[Dimension, _Mean] = {dimension: _Mean() for dimension in DIMENSIONS}
        self._machine: Machine | None = None
        self._at_s = 0.0
        self._first_s: float | None = None

    # --------------------------------------------------------------------------------------------------- facts

    def read(self, machine: Machine, counted: Mapping[SiteId, Counted], owned: Iterable[SiteId], now_s: float) -> None:
        """Counters, at a monotonic time; sites that are not `owned` are forgotten."""
        for site in self._sites.keys() - set(owned):
            del self._sites[site]
        for site in owned:
            if site in counted:
                self._count(site, counted[site], now_s)
        before, self._machine = self._machine, machine
        self._first_s = now_s if self._first_s is None else self._first_s
        seconds, self._at_s = now_s - self._at_s, now_s
        if before is not None and seconds > 0:
            for dimension in DIMENSIONS:
                self._means[dimension].took(self._part(dimension, before, machine, seconds), seconds, self._window_s)

    def _count(self, site: SiteId, now: Counted, now_s: float) -> None:
        known = self._sites.get(site)
        if known is None:
            self._sites[site] = _Site(now, now_s)
            return
        if now.cpu_s < known.counted.cpu_s:  # it was started anew
            self._sites[site] = _Site(now, now_s, served=known.served, told=known.told, told_s=known.told_s)
            return
        seconds = now_s - known.at_s
        if seconds <= 0:
            return
        known.cpu.took((now.cpu_s - known.counted.cpu_s) / seconds, seconds, self._window_s)
        known.io.took(max(0, now.io_bytes - known.counted.io_bytes) / seconds, seconds, self._window_s)
        known.requests.took(known.served / seconds, seconds, self._window_s)
        known.counted, known.at_s, known.served = now, now_s, 0

    def _part(self, dimension: Dimension, before: Machine, now: Machine, seconds: float) -> float:
        """The part of what there is that was in use meanwhile."""
        whole = not self._cores
        if dimension == "cpu":
            busy = (now.busy_s - before.busy_s) / seconds if whole and now.busy_s and before.busy_s else None
            return (busy if busy is not None else sum(one.cpu.short for one in self._sites.values())) / self.cores
        if dimension == "memory":
            used = sum(one.counted.memory_bytes for one in self._sites.values()) / max(1, now.memory_bytes)
            stalled = _rate(before.memory_stalled_s, now.memory_stalled_s, seconds) if whole else 0.0
            return max(used, min(1.0, STALL_WEIGHT * stalled))
        return _rate(before.io_stalled_s, now.io_stalled_s, seconds) if whole else 0.0

    def served(self, site: SiteId, requests: int) -> None:
        """A front door passed on so many answers of `site`."""
        if site in self._sites:
            self._sites[site].served += requests

    # ------------------------------------------------------------------------------------------------ averages

    @property
    def cores(self) -> float:
        """What this node has."""
        return self._cores or (self._machine.cores if self._machine else 1.0)

    def sites(self) -> list[SiteId]:
        """Those that were measured."""
        return list(self._sites)

    def site(self, site: SiteId) -> SiteLoad | None:
        """The long average; `None` where it was not measured."""
        one = self._sites.get(site)
        if one is None:
            return None
        return SiteLoad(one.cpu.long, one.counted.memory_bytes, one.io.long, one.requests.long)

    def peak(self, site: SiteId) -> SiteLoad | None:
        """As high as either average; `None` where it was not measured."""
        one = self._sites.get(site)
        if one is None:
            return None
        return SiteLoad(one.cpu.peak, one.counted.memory_bytes, one.io.peak, one.requests.peak)

    def node(self, lasting: bool = False) -> NodeLoad | None:
        """This node; `None` before it was measured for as long. `lasting`: as high as both averages say."""
        if self._machine is None or self._first_s is None or self._at_s - self._first_s < self._window_s:
            return None
        parts = {name: mean.lasting if lasting else mean.long for name, mean in self._means.items()}
        return NodeLoad(self.cores, self._machine.memory_bytes, **parts)

    # ------------------------------------------------------------------------------------------------- telling

    def news(self, now_s: float) -> dict[SiteId, SiteLoad]:
        """Of which sites something else is to be told than before; it counts as told."""
        found: dict[SiteId, SiteLoad] = {}
        for site, one in self._sites.items():
            if now_s - one.told_s < TELL_EVERY_S:
                continue
            now = self.site(site)
            assert now is not None  # it is one of them
            said = told(now, one.told)
            if said != one.told:
                one.told, one.told_s = said, now_s
                found[site] = said
        return found


def told(now: SiteLoad, before: SiteLoad) -> SiteLoad:
    """What to tell of `now` after `before` was told: only what is about twice or half of it, as a power of two."""
    return SiteLoad(
        _coarse(now.cpu, before.cpu, QUIET_CPU),
        int(_coarse(now.memory_bytes, before.memory_bytes, 1024 * 1024)),
        _coarse(now.io_bytes_s, before.io_bytes_s, QUIET_IO_BYTES_S),
        _coarse(now.requests_s, before.requests_s, QUIET_REQUESTS_S),
    )


def _coarse(now: float, before: float, quiet: float) -> float:
    if now < (quiet / 2 if before else quiet):
        return 0.0
    if before and before / 1.8 < now < before * 1.8:
        return before
    return 2.0 ** round(log2(now))


def node_told(now: NodeLoad, before: NodeLoad | None) -> NodeLoad:
    """What to tell of a node after `before` was told: steps of an eighth, and only when it moved by one."""
    if before is None or (before.cores, before.memory_bytes) != (now.cores, now.memory_bytes):
        return NodeLoad(now.cores, now.memory_bytes, *(_stepped(getattr(now, name)) for name in DIMENSIONS))
    parts = [
        getattr(before, name)
        if abs(getattr(now, name) - getattr(before, name)) < STEP
        else _stepped(getattr(now, name))
        for name in DIMENSIONS
    ]
    return NodeLoad(now.cores, now.memory_bytes, *parts)


def _stepped(part: float) -> float:
    """Up to the next step: rather too much is told than too little."""
    return -(-part // STEP) * STEP


def _rate(before: float | None, now: float | None, seconds: float) -> float:
    """Of a counter; 0 where nobody counts."""
    return max(0.0, now - before) / seconds if before is not None and now is not None else 0.0
