"""
`hybrid.ports.Peers` over mutual TLS: one port, a link to every known node, a connection per stream. Shell.

Up to `KEEP_UP_TO` others the links are kept; with more nodes than that a link is there while it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import cast

import msgspec
from twisted.application.service import Service
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.error import CannotListenError, ConnectError
from twisted.internet.interfaces import IListeningPort, IReactorTCP, IStreamClientEndpoint
from twisted.internet.protocol import ServerFactory
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOProtocol

from hybrid.cluster import pumping, tls
from hybrid.cluster.answering import Answers, RequestHandler, StreamHandler
from hybrid.cluster.doorway import Doors
from hybrid.cluster.framed import Connections, Framed
from hybrid.cluster.identity import Identity
from hybrid.cluster.link import AcceptedLink, LinkTiming, RefusedLink
from hybrid.cluster.neighbour import Neighbour
from hybrid.cluster.pumping import BEGIN_AT, Pumps
from hybrid.cluster.streams import AcceptedStream, OutgoingStream
from hybrid.errors import HybridError, PeerError
from hybrid.model import NodeId
from hybrid.ports import ByteSource
from hybrid.settings import Settings

KEEP_UP_TO = 16
LOOK_EVERY_S = 1.0
"""How often new addresses are noticed without `look`."""

Addresses = Callable[[], Mapping[NodeId, tuple[str, int]]]
Newcomer = Callable[[Connections, str], Framed]
"""Makes the conversation with one who wants to join, from its source address."""


class Reactor(IReactorTCP, pumping.Reactor):
    """What the links need of the reactor."""


class PeerLinks(Service):
    """The links of this node."""

    log = Logger()

    def __init__(
        self,
        reactor: Reactor,
        identity: Identity,
        settings: Settings,
        addresses: Addresses,
        jitter: Callable[[], float],
        timing: LinkTiming | None = None,
        newcomer: Newcomer | None = None,
        bind_address: str | None = None,
        refuses: tls.Refuses = tls.nobody,
        on_twin: Callable[[str], None] = lambda source: None,
        on_refused: Callable[[str], None] = lambda why: None,
        keep_up_to: int = KEEP_UP_TO,
        pump_at: int = BEGIN_AT,
        squeezes: Callable[[NodeId], bool] = lambda node: False,
    ) -> None:
        """
        Nothing is opened before `startService`.

        Args:
            reactor: Of this process.
            identity: Who this node is.
            settings: For its address and cluster port (0: any free one, see `port`).
            addresses: Where every known node listens; asked often, may change, may name this node.
            jitter: A number from 0 to 1, each time another: `random.random`.
            timing: Deadlines.
            newcomer: What is done with who wants to join; `None`: nobody can join here.
            bind_address: Listens on and connects from it; default `settings.address`.
            on_refused: Called with the reason when another node keeps this one out.
            on_twin: Called with the address of each connection that proves to have this node's own key.
            keep_up_to: With more other nodes than this, links are opened when they are wanted.
            pump_at: Bytes of a stream after which processes of their own move it.
            squeezes: Whether large streams to a node go compressed, if it takes that.
            refuses: Which members are kept out, and why; asked at each handshake. Open links are for `cut` to end.
        """
        self._reactor, self._identity, self._settings = reactor, identity, settings
        self._addresses, self._jitter, self._timing = addresses, jitter, timing or LinkTiming()
        self._newcomer, self._refuses = newcomer, refuses
        self._on_twin, self._on_refused = on_twin, on_refused
        self._keep_up_to, self._pump_at, self._squeezes = keep_up_to, pump_at, squeezes
        self._options = identity.cluster_port_options()
        self._bind = settings.address if bind_address is None else bind_address
        self._answers = Answers()
        self._connections = Connections()
        self._neighbours: dict[NodeId, Neighbour] = {}
        self._called: dict[NodeId, tuple[str, int]] = {}
        self._on_connected: list[Callable[[NodeId], None]] = []
        self._on_lost: list[Callable[[NodeId], None]] = []
        self._listening: IListeningPort | None = None
        self._looking = LoopingCall(self.look)
        self._looking.clock = reactor

    # ------------------------------------------------------------------------------------------------- life

    def startService(self) -> None:
        """Listen and connect. Raises `PeerError` when the port is taken."""
        super().startService()
        doors = Doors(self._reactor, self._options, self._timing.connect_s, self._show)
        try:
            port = self._reactor.listenTCP(self._settings.cluster_port, cast(ServerFactory, doors), 100, self._bind)
        except CannotListenError as error:
            where = f"{self._bind}:{self._settings.cluster_port}"
            raise PeerError(f"cannot listen on {where}", str(error.socketError), "is another node running?") from error
        self._listening = port
        self._looking.start(LOOK_EVERY_S)

    def stopService(self) -> Deferred[None]:
        """Close everything; fires when it is closed. Requests and streams under way fail."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._looking.running:
            self._looking.stop()
        for neighbour in self._neighbours.values():
            neighbour.stop()
        self._neighbours.clear()
        self._called.clear()
        listening, self._listening = self._listening, None
        if listening is not None:
            await maybeDeferred(listening.stopListening)
        await self._connections.close("this node stops")

    @property
    def port(self) -> int:
        """Where this node listens."""
        assert self._listening is not None
        address = self._listening.getHost()
        assert isinstance(address, IPv4Address | IPv6Address)
        return address.port

    def renew(self, identity: Identity) -> None:
        """Show `identity`'s certificate, of the same node, on every connection from now on."""
        assert identity.node == self._identity.node
        self._identity = identity
        self._options.become(identity.cluster_port_options())

    def cut(self, node: NodeId, reason: str) -> None:
        """End whatever is open to `node` and from it."""
        self._connections.abort_all_with(node, reason)

    def look(self) -> None:
        """Take new addresses to heart; to be called when they changed, and called by itself each second."""
        if not self.running:
            return
        try:
            addresses = self._addresses()
        except Exception:
            self.log.failure("the addresses of other nodes cannot be told")
            return
        for node in [node for node, place in self._called.items() if addresses.get(node) != place]:
            del self._called[node]
            self._neighbours.pop(node).stop()
        for node in sorted(addresses.keys() - self._neighbours.keys() - {self._identity.node}):
            self._called[node] = addresses[node]
            self._neighbours[node] = neighbour = self._neighbour(node)
            neighbour.start()
        if self._keeps():
            for neighbour in self._neighbours.values():
                neighbour.want()

    def _keeps(self) -> bool:
        """Whether a link to everybody is kept."""
        return len(self._neighbours) <= self._keep_up_to

    def _neighbour(self, node: NodeId) -> Neighbour:
        return Neighbour(
            self._reactor,
            self._timing,
            self._jitter,
            self._connections,
            self._identity,
            node,
            lambda: self._endpoint(node, tls.CONTROL),
            lambda node: self._call(self._on_connected, node),
            lambda node: self._call(self._on_lost, node),
            self._on_refused,
            self._keeps,
        )

    # --------------------------------------------------------------------------------------- hybrid.ports.Peers

    def handle(self, kind: type[msgspec.Struct], handler: RequestHandler) -> None:
        """See `hybrid.ports.Peers`."""
        self._answers.handle(kind, handler)

    def handle_streams(self, handler: StreamHandler) -> None:
        """See `hybrid.ports.Peers`."""
        self._answers.handle_streams(handler)

    async def request(self, node: NodeId, message: msgspec.Struct, deadline_s: float = 10.0) -> msgspec.Struct:
        """See `hybrid.ports.Peers`."""
        began_s = self._reactor.seconds()
        link = await self._neighbour_of(node).linked(deadline_s)
        return await link.request(message, max(0.0, began_s + deadline_s - self._reactor.seconds()))

    async def offer(self, node: NodeId, offer: msgspec.Struct, source: ByteSource) -> msgspec.Struct:
        """See `hybrid.ports.Peers`."""
        try:
            await self._neighbour_of(node).linked(self._timing.connect_s)
            stream = OutgoingStream(self._reactor, self._timing, self._connections, node, offer, self._pumps(node))
            try:
                await connectProtocol(self._endpoint(node, tls.PUMPED_STREAM, tls.STREAM), stream)
            except (ConnectError, OSError) as error:
                raise PeerError(f"{node} cannot be reached", str(error), "it is tried again by itself") from error
            return await stream.carry(source)
        finally:
            await source.abort()

    # --------------------------------------------------------------------------------------------- for gossip

    def send(self, node: NodeId, message: msgspec.Struct) -> bool:
        """Fire and forget; `False` when it was dropped: no link, or the peer does not keep up."""
        neighbour = self._neighbours.get(node)
        return neighbour is not None and neighbour.tell(message)

    def connected(self) -> frozenset[NodeId]:
        """The nodes to which there is a link now."""
        return frozenset(node for node, neighbour in self._neighbours.items() if neighbour.link is not None)

    def on_connected(self, callback: Callable[[NodeId], None]) -> None:
        """Call `callback(node)` each time a link to a node has come up."""
        self._on_connected.append(callback)

    def on_lost(self, callback: Callable[[NodeId], None]) -> None:
        """Call `callback(node)` each time a link ended or could not be opened: what was sent may not have arrived."""
        self._on_lost.append(callback)

    def ends(self) -> Mapping[str, int]:
        """Why connections ended: reason to how many."""
        return dict(self._connections.ends)

    # --------------------------------------------------------------------------------------------- connections

    def _neighbour_of(self, node: NodeId) -> Neighbour:
        neighbour = self._neighbours.get(node)
        if neighbour is None:
            why = "no such node is known here"
            raise PeerError(f"{node} cannot be reached", why, "it is tried again by itself")
        return neighbour

    def _call(self, callbacks: Iterable[Callable[[NodeId], None]], node: NodeId) -> None:
        for callback in callbacks:
            callback(node)

    def _pumps(self, to: NodeId | None = None) -> Pumps:
        return Pumps(self._reactor, self._identity, self._pump_at, to is not None and self._squeezes(to))

    def _endpoint(self, node: NodeId, *protocols: bytes) -> IStreamClientEndpoint:
        host, port = self._addresses()[node]
        bind = (self._bind, 0) if self._bind else None
        plain = TCP4ClientEndpoint(self._reactor, host, port, int(self._timing.connect_s) or 1, bind)
        return wrapClientTLS(self._identity.client_options(node, protocols, self._refuses), plain)

    def _show(self, transport: TLSMemoryBIOProtocol, source: str) -> Framed:
        """What a connection to the cluster port is: see `hybrid.cluster.doorway`."""
        protocol = transport.negotiatedProtocol
        if not self.running:
            raise PeerError("this node stops")
        if protocol == tls.JOIN and self._newcomer is not None:
            return self._newcomer(self._connections, source)
        line = self._identity.peer_line(transport)
        node = line[0]
        if node == self._identity.node:
            self._on_twin(source)
            raise HybridError("duplicate node", f"{source} uses this node's own key", "was its disk cloned?")
        if why := self._refuses(line):
            self.log.warn("{node} at {source} is kept out: {why}", node=node, source=source, why=why)
            return RefusedLink(self._reactor, self._timing, self._connections, node, why)
        if protocol == tls.CONTROL:
            return AcceptedLink(self._reactor, self._timing, self._connections, self._identity, node, self._answers)
        if protocol in (tls.PUMPED_STREAM, tls.STREAM):
            pumps = self._pumps()
            return AcceptedStream(self._reactor, self._timing, self._connections, node, self._answers, pumps)
        raise PeerError("unknown protocol", str(protocol))
