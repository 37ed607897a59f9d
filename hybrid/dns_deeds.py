"""What people do with DNS zones and records, and what they see. Pure declarations; see `hybrid_dns.registry`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import msgspec
from msgspec import UNSET, UnsetType

May = Literal["update", "transfer", "both"]
ZoneKind = Literal["cluster", "own", "site", "copy", "catalog"]
"""
`cluster`: named in the cluster's settings. `own`: somebody made it. `site`: a site has the domain. `copy`: its primary
is elsewhere. `catalog`: it lists others.
"""


class Edit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One change of one RRset."""

    name: str
    """Full, relative to the zone, or `@` for the zone itself."""
    type: str
    ttl_s: int | None = None
    """`None`: as it is, or five minutes."""
    records: tuple[str, ...] = ()
    """As in zone files; names in them are absolute."""
    do: Literal["replace", "add", "remove"] = "replace"
    """`replace` with no records removes the RRset; `add` and `remove` are about single records of it."""


class ZoneSeen(msgspec.Struct, frozen=True, kw_only=True):
    """A zone."""

    name: str
    kind: ZoneKind
    serial: int
    servers: tuple[str, ...]
    """Its live name servers, best first."""
    sets: int
    """RRsets that people keep there."""
    secondaries: tuple[str, ...] = ()
    """Addresses of others' name servers that copy the zone and are told of changes."""
    ds: tuple[str, ...] = ()
    """The DS record that the parent zone is to have; empty where this one is not signed."""
    primaries: tuple[str, ...] = ()
    """Addresses of others' name servers that this is a copy of."""
    key: str = ""
    """With which those are asked."""
    heard_s: float | None = None
    """Of a copy: seconds since the epoch when a primary last said that it is right."""
    trouble: str = ""
    """Of a copy: why it could not be renewed since."""


class ZoneChanges(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change of a zone; what is left out stays."""

    secondaries: tuple[str, ...] | UnsetType = UNSET
    """`address` or `address:port`."""
    servers: tuple[str, ...] | UnsetType = UNSET
    """Names that are told as name servers besides the cluster's."""
    primaries: tuple[str, ...] | UnsetType = UNSET
    """`address` or `address:port` of others' name servers that this zone is to be copied from; none: from nobody."""
    key: str | UnsetType = UNSET
    """With which those are asked (TSIG)."""
    catalog: bool | UnsetType = UNSET
    """It lists the zones that people made, and the cluster's own (RFC 9432)."""
    dnssec: Literal["on", "off", "roll", "finish"] | UnsetType = UNSET
    """`on`, `off`: sign the zone or do not. `roll`: sign with a new key too. `finish`: with the new one alone."""


class RecordSeen(msgspec.Struct, frozen=True, kw_only=True):
    """An RRset as it is answered."""

    name: str
    type: str
    ttl_s: int
    records: tuple[str, ...]
    managed: bool = False
    """The platform keeps it; it cannot be edited."""


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a zone file."""

    sets: int
    skipped: tuple[str, ...]
    """`name TYPE` of what the platform keeps itself."""


class NewKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key with which a program signs updates and transfers (TSIG)."""

    name: str
    """A domain name."""
    algorithm: str = "hmac-sha256"
    may: May = "both"
    zones: tuple[str, ...] = ()
    """In which zones, and those below; empty: in all."""
    sources: tuple[str, ...] = ()
    """From which networks; empty: from anywhere."""
    secret: str = ""
    """Base64; empty: a new one."""


class KeySeen(msgspec.Struct, frozen=True, kw_only=True):
    """A key, without its secret."""

    name: str
    algorithm: str
    may: May
    zones: tuple[str, ...]
    sources: tuple[str, ...]


class DnsKeys(Protocol):
    """Keys for updates and transfers."""

    def all(self) -> list[KeySeen]:
        """By name."""

    def add(self, new: NewKey) -> tuple[KeySeen, str]:
        """Make one; returns it and its secret in base64. Raises `BadRequest`, `Conflict`."""

    def remove(self, name: str) -> None:
        """It is good for nothing any more. Raises `NoSuchKey`."""


class DnsZones(Protocol):
    """
    Zones and records, as this node knows them; changes spread to all nodes.

    Attributes:
        keys: For updates and transfers.
    """

    keys: DnsKeys

    def zones(self) -> list[ZoneSeen]:
        """All, by name."""

    def zone(self, name: str) -> ZoneSeen:
        """One. Raises `NoSuchZone`."""

    def create(self, name: str) -> ZoneSeen:
        """Make one. Raises `Conflict` where there is one, `BadRecord` for what cannot be a zone."""

    def change(self, name: str, changes: ZoneChanges) -> ZoneSeen:
        """Change one. Raises `NoSuchZone`, `BadRecord`, `Conflict`."""

    def remove(self, name: str) -> None:
        """Remove one with what people keep in it. Raises `NoSuchZone`, `ManagedRecord`."""

    def records(self, zone: str) -> list[RecordSeen]:
        """All of a zone, its top first, then by name. Raises `NoSuchZone`."""

    def edit(self, zone: str, edits: Sequence[Edit]) -> int:
        """Do all of `edits` or none; how many RRsets changed. Raises `NoSuchZone`, `ManagedRecord`, `BadRecord`."""

    def export(self, zone: str) -> str:
        """A zone file. Raises `NoSuchZone`."""

    def load(self, zone: str, text: str) -> Imported:
        """Take the RRsets of a zone file, in place of those of the same name and type. Raises like `edit`."""
