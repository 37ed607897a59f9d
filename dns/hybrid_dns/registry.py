"""
Zones and records on the node's side: what people change is checked, written into the shared map, and spreads. Shell.

It follows the view like the name servers do, so that it knows what they publish.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import dns.rdatatype
import dns.rrset
from twisted.logger import Logger

from hybrid.dns_deeds import Edit, Imported, RecordSeen, ZoneKind, ZoneSeen
from hybrid.errors import BadRecord, Conflict, ManagedRecord, NoSuchZone
from hybrid.view import View
from hybrid_dns import records, zonefile
from hybrid_dns.lookup import Zones
from hybrid_dns.records import Book, RecordSet, ZoneEntry, canonical
from hybrid_dns.rules import Platform, edited
from hybrid_dns.zone import contents, platform_of


class Shared(Protocol):
    """The cluster's shared map. See `hybrid.api.ports.SharedMap`."""

    def put(self, key: str, value: str | None) -> None:
        """Write it; `None` deletes."""

    def prefix(self, prefix: str) -> dict[str, str]:
        """Keys that begin with `prefix`, with their values."""


class Registry:
    """
    See `hybrid.dns_deeds.DnsZones`.

    Args:
        shared: The cluster's shared map.
        view: The newest view.
    """

    log = Logger()

    def __init__(self, shared: Shared, view: Callable[[], View]) -> None:
        self._shared, self._view = shared, view
        self._entries: Mapping[str, str] | None = None
        self._seen: tuple[View, Book, Zones, Platform] | None = None
        self.changed: list[Callable[[], None]] = []
        """Called when people's zones or records are others than before."""

    @property
    def entries(self) -> Mapping[str, str]:
        """What the shared map holds for name servers."""
        if self._entries is None:
            self._entries = self._shared.prefix(records.PREFIX)
        return self._entries

    def heard(self, key: str) -> None:
        """The shared map has a new value of `key`."""
        if key.startswith(records.PREFIX):
            self._entries = self._seen = None
            for tell in self.changed:
                tell()

    def zones(self) -> list[ZoneSeen]:
        """See `DnsZones`."""
        return [self._shown(zone) for zone in sorted(self._now()[2].contents.origins)]

    def zone(self, name: str) -> ZoneSeen:
        """See `DnsZones`."""
        return self._shown(self._known(name))

    def create(self, name: str) -> ZoneSeen:
        """See `DnsZones`."""
        zone = canonical(name)
        if zone is None or "." not in zone or zone.startswith("*"):
            raise BadRecord(f"{name[:80]!r} cannot be a zone", "a name like example.org", "give it in full")
        if zone in self._now()[1].zones or zone in self._view().zones:
            raise Conflict(f"there is a zone {zone}", "", f"hybrid dns record list {zone}")
        self._write({records.encode(ZoneEntry(name=zone))[0]: ZoneEntry(name=zone)})
        return self.zone(zone)

    def remove(self, name: str) -> None:
        """See `DnsZones`."""
        zone, book = self._known(name), self._now()[1]
        if zone in self._view().zones:
            raise ManagedRecord(f"{zone} cannot be removed", "it is the cluster's own zone")
        if zone not in book.zones:
            raise ManagedRecord(
                f"{zone} cannot be removed", "it is there for a site", "remove the domain from the site"
            )
        gone = {one.key: None for sets in book.names(zone).values() for one in sets.values()}
        self._write({**gone, records.ZONE + zone: None})

    def records(self, zone: str) -> list[RecordSeen]:
        """See `DnsZones`."""
        zone = self._known(zone)
        return [_seen(rrset, managed) for rrset, managed in self._rrsets(zone)]

    def edit(self, zone: str, edits: Sequence[Edit]) -> int:
        """See `DnsZones`."""
        zone = self._known(zone)
        _, book, _, platform = self._now()
        changed = edited(book, platform, zone, edits)
        if changed and zone not in book.zones:
            self._write({records.ZONE + zone: ZoneEntry(name=zone)})
        self._write(changed)
        return len(changed)

    def export(self, zone: str) -> str:
        """See `DnsZones`."""
        lines = [rrset.to_text() for rrset, _ in self._rrsets(self._known(zone))]
        return "\n".join(lines) + "\n"

    def load(self, zone: str, text: str) -> Imported:
        """See `DnsZones`."""
        zone = self._known(zone)
        platform = self._now()[3]
        wanted, skipped = [], []
        for edit in zonefile.parsed(zone, text):
            name = edit.name.removesuffix(".")
            if platform.why_not(zone, name, edit.type):
                skipped.append(f"{name} {edit.type}")
            else:
                wanted.append(edit)
        return Imported(sets=self.edit(zone, wanted), skipped=tuple(skipped))

    def _known(self, name: str) -> str:
        zone = canonical(name)
        if zone is None or zone not in self._now()[2].contents.origins:
            raise NoSuchZone(f"there is no zone {name[:255]}", "", "hybrid dns zone list")
        return zone

    def _now(self) -> tuple[View, Book, Zones, Platform]:
        view = self._view()
        if self._seen is None or self._seen[0] is not view:
            book = records.read(self.entries)
            found = contents(view, book)
            self._seen = view, book, Zones(found, 0), platform_of(view, found)
        return self._seen

    def _write(self, changed: Mapping[str, ZoneEntry | RecordSet | None]) -> None:
        for key, entry in changed.items():
            self._shared.put(key, records.encode(entry)[1] if entry is not None else None)
            self.log.info("{key} is {what}", key=key, what="written" if entry is not None else "removed")
        self._entries = self._seen = None

    def _shown(self, zone: str) -> ZoneSeen:
        view, book, zones, _ = self._now()
        kind: ZoneKind = "cluster" if zone in view.zones else "own" if zone in book.zones else "site"
        sets = sum(map(len, book.names(zone).values()))
        servers = zones.contents.servers[zone]
        return ZoneSeen(name=zone, kind=kind, serial=zones.serial, servers=servers, sets=sets)

    def _rrsets(self, zone: str) -> Iterator[tuple[dns.rrset.RRset, bool]]:
        """All that is answered in `zone`, SOA first, and whether it is the platform's."""
        zones, platform = self._now()[2:]
        for rrset in zones.rrsets(zone):
            name, kind = rrset.name.to_text(omit_final_dot=True), dns.rdatatype.to_text(rrset.rdtype)
            yield rrset, bool(platform.why_not(zone, name, kind))


def _seen(rrset: dns.rrset.RRset, managed: bool) -> RecordSeen:
    return RecordSeen(
        name=rrset.name.to_text(omit_final_dot=True),
        type=dns.rdatatype.to_text(rrset.rdtype),
        ttl_s=rrset.ttl,
        records=tuple(rdata.to_text() for rdata in rrset),
        managed=managed,
    )
