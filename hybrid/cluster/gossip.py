"""
Tells other nodes what changed, and finds what was lost on the way. Shell.

In a small cluster every change goes to everybody at once, and each tells it on, so that a link that is cut is gone
around. In a large one each node has a circle of a few others, chosen at random and changed slowly: a change goes to
these and to the nodes that hold the site, and each who hears it first does the same. Every half a minute, and whenever
somebody may have missed something, checksums are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Protocol

import msgspec
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from hybrid.cluster.answering import RequestHandler
from hybrid.cluster.ledger import Ledger, Merged
from hybrid.cluster.news import Name
from hybrid.cluster.parcels import parcel
from hybrid.cluster.syncing import Asks, Syncing
from hybrid.detach import detach
from hybrid.model import NodeId, SiteId
from hybrid.wire import Compare, Done, Gossip, Pull

ALL_UP_TO = 8
"""Up to so many nodes, everybody is told everything at once."""
CIRCLE = 8
"""In a larger one, so many nodes: about e^-8 of all nodes are in nobody's circle and learn by comparing."""
HURRY_S = 0.01
"""Several publications within this time travel together."""
ROUND_S = 0.2
LOOK_S = 5.0
COMPARE_EVERY = 6
"""Looks from one comparison with somebody at random to the next."""
SYNCS = 4
"""Comparisons under way at once."""
NOTHING = Gossip()

Choose = Callable[[Sequence[NodeId], int], Sequence[NodeId]]
"""`random.sample`, injected: that many distinct ones of a sequence."""


class Links(Asks, Protocol):
    """What gossip needs of the links."""

    def send(self, node: NodeId, message: msgspec.Struct) -> bool:
        """Fire and forget; `False` when it was dropped."""

    def connected(self) -> frozenset[NodeId]:
        """The nodes to which there is a link."""

    def on_connected(self, callback: Callable[[NodeId], None]) -> None:
        """Call when there is a link to a node."""

    def on_lost(self, callback: Callable[[NodeId], None]) -> None:
        """Call when what was sent to a node may not have arrived."""

    def handle(self, kind: type[msgspec.Struct], handler: RequestHandler) -> None:
        """See `hybrid.ports.Peers`."""


class Lives(Protocol):
    """Who there is. See `hybrid.cluster.membership.Membership`."""

    @property
    def known(self) -> frozenset[NodeId]:
        """Every node ever configured or heard of, this one included."""

    def live(self, now_s: float) -> frozenset[NodeId]:
        """Those taken for alive, this one included."""


class Gossiping(Service):
    """Tells and listens."""

    log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        lives: Lives,
        ledger: Ledger,
        links: Links,
        choose: Choose,
        held: Callable[[], Iterable[SiteId]],
        listens: Callable[[NodeId, Gossip], bool],
        changed: Callable[[Merged], None],
    ) -> None:
        """
        Args:
            held: The sites of which this node holds something.
            listens: Whether to take in what a node says.
            changed: Called after each merge that changed something.
        """
        self._reactor, self._lives, self._ledger, self._links = reactor, lives, ledger, links
        self._choose, self._held, self._listens, self._changed = choose, held, listens, changed
        self._syncing = Syncing(reactor, ledger, links, self._take, self._spoken_to, held)
        self._behind: set[NodeId] = set()
        """Who may have missed something that was told."""
        self._live: frozenset[NodeId] = frozenset()
        self._circle: list[NodeId] = []
        self._looks = 0
        self._next: IDelayedCall | None = None
        self._loop = LoopingCall(self._look)
        self._loop.clock = reactor
        links.on_connected(self._met)
        links.on_lost(self._behind.add)
        links.handle(Gossip, self._heard)
        links.handle(Compare, self._syncing.compared)
        links.handle(Pull, self._syncing.pulled)

    # ------------------------------------------------------------------------------------------------- life

    def startService(self) -> None:
        """Begin to tell and to compare."""
        super().startService()
        self._loop.start(LOOK_S, now=False)
        self.hurry()

    def stopService(self) -> Deferred[None] | None:
        """Fall silent."""
        if self._loop.running:
            self._loop.stop()
        if self._next is not None and self._next.active():
            self._next.cancel()
        super().stopService()
        return None

    # ---------------------------------------------------------------------------------------------- telling

    def hurry(self) -> None:
        """Something was published: tell it now."""
        self._again(HURRY_S)

    def _again(self, delay_s: float) -> None:
        if not self.running:
            return
        if self._next is not None and self._next.active():
            if self._next.getTime() <= self._reactor.seconds() + delay_s:
                return
            self._next.cancel()
        self._next = self._reactor.callLater(delay_s, self._round)

    def _round(self) -> None:
        """Never raises: what fails now is found by comparing."""
        try:
            made: dict[tuple[Name, ...], tuple[Gossip, list[Name]]] = {}
            for peer, names in self._ledger.news.round(self._targets()).items():
                told = tuple(names)
                if told not in made:
                    made[told] = parcel(self._ledger, told)
                self._tell(peer, *made[told])
        except Exception:
            self.log.failure("telling the news failed")
        if self._ledger.news:
            self._again(ROUND_S)

    def _targets(self) -> Sequence[NodeId]:
        """Whom to tell what everybody should hear."""
        if self._small():
            return sorted(self._lives.known - {self._ledger.me})
        live = self._lives.live(self._reactor.seconds()) - {self._ledger.me}
        self._circle = [node for node in self._circle if node in live]
        others = sorted(live.difference(self._circle))
        self._circle += self._choose(others, min(CIRCLE - len(self._circle), len(others)))
        return self._circle

    def _small(self) -> bool:
        return len(self._lives.known) <= ALL_UP_TO

    def _tell(self, peer: NodeId, news: Gossip, left: Sequence[Name]) -> None:
        if news == NOTHING:
            return
        if self._links.send(peer, news):
            self._ledger.news.owe(left, [peer])
        else:
            self._behind.add(peer)

    # --------------------------------------------------------------------------------------------- listening

    async def _heard(self, sender: NodeId, message: msgspec.Struct) -> Done:
        assert isinstance(message, Gossip)
        self._take(sender, message)
        return Done()

    def _take(self, sender: NodeId, news: Gossip) -> bool:
        """Merge what `sender` told; whether any of it was new."""
        if not self._listens(sender, news):
            return False
        doubts = self._ledger.vouching.doubts
        merged = self._ledger.merge(news, sender, spread=not news.quiet)
        if self._ledger.vouching.doubts > doubts:
            self.log.debug("{sender} passed on what is not believed: {why}", sender=sender, why=self.ignored())
        if merged:
            self._changed(merged)
        if self._ledger.news:
            self.hurry()
        return bool(merged)

    def ignored(self) -> dict[str, int]:
        """Why registers that others passed on were not believed, and how many."""
        return dict(self._ledger.vouching.ignored)

    # --------------------------------------------------------------------------------------------- comparing

    def _met(self, node: NodeId) -> None:
        """There is a link to `node`: what was told while there was none is missing there, and here."""
        if self._small() or node in self._behind:
            self._sync(node)

    def lives_changed(self) -> None:
        """Nodes came to life, or are taken for dead: those that came missed something."""
        live = self._lives.live(self._reactor.seconds())
        came, self._live = live - self._live - {self._ledger.me}, live
        self._behind |= came if self._small() else came & self._replica_peers()
        self._catch_up()

    def _replica_peers(self) -> set[NodeId]:
        return {node for site in self._held() for node in self._ledger.registers(site)}

    def _look(self) -> None:
        """Never raises: a loop that raises stops for ever."""
        try:
            self._looks += 1
            if self._looks % COMPARE_EVERY == 0:
                for node in self._somebody():
                    self._sync(node)
            self._catch_up()
        except Exception:
            self.log.failure("comparing failed")

    def _somebody(self) -> Collection[NodeId]:
        """
        Everybody there is a link with.

        In a large cluster one that lives, whose place in the circle another gets afterwards, and a silent one: that is
        how a partition's end is noticed.
        """
        if self._small():
            return sorted(self._links.connected())
        circle = self._targets()
        silent = sorted(self._lives.known - self._lives.live(self._reactor.seconds()))
        somebody = [*circle[:1], *self._choose(silent, min(1, len(silent)))]
        self._circle = [*circle[1:]]
        return somebody

    def _catch_up(self) -> None:
        """Compare with some of those who may have missed something."""
        live = self._lives.live(self._reactor.seconds())
        for node in sorted(self._behind & live)[:SYNCS]:
            self._sync(node)

    def _sync(self, node: NodeId) -> None:
        if self.running and (self._small() or self._syncing.busy() < SYNCS):
            detach(self._compare(node))

    async def _compare(self, node: NodeId) -> None:
        self._behind.discard(node)
        if not await self._syncing.sync(node):
            self._behind.add(node)

    def _spoken_to(self) -> frozenset[NodeId]:
        """Whom this node asks themselves: in a small cluster all it has a link with."""
        return self._links.connected() if self._small() else frozenset()
