"""What all connections of one proxy process share. Shell."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IOpenSSLServerConnectionCreator, IReactorTime

from hybrid.model import SiteId
from hybrid_proxy import brief
from hybrid_proxy.accesslog import Journal, line
from hybrid_proxy.cache import Cache
from hybrid_proxy.deadlines import Deadlines
from hybrid_proxy.door import Door, PublicDoor, SecureDoor, request_ids
from hybrid_proxy.head import RequestHead
from hybrid_proxy.limits import Limits, Sources
from hybrid_proxy.passive import Passive
from hybrid_proxy.policy import Policy
from hybrid_proxy.pool import Connect, Pool
from hybrid_proxy.rates import Rates
from hybrid_proxy.room import Room
from hybrid_proxy.route import Destination, Routes
from hybrid_proxy.showing import Certificates
from hybrid_proxy.traffic import Traffic

if TYPE_CHECKING:
    from hybrid_proxy.front import Front


class House:
    """
    Routes, waiting room, upstream connections, deadlines and counters behind the doors.

    Args:
        clock: For deadlines.
        limits: What is borne.
        connect: Opens connections to sites and other nodes.
        wall_s: Seconds since the epoch, for access logs.
        ask: See `hybrid_proxy.brief`.
    """

    def __init__(
        self,
        clock: IReactorTime,
        limits: Limits,
        connect: Connect,
        wall_s: Callable[[], float] = time.time,
        ask: Callable[[Front, bytes], bool] = brief.ask,
    ) -> None:
        self.limits = limits
        self.routes = Routes()
        self.certificates = Certificates()
        self.deadlines = Deadlines(clock)
        self.policy = Policy(self.routes, self.certificates, self.deadlines)
        self.journal = Journal()
        self.now_s = clock.seconds
        self.ask = ask
        self._wall_s = wall_s
        self.room = Room(clock, limits)
        self.pool = Pool(self.deadlines, limits, connect, self.room.release_one)
        self.sources = Sources(limits)
        self.traffic = Traffic()
        self.cache = Cache(clock.seconds, limits)
        self.rates = Rates()
        """Of what all together ask of a site."""
        self.tls: IOpenSSLServerConnectionCreator | None = None
        """What clients of shared ports are shown; `None`: they are offered no TLS."""
        self.wish: Callable[[SiteId, str], None] = lambda site, moment: None
        """Somebody wants to log in to a past moment of a site, which is not there."""
        self.passive: Passive | None = None
        """Where data connections of FTP come in."""
        self.draining = False
        """No request is taken after the one under way."""
        self._ids: Iterator[bytes] = request_ids(secrets.token_hex(4).encode())

    def in_use(self) -> set[SiteId]:
        """Sites that may sleep and do not now: somebody asked since the last report, waits, or is connected."""
        may = self.routes.may_sleep
        if not may:
            return set()
        return {*self.traffic.sites(), *self.room.awaited(), *self.pool.in_use(), *self.deadlines.sites()} & may

    def public_door(self, source: str, source_port: int) -> PublicDoor:
        """The door a client at `source` came in by."""
        door = PublicDoor(self.policy, source, source_port, self._ids, self.limits.passes)
        door.prepared = self.pool.prepared[False]
        return door

    def secure_door(self, source: str, source_port: int, host: str) -> SecureDoor:
        """The door a client at `source` came in by that asked by TLS for `host`."""
        door = SecureDoor(self.policy, source, source_port, self._ids, self.limits.passes, host)
        door.prepared = self.pool.prepared[True]
        return door

    def prepare(self, door: Door, head: RequestHead, destination: Destination | None) -> None:
        """See `hybrid_proxy.brief`."""
        if isinstance(door, PublicDoor):
            brief.prepare(self, door, head, destination)

    def log(
        self, form: str, site: SiteId, head: RequestHead, came_from: bytes, status: int, sent: int, seconds: float
    ) -> None:
        """See `hybrid_proxy.accesslog.line`."""
        self.journal.add(site, line(form, self._wall_s(), head, came_from, status, sent, seconds))

    def follow_secrets(self, secrets: Mapping[str, str]) -> None:
        """Certificates to show and challenges to answer, all there are."""
        self.certificates.follow(secrets)
        self.policy.follow(secrets)
        self.pool.forget_prepared()
