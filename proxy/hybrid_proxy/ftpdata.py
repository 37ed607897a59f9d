"""Data connections of FTP: one from one client, to a port that its site's server opened. Shell."""

from __future__ import annotations

from dataclasses import replace

from twisted.internet.interfaces import IAddress, ITLSTransport
from twisted.internet.protocol import Factory

from hybrid.model import SiteId
from hybrid_proxy.house import House
from hybrid_proxy.passive import Opened
from hybrid_proxy.pool import Connect
from hybrid_proxy.route import Here, Route, There
from hybrid_proxy.tcp import Caller

WAIT_S = 60.0
"""For the client to connect."""


class DataFactory(Factory):
    """
    Takes one connection from one address, and closes the port behind it.

    Args:
        house: Shared.
        dial: Opens connections to sites.
        source: The client's address; others are turned away.
        site: Whose server has opened a port.
        port: That port.
        private: TLS is spoken on it.
    """

    noisy = False

    def __init__(self, house: House, dial: Connect, source: str, site: SiteId, port: int, private: bool) -> None:
        self._house, self._dial, self._source = house, dial, source
        self._site, self._port, self._private = site, port, private
        self.opened: Opened | None = None
        self.caller: Data | None = None
        self.due_s = house.deadlines.now_s + WAIT_S
        house.deadlines.watch(self)

    def buildProtocol(self, addr: IAddress | None) -> Data | None:
        """See `IProtocolFactory`."""
        host = getattr(addr, "host", "")
        if host != self._source or self.caller is not None:
            return None
        self.close()
        self.caller = Data(self._house, self._dial, self._route, (host, getattr(addr, "port", 0)))
        self.caller.private = self._private
        return self.caller

    def _route(self) -> Route:
        found = self._house.routes.route_site(self._site, service="ftp")
        if isinstance(found, Here):
            return replace(found, port=self._port)
        return replace(found, public_port=self._port) if isinstance(found, There) else found

    @property
    def moved_bytes(self) -> int:
        """On the connection that was taken."""
        return self.caller.moved_bytes if self.caller is not None else 0

    def overdue(self) -> None:
        """See `hybrid_proxy.deadlines.Watched`."""
        self.close()

    def close(self) -> None:
        """Listen no more."""
        self._house.deadlines.forget(self)
        opened, self.opened = self.opened, None
        if opened is not None:
            opened.close()

    def end(self) -> None:
        """The control connection is over."""
        self.close()
        if self.caller is not None and self.caller.connected:
            self.caller.finish()


class Data(Caller):
    """A data connection."""

    private = False

    def _greet(self) -> None:
        if self.private and self._house.tls is not None and ITLSTransport.providedBy(self.transport):
            self.transport.startTLS(self._house.tls)
        self._look_for_site()

    @property
    def moved_bytes(self) -> int:
        """Both ways."""
        return self._splice.moved_bytes if self._splice is not None else 0

    def finish(self) -> None:
        """Nothing more comes but what is under way: it has a moment."""
        self.due_s = self._house.deadlines.now_s + self._house.limits.drain_s
