"""Certificates as they lie in the shared map, under `cert/<name>`, and as the front doors get them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from hybrid.certs.names import covers
from hybrid.certs.vault import Sealed
from hybrid.model import SiteId

KEY = "cert/"
Source = Literal["uploaded", "issued"]
Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
"""What clients take."""


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A certificate with its sealed key."""

    name: str
    """The first of its names: what people call it by."""
    names: tuple[str, ...]
    chain: str
    key: Sealed
    not_before_s: int
    not_after_s: int
    issuer: str
    source: Source
    site: SiteId | None = None
    """Shown for the domains of this site only; `None`: of any."""
    by: str = ""
    at_s: int = 0


class Shown(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a front door needs of it."""

    names: tuple[str, ...]
    chain: str
    key: str
    not_after_s: int
    source: Source
    site: SiteId | None = None

    def __repr__(self) -> str:
        return f"<Shown {' '.join(self.names)}>"


def encode(record: Record) -> tuple[str, str]:
    """Key and value for the shared map."""
    return KEY + record.name, msgspec.json.encode(record).decode()


def decode(entries: Mapping[str, str]) -> dict[str, Record]:
    """By name; what cannot be read is left out."""
    found = {}
    for place, value in entries.items():
        try:
            record = msgspec.json.decode(value, type=Record)
        except msgspec.MsgspecError:
            continue
        if place == KEY + record.name:
            found[record.name] = record
    return found


def best(host: str, site: SiteId | None, known: Iterable[Shown]) -> Shown | None:
    """
    The certificate to show for `host`, a domain of `site`; `None`: there is none, and no other's is taken instead.

    One that names the host itself before a wildcard, an uploaded one before an issued one, then the one that ends last.
    """
    fit = [one for one in known if one.site in (None, site) and any(covers(name, host) for name in one.names)]
    return max(fit, key=lambda one: (host in one.names, one.source == "uploaded", one.not_after_s), default=None)
