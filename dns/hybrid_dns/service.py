"""The DNS component: sockets that many processes may share, and the answers of the newest view behind them."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Mapping

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IListeningPort, IReactorFDSet, IReactorSocket, IReactorTime
from twisted.logger import Logger

from hybrid.settings import Settings
from hybrid.systemd import SYSTEMD
from hybrid.view import View
from hybrid_dns import book, serials, zonekeys
from hybrid_dns.answer import Answers
from hybrid_dns.dnssec import Signers, ZoneSigner
from hybrid_dns.finished import Replies
from hybrid_dns.limits import Limits
from hybrid_dns.lookup import Zones, changed_names
from hybrid_dns.near import Nearness
from hybrid_dns.options import MAX_NSID, SECRET_BYTES, TOLD, Cookies
from hybrid_dns.publish import Publisher
from hybrid_dns.respond import Responder
from hybrid_dns.server import DnsDatagrams, DnsStreams, PassOn, nobody
from hybrid_dns.slices import Slices
from hybrid_dns.udp import UdpReader
from hybrid_dns.zone import NOTHING, Contents

SO_RCVBUFFORCE = 33
"""socket(7): root may ask for more than `net.core.rmem_max`; Python has no name for it."""
UDP_BUFFER = 4 * 1024 * 1024


class DnsReactor(IReactorFDSet, IReactorSocket, IReactorTime):
    """A reactor with sockets and time."""


class DnsService(Service):
    """
    Serves UDP and TCP on `settings.address:settings.dns_port`; answers SERVFAIL until it followed a first view.

    Args:
        reactor: With sockets and time.
        settings: Address and port.
        limits: Rate limits of UDP replies; finished replies are kept in their form.
        wall_s: Seconds since the epoch, for the serial only.
    """

    log = Logger()

    def __init__(self, reactor: DnsReactor, settings: Settings, limits: Limits, wall_s: Callable[[], float]) -> None:
        self._reactor, self._settings, self._limits, self._wall_s = reactor, settings, limits, wall_s
        self._answers = Answers(None, form=limits.form)
        nsid, cookies = settings.name.encode()[:MAX_NSID], Cookies([os.urandom(SECRET_BYTES)])
        self._respond = Responder(self._answer, nsid, cookies, wall_s)
        self._nearness = Nearness(settings.dns.near)
        self._near: dict[str, Answers] = {}
        self._publisher = Publisher()
        self._zones: Zones | None = None
        self._view: View | None = None
        self._book = NOTHING
        self._kept_serial = 0
        self.pass_on: PassOn = nobody
        """To the node process; set by who wires it."""
        self._serial = 0
        self._people: dict[str, str] = {}
        self._keys: dict[str, str] = {}
        self._signers: Signers = {}
        self._signed: Signers = self._signers
        self._slices = Slices(reactor, self._renewing)
        self._udp: UdpReader | None = None
        self._tcp: IListeningPort | None = None

    @property
    def port(self) -> int:
        """The port in use (the settings may say 0 for any)."""
        assert self._udp is not None, "not listening"
        return self._udp.getHost()[1]

    def follow(self, view: View) -> None:
        """Answer from `view` from now on."""
        self._view = view
        self._renew()

    def follow_entries(self, entries: Mapping[str, str]) -> None:
        """Answer from these zones and records of people too."""
        self._kept_serial = serials.read(entries.get(serials.KEY)).serial
        if TOLD in entries:
            self._respond.cookies = self._respond.cookies.replaced(bytes.fromhex(entries[TOLD]))
        keys = {key: value for key, value in entries.items() if key.startswith(zonekeys.TOLD)}
        if keys != self._keys:
            self._keys, self._signers = keys, _signers(keys, self._keys, self._signers)
        people = {key: value for key, value in entries.items() if key not in (serials.KEY, TOLD, *keys)}
        if people != self._people:
            self._people, self._book = people, book.read(people)
        self._renew()

    def _renew(self) -> None:
        """
        Make the answers anew where their contents, or the serial, changed.

        The SOA serial is the cluster's (`hybrid_dns.serials`); until it has one, the wall time of the last change here.
        """
        self._slices.begin()

    def _renewing(self) -> Iterator[None]:
        if self._view is not None:
            yield from self._publisher.steps(self._view, self._book)
            self._publish(self._publisher.contents)

    def _publish(self, found: Contents) -> None:
        is_other = self._zones is None or found is not self._zones.contents
        serial = max(self._serial, self._kept_serial)
        if is_other and not self._kept_serial:
            serial = max(self._serial + 1, int(self._wall_s()))
        if not is_other and serial == self._serial and self._signed is self._signers:
            return
        self._signed = self._signers
        before, self._serial = self._zones, serial
        self._zones = Zones(found, serial, before)
        changed = changed_names(before, self._zones)
        self._answers = self._renewed(self._zones, self._answers, changed)
        is_moved = before is None or before.contents.places != found.places
        for dc in self._nearness.dcs & found.places.keys():
            near = Zones(found, serial, self._zones, dc)
            self._near[dc] = self._renewed(near, self._near.get(dc), None if is_moved else changed)
        if self._udp is not None:
            self._udp.replies = self._replies
        self.log.debug("zones changed: {names} names, serial {serial}", names=len(found.hosts), serial=serial)

    def _renewed(self, zones: Zones, before: Answers | None, changed: set[str] | None) -> Answers:
        return Answers(zones, before, changed, self._signers, self._wall_s, self._limits.form)

    @property
    def _replies(self) -> Replies:
        """Those for anybody; none where it matters who asks."""
        return self._limits.form.replies() if self._nearness.dcs else self._answers.exact

    def privilegedStartService(self) -> None:
        """Bind, while this process still may."""
        if self._udp is not None:
            return
        address, port = self._settings.address, self._settings.dns_port
        udp, tcp = _pair(address, port)
        tcp.listen(100)
        protocol = DnsDatagrams(self._respond, self._limits, self._reactor.seconds, self._pass_on)
        streams = DnsStreams(self._respond, self._reactor, self._pass_on)
        reactor, seconds = self._reactor, self._reactor.seconds
        self._udp = UdpReader(reactor, udp, protocol, self._limits, seconds, self._replies)
        self._tcp = reactor.adoptStreamPort(tcp.fileno(), socket.AF_INET, streams)
        tcp.close()
        self.log.info("DNS at {address}:{port}", address=address, port=self.port)

    def startService(self) -> None:
        """Bind where that was not done before, and serve."""
        super().startService()
        self.privilegedStartService()

    def stopService(self) -> Deferred[object]:
        """Stop listening; fires when the sockets are closed."""
        super().stopService()
        self._slices.stop()
        udp, self._udp = self._udp, None
        tcp, self._tcp = self._tcp, None
        if udp is not None:
            udp.stop()
        return maybeDeferred(tcp.stopListening) if tcp is not None else succeed(None)

    def _pass_on(self, message: bytes, source: str, stream: bool, tell: Callable[[bytes | None], None]) -> bool:
        return self.pass_on(message, source, stream, tell)

    def _answer(self, query: bytes, stream: bool, source: str) -> bytes | None:
        dc = self._nearness.of(source) if self._nearness.dcs else ""
        places = self._zones.contents.places if self._zones is not None else {}
        return (self._near[dc] if dc in places else self._answers).answer(query, stream)


def _signers(keys: Mapping[str, str], old: Mapping[str, str], known: Signers) -> Signers:
    """By zone; those whose keys are the same stay, with the signatures they made."""
    found = {}
    for key, text in keys.items():
        zone = key.removeprefix(zonekeys.TOLD)
        found[zone] = known[zone] if old.get(key) == text else ZoneSigner(zone, zonekeys.read(text))
    return found


def _pair(address: str, port: int) -> tuple[socket.socket, socket.socket]:
    """UDP and TCP at one port. Of any (0), one that is free for both."""
    for tries_left in range(4, -1, -1):
        udp = _bound(socket.SOCK_DGRAM, address, port)
        try:
            return udp, _bound(socket.SOCK_STREAM, address, udp.getsockname()[1])
        except OSError:
            udp.close()
            if port or not tries_left:
                raise
    raise AssertionError("the last try returns or raises")


def _bound(kind: socket.SocketKind, address: str, port: int) -> socket.socket:
    """A socket at `address:port` that other processes of this node may share, kept over a restart."""
    bound = SYSTEMD.bound(kind, address, port)
    if kind == socket.SOCK_DGRAM:
        try:
            bound.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, UDP_BUFFER)
        except PermissionError:  # not root: as much as anybody may have
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UDP_BUFFER)
    bound.setblocking(False)
    return bound
