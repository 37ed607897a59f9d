"""All that people keep here of zones, as the shared map has it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hybrid_dns import copies
from hybrid_dns.copies import Copy
from hybrid_dns.records import COPY, SET, ZONE, RecordSet, Sets, ZoneEntry, decoded


@dataclass(frozen=True, slots=True)
class Book:
    """All that people keep here."""

    zones: dict[str, ZoneEntry] = field(default_factory=dict)
    sets: dict[str, Sets] = field(default_factory=dict)
    """By zone; only of `zones` that are kept here."""
    copies: dict[str, Copy | None] = field(default_factory=dict)
    """Those of `zones` whose primary is elsewhere; `None` where there is nothing of it, or nothing that still holds."""

    def names(self, zone: str) -> Sets:
        """The RRsets of a zone."""
        return self.sets.get(zone, {})


def read(entries: Mapping[str, str]) -> Book:
    """What the shared map holds; what cannot be read, and records of no zone, are left out."""
    zones = {zone.name: zone for zone in decoded(entries, ZONE, ZoneEntry) if ZONE + zone.name in entries}
    copied = {name: copies.read(name, entries.get(COPY + name, "")) for name, zone in zones.items() if zone.primaries}
    sets: dict[str, Sets] = {}
    for one in decoded(entries, SET, RecordSet):
        if one.zone in zones and one.zone not in copied and entries.get(one.key) is not None:
            sets.setdefault(one.zone, {}).setdefault(one.name, {})[one.type] = one
    return Book(zones, sets, copied)
