"""What the API takes and tells of certificates, and of how a site's HTTP is served. Pure."""

from __future__ import annotations

from typing import Annotated, Protocol

import msgspec
from msgspec import UNSET, Meta, UnsetType

from hybrid.api.moments import rfc3339
from hybrid.api.schema import Body
from hybrid.certs.bundle import MAX_PEM
from hybrid.certs.records import Record
from hybrid.model import SiteId

YEAR_S = 366 * 86400


class CertificateDeeds(Protocol):
    """See `hybrid.certs.service.Certificates`."""

    def all(self) -> list[Record]:
        """Those known, by name."""

    def find(self, name: str) -> Record:
        """One. Raises `NoSuchCertificate`."""

    def sites_of(self, record: Record) -> list[str]:
        """Names of the sites it is shown for, sorted."""

    def upload(self, chain: str, key: str, site: SiteId | None, by: str) -> Record:
        """Take one. Raises `BadRequest`."""

    def remove(self, name: str) -> None:
        """Show it no more. Raises `NoSuchCertificate`."""


class NewCertificate(Body, frozen=True):
    """A certificate that somebody has, with its key."""

    chain: Annotated[str, Meta(max_length=MAX_PEM, description="PEM: the site's certificate and its issuers.")]
    key: Annotated[str, Meta(max_length=MAX_PEM, description="PEM: the private key, not encrypted.")]
    site: Annotated[str, Meta(max_length=80, description="Show it for this site's domains only.")] | None = None


class CertificateAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate, without its key."""

    name: str
    names: tuple[str, ...]
    sites: tuple[str, ...]
    """Those it is shown for."""
    not_before: str
    not_after: str
    left_s: int
    """Until it ends; negative: it has."""
    issuer: str
    source: str
    added_at: str
    by: str


class HttpAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """How the front doors serve a site's HTTP."""

    redirect: bool
    """Who asks without TLS is sent to `https://`, for names with a certificate."""
    hsts_s: int
    """For so long browsers shall ask by HTTPS only; 0: not said."""


class HttpChanges(Body, frozen=True):
    """What to change of that; what is left out stays."""

    redirect: bool | UnsetType = UNSET
    hsts_s: Annotated[int, Meta(ge=0, le=2 * YEAR_S)] | UnsetType = UNSET


def shown(record: Record, sites: list[str], now_s: float) -> CertificateAnswer:
    """One certificate at `now_s`."""
    return CertificateAnswer(
        name=record.name,
        names=record.names,
        sites=tuple(sites),
        not_before=rfc3339(record.not_before_s),
        not_after=rfc3339(record.not_after_s),
        left_s=int(record.not_after_s - now_s),
        issuer=record.issuer,
        source=record.source,
        added_at=rfc3339(record.at_s),
        by=record.by,
    )
