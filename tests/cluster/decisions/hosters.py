"""
A hoster's servers in simulated time, whose sites have loads of known shapes: what bursting does to them.

Every server measures, tells and decides alone, by the code of the product; what it tells is heard ten seconds later.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from math import cos, pi

from hybrid.cluster.bursting import HOUR_S, Here, Host, Limits, Move, Resident, choose
from hybrid.cluster.loads import Counted, Loads, Machine, node_told
from hybrid.load import IDLE, NodeLoad
from hybrid.model import NodeId, SiteId

Shape = Callable[[float], float]
"""Cores that a site wants, by the time in seconds."""
DAY_S = 86_400.0
GIB = 2**30


def daily(height: float, peak_s: float) -> Shape:
    """As people are awake: a tenth at night, all at the peak."""
    return lambda now_s: height * (0.55 + 0.45 * cos(2 * pi * (now_s - peak_s) / DAY_S))


def flash_crowd(base: float, height: float, begin_s: float, lasts_s: float) -> Shape:
    """Linked by somebody whom many read: up within a minute, and slowly down."""

    def wanted(now_s: float) -> float:
        into_s = now_s - begin_s
        if into_s < 0 or into_s > lasts_s:
            return base
        return base + height * min(1.0, into_s / 60.0) * (1.0 - into_s / lasts_s)

    return wanted


def batch(base: float, height: float, every_s: float, lasts_s: float, offset_s: float) -> Shape:
    """A job that takes all it can get for a while, over and over."""
    return lambda now_s: height if (now_s - offset_s) % every_s < lasts_s else base


@dataclass
class Server:
    """One server."""

    node: NodeId
    dc: str
    cores: float
    loads: Loads
    said: NodeLoad | None = None
    heard: NodeLoad | None = None
    left_s: list[float] = field(default_factory=list)
    busy_s: float = 0.0


@dataclass
class Site:
    """One site."""

    site: SiteId
    owner: NodeId
    copies: tuple[NodeId, ...]
    wants: Shape
    since_s: float = float("-inf")
    cpu_s: float = 0.0


@dataclass
class Happened:
    """A move."""

    at_s: float
    site: SiteId
    source: NodeId
    to: NodeId
    why: str


class Hoster:
    """All of it; `seed` draws loads, copies and servers."""

    def __init__(self, servers: int, sites: int, seed: int, every_s: float = 15.0) -> None:
        self._random = random.Random(seed)
        self.limits = Limits()
        self._every_s = every_s
        self.now_s = 0.0
        self.moves: list[Happened] = []
        self.servers: dict[NodeId, Server] = {}
        for number in range(servers):
            node, cores = NodeId(f"n-{number:03}"), self._random.choice((4.0, 8.0, 8.0, 16.0))
            self.servers[node] = Server(node, f"dc{number % 2}", cores, Loads())
        self.sites: dict[SiteId, Site] = {}
        for number in range(sites):
            holders = self._random.sample(sorted(self.servers), 3)
            owner = holders[0]
            wants = self._shape(self.servers[owner].cores)
            self.add(Site(SiteId(f"s-{number:04}"), owner, tuple(holders), wants))

    def add(self, site: Site) -> None:
        """One site more."""
        self.sites[site.site] = site

    def _shape(self, cores: float) -> Shape:
        """Mostly people, some batch jobs."""
        if self._random.random() < 0.1:
            every_s = self._random.choice((3600.0, 6 * 3600.0))
            return batch(0.02, 0.3 * cores, every_s, 900.0, self._random.uniform(0, every_s))
        return daily(self._random.expovariate(1 / 0.05) * cores, 14 * 3600.0 + self._random.gauss(0, 3600))

    def lives(self, seconds: float, measured: Callable[[], None] = lambda: None) -> None:
        """Let time pass; `measured` is called after each step."""
        end_s = self.now_s + seconds
        while self.now_s < end_s:
            self.now_s += self._every_s
            self._work()
            for server in self.servers.values():
                self._decide(server)
            measured()

    def wanted(self, node: NodeId) -> float:
        """What the sites of a server want now, as a part of it."""
        return sum(s.wants(self.now_s) for s in self.sites.values() if s.owner == node) / self.servers[node].cores

    def _work(self) -> None:
        """What is wanted is done, as far as there are processors; with a little noise, as everywhere."""
        owned: dict[NodeId, list[Site]] = defaultdict(list)
        for site in self.sites.values():
            owned[site.owner].append(site)
        for server in self.servers.values():
            here = owned[server.node]
            wishes = [site.wants(self.now_s) * self._random.uniform(0.8, 1.2) for site in here]
            fair = min(1.0, server.cores / max(sum(wishes), 1e-9))
            for site, wish in zip(here, wishes, strict=True):
                site.cpu_s += wish * fair * self._every_s
            server.busy_s += (sum(wishes) * fair + 0.05 * server.cores) * self._every_s
            machine = Machine(server.cores, 64 * GIB, min(server.busy_s, server.cores * self.now_s))
            counted = {site.site: Counted(site.cpu_s, GIB // 8) for site in here}
            server.loads.read(machine, counted, list(counted), self.now_s)
            server.heard, now = server.said, server.loads.node()
            server.said = node_told(now, server.said) if now else None

    def _decide(self, server: Server) -> None:
        load = server.loads.node(lasting=True)
        if load is None or load.cpu < self.limits.hot:
            return
        residents = [
            Resident(
                site=one.site,
                name=one.site,
                load=server.loads.site(one.site) or IDLE,
                peak=server.loads.peak(one.site),
                here_s=self.now_s - one.since_s,
                fresh=tuple(node for node in one.copies if node != server.node),
            )
            for one in self.sites.values()
            if one.owner == server.node
        ]
        hosts = [
            Host(node=one.node, name=one.node, dc=one.dc, load=one.heard)
            for one in self.servers.values()
            if one is not server
        ]
        here = Here(name=server.node, dc=server.dc, load=load, left_s=server.left_s)
        chosen = choose(here, residents, hosts, self.limits, self.now_s)
        if isinstance(chosen, Move):
            self.moves.append(Happened(self.now_s, chosen.site, server.node, chosen.to, chosen.why))
            server.left_s.append(self.now_s)
            moved = self.sites[chosen.site]
            moved.owner, moved.since_s = chosen.to, self.now_s

    def most_within_an_hour(self) -> int:
        """Moves away from one server within any hour, of the server with most."""
        most = 0
        for node in self.servers:
            times = [move.at_s for move in self.moves if move.source == node]
            most = max([most, *(sum(0 <= at_s - first_s < HOUR_S for at_s in times) for first_s in times)])
        return most

    def returned(self, within_s: float) -> list[Happened]:
        """Moves that brought a site back to where it had come from within that time: flapping."""
        return [
            later
            for number, first in enumerate(self.moves)
            for later in self.moves[number + 1 :]
            if later.site == first.site and later.to == first.source and later.at_s - first.at_s < within_s
        ]

    def made_hot(self, within_s: float) -> list[Happened]:
        """Moves away from a server that a site which was sent there had made hot within that time."""
        return [
            later
            for first in self.moves
            for later in self.moves
            if later.source == first.to and 0 < later.at_s - first.at_s < within_s
            if f"{first.site} takes most" in later.why
        ]
