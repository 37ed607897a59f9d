"""
Who connected to a port that all sites of a service share: performs what its dialogue decides. Shell.

Until the site is known only the dialogue answers; then it is found, waited for and connected like for any TCP port
(`tcp.Caller`), and a `Spoken` splice lets the dialogue hear both sides until bytes only pass.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from OpenSSL import SSL
from twisted.internet.interfaces import IAddress, IHandshakeListener, ITLSTransport
from twisted.internet.protocol import Factory, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from hybrid_proxy import pages
from hybrid_proxy.deadlines import NEVER
from hybrid_proxy.dialogue import (
    Again,
    Dialogue,
    Effects,
    End,
    Find,
    OpenData,
    Part,
    Patient,
    Relay,
    Secure,
    Setting,
    ToClient,
    ToSite,
    Trouble,
)
from hybrid_proxy.ftpdata import DataFactory
from hybrid_proxy.house import House
from hybrid_proxy.pages import Page
from hybrid_proxy.pool import Connect
from hybrid_proxy.relay import IStream, Side, Splice
from hybrid_proxy.route import Route, Wait
from hybrid_proxy.tcp import Callee, Caller

AGAIN_S = 0.5
TAIL = 64
"""Bytes of what the site sent last that are kept for `Dialogue.farewell`."""
_TROUBLES: dict[Page, Trouble] = {
    pages.STOPPED: "stopped",
    pages.SUSPENDED: "stopped",
    pages.UNAVAILABLE: "unavailable",
    pages.CROWDED: "crowded",
    pages.WAITED: "waited",
}
New = Callable[[Setting], Dialogue]


class Spoken(Splice):
    """A splice whose bytes a dialogue hears first."""

    looks_in = True

    def __init__(self, guest: Guest, near: Side, far: Side, ended: Callable[[], None]) -> None:
        super().__init__(near, far, ended)
        self._guest = guest
        self.only_passing = False
        self.last = b""
        """See `Dialogue.farewell`."""

    def to_site(self, data: bytes) -> None:
        """The dialogue says this, which may be nothing: framed, that would be the end."""
        if data and self._far.unwritten:
            self._far.write(data)

    def _pass(self, data: bytes, source: Side, sink: Side) -> None:
        if source is self._near:
            self.last = b""
        else:
            self.last = data[-TAIL:] if len(data) >= TAIL else (self.last + data)[-TAIL:]
        if self.only_passing:
            super()._pass(data, source, sink)
        else:
            self.passed_bytes += len(data)
            self._guest.hear(data, of_site=source is self._far)

    def _end(self, source: Side, sink: Side) -> None:
        """A server that sends no more is gone, in all of these protocols."""
        if source is self._far:
            self.gone()
        else:
            super()._end(source, sink)

    def gone(self) -> None:
        """See `Splice`: a client that is still there is told."""
        if not self._over and not (self._near.unwritten and self._guest.parting(self.last)):
            super().gone()

    def part(self) -> None:
        """Let the site's server go; the client stays."""
        if not self._over:
            self._over = True
            self._near.unfeed()
            self._far.close()
            self._ended()


@implementer(IHandshakeListener)
class Guest(Caller):
    """
    See the module.

    Args:
        house: Shared.
        dial: Opens connections to sites.
        source: Address and port of the client.
        service: See `hybrid.model.Service`.
        new: Makes the dialogue.
        at_once: TLS from the first byte on.
        home: Where guests of its port are counted.
    """

    def __init__(
        self,
        house: House,
        dial: Connect,
        source: tuple[str, int],
        service: str,
        new: New,
        at_once: bool,
        home: set[Caller] | None,
    ) -> None:
        super().__init__(house, dial, self._where, source, home=home)
        self._service, self._at_once = service, at_once
        names = house.routes.services.speaking(service)
        trusted = house.sources.is_neighbour(source[0])
        self._dialogue = new(Setting(names, source[0], house.tls is not None, trusted, os.urandom(20)))
        self._over = False
        self._silent_s = 0.0
        """See `Patient`."""
        self._heard = self._heard_before = 0
        self._wanted = Find(self.site)
        self._found_by_s = NEVER
        """When the site must have been found."""
        self._again = False
        """Its server is tried again when due: the site's other services are not in doubt for it."""
        self._data: DataFactory | None = None

    def _where(self) -> Route:
        wanted, house = self._wanted, self._house
        if not wanted.past:
            return house.routes.route_site(wanted.site, service=self._service)
        route = house.routes.route_past(self._service, wanted.site, wanted.past)
        if isinstance(route, Wait):
            house.wish(wanted.site, wanted.past)
        return route

    def _greet(self) -> None:
        self.due_s = self._house.deadlines.now_s + self._house.limits.greet_s
        if self._at_once:
            self._perform((Secure(),))
        else:
            self._perform(self._dialogue.begin())

    def handshakeCompleted(self) -> None:
        """See `IHandshakeListener`."""
        self._perform(self._dialogue.secured(_asked_host(self.transport)))
        if self._at_once:
            self._perform(self._dialogue.begin())

    def dataReceived(self, data: bytes) -> None:
        """See `twisted.internet.protocol.Protocol`."""
        if self._splice is not None:
            self._splice.from_near(data)
        else:
            self.hear(data, of_site=False)

    def hear(self, data: bytes, of_site: bool) -> None:
        """One side said something that the dialogue must hear."""
        self._heard += 1
        if not self._over:
            self._perform(self._dialogue.heard_site(data) if of_site else self._dialogue.heard_client(data))

    def _perform(self, effects: Effects) -> None:
        for effect in effects:
            if self._over:
                return
            splice = self._splice
            if isinstance(effect, ToClient):
                self.transport.write(effect.data)
            elif isinstance(effect, ToSite):
                if isinstance(splice, Spoken):
                    splice.to_site(effect.data)
            elif isinstance(effect, Relay):
                if isinstance(splice, Spoken):
                    splice.only_passing = True
                    self.due_s = self._house.deadlines.now_s + self._house.limits.tunnel_idle_s
            elif isinstance(effect, Find):
                self.site, self._wanted = effect.site, effect
                self._found_by_s = self._house.deadlines.now_s + self._house.limits.hold_s
                self._look_for_site()
            elif isinstance(effect, Again):
                self._leave_site()
                self.transport.pauseProducing()
                self._again, self.due_s = True, self._house.deadlines.now_s + AGAIN_S
            elif isinstance(effect, Patient):
                self._silent_s = effect.silent_s
                self.due_s = self._house.deadlines.now_s + effect.silent_s
            elif isinstance(effect, OpenData):
                self._open_data(effect)
            elif isinstance(effect, Part):
                self._leave_site()
            elif isinstance(effect, Secure):
                self._begin_tls()
            else:
                self._close()

    def _begin_tls(self) -> None:
        if self._house.tls is None or not ITLSTransport.providedBy(self.transport):
            self._close()
        else:
            self.transport.startTLS(self._house.tls)

    def _open_data(self, wanted: OpenData) -> None:
        if self._data is not None:
            self._data.end()
        house, address = self._house, self.transport.getHost().host
        data = self._data = DataFactory(house, self._dial, self.source[0], self.site, wanted.port, wanted.private)
        data.opened = house.passive.open(address, data) if house.passive is not None else None
        self._perform(wanted.then(address, data.opened.port if data.opened is not None else None))

    def _leave_site(self) -> None:
        splice = self._splice
        if isinstance(splice, Spoken):
            splice.part()
            self._splice = self._callee = None
            self.transport.resumeProducing()

    def _close(self) -> None:
        """When what was said is sent."""
        self._over = True
        self._house.room.leave(self)
        self._stop_connecting()
        passing = isinstance(self._splice, Spoken) and self._splice.only_passing
        self._leave_site()
        limits = self._house.limits
        self.due_s = self._house.deadlines.now_s + (limits.drain_s if passing else limits.linger_s)
        self.transport.resumeProducing()
        self.transport.loseConnection()

    # -------------------------------------------------------------------------------------------------- the site

    def join(self, callee: Callee, framed: bool, early: bytes) -> None:
        """See `Caller`: too late for who was sent away meanwhile."""
        if self._over:
            callee.transport.abortConnection()
        else:
            super().join(callee, framed, early)

    def _new_splice(self, near: Side, far: Side) -> Splice:
        return Spoken(self, near, far, self._count)

    def _joined(self) -> None:
        self.due_s = self._house.deadlines.now_s + self._house.limits.greet_s
        self._perform(self._dialogue.joined())

    def _refuse(self, page: Page) -> None:
        self.due_s = self._house.deadlines.now_s + self._house.limits.greet_s
        self.transport.resumeProducing()
        self._perform(self._dialogue.refused(_TROUBLES.get(page, "unavailable")))

    def parting(self, last: bytes) -> bool:
        """The site is gone; whether the client is still there, and was told."""
        if self._gone or self._over:
            return False
        self._leave_site()
        self._perform(self._dialogue.farewell(last))
        return True

    def overdue(self) -> None:
        """See `hybrid_proxy.deadlines.Watched`."""
        splice = self._splice
        if self._over:
            self.transport.abortConnection()
        elif self._again and self._house.deadlines.now_s < self._found_by_s:
            self._again, self.due_s = False, self._found_by_s
            self._begin()
        elif self._again or self._house.room.leave(self) or self._connecting is not None:
            self._again = False
            self._stop_connecting()
            self._refuse(pages.WAITED)
        elif self._silent_s and self._progress != self._heard_before:
            self._heard_before = self._progress
            self.due_s = self._house.deadlines.now_s + self._silent_s
        elif not isinstance(splice, Spoken) or not splice.only_passing:
            self._perform((*self._dialogue.refused("slow"), End()))
        else:
            super().overdue()

    @property
    def _progress(self) -> int:
        """Grows while anything is said, or data move."""
        return self._heard + (self._data.moved_bytes if self._data is not None else 0)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `twisted.internet.protocol.Protocol`."""
        super().connectionLost(reason)
        if self._data is not None:
            self._data.end()

    def cut(self) -> None:
        """See `Caller`."""
        splice = self._splice
        if isinstance(splice, Spoken):
            splice.gone()
        else:
            self.transport.abortConnection()

    def readConnectionLost(self) -> None:
        """See `IHalfCloseableProtocol`."""
        if self._splice is not None:
            self._splice.near_ended()
        else:
            self.transport.loseConnection()


def _asked_host(transport: IStream) -> str:
    """The host that a client asked for in TLS (SNI, RFC 6066 §3), lower case; empty when it did not."""
    handle = transport.getHandle()  # type: ignore[attr-defined]  # all of Twisted's transports have it
    name = handle.get_servername() if isinstance(handle, SSL.Connection) else None
    return name.decode("ascii", "replace").lower() if name else ""


class GuestFactory(Factory):
    """Guests of one port of a service."""

    noisy = False

    def __init__(self, house: House, dial: Connect, service: str, new: New, at_once: bool) -> None:
        self._house, self._dial, self._service, self._new, self._at_once = house, dial, service, new, at_once
        self.callers: set[Caller] = set()

    def buildProtocol(self, addr: IAddress | None) -> Guest | None:
        """See `IProtocolFactory`."""
        source = getattr(addr, "host", ""), getattr(addr, "port", 0)
        if not self._house.sources.enter(source[0]):
            return None
        return Guest(self._house, self._dial, source, self._service, self._new, self._at_once, self.callers)
