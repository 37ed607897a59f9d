"""
Zones and records that people keep here: values of the cluster's shared map, later writes win. Pure.

`dns/zone/<zone>` is a zone, `dns/set/<zone>/<name>/<TYPE>` one RRset of it. Names are lower case without a final dot.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol, TypeVar

import dns.exception
import dns.name
import msgspec

T = TypeVar("T", bound=msgspec.Struct)

PREFIX = "dns/"
ZONE = "dns/zone/"
SET = "dns/set/"
COPY = "dns/copy/"
"""Zones whose primary is elsewhere (`hybrid_dns.copies`)."""
DEFAULT_TTL_S = 300


class Shared(Protocol):
    """The cluster's shared map. See `hybrid.api.ports.SharedMap`."""

    def get(self, key: str) -> str | None:
        """The value of `key`."""

    def put(self, key: str, value: str | None) -> None:
        """Write it; `None` deletes."""

    def prefix(self, prefix: str) -> dict[str, str]:
        """Keys that begin with `prefix`, with their values."""


class ZoneEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A zone that somebody made, or that has records of its own."""

    name: str
    secondaries: tuple[str, ...] = ()
    """`address` or `address:port` of those that copy the zone and are told of changes."""
    servers: tuple[str, ...] = ()
    """Names of name servers to be named besides the cluster's: those secondaries."""
    primaries: tuple[str, ...] = ()
    """`address` or `address:port` of others' name servers; where there are any, the zone is a copy of theirs."""
    key: str = ""
    """With which those are asked (TSIG)."""
    catalog: bool = False
    """It lists other zones (RFC 9432)."""


class RecordSet(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An RRset; `records` in the text form of zone files, names in them absolute."""

    zone: str
    name: str
    type: str
    ttl_s: int = DEFAULT_TTL_S
    records: tuple[str, ...]

    @property
    def key(self) -> str:
        """In the shared map."""
        return set_key(self.zone, self.name, self.type)


def set_key(zone: str, name: str, kind: str) -> str:
    """Where an RRset stands in the shared map."""
    return f"{SET}{zone}/{name}/{kind}"


Sets = dict[str, dict[str, RecordSet]]
"""Name to type to RRset."""


def decoded(entries: Mapping[str, str], prefix: str, kind: type[T]) -> Iterator[T]:
    """Values of `kind` under keys that begin with `prefix`; what cannot be read is left out."""
    decode = msgspec.json.Decoder(kind).decode
    for key, value in entries.items():
        if key.startswith(prefix):
            try:
                yield decode(value)
            except msgspec.MsgspecError:
                continue


def encode(entry: ZoneEntry | RecordSet) -> tuple[str, str]:
    """Key and value for the shared map."""
    key = entry.key if isinstance(entry, RecordSet) else ZONE + entry.name
    return key, msgspec.json.encode(entry).decode()


def canonical(name: str) -> str | None:
    """`name` in lower case without a final dot; `None` where it cannot be a name we serve (escapes are not taken)."""
    try:
        text = dns.name.from_text(name).canonicalize().to_text(omit_final_dot=True)
    except (dns.exception.DNSException, UnicodeError):
        return None
    return None if "\\" in text or text in ("", ".", "@") or any(c in text for c in ' "') else text


def with_parents(name: str) -> Iterable[str]:
    """`a.b.c`, `b.c`, `c`."""
    while name:
        yield name
        name = name.partition(".")[2]


def is_within(name: str, zone: str) -> bool:
    """Whether `name` is `zone` or below it."""
    return name == zone or name.endswith("." + zone)
