"""
Keeps the peers of every site owned here at its newest snapshot. Shell; what goes next is decided by `outbox`.

What is wanted follows from what the peers acknowledged, and is gone through from time to time as a whole, so that
nothing is ever forgotten by a lost event; a peer that comes back is tried at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from functools import partial

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from hybrid.errors import Busy, HybridError, PeerError
from hybrid.model import Claim, Fact, Guid, NodeId, Replicated, SendFailed, SiteId, SiteSpec
from hybrid_replicator.delivery import Cut, Delivered, Delivery, NotTaken
from hybrid_replicator.gate import Gates
from hybrid_replicator.holds import BaseHolds
from hybrid_replicator.index import HistoryIndex
from hybrid_replicator.names import site_dataset
from hybrid_replicator.outbox import FIRST_RETRY_S, Outbox
from hybrid_replicator.owned import Duty
from hybrid_replicator.ports import Fences
from hybrid_replicator.protection import Protection
from hybrid_replicator.tasks import PATIENCE_S, Tasks


class Sender:
    """Sends what peers should have, within bounds."""

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        index: HistoryIndex,
        outbox: Outbox,
        delivery: Delivery,
        gates: Gates,
        holds: BaseHolds,
        fences: Fences,
        tasks: Tasks,
        report: Callable[[Fact], None],
    ) -> None:
        self._clock, self._index, self._outbox, self._delivery = clock, index, outbox, delivery
        self._gates, self._holds, self._fences, self._tasks, self._report = gates, holds, fences, tasks, report
        self._duties: Mapping[SiteId, Duty] = {}
        self._live: Set[NodeId] = frozenset()
        self._protections: dict[SiteId, Protection] = {}
        self._changed: set[SiteId] = set()
        """Sites that may have to go into the outbox."""
        self._pumping = False

    def follow(self, duties: Mapping[SiteId, Duty], live: Set[NodeId]) -> None:
        """Take over what is owned here, and which other nodes are there; those that came back are tried at once."""
        for node in live - self._live:
            self._outbox.revive(node)
            self._delivery.doubt(node)
            for protection in self._protections.values():
                protection.doubt(node)
        for site in self._protections.keys() - duties.keys():
            del self._protections[site]
        for site, duty in duties.items():
            if site not in self._duties or self._duties[site].claim != duty.claim:
                self._delivery.forget(site)
                self._outbox.hurry(site)
                for node in self.protection(site).heads():
                    self.protection(site).doubt(node)
        self._duties, self._live = duties, live
        self.check_all()

    def protection(self, site: SiteId) -> Protection:
        """What is known of the copies of `site`."""
        known = self._protections.get(site)
        if known is None:
            known = self._protections[site] = Protection()
        return known

    def changed(self, site: SiteId) -> None:
        """`site` has a new snapshot: send it as soon as may be."""
        self._changed.add(site)
        self.pump()

    def check_all(self) -> None:
        """Look at every site again; nothing depends on an event that might have been missed."""
        self._changed.update(self._duties)
        self._outbox.keep((site, node) for site in self._duties for node in self._wanting(site))

    def pump(self) -> None:
        """Begin what may be begun now."""
        if self._pumping:
            return
        self._pumping = True
        try:
            while begun := self._begin():
                for site, node in begun:
                    self._tasks.start(f"sending {site} to {node}", partial(self._send, site, node))
        finally:
            self._pumping = False

    def _begin(self) -> list[tuple[SiteId, NodeId]]:
        now_s = self._clock.seconds()
        while self._changed:
            site = self._changed.pop()
            for node in self._wanting(site):
                self._outbox.want(site, node, now_s, whole=node in self._duties[site].new)
        return self._outbox.start(now_s)

    async def push(self, spec: SiteSpec, claim: Claim, node: NodeId) -> Guid | None:
        """
        Bring `node` to our head now, whatever waits in the outbox; a peer that is busy with the site is waited for.

        Returns:
            The head it acknowledged; `None` when there is no snapshot yet.
        """
        for delay_s in (*PATIENCE_S, None):
            try:
                delivered = await self._delivery.bring(spec.id, node, claim, spec, Cut())
            except NotTaken as refused:
                if refused.reason != "busy" or delay_s is None:
                    raise
                await deferLater(self._clock, delay_s, lambda: None)
                continue
            if delivered is not None:
                self._acknowledged(spec.id, node, delivered)
            return delivered.head if delivered is not None else None
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _wanting(self, site: SiteId) -> list[NodeId]:
        """The targets that are not known to hold our head."""
        duty, history = self._duties.get(site), self._index.history(site_dataset(site))
        if duty is None or not history:
            return []
        protection = self.protection(site)
        return [node for node in duty.targets if not protection.holds(node, history[-1].guid)]

    async def _send(self, site: SiteId, node: NodeId) -> None:
        """One entry of the outbox, to its end."""
        cut, began_s = Cut(), self._clock.seconds()
        try:
            async with self._gates.of(site).shared(cut):
                duty = self._duties.get(site)
                if duty is not None and node in self._wanting(site):
                    delivered = await self._delivery.bring(site, node, duty.claim, duty.spec, cut)
                    if delivered is not None:
                        self._acknowledged(site, node, delivered)
            self._outbox.sent(site, node)
            self._changed.add(site)
        except Exception as error:
            if cut.wanted:
                self._outbox.postponed(site, node, self._clock.seconds())
            else:
                await self._failed(site, node, error, began_s)
        self.pump()

    def _acknowledged(self, site: SiteId, node: NodeId, delivered: Delivered) -> None:
        self.protection(site).acknowledged(node, delivered.head, self._clock.seconds())
        self._report(Replicated(site, node, delivered.head, delivered.bytes, delivered.seconds))
        self._holds.want(site_dataset(site), node, delivered.head)

    async def _failed(self, site: SiteId, node: NodeId, error: Exception, began_s: float) -> None:
        now_s = self._clock.seconds()
        match error:
            case Busy() | NotTaken(reason="busy"):
                self._outbox.postponed(site, node, now_s)
                return
            case NotTaken():
                if error.reason == "owner":  # it is about to give the site up, and may be done any time
                    self._outbox.postponed(site, node, now_s, FIRST_RETRY_S)
                else:
                    self._outbox.failed(site, node, now_s)
                if error.seen is not None and error.seen > self._fences.seen(site):
                    await self._fences.saw(site, error.seen)
            case PeerError() if self._delivery.answered_s.get(node, -1.0) < began_s:
                self._outbox.unreachable(site, node, now_s)
            case HybridError():
                self._outbox.failed(site, node, now_s)
            case _:
                self.log.failure("sending {site} to {node} failed", site=site, node=node)
                self._outbox.failed(site, node, now_s)
        self._report(SendFailed(site, node, str(error)))
