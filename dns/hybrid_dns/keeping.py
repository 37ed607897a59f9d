"""What the node process does about DNS, put together: registry, keys, the desk for its name servers. Shell."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence

import dns.name
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger

from hybrid.settings import Settings
from hybrid.view import View
from hybrid_dns.authority import Authority
from hybrid_dns.copying import Copying
from hybrid_dns.desk import Desk
from hybrid_dns.desk import Reactor as DeskReactor
from hybrid_dns.fetching import Reactor as FetchReactor
from hybrid_dns.keys import Keys
from hybrid_dns.lookup import Zones
from hybrid_dns.notify import Notifier, place_of
from hybrid_dns.notify import Reactor as NotifyReactor
from hybrid_dns.options import SECRET_BYTES
from hybrid_dns.records import Shared
from hybrid_dns.registry import Registry
from hybrid_dns.slices import Slices
from hybrid_dns.tsigkeys import Seals
from hybrid_dns.zonekeys import ZoneKeys

LOOK_EVERY_S = 1.0


class Reactor(DeskReactor, NotifyReactor, FetchReactor):
    """What this needs of the reactor."""


class NameKeeping:
    """
    See the module.

    Attributes:
        registry: Zones and records, for the API.
        desk: The service that tells and hears name servers.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Reactor,
        settings: Settings,
        shared: Shared,
        view: Callable[[], View],
        seals: Seals,
        wall_s: Callable[[], float],
    ) -> None:
        """`shared`: the cluster's shared map. `seals`: seals secrets in it. `wall_s`: seconds since the epoch."""
        self._keys = Keys(shared, seals, os.urandom)
        self._signing = ZoneKeys(shared, seals)
        self.registry = Registry(shared, view, self._keys, self._signing, wall_s, os.urandom(SECRET_BYTES))
        self._reactor = reactor
        self._slices = Slices(reactor, self._looking)
        self._notifier = Notifier(reactor)
        self._port: IListeningPort | None = None
        self._told: dict[str, tuple[Zones, tuple[str, ...]]] = {}
        self._copying = Copying(reactor, shared, self.registry, lambda: self._keys.opened()[1], wall_s)
        self._authority = Authority(self.registry, self._keys.opened, self._say, self._copying.notified)
        path = f"{settings.run_dir}/dns.sock"
        self.desk = Desk(reactor, path, self.registry.told, self._authority.answer)
        self.registry.changed.append(self.desk.changed)

    def _say(self, text: str) -> None:
        self.log.info("{text}", text=text)

    def heard(self, key: str) -> None:
        """The shared map has a new value of `key`."""
        self._keys.heard(key)
        self._signing.heard(key)
        self.registry.heard(key)

    def look(self) -> None:
        """Each second: the serial, and whom to tell of what changed. The leader does both."""
        self._slices.begin()

    def _looking(self) -> Iterator[None]:
        yield from self.registry.steps()
        self._look()

    def _look(self) -> None:
        if self._signing.is_behind:  # a cluster key came that opens more
            self.desk.changed()
        self.registry.look()
        self._copying.look()
        if not self.registry.is_led_here or not self.registry.is_settled:
            self._told = {}
            return
        zones = self.registry.now
        for zone, secondaries in self.registry.secondaries().items():
            told = self._told.get(zone)
            if not secondaries or zones.is_missing(zone) or (told and told[0] is zones):
                continue
            is_same = told is not None and self._is_same(zone, told[0], zones) and told[1] == secondaries
            self._told[zone] = zones, secondaries
            if not is_same:
                self._notify(zones, zone, secondaries)

    def _is_same(self, zone: str, before: Zones, now: Zones) -> bool:
        """Whether only the serial is another: that is told when the secondary asks next."""
        return self._authority.versions.keep(zone, before) == self._authority.versions.keep(zone, now)

    def _notify(self, zones: Zones, zone: str, secondaries: Sequence[str]) -> None:
        if self._port is None:
            self._port = self._reactor.listenUDP(0, self._notifier, "", 4096)
        for text in secondaries:
            self._notifier.notify(place_of(text), zones.soa(dns.name.from_text(zone)))

    def stop(self) -> Deferred[object]:
        """Tell nobody any more."""
        self._slices.stop()
        self._copying.stop()
        self._notifier.stop()
        port, self._port = self._port, None
        return maybeDeferred(port.stopListening) if port is not None else succeed(None)
