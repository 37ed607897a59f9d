"""Public TCP ports, of one site or shared by all of a service: listeners that come and go with the view. Shell."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.internet.interfaces import IListeningPort, IReactorSocket, IReactorUDP
from twisted.logger import Logger

from hybrid_proxy.guest import GuestFactory
from hybrid_proxy.house import House
from hybrid_proxy.listen import Listener
from hybrid_proxy.pool import Connect
from hybrid_proxy.route import There
from hybrid_proxy.services import SSH
from hybrid_proxy.shared import DIALOGUES
from hybrid_proxy.ssh.door import SshFactory
from hybrid_proxy.tcp import Caller, PortFactory
from hybrid_proxy.udp import UdpPort, listen_udp


class Reactor(IReactorUDP, IReactorSocket):
    """What public ports need of the reactor."""


class PublicPorts:
    """
    Listens where some site wants it.

    Args:
        reactor: Where sockets live.
        house: Shared.
        dial: Opens connections to sites.
        address: To listen on; empty for all.
        reserved: Ports of the platform's own, which no site gets.
        shared: Ports of services to the service, and whether TLS is from the first byte on there.
        ssh: Who answers at the port of that service.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Reactor,
        house: House,
        dial: Connect,
        address: str,
        reserved: frozenset[int],
        shared: Mapping[int, tuple[str, bool]],
        ssh: SshFactory,
    ) -> None:
        self._reactor, self._house, self._dial = reactor, house, dial
        self._address, self._reserved, self._shared, self._ssh = address, reserved, shared, ssh
        self._open: dict[int, tuple[Listener, PortFactory | GuestFactory | SshFactory]] = {}
        self._udp: dict[int, tuple[IListeningPort, UdpPort]] = {}
        self._complaints: set[object] = set()

    def follow(self) -> None:
        """The routes changed: open, close, and cut what hangs on a dead node."""
        spoken = self._house.routes.services.spoken()
        asked = set(self._house.routes.public_ports())
        for port in sorted(asked & self._shared.keys()):
            self._complain(port, "port {port} is shared by all sites of a service, no site has it alone", port=port)
        wanted = asked - self._shared.keys()
        wanted |= {port for port, (service, _) in self._shared.items() if service in spoken}
        for port in self._open.keys() - wanted:
            self._close(port)
        for port in sorted(wanted - self._open.keys()):
            self._listen(port)
        self._follow_udp()
        for port, site in self._house.routes.shadowed:
            self._complain((port, site), "port {port} has a site already, {site} does not get it", port=port, site=site)
        for _, factory in self._open.values():
            for caller in list(factory.callers):
                if hangs(caller, self._house):
                    caller.cut()
        self._ssh.follow()

    def _follow_udp(self) -> None:
        wanted = self._house.routes.services.udp_ports()
        for port in self._udp.keys() - wanted:
            listening, flows = self._udp.pop(port)
            listening.stopListening()
            flows.cut()
        for port in sorted(wanted - self._udp.keys()):
            if port in self._reserved:
                self._complain(("udp", port), "UDP port {port} is the platform's own, no site gets it", port=port)
                continue
            flows = UdpPort(self._reactor, self._house, self._dial, port)
            try:
                self._udp[port] = listen_udp(self._reactor, self._address, port, flows), flows
            except OSError as error:
                why = error.strerror
                self._complain(("udp", port, why), "cannot listen on UDP port {port}: {why}", port=port, why=why)
        for _, flows in self._udp.values():
            flows.follow()

    def close(self) -> None:
        """Accept no more; connections there are stay."""
        for listener, _ in self._open.values():
            listener.close()

    def cut(self) -> None:
        """End all connections, and flows of datagrams."""
        for listening, flows in self._udp.values():
            listening.stopListening()
            flows.cut()
        self._udp.clear()
        for _, factory in self._open.values():
            for caller in list(factory.callers):
                caller.cut()
        self._ssh.cut()

    def port(self, public_port: int) -> int | None:
        """The port in fact listened on for `public_port`, `None` when not open."""
        found = self._open.get(public_port)
        return found[0].port if found is not None else None

    def _listen(self, port: int) -> None:
        if port in self._reserved:
            self._complain(port, "port {port} is the platform's own, no site gets it", port=port)
            return
        try:
            listener = Listener(self._address, port)
        except OSError as error:
            why = error.strerror
            self._complain((port, why), "cannot listen on port {port} for sites: {why}", port=port, why=why)
            return
        factory = self._factory(port)
        listener.open(self._reactor, factory)
        self._open[port] = (listener, factory)
        whose = self._shared.get(port, (self._house.routes.route_port(port),))[0]
        self.log.info("listening on port {port} for {whose}", port=port, whose=whose)

    def _factory(self, port: int) -> PortFactory | GuestFactory | SshFactory:
        if port not in self._shared:
            return PortFactory(self._house, self._dial, port)
        service, at_once = self._shared[port]
        if service == SSH:
            return self._ssh
        return GuestFactory(self._house, self._dial, service, DIALOGUES[service], at_once)

    def _close(self, port: int) -> None:
        listener, factory = self._open.pop(port)
        listener.close()
        for caller in list(factory.callers):
            caller.cut()
        self.log.info("no site has port {port} any more", port=port)

    def _complain(self, about: object, text: str, **fields: object) -> None:
        """Say it once."""
        if about not in self._complaints:
            self._complaints.add(about)
            self.log.warn(text, **fields)


def hangs(caller: Caller, house: House) -> bool:
    """Whether it is joined to a node that is dead."""
    destination = caller.destination
    return isinstance(destination, There) and caller.connected_to_site and not house.routes.live(destination.node)
