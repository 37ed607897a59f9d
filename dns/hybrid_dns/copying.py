"""
Keeping copies of zones whose primary is somebody else's: one node asks it, all have what it says. Shell.

The leader asks (see `hybrid_dns.serials`); when it dies the next one goes on from what stands in the shared map. Any
node may be told by a primary that there is something new (NOTIFY, RFC 1996), and tells the leader through that map.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import dns.name
import dns.rcode
import dns.tsig
import dns.zone
import msgspec
from dns.rcode import Rcode
from twisted.internet.defer import Deferred
from twisted.internet.task import Cooperator
from twisted.logger import Logger

from hybrid_dns import copies, fetching
from hybrid_dns.copies import CHECKED, NOTIFIED, Checked, Copy, Tries, Unfit
from hybrid_dns.fetching import Reactor
from hybrid_dns.notify import place_of
from hybrid_dns.records import COPY, Shared, ZoneEntry

AT_ONCE = 4
"""Zones that are asked for at a time."""
TELL_EVERY_S = 2.0
"""A forged NOTIFY costs the shared map no more than this, for a zone."""
Ring = Mapping[dns.name.Name, dns.tsig.Key]


class Registry(Protocol):
    """What it needs of `hybrid_dns.registry.Registry`."""

    @property
    def is_led_here(self) -> bool:
        """Whether this node asks."""

    def copied(self) -> Mapping[str, ZoneEntry]:
        """Zones that have a primary elsewhere."""

    def copy(self, zone: str) -> Copy | None:
        """What there is of one, too old or not."""


class Copying:
    """
    See the module.

    Args:
        reactor: With TCP and time.
        shared: The cluster's shared map.
        registry: The zones.
        ring: Keys that this node can open.
        wall_s: Seconds since the epoch.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Reactor,
        shared: Shared,
        registry: Registry,
        ring: Callable[[], Ring],
        wall_s: Callable[[], float],
    ) -> None:
        self._reactor, self._shared, self._registry, self._ring, self._wall_s = reactor, shared, registry, ring, wall_s
        self._cooperator = Cooperator(scheduler=lambda call: reactor.callLater(0, call))
        self._tries: dict[str, Tries] = {}
        self._at_hand: dict[str, dns.zone.Zone] = {}
        self._running: dict[str, Deferred[None]] = {}
        self._is_stopped = False
        self._to_tell: set[str] = set()
        self._told_s: dict[str, float] = {}

    def look(self) -> None:
        """Each second: ask for what is due; tell the leader what primaries told us."""
        zones = self._registry.copied()
        for zone in [zone for zone in self._to_tell if zone in zones]:
            self._tell(zone)
        if not self._registry.is_led_here:
            self._tries, self._at_hand = {}, {}
            return
        for zone, entry in zones.items():
            if zone not in self._running and len(self._running) < AT_ONCE and self._is_due(zone):
                self._begin(zone, entry)

    def notified(self, zone: str, source: str, signer: str) -> Rcode:
        """A NOTIFY of `zone` came from `source`, signed by key `signer` (`""`: unsigned)."""
        entry = self._registry.copied().get(zone)
        if entry is None:
            return dns.rcode.NOTAUTH
        is_known = source in {place_of(text)[0] for text in entry.primaries}
        if not (signer == entry.key if signer and entry.key else is_known):
            return dns.rcode.REFUSED
        self._to_tell.add(zone)
        self._tell(zone)
        return dns.rcode.NOERROR

    def _tell(self, zone: str) -> None:
        now_s = self._reactor.seconds()
        if now_s - self._told_s.get(zone, -TELL_EVERY_S) >= TELL_EVERY_S:
            self._told_s[zone] = now_s
            self._to_tell.discard(zone)
            self._shared.put(NOTIFIED + zone, repr(self._wall_s()))

    def _is_due(self, zone: str) -> bool:
        known, tries = self._known(zone), self._tries.get(zone, Tries())
        return copies.due_s(self._registry.copy(zone), known, self._notified(zone), tries) <= self._wall_s()

    def _known(self, zone: str) -> Checked:
        return copies.checked(self._shared.get(CHECKED + zone))

    def _notified(self, zone: str) -> str:
        return self._shared.get(NOTIFIED + zone) or ""

    def _begin(self, zone: str, entry: ZoneEntry) -> None:
        def ended(failure: object) -> None:
            del self._running[zone]

        self._running[zone] = Deferred.fromCoroutine(self._ask(zone, entry))
        self._running[zone].addBoth(ended)

    async def _ask(self, zone: str, entry: ZoneEntry) -> None:
        """Ask the primaries in turn until one answers."""
        notified, troubles = self._notified(zone), []
        for text in entry.primaries:
            try:
                await self._take(zone, entry, text)
            except Exception as error:
                if self._is_stopped:
                    return
                self._at_hand.pop(zone, None)
                said = str(error) or type(error).__name__
                troubles.append(f"{text}: {said[:200]}")
                self.log.info("{zone} cannot be copied from {primary}: {said}", zone=zone, primary=text, said=said)
                continue
            self._tries.pop(zone, None)
            self._check(zone, Checked(self._wall_s(), notified))
            return
        failures = self._tries.get(zone, Tries()).failures + 1
        self._tries[zone] = Tries(self._wall_s(), failures, notified)
        known = self._known(zone)
        if known.trouble != "; ".join(troubles):
            self._check(zone, msgspec.structs.replace(known, trouble="; ".join(troubles)))

    async def _take(self, zone: str, entry: ZoneEntry, primary: str) -> None:
        key = self._ring().get(dns.name.from_text(entry.key)) if entry.key else None
        if entry.key and key is None:
            raise Unfit(f"there is no key {entry.key} here, or not yet")
        copy = self._registry.copy(zone)
        serial = copy.serial if copy is not None else None
        known = self._at_hand.get(zone) if copy is not None else None
        found = await fetching.fetch(self._reactor, place_of(primary), zone, serial, known, key)
        if found is None:
            return
        value = await self._packed(found)
        if self._registry.copied().get(zone) != entry:
            raise Unfit("it was changed meanwhile")
        self._at_hand[zone] = found
        self._shared.put(COPY + zone, value)
        self.log.info("{zone} copied from {primary}", zone=zone, primary=primary)

    async def _packed(self, zone: dns.zone.Zone) -> str:
        values: list[str] = []

        def work() -> copies.Steps:
            values.append((yield from copies.packed(zone)))

        await self._cooperator.coiterate(work())
        return values[0]

    def _check(self, zone: str, checked: Checked) -> None:
        if zone in self._registry.copied():
            self._shared.put(CHECKED + zone, msgspec.json.encode(checked).decode())

    def stop(self) -> None:
        """Ask nobody any more."""
        self._is_stopped = True
        for running in list(self._running.values()):
            running.cancel()
        self._cooperator.stop()
