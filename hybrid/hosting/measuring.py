"""Measures what the sites here take, and publishes it, as `hybrid.cluster.loads` says. Shell."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

from hybrid.cluster.loads import Gauge, Loads
from hybrid.hosting.holdings import Holdings
from hybrid.load import IDLE
from hybrid.model import Fact, Served


class Measuring:
    """
    Reads the gauge of this node, where it has one.

    Attributes:
        loads: What came of it.
    """

    def __init__(self, clock: IReactorTime, gauge: Gauge | None, holdings: Holdings, loads: Loads) -> None:
        self._clock, self._gauge, self._holdings, self.loads = clock, gauge, holdings, loads

    def look(self) -> None:
        """Read it, and publish again of which sites something else is to be told than before."""
        if self._gauge is None:
            return
        machine, counted = self._gauge.read()
        held = ((site, self._holdings.get(site)) for site in self._holdings)
        owned = [site for site, holding in held if holding is not None and holding.role == "owner"]
        now_s = self._clock.seconds()
        self.loads.read(machine, counted, owned, now_s)
        for site, load in self.loads.news(now_s).items():
            self._holdings.update(site, load=None if load == IDLE else load)

    def report(self, fact: Fact) -> None:
        """A component observed something; visitors count."""
        if isinstance(fact, Served) and fact.requests:
            self.loads.served(fact.site, fact.requests)
