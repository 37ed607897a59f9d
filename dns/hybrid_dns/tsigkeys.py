"""
Keys with which programs sign updates and transfers (TSIG, RFC 8945). Pure.

They lie in the shared map under `tsig/<name>`, their secrets sealed.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Literal, Protocol

import dns.name
import dns.tsig
import msgspec

from hybrid.certs.vault import Sealed
from hybrid.dns_deeds import May
from hybrid.errors import BadRequest
from hybrid_dns.records import canonical, is_within

KEY = "tsig/"
SECRET_BYTES = 32
ALGORITHMS = ("hmac-sha256", "hmac-sha384", "hmac-sha512")


class Seals(Protocol):
    """Seals and opens secrets. See `hybrid.certs.service.Certificates`."""

    def seal(self, secret: bytes, about: str) -> Sealed:
        """Seal it for all nodes of the cluster."""

    def open(self, sealed: Sealed, about: str) -> bytes | None:
        """What was sealed; `None` while this node cannot open it."""


class KeyRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One key."""

    name: str
    algorithm: str
    secret: Sealed
    may: May = "both"
    zones: tuple[str, ...] = ()
    """In which zones, and those below; empty: in all."""
    sources: tuple[str, ...] = ()
    """From which networks; empty: from anywhere."""

    def allows(self, what: Literal["update", "transfer"], zone: str, source: str) -> bool:
        """Whether it is good for that."""
        address = ipaddress.ip_address(source)
        return (
            self.may in (what, "both")
            and (not self.zones or any(is_within(zone, one) for one in self.zones))
            and (not self.sources or any(address in ipaddress.ip_network(one) for one in self.sources))
        )


def checked(name: str, algorithm: str, may: May, zones: Iterable[str], sources: Iterable[str]) -> KeyRecord:
    """A record without its secret. Raises `BadRequest`."""
    known = canonical(name)
    if known is None or "*" in known:
        raise BadRequest(f"{name[:80]!r} cannot be the name of a key", "it is a domain name", "lego.example.org")
    if algorithm not in ALGORITHMS:
        raise BadRequest(f"{algorithm[:40]!r} is no algorithm for keys here", "", ", ".join(ALGORITHMS))
    wanted = [(zone, canonical(zone)) for zone in zones]
    if bad := [zone for zone, found in wanted if found is None]:
        raise BadRequest(f"{bad[0][:80]!r} cannot be a zone")
    try:
        networks = tuple(str(ipaddress.ip_network(source, strict=False)) for source in sources)
    except ValueError as error:
        raise BadRequest("that is no network", str(error)[:200], "192.0.2.0/24") from error
    names = tuple(found for _, found in wanted if found is not None)
    sealed = Sealed("", b"")
    return KeyRecord(name=known, algorithm=algorithm, secret=sealed, may=may, zones=names, sources=networks)


def encode(record: KeyRecord) -> tuple[str, str]:
    """Key and value for the shared map."""
    return KEY + record.name, msgspec.json.encode(record).decode()


def decode(entries: Mapping[str, str]) -> dict[str, KeyRecord]:
    """By name; what cannot be read is left out."""
    found = {}
    for key, value in entries.items():
        try:
            record = msgspec.json.decode(value, type=KeyRecord)
        except msgspec.MsgspecError:
            continue
        if key == KEY + record.name:
            found[record.name] = record
    return found


def keyring(records: Mapping[str, KeyRecord], seals: Seals) -> dict[dns.name.Name, dns.tsig.Key]:
    """Those that this node can open, as dnspython wants them."""
    found = {}
    for record in records.values():
        secret = seals.open(record.secret, KEY + record.name)
        if secret is not None:
            name = dns.name.from_text(record.name)
            found[name] = dns.tsig.Key(name, secret, f"{record.algorithm}.")
    return found
