"""
The stage of one fault: writers and probes at work on a lab, waits that end, and what was seen. Synchronous.

A scenario calls what is here in its own order; every wait is for something to happen, and together they end in time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from random import Random

from hybrid.lab.cluster import Lab
from hybrid.lab.command import LabError
from hybrid.lab.faults.evidence import Breach, Evidence, Gravity, Window
from hybrid.lab.faults.timeline import SLO_S
from hybrid.lab.guestbook import HOST, SITE, Guestbook
from hybrid.lab.measures import Ack
from hybrid.lab.node import Node
from hybrid.lab.probes import DnsProbe, EventProbe, HttpProbe, probing
from hybrid.lab.writers import Journal, Writers

BUDGET_S = 180.0
FOREVER_S = 1e12
STEADY = 4
"""Acknowledged writes through a node that show that it works."""


class Stage:
    """
    One scenario's stage.

    Args:
        lab: Up, with a guestbook that is served.
        journal: Of the lab, for all its scenarios.
        writers: Of the lab, stopped.
        say: Told of progress.
        chance: What scenarios choose by.
        budget_s: In which all waits end.
    """

    def __init__(
        self,
        lab: Lab,
        journal: Journal,
        writers: Writers,
        say: Callable[[str], None],
        chance: Random,
        budget_s: float = BUDGET_S,
    ) -> None:
        self.lab, self._journal, self._writers, self._say = lab, journal, writers, say
        self.chance = chance
        self.site = Guestbook(lab)
        self.evidence = Evidence(began_s=time.monotonic())
        self._end_s = time.monotonic() + budget_s
        self._begin_wall_s = time.time()
        self._pages = {name: self._page(node) for name, node in lab.nodes.items()}
        self._names = {name: DnsProbe(node.address, HOST) for name, node in lab.nodes.items()}
        self._events = {name: EventProbe(lab.api(name), name) for name in lab.nodes}

    def _page(self, node: Node) -> HttpProbe:
        return HttpProbe(node.address, HOST, every_s=0.1, patience_s=SLO_S)

    # ----------------------------------------------------------------------------------------------- at work

    @contextmanager
    def observing(self) -> Iterator[None]:
        """Writers and probes through every node; what they heard is in `evidence` afterwards."""
        before = self._epoch()
        probes = [*self._pages.values(), *self._names.values(), *self._events.values()]
        try:
            with self._writers.writing({n.name: n.address for n in self.lab.nodes.values()}), probing(probes):
                yield
        finally:
            self._collect()
            self.evidence.epochs = max(0, self._epoch() - before)

    @contextmanager
    def quiet(self) -> Iterator[str]:
        """Nobody writes while the block runs. Gives the guid of a snapshot that has all that was acknowledged."""
        self._writers.stop()
        try:
            yield str(self.lab.api(self.owner.name).call("POST", f"/sites/{SITE}/snapshots", {})["guid"])
        finally:
            self._writers.start({node.name: node.address for node in self.lab.nodes.values()})

    def _collect(self) -> None:
        seen = self.evidence
        seen.ended_s = time.monotonic()
        seen.pages = {name: list(probe.heard) for name, probe in self._pages.items()}
        seen.names = {name: list(probe.heard) for name, probe in self._names.items()}
        seen.events = [event for probe in self._events.values() for event in list(probe.heard)]
        seen.acks = self.acks()

    def _epoch(self) -> int:
        """The epoch of the newest claim that any live node knows; 0 when none says."""
        claims = [str(site["claim"]) for site in self.seen().values() if site["claim"]]
        return max((int(claim.partition(",")[0]) for claim in claims), default=0)

    # ------------------------------------------------------------------------------------------------- looking

    def say(self, line: str) -> None:
        """Progress."""
        self._say(f"  {line}")

    @property
    def owner(self) -> Node:
        """Who owns the site now. Raises `LabError`."""
        return self.site.owner()

    def others(self, *nodes: Node) -> list[Node]:
        """All but these, by name."""
        return [node for node in self.lab.nodes.values() if node not in nodes]

    def seen(self) -> dict[str, dict[str, object]]:
        """The site as each live node that answers within a second or two sees it."""
        found: dict[str, dict[str, object]] = {}
        for node in self.lab.live():
            try:
                found[node.name] = self.lab.api(node.name).call("GET", f"/sites/{SITE}", deadline_s=2.0)
            except LabError:
                continue
        return found

    def owners(self, nodes: Iterable[Node]) -> set[object]:
        """Whom these nodes name as the owner; `None` for one that does not answer or knows none."""
        seen = self.seen()
        return {seen.get(node.name, {}).get("owner") for node in nodes}

    def claim(self, node: Node) -> object:
        """The claim under which `node` sees the site served; `None` where it does not answer or it is not served."""
        try:
            site = self.lab.api(node.name).call("GET", f"/sites/{SITE}", deadline_s=2.0)
        except LabError:
            return None
        return site["claim"] if site["state"] == "serving" else None

    def storage_ok(self, node: Node) -> bool:
        """Whether `node` says of itself that its storage answers."""
        return all(seen["storage_ok"] for seen in self.lab.api(node.name).items("/nodes") if seen["name"] == node.name)

    def findings(self) -> list[str]:
        """What the first live node that answers says is not as it should be."""
        for node in self.lab.live():
            try:
                return list(self.lab.api(node.name).call("GET", "/status", deadline_s=3.0)["findings"])
            except LabError:
                continue
        return []

    def acks(self) -> list[Ack]:
        """What was acknowledged so far in this scenario."""
        return self._journal.since(self._begin_wall_s)

    def events(self, kind: str, since_wall_s: float = 0.0) -> int:
        """How many events of that kind were heard."""
        heard = [event for probe in self._events.values() for event in list(probe.heard)]
        return sum(1 for event in heard if event.kind == kind and event.at_s >= since_wall_s)

    # ------------------------------------------------------------------------------------------------- waiting

    def wait(self, ready: Callable[[], bool], what: str, deadline_s: float = 90.0) -> float:
        """Until `ready()`; at most to the end of the budget. Returns the seconds. Raises `LabError`."""
        return self.lab.wait(ready, what, max(1.0, min(deadline_s, self._end_s - time.monotonic())))

    def steady(self, nodes: Sequence[Node] | None = None) -> float:
        """Until writes are acknowledged again and again through each of `nodes` (default: all)."""
        since_s, through = time.time(), [node.name for node in (nodes if nodes is not None else self.others())]
        return self.wait(
            lambda: all(len(self._journal.since(since_s, name)) >= STEADY for name in through),
            f"writes are acknowledged through {' '.join(through)}",
        )

    def last(self, seconds: float) -> None:
        """Let a fault that has a length of its own go on for so long."""
        time.sleep(max(0.0, min(seconds, self._end_s - time.monotonic())))

    # ------------------------------------------------------------------------------------------------- marking

    def fault(self) -> None:
        """Now it begins."""
        self.evidence.fault_s, self.evidence.fault_wall_s = time.monotonic(), time.time()

    def undone(self) -> None:
        """Now it is over."""
        self.evidence.undone_s = time.monotonic()

    def agreed(self, deadline_s: float = 120.0) -> None:
        """Until all nodes run and name one owner."""
        took_s = self.wait(self.site.agreed, "all nodes name one owner that serves", deadline_s)
        self.evidence.agreed_s = time.monotonic()
        self.say(f"one owner in all eyes after {took_s:.1f} s")

    @contextmanager
    def excusing(self, *nodes: Node) -> Iterator[None]:
        """These need not answer while the block runs."""
        begin_s = time.monotonic()
        windows = [(node.name, len(self.evidence.excused.setdefault(node.name, []))) for node in nodes]
        for name, _ in windows:
            self.evidence.excused[name].append(Window(begin_s, FOREVER_S))
        try:
            yield
        finally:
            for name, number in windows:
                self.evidence.excused[name][number] = Window(begin_s, time.monotonic())

    @contextmanager
    def parted(self) -> Iterator[None]:
        """Not all nodes hear each other while the block runs, so that two owners are as they should be."""
        begin_s = time.time()
        try:
            yield
        finally:
            self.evidence.apart.append(Window(begin_s, time.time()))

    def unless(self, ok: bool, gravity: Gravity, what: str) -> None:
        """Note a breach unless `ok`."""
        if not ok:
            self.say(f"not as it should be: {what}")
            self.evidence.breaches.append(Breach(gravity, what))

    def note(self, name: str, value: float) -> None:
        """A figure that only this scenario has."""
        self.evidence.notes[name] = value
