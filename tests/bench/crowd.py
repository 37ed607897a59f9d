"""A thousand nodes' ledgers and gossip in one process, on one clock: real messages, real signatures, no sockets."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from hybrid import wire
from hybrid.cluster.answering import RequestHandler
from hybrid.cluster.certificates import node_id
from hybrid.cluster.gossip import Gossiping
from hybrid.cluster.ledger import Ledger
from hybrid.cluster.sealing import KeySeals
from hybrid.errors import PeerError
from hybrid.model import Claim, Guid, NodeId, NodeRegister, SiteId, SiteRegister, SiteSpec, Version
from hybrid.wire import Gossip

DELAY_S = 0.01
"""From one node to another."""
STEP_S = 0.005
COPIES = 3


def spec_of(number: int) -> SiteSpec:
    """A site as hosters have them: a name and two domains."""
    return SiteSpec(
        id=SiteId(f"s-{number:026d}"),
        version=Version(1, 0),
        name=f"site-{number}",
        domains=(f"www.site-{number}.example", f"site-{number}.example"),
        image="php@4f0c8e4b5a6d",
        number=number % 32_000 + 1,
    )


class Line:
    """One node's links: there is one to everybody, when it is wanted."""

    def __init__(self, crowd: Crowd, node: NodeId) -> None:
        self._crowd, self._node = crowd, node
        self._handlers: dict[type[msgspec.Struct], RequestHandler] = {}
        self.bytes = self.messages = 0
        self.peers: set[NodeId] = set()
        """Whom it spoke to."""

    def handle(self, kind: type[msgspec.Struct], handler: RequestHandler) -> None:
        """See `hybrid.cluster.gossip.Links`."""
        self._handlers[kind] = handler

    def on_connected(self, callback: Callable[[NodeId], None]) -> None:
        """See `hybrid.cluster.gossip.Links`. Nobody is told: nothing is ever lost here."""

    def on_lost(self, callback: Callable[[NodeId], None]) -> None:
        """See `hybrid.cluster.gossip.Links`."""

    def connected(self) -> frozenset[NodeId]:
        """See `hybrid.cluster.gossip.Links`."""
        return frozenset(self.peers)

    def _packed(self, node: NodeId, message: msgspec.Struct) -> bytes:
        data = wire.pack(1, message)
        self.bytes += len(data) + 4
        self.messages += 1
        self.peers.add(node)
        return data

    def send(self, node: NodeId, message: msgspec.Struct) -> bool:
        """See `hybrid.cluster.gossip.Links`."""
        data = self._packed(node, message)
        self._crowd.clock.callLater(DELAY_S, lambda: Deferred.fromCoroutine(self._crowd.serve(self._node, node, data)))
        return True

    async def request(self, node: NodeId, message: msgspec.Struct, deadline_s: float = 10.0) -> msgspec.Struct:
        """See `hybrid.ports.Peers`."""
        data = self._packed(node, message)
        await self._crowd.pause()
        answer = await self._crowd.serve(self._node, node, data)
        received = self._crowd.lines[node]._packed(self._node, answer)
        await self._crowd.pause()
        _, reply = wire.unpack(received)
        assert reply is not None
        return reply

    async def answer(self, sender: NodeId, data: bytes) -> msgspec.Struct:
        """What this node says to a message."""
        _, message = wire.unpack(data)
        assert message is not None
        return await self._handlers[type(message)](sender, message)


class Crowd:
    """All of them. Each knows all nodes and all sites, of which few hold each."""

    def __init__(self, nodes: int, sites: int, seed: int = 1) -> None:
        """As if they had been together for long."""
        self.clock = Clock()
        self.chance = random.Random(seed)
        self.dead: set[NodeId] = set()
        seals = [KeySeals(ec.generate_private_key(ec.SECP256R1())) for _ in range(nodes)]
        self.seals = {node_id(ec_public(one)): one for one in seals}
        self.names = sorted(self.seals)
        self.known = frozenset(self.names)
        self.ledgers = {name: Ledger(name, 1, self.seals[name]) for name in self.names}
        self.lines = {name: Line(self, name) for name in self.names}
        self.holders: dict[SiteId, tuple[NodeId, ...]] = {}
        self._fill(sites)
        for ledger in self.ledgers.values():
            ledger.news.round([])
        self.gossip = {name: self._gossip(name) for name in self.names}
        for gossip in self.gossip.values():
            gossip.startService()

    def _gossip(self, name: NodeId) -> Gossiping:
        chance = random.Random(name)
        return Gossiping(
            self.clock,
            self,
            self.ledgers[name],
            self.lines[name],
            chance.sample,
            lambda: list(self.ledgers[name].sites_of(name)),
            lambda sender, gossip: True,
            lambda merged: None,
        )

    def _fill(self, sites: int) -> None:
        for name in self.names:
            self.ledgers[name].publish_node(
                NodeRegister(id=name, name=name, dc="x", address="10.0.0.1", key=self.seals[name].key)
            )
        told = Gossip(nodes={name: self.ledgers[name].nodes()[name] for name in self.names})
        for ledger in self.ledgers.values():
            ledger.merge(told)
        for number in range(sites):
            spec = spec_of(number)
            holders = tuple(self.chance.sample(self.names, COPIES))
            self.holders[spec.id] = holders
            for place, holder in enumerate(holders):
                self.ledgers[holder].publish(spec.id, register(spec, holders[0], owner=not place, head=1))
            said = {holder: self.ledgers[holder].registers(spec.id)[holder] for holder in holders}
            words = {holder: {spec.id: one.word} for holder, one in said.items()}
            copies = {holder: {spec.id: one.copy} for holder, one in said.items()}
            for name, ledger in self.ledgers.items():
                ledger.merge(Gossip(sites=words, copies=copies if name in holders else {}), spread=False)

    # ------------------------------------------------------------------------------------------------- life

    def live(self, now_s: float) -> frozenset[NodeId]:
        """See `hybrid.cluster.gossip.Lives`."""
        return self.known - self.dead

    async def pause(self) -> None:
        """A message is on its way."""
        arrived: Deferred[None] = Deferred()
        self.clock.callLater(DELAY_S, arrived.callback, None)
        await arrived

    async def serve(self, sender: NodeId, node: NodeId, data: bytes) -> msgspec.Struct:
        """What `node` answers."""
        if node in self.dead:
            raise PeerError("it is dead")
        return await self.lines[node].answer(sender, data)

    def steps(self, seconds: float) -> Iterator[float]:
        """Let time pass; gives the time after each step."""
        for _ in range(round(seconds / STEP_S)):
            self.clock.advance(STEP_S)
            yield self.clock.seconds()

    def pass_time(self, seconds: float) -> None:
        """Let time pass."""
        for _ in self.steps(seconds):
            pass

    def publish(self, name: NodeId, site: SiteId, said: SiteRegister) -> None:
        """`name` says something new about `site`."""
        self.ledgers[name].publish(site, said)
        self.gossip[name].hurry()

    def sent(self) -> tuple[int, int]:
        """Bytes and messages so far, of all nodes."""
        lines = self.lines.values()
        return sum(line.bytes for line in lines), sum(line.messages for line in lines)


def register(spec: SiteSpec, owner_is: NodeId, owner: bool, head: int, epoch: int = 1) -> SiteRegister:
    """What a holder says."""
    claim = Claim(epoch, owner_is)
    return SiteRegister(
        role="owner" if owner else "replica",
        claim=claim if owner else None,
        seen=claim,
        head=Guid(head),
        head_epoch=epoch,
        head_counter=head,
        length=head,
        recent=tuple(Guid(number) for number in range(head, head + 8)),
        serving=owner,
        spec=spec,
        safe_copies=2 if owner else 0,
    )


def ec_public(seals: KeySeals) -> ec.EllipticCurvePublicKey:
    """The key that `seals` signs with."""
    return seals._key.public_key()
