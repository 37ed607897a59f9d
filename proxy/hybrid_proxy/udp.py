"""
UDP ports of sites: datagrams of each client are a flow, to the container here or through the node that owns it. Shell.

Datagrams that come while an owner is looked for are kept, a few for each flow.
"""

from __future__ import annotations

import socket
from collections import deque
from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IProtocol,
    IReactorSocket,
    IReactorUDP,
    IUDPTransport,
)
from twisted.internet.protocol import DatagramProtocol, Factory
from twisted.python.failure import Failure

from hybrid.model import SiteId
from hybrid_proxy.deadlines import NEVER
from hybrid_proxy.house import House
from hybrid_proxy.pool import Connect
from hybrid_proxy.route import Destination, Here, Route, There, Wait
from hybrid_proxy.udpstream import IDLE_S, MAX_DATAGRAM, Exit, Tunnel, Way

KEPT = 16
"""Datagrams of a flow that wait for an owner."""
MAX_FLOWS = 4096
"""Of one port; the one silent for longest gives way."""


class Flow:
    """The datagrams of one client at one port."""

    def __init__(self, port: UdpPort, client: tuple[str, int]) -> None:
        self._port, self._client = port, client
        self.site = SiteId("")
        self.destination: Destination | None = None
        self.due_s = NEVER
        self._way: Way | None = None
        self._connecting: Deferred[IProtocol] | None = None
        self._kept: deque[bytes] = deque(maxlen=KEPT)
        self._over = False

    def forward(self, datagram: bytes) -> None:
        """The client sent it."""
        self.due_s = self._port.house.deadlines.now_s + IDLE_S
        if self._way is not None:
            self._way.send(datagram)
            return
        self._kept.append(datagram)
        if self.destination is None and not self.site:
            self._begin()

    def resume(self, scout: bool) -> None:
        """See `hybrid_proxy.room.Waiter`."""
        self._begin()

    def _begin(self) -> None:
        route = self._port.route()
        if isinstance(route, Wait):
            self.site = route.site
            if not self._port.house.room.hold(self):
                self.end()
        elif isinstance(route, Here):
            self.site, self.destination = route.site, route
            way = Exit(route.address, route.port, self.back)
            way.open(self._port.reactor)
            self.opened(way)
        elif isinstance(route, There):
            self.site, self.destination = route.site, route
            tunnel = Tunnel(route, self._client, self)
            self._connecting = self._port.dial(route, _Once(tunnel))
            self._connecting.addCallbacks(self._connected, self._unreachable)
        else:
            self.end()

    def misled(self, route: Route) -> bool:
        """Whether it leads elsewhere than it should; one that waits while its owner starts the site does not."""
        if self.destination in (None, route):
            return False
        return self._way is not None or not isinstance(route, Wait)

    def _connected(self, tunnel: IProtocol) -> None:
        self._connecting = None

    def _unreachable(self, why: Failure) -> None:
        self._connecting = None
        self.end()

    def opened(self, way: Way) -> None:
        """Datagrams can go."""
        if self._over:
            way.close()
            return
        self._way = way
        while self._kept:
            way.send(self._kept.popleft())

    def back(self, datagram: bytes) -> None:
        """The site answered."""
        if not self._over:
            self.due_s = self._port.house.deadlines.now_s + IDLE_S
            self._port.answer(datagram, self._client)

    def overdue(self) -> None:
        """See `hybrid_proxy.deadlines.Watched`: silent."""
        self.end()

    def end(self) -> None:
        """Forget it; a next datagram begins anew."""
        if self._over:
            return
        self._over = True
        self._port.forget(self._client, self)
        connecting, self._connecting = self._connecting, None
        if connecting is not None:
            connecting.cancel()
        way, self._way = self._way, None
        if way is not None:
            way.close()


class UdpPort(DatagramProtocol):
    """
    A public UDP port.

    Args:
        reactor: For sockets.
        house: Shared.
        dial: Opens streams to other nodes.
        public_port: Which.
    """

    noisy = False

    def __init__(self, reactor: IReactorUDP, house: House, dial: Connect, public_port: int) -> None:
        self.reactor, self.house, self.dial, self._public_port = reactor, house, dial, public_port
        self._flows: dict[tuple[str, int], Flow] = {}

    def route(self) -> Route:
        """Where it leads now."""
        return self.house.routes.services.route_udp(self._public_port)

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """See `DatagramProtocol`."""
        flow = self._flows.pop(addr, None)
        if flow is None:
            if not self.house.sources.enter(addr[0]):
                return
            if len(self._flows) >= MAX_FLOWS:
                next(iter(self._flows.values())).end()
            flow = Flow(self, addr)
            self.house.deadlines.watch(flow)
        self._flows[addr] = flow  # the last one heard of is the last to give way
        flow.forward(datagram)

    def answer(self, datagram: bytes, client: tuple[str, int]) -> None:
        """To a client, from this port."""
        try:
            cast(IUDPTransport, self.transport).write(datagram, client)
        except OSError:
            return

    def forget(self, client: tuple[str, int], flow: Flow) -> None:
        """A flow is over."""
        self.house.deadlines.forget(flow)
        self.house.room.leave(flow)
        if self._flows.get(client) is flow:
            del self._flows[client]
            self.house.sources.leave(client[0])

    def follow(self) -> None:
        """The routes changed: flows that lead elsewhere than they should begin anew."""
        route = self.route()
        for flow in list(self._flows.values()):
            if flow.misled(route):
                flow.end()

    def cut(self) -> None:
        """End all flows."""
        for flow in list(self._flows.values()):
            flow.end()


class _Once(Factory):
    noisy = False

    def __init__(self, tunnel: Tunnel) -> None:
        self._tunnel = tunnel

    def buildProtocol(self, addr: IAddress | None) -> Tunnel:
        return self._tunnel


def listen_udp(reactor: IReactorSocket, address: str, port: int, protocol: UdpPort) -> IListeningPort:
    """Share a UDP port with the other proxies of the node. Raises `OSError`."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind((address, port))
        bound.setblocking(False)
        return reactor.adoptDatagramPort(bound.fileno(), family, protocol, maxPacketSize=MAX_DATAGRAM)
