"""A site gets busy on a server that it shares: its neighbours leave. Done on a lab, and measured. Synchronous."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hybrid.lab import cgroups, measures
from hybrid.lab.cluster import PATIENCE_S, ZONE, Lab
from hybrid.lab.command import LabError
from hybrid.lab.crowd import crowd, read
from hybrid.lab.guestbook import HOST, SITE, Guestbook
from hybrid.lab.measures import Answered
from hybrid.lab.node import Node
from hybrid.lab.probes import HttpProbe, probing
from hybrid.lab.promises import Figures

BURSTING = """\
cores = 1.0
hot = 0.2
cool = 0.19
window_s = 5.0
pause_s = 1.0
"""
"""Settings of each node: a part of this machine is its own, and it does not wait for a minute as a server does."""
NEIGHBOURS = ("library", "market")
NEIGHBOUR_CORES = 0.05
"""Two of them are less than half of what makes a node hot: when it is, the busy site is the busiest."""
PEOPLE = 8
LEAVE_S = 90.0
AFTER_S = 6.0
BURN = "(while :; do :; done) </dev/null >/dev/null 2>&1 &"


class Spike:
    """The chapter."""

    def __init__(self, lab: Lab, site: Guestbook, figures: Figures, say: Callable[[str], None]) -> None:
        self._lab, self._site, self._figures, self._say = lab, site, figures, say

    def tell(self) -> None:
        """All of it. Raises `LabError`."""
        home = self._site.owner()
        self._say(f"two more sites on {home.name}, at work; it has one processor for its sites")
        for name in NEIGHBOURS:
            self._lab.deploy(name, "static", home.name, cpus=NEIGHBOUR_CORES)
        self._lab.wait(self._copied, "the new sites have copies", PATIENCE_S)
        with self._one_core(home):
            for name in NEIGHBOURS:
                self._lab.api(home.name).execute(name, ["sh", "-c", BURN])
            self._burst(home)

    def _copied(self) -> bool:
        seen = [self._lab.any_api().site(name) for name in NEIGHBOURS]
        return all(site["safe_copies"] >= min(site["copies"], len(self._lab.live()) - 1) for site in seen)

    @contextmanager
    def _one_core(self, node: Node) -> Iterator[None]:
        """All containers of the node together get one core, as on a server that has one."""
        cgroups.limit_cores(node.cgroup, 1.0)
        try:
            yield
        finally:
            cgroups.limit_cores(node.cgroup, None)

    def _burst(self, home: Node) -> None:
        doors = [node.address for node in self._lab.live()]
        probes = [HttpProbe(door, f"{name}.{ZONE}", "/", 0.5) for door in doors for name in NEIGHBOURS]
        heard = self._lab.base / "crowd"
        self._say(f"{PEOPLE} people ask {HOST} for pages as fast as they can")
        with probing(probes), crowd(home.address, HOST, "/list", PEOPLE, heard):
            begun_s = time.monotonic()
            self._lab.wait(lambda: not self._still_at(home), f"its neighbours have left {home.name}", LEAVE_S)
            left_s = time.monotonic()
            time.sleep(AFTER_S)
        if self._site.owner() is not home:
            raise LabError(f"{SITE} itself left {home.name}")
        self._judge(begun_s, left_s, read(heard), [one for probe in probes for one in probe.heard])

    def _still_at(self, home: Node) -> list[str]:
        """Neighbours that are there, or not served elsewhere yet."""
        seen = [self._lab.api(home.name).site(name) for name in NEIGHBOURS]
        return [site["name"] for site in seen if site["owner"] in (home.name, None) or site["state"] != "serving"]

    def _judge(self, begun_s: float, left_s: float, busy: list[Answered], others: list[Answered]) -> None:
        lost = [one for one in [*busy, *others] if not one.ok]
        before = [one.end_s - one.begin_s for one in busy if one.end_s <= left_s]
        after = [one.end_s - one.begin_s for one in busy if one.begin_s > left_s]
        self._figures.burst_s = left_s - begun_s
        self._figures.burst_lost = len(lost)
        self._figures.burst_p95_s = measures.percentile(after, 0.95)
        if lost:
            self._figures.reasons["burst_lost"] = lost[0].why
        was_s, is_s = measures.percentile(before, 0.95), self._figures.burst_p95_s
        if is_s is None:
            raise LabError(f"{HOST} answered nobody")
        slow, fast = len(before) / max(left_s - begun_s, 0.1), len(after) / AFTER_S
        self._say(f"  both left after {self._figures.burst_s:.1f} s; {len(others)} requests to them, {len(lost)} lost")
        was_ms, is_ms = 1000 * (was_s or 0.0), 1000 * is_s
        self._say(f"  its p95: {was_ms:.0f} ms at {slow:.0f} pages/s; then {is_ms:.0f} ms at {fast:.0f}")
        why = self._lab.any_api().call("GET", f"/sites/{NEIGHBOURS[0]}/why")
        self._say(f"  {why['moves'][-1]['why'] if why['moves'] else why['sentence']}")
