"""
Zones and records on the node's side: what people change is checked, written into the shared map, and spreads. Shell.

It follows the view like the name servers do, so that it knows what they publish, and keeps the serial of that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import dns.rdatatype
import dns.rrset
import msgspec
from msgspec import UNSET
from twisted.logger import Logger

from hybrid.dns_deeds import DnsKeys, Edit, Imported, RecordSeen, ZoneChanges, ZoneKind, ZoneSeen
from hybrid.errors import BadRecord, Conflict, ManagedRecord, NoSuchZone
from hybrid.view import View
from hybrid_dns import copies, options, records, serials, zonefile, zonekeys
from hybrid_dns.book import Book
from hybrid_dns.book import read as read_book
from hybrid_dns.copies import Copy
from hybrid_dns.lookup import Zones
from hybrid_dns.publish import Publisher
from hybrid_dns.records import RecordSet, Sets, Shared, ZoneEntry, canonical
from hybrid_dns.rules import Platform, edited, zone_checked
from hybrid_dns.zone import Contents, platform_of
from hybrid_dns.zonekeys import ZoneKeys


class Registry:
    """
    See `hybrid.dns_deeds.DnsZones`.

    Args:
        shared: The cluster's shared map.
        view: The newest view.
        keys: For updates and transfers.
        signing: Keys of signed zones.
        wall_s: Seconds since the epoch.
        cookie_secret: For all name servers of this node, which share a port.
    """

    log = Logger()

    def __init__(
        self,
        shared: Shared,
        view: Callable[[], View],
        keys: DnsKeys,
        signing: ZoneKeys,
        wall_s: Callable[[], float],
        cookie_secret: bytes = bytes(options.SECRET_BYTES),
    ) -> None:
        self.keys = keys
        self._shared, self._view, self._wall_s = shared, view, wall_s
        self.signing = signing
        self.cookie_secret = cookie_secret
        self._entries: Mapping[str, str] | None = None
        self._old: set[str] = set()
        self._book: Book | None = None
        self._publisher = Publisher()
        self._zones = Zones(self._publisher.contents, 0)
        self._catching_up: Iterator[None] | None = None
        self._served = 0
        self._digested: tuple[Contents, str] | None = None
        self.changed: list[Callable[[], None]] = []
        """Called when people's zones or records are others than before."""

    @property
    def entries(self) -> Mapping[str, str]:
        """What the shared map holds for name servers."""
        if self._entries is None:
            found = self._shared.prefix(records.PREFIX)
            self._old = copies.expired(found, self._shared.prefix(copies.CHECKED), self._wall_s())
            self._entries = {key: value for key, value in found.items() if key not in self._old}
        return self._entries

    def heard(self, key: str) -> None:
        """The shared map has a new value of `key`."""
        if key.startswith(records.PREFIX):
            self._entries = None
            if key != serials.KEY:
                self._book = None
            self._tell()
        elif key.startswith(copies.CHECKED):
            self._look_at_copies()
        elif key.startswith(zonekeys.KEY):
            self._tell()

    def _tell(self) -> None:
        for tell in self.changed:
            tell()

    def told(self) -> Mapping[str, str]:
        """What name servers are to know."""
        return {**self.entries, **self.signing.told(), options.TOLD: self.cookie_secret.hex()}

    def steps(self) -> Iterator[None]:
        """Catch up with the view, in small steps; `now` does what is left of them at once."""
        if self._catching_up is None:
            self._catching_up = self._publisher.steps(self._view(), self.book)
        for _ in self._catching_up:
            yield
        self._catching_up = None

    def look(self) -> None:
        """Drop copies that became too old. Where this node leads, write a serial when the contents are others."""
        view = self._view()
        if self.book.copies:
            self._look_at_copies()
        if serials.leads(view) and self.now.contents.origins:
            entry = serials.read(self.entries.get(serials.KEY))
            new = serials.next_entry(entry, self._served, self._digest(), self._wall_s())
            if new is not None:
                self._shared.put(serials.KEY, new)

    def _look_at_copies(self) -> None:
        """See which of them may not be answered from any more, or again."""
        found = self._shared.prefix(records.COPY)
        if copies.expired(found, self._shared.prefix(copies.CHECKED), self._wall_s()) != self._old:
            self._entries = self._book = None
            self._tell()

    @property
    def now(self) -> Zones:
        """What is answered now."""
        for _ in self._catching_up or ():
            pass
        self._catching_up = None
        found = self._publisher.follow(self._view(), self.book)
        self._served = max(self._served, serials.read(self.entries.get(serials.KEY)).serial)
        if found is not self._zones.contents or self._served != self._zones.serial:
            self._zones = Zones(found, self._served)
        return self._zones

    @property
    def is_led_here(self) -> bool:
        """Whether this node does what one node is to do."""
        return serials.leads(self._view())

    @property
    def is_settled(self) -> bool:
        """Whether the serial stands for just what is answered now: only then others may copy it."""
        serial = self.now.serial
        entry = serials.read(self.entries.get(serials.KEY))
        return entry.serial == serial > 0 and entry.digest == self._digest()

    def _digest(self) -> str:
        contents = self.now.contents
        if self._digested is None or self._digested[0] is not contents:
            self._digested = contents, serials.digest(contents)
        return self._digested[1]

    @property
    def book(self) -> Book:
        """What people keep."""
        if self._book is None:
            self._book = read_book(self.entries)
        return self._book

    def signed(self) -> set[str]:
        """Zones that are signed."""
        return self.signing.zones()

    def copied(self) -> Mapping[str, ZoneEntry]:
        """Zones whose primary is elsewhere."""
        return {zone: self.book.zones[zone] for zone in self.book.copies}

    def copy(self, zone: str) -> Copy | None:
        """What there is of one, too old or not."""
        return copies.read(zone, self._shared.get(records.COPY + zone) or "")

    def secondaries(self) -> Mapping[str, tuple[str, ...]]:
        """Who copies which zone: its own, and those of the catalogs that list it."""
        contents, zones = self.now.contents, self.book.zones
        readers = [text for zone in sorted(contents.catalogs) for text in zones[zone].secondaries]
        found = {zone: entry.secondaries for zone, entry in zones.items() if zone in contents.servers}
        others = contents.catalogs | contents.copied.keys()
        for zone in contents.origins if readers else ():
            if zone not in others and (zone in zones or zone in self._view().zones):
                found[zone] = tuple(dict.fromkeys((*found.get(zone, ()), *readers)))
        return found

    def kept(self, zone: str) -> Sets:
        """People's own records in a zone."""
        return self.book.names(zone)

    def platform(self) -> Platform:
        """What of it is not theirs."""
        return platform_of(self._view(), self.now.contents)

    def zones(self) -> list[ZoneSeen]:
        """See `DnsZones`."""
        return [self._shown(zone) for zone in sorted(self.now.contents.origins)]

    def zone(self, name: str) -> ZoneSeen:
        """See `DnsZones`."""
        return self._shown(self._known(name))

    def create(self, name: str) -> ZoneSeen:
        """See `DnsZones`."""
        zone = canonical(name)
        if zone is None or "." not in zone or zone.startswith("*"):
            raise BadRecord(f"{name[:80]!r} cannot be a zone", "a name like example.org", "give it in full")
        if zone in self.book.zones or zone in self._view().zones:
            raise Conflict(f"there is a zone {zone}", "", f"hybrid dns record list {zone}")
        self._write({records.encode(ZoneEntry(name=zone))[0]: ZoneEntry(name=zone)})
        return self.zone(zone)

    def change(self, name: str, changes: ZoneChanges) -> ZoneSeen:
        """See `DnsZones`."""
        zone = self._known(name)
        entry = self.book.zones.get(zone, ZoneEntry(name=zone))
        wanted = {key: value for key, value in msgspec.structs.asdict(changes).items() if value is not UNSET}
        wanted.pop("dnssec", None)
        new = zone_checked(msgspec.structs.replace(entry, **wanted))
        self._check_kind(zone, new, changes)
        self._write({records.ZONE + zone: new})
        if (new.primaries, new.key) != (entry.primaries, entry.key):
            self._forget_copy(zone)
        if changes.dnssec is not UNSET:
            self.signing.change(zone, changes.dnssec)
            self._tell()
        return self.zone(zone)

    def _check_kind(self, zone: str, new: ZoneEntry, changes: ZoneChanges) -> None:
        """A copy or a catalog has nothing of its own. Raises `Conflict`, `ManagedRecord`."""
        if not new.primaries and not new.catalog:
            return
        what = "a copy of its primary's" if new.primaries else "a catalog"
        if zone in self._view().zones:
            raise ManagedRecord(f"{zone} cannot be {what}", "it is the cluster's own zone")
        if self.book.names(zone):
            raise Conflict(f"{zone} cannot be {what}", "it has records of its own", "remove these first")
        if zone in self.signing.zones() or changes.dnssec == "on":
            raise Conflict(f"{zone} cannot be {what}", "it is signed here", f"hybrid dns zone set {zone} --dnssec off")

    def _forget_copy(self, zone: str) -> None:
        """What was copied of a zone is of no use any more."""
        for key in (records.COPY, copies.CHECKED, copies.NOTIFIED):
            if self._shared.get(key + zone) is not None:
                self._shared.put(key + zone, None)
        self._entries = self._book = None

    def remove(self, name: str) -> None:
        """See `DnsZones`."""
        zone, book = self._known(name), self.book
        if zone in self._view().zones:
            raise ManagedRecord(f"{zone} cannot be removed", "it is the cluster's own zone")
        if zone not in book.zones:
            raise ManagedRecord(
                f"{zone} cannot be removed", "it is there for a site", "remove the domain from the site"
            )
        if zone in self.signing.zones():
            self.signing.change(zone, "off")
        gone = {one.key: None for sets in book.names(zone).values() for one in sets.values()}
        self._write({**gone, records.ZONE + zone: None})
        self._forget_copy(zone)

    def records(self, zone: str) -> list[RecordSeen]:
        """See `DnsZones`."""
        zone = self._known(zone)
        return [_seen(rrset, managed) for rrset, managed in self._rrsets(zone)]

    def edit(self, zone: str, edits: Sequence[Edit]) -> int:
        """See `DnsZones`."""
        zone = self._known(zone)
        changed = edited(self.book, self.platform(), zone, edits)
        if changed and zone not in self.book.zones:
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
        platform = self.platform()
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
        if zone is None or zone not in self.now.contents.origins:
            raise NoSuchZone(f"there is no zone {name[:255]}", "", "hybrid dns zone list")
        return zone

    def _write(self, changed: Mapping[str, ZoneEntry | RecordSet | None]) -> None:
        for key, entry in changed.items():
            self._shared.put(key, records.encode(entry)[1] if entry is not None else None)
            self.log.info("{key} is {what}", key=key, what="written" if entry is not None else "removed")
        self._entries = self._book = None

    def _shown(self, zone: str) -> ZoneSeen:
        book, zones = self.book, self.now
        entry = book.zones.get(zone, ZoneEntry(name=zone))
        known = copies.checked(self._shared.get(copies.CHECKED + zone)) if zone in book.copies else None
        return ZoneSeen(
            name=zone,
            kind=self._kind(zone),
            serial=zones.serial_of(zone),
            servers=zones.contents.servers[zone],
            sets=sum(map(len, book.names(zone).values())),
            secondaries=entry.secondaries,
            ds=self.signing.ds(zone),
            primaries=entry.primaries,
            key=entry.key,
            heard_s=known.at_s or None if known is not None else None,
            trouble=known.trouble if known is not None else "",
        )

    def _kind(self, zone: str) -> ZoneKind:
        contents = self.now.contents
        if zone in self._view().zones:
            return "cluster"
        if zone in contents.copied:
            return "copy"
        if zone in contents.catalogs:
            return "catalog"
        return "own" if zone in self.book.zones else "site"

    def _rrsets(self, zone: str) -> Iterator[tuple[dns.rrset.RRset, bool]]:
        """All that is answered in `zone`, SOA first, and whether it is the platform's."""
        zones, platform = self.now, self.platform()
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
