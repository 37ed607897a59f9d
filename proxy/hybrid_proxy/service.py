"""The front doors as a service: sockets, the view, reports, and a graceful end. Shell."""

from __future__ import annotations

import resource
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory

from hybrid.model import NodeId, Served, Wished
from hybrid.settings import Settings, sessions_socket
from hybrid.sitetraffic import Awaited, Logged, Used
from hybrid.view import View
from hybrid_proxy.calls import Calls
from hybrid_proxy.dial import Dialler, Identity, InteriorTLS
from hybrid_proxy.dial import Reactor as DialReactor
from hybrid_proxy.doors import InteriorFactory, PublicFactory
from hybrid_proxy.front import Front
from hybrid_proxy.h2front import H2Front
from hybrid_proxy.house import House
from hybrid_proxy.limits import Limits
from hybrid_proxy.listen import Listener
from hybrid_proxy.passage import passage_of
from hybrid_proxy.passive import Passive, listen_with
from hybrid_proxy.ports import PublicPorts
from hybrid_proxy.ports import Reactor as PortsReactor
from hybrid_proxy.secure import SecureFactory
from hybrid_proxy.shared import shared_ports
from hybrid_proxy.sharedtls import SharedTLS
from hybrid_proxy.ssh.door import SshFactory
from hybrid_proxy.wishes import Wishes

REPORT_S = 10.0
LOG_S = 1.0
DRAIN_LOOK_S = 0.1


class Reactor(DialReactor, PortsReactor):
    """What the front doors need of the reactor."""


class FrontDoors(MultiService):
    """
    Listens on the HTTP, interior and sites' TCP ports, and sends what comes where the view says.

    Args:
        reactor: For sockets and time.
        settings: Ports, subnet.
        identity: For links between nodes.
        report: Hears `Used` and `Served` every ten seconds, `Logged` every second, `Wished` and `Awaited` at once.
        bind_address: To listen on; empty for all IPv4 addresses.
        limits: Deadlines and bounds.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Reactor,
        settings: Settings,
        identity: Identity,
        report: Callable[[Served | Logged | Wished | Used | Awaited], None],
        bind_address: str = "",
        limits: Limits | None = None,
    ) -> None:
        super().__init__()
        limits = limits or Limits()
        limits = replace(limits, neighbours=(*limits.neighbours, settings.subnet))
        self._reactor, self._settings, self._report = reactor, settings, report
        self._address = bind_address
        dialler = self._dialler = Dialler(reactor, identity, limits)
        self._interior_tls = InteriorTLS(identity, self._stranger)
        self.house = House(reactor, limits, dialler.connect)
        routes = self.house.routes
        self.house.tls = SharedTLS(self.house.certificates, routes.services.of_host, routes.main_zone)
        self.house.wish = Wishes(report, reactor.seconds).wish
        self._calls = Calls(routes, self.house.room.awaited, report, reactor.seconds)
        self.house.room.arrived = self._calls.call
        self._front, self._told = secrets.token_hex(8), 0
        self.house.passive = Passive(listen_with(reactor), settings.ftp_passive)
        self._public = PublicFactory(self.house, self._opened, self._closed)
        self._secure = SecureFactory(self.house, dialler.connect, self._opened, self._closed)
        sessions = sessions_socket(settings)
        self._interior = InteriorFactory(self.house, passage_of(self.house, dialler.connect, reactor, sessions))
        self._ssh = SshFactory(self.house, dialler.connect, reactor, sessions)
        self._http: Listener | None = None
        self._https: Listener | None = None
        self._inside: Listener | None = None
        own = (settings.http_port, settings.https_port, settings.interior_port, settings.api_port)
        reserved = frozenset((*own, settings.cluster_port, settings.dns_port))
        self.public_ports = PublicPorts(
            reactor, self.house, dialler.connect, bind_address, reserved, shared_ports(settings), self._ssh
        )
        self._reports = LoopingCall(self._report_traffic)
        self._reports.clock = reactor
        self._most = resource.getrlimit(resource.RLIMIT_NOFILE)[0] * 19 // 40  # each may need an upstream too
        self._journals = LoopingCall(self._report_log)
        self._journals.clock = reactor
        self._has_view = False
        self.heard: Callable[[], bool] = lambda: True
        """Whether what is reported arrives; while it does not, it is kept."""
        self._members: Collection[NodeId] = ()

    # ------------------------------------------------------------------------------------------------ life

    def privilegedStartService(self) -> None:
        """Bind the ports. Raises `OSError`."""
        if self._http is None:
            self._http = Listener(self._address, self._settings.http_port, kept=True)
            self._https = Listener(self._address, self._settings.https_port, kept=True)
            self._inside = Listener(self._address, self._settings.interior_port, kept=True)
        super().privilegedStartService()

    def startService(self) -> None:
        """Listen, as soon as there is a view."""
        self.privilegedStartService()
        super().startService()
        self.house.deadlines.start()
        self._reports.start(REPORT_S, now=False)
        self._journals.start(LOG_S, now=False)
        if self._has_view:
            self._open()

    def stopService(self) -> Deferred[None]:
        """Accept no more, let requests under way end for a while, then close everything."""
        self.house.draining = True
        self.public_ports.close()
        for listener in (self._http, self._https, self._inside):
            if listener is not None:
                listener.close()
        if self._reports.running:
            self._reports.stop()
            self._journals.stop()
            self._report_log()
            self._report_traffic()
        return Deferred.fromCoroutine(self._drain())

    async def _drain(self) -> None:
        """Wait for the fronts, at most `drain_s`."""
        deadline_s = self._reactor.seconds() + self.house.limits.drain_s
        for front in self._fronts():
            front.drain()
        looking = LoopingCall(self._stop_when_drained, deadline_s)
        self._looking = looking
        looking.clock = self._reactor
        await looking.start(DRAIN_LOOK_S)
        for front in self._fronts():
            front.transport.abortConnection()
        self.public_ports.cut()
        self._secure.cut()
        self.house.room.close()
        self.house.pool.close()
        self.house.deadlines.stop()
        await (super().stopService() or succeed(None))

    def _stop_when_drained(self, deadline_s: float) -> None:
        if self._reactor.seconds() >= deadline_s or not any(front.busy for front in self._fronts()):
            self._looking.stop()

    def _fronts(self) -> list[Front | H2Front]:
        return [*self._public.fronts, *self._secure.fronts, *self._interior.fronts]

    def renew(self, identity: Identity) -> None:
        """Show `identity`'s certificate, of the same node, on new connections from now on."""
        self._dialler.renew(identity)
        self._interior_tls.renew(identity)

    # ------------------------------------------------------------------------------------------------ the view

    def follow(self, view: View) -> None:
        """Route by `view` from now on; held requests whose route changed go on."""
        changed = self.house.routes.follow(view)
        self.house.pool.follow(self.house.routes)
        self.house.cache.keep([site for site, wish in self.house.routes.minded.items() if wish.cache])
        self._members = view.nodes.keys()
        first, self._has_view = not self._has_view, True
        if first and self.running:
            self._open()
        elif self.running:
            self.public_ports.follow()
            self._secure.follow()
        self.house.room.release(changed)

    def follow_secrets(self, entries: Mapping[str, str]) -> None:
        """See `hybrid_proxy.house.House`."""
        self.house.follow_secrets(entries)
        self._ssh.follow_secrets(entries)

    def _stranger(self, line: Sequence[NodeId]) -> str:
        """Why a certificate of this cluster does not do: its node was removed, or is not known yet."""
        return "" if line[0] in self._members else "no node of this view"

    def _open(self) -> None:
        assert self._http is not None and self._https is not None and self._inside is not None
        self._http.open(self._reactor, self._public)
        self._https.open(self._reactor, self._secure)
        inside = TLSMemoryBIOFactory(self._interior_tls, False, self._interior, self._reactor)
        self._inside.open(self._reactor, inside)
        self.public_ports.follow()
        self.log.info("front doors are open on ports {port}, {tls}", port=self._http.port, tls=self._https.port)

    @property
    def http_port(self) -> int:
        """The port in fact listened on."""
        assert self._http is not None
        return self._http.port

    @property
    def https_port(self) -> int:
        """The port in fact listened on."""
        assert self._https is not None
        return self._https.port

    @property
    def interior_port(self) -> int:
        """The port in fact listened on."""
        assert self._inside is not None
        return self._inside.port

    # ------------------------------------------------------------------------------------------------- counting

    def _opened(self) -> None:
        self.house.traffic.connections += 1
        if self.house.traffic.connections >= self._most:
            self._pause(True)

    def _closed(self) -> None:
        self.house.traffic.connections -= 1
        if self.house.traffic.connections < self._most * 0.95:
            self._pause(False)

    def _pause(self, paused: bool) -> None:
        for listener in (self._http, self._https):
            if listener is not None:
                listener.pause(paused)

    def _report_traffic(self) -> None:
        if not self.heard():
            return
        try:
            self._told += 1
            self._report(Used(self._front, self._told, tuple(sorted(self.house.in_use()))))
            for served in self.house.traffic.taken():
                self._report(served)
        except Exception:
            self.log.failure("traffic could not be reported")

    def _report_log(self) -> None:
        try:
            self._calls.again()
            if self.heard():
                for logged in self.house.journal.taken():
                    self._report(logged)
        except Exception:
            self.log.failure("access logs could not be reported")
