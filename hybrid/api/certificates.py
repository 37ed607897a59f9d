"""What the API takes and tells of certificates, and of how a site's HTTP is served. Pure."""

from __future__ import annotations

from typing import Annotated, Literal, Protocol

import msgspec
from msgspec import UNSET, Meta, UnsetType

from hybrid.api.moments import rfc3339
from hybrid.api.schema import Body
from hybrid.certs.bundle import MAX_PEM
from hybrid.certs.records import Record
from hybrid.certs.wishes import LETS_ENCRYPT, Authority, Trouble
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


class IssuingDeeds(Protocol):
    """See `hybrid.certs.issuing.Issuing`."""

    def authority(self) -> Authority | None:
        """Who issues; `None` before somebody agreed to its terms."""

    def agree(self, directory: str, contact: str, ca: str) -> Authority:
        """Have it issue from now on. Raises `BadRequest`."""

    def wish(self, name: str) -> None:
        """Have a certificate for `name`, and try at once. Raises `BadRequest`."""

    def forget(self, name: str) -> None:
        """Ask for none, and show none. Raises `NoSuchCertificate`."""

    def wanted(self) -> dict[str, Trouble | None]:
        """Names that want one, and what keeps them from it."""


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


class AuthorityChanges(Body, frozen=True):
    """Which authority issues certificates."""

    agree: bool
    """That its terms of service are agreed to."""
    directory: Annotated[str, Meta(max_length=500)] = LETS_ENCRYPT
    contact: Annotated[str, Meta(max_length=254, pattern=r"^([^@\s,?]+@[^@\s,?]+)?$")] = ""
    """A mail address, told to it."""
    ca: Annotated[str, Meta(max_length=MAX_PEM)] = ""
    """PEM: what its server is trusted by, where it is none of the usual roots."""


class WantedAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A name that wants an issued certificate."""

    name: str
    state: str
    """`issued`, `waiting` (it is asked for now or soon) or `failed`."""
    failures: int = 0
    what: str = ""
    why: str = ""
    hint: str = ""
    next_at: str | None = None


class AuthorityAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Who issues, and for whom."""

    agreed: bool
    directory: str
    contact: str
    account: str
    """Its URL; empty until the first certificate is asked for."""
    wanted: tuple[WantedAnswer, ...]


class HttpAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """How the front doors serve a site's HTTP."""

    redirect: bool
    """Who asks without TLS is sent to `https://`, for names with a certificate."""
    certificate: bool
    """One is issued for each of its domains."""
    log: str
    """The format of its access log: `off`, `combined` or `json`."""
    requests_per_s: float
    """What each source may ask on average of each proxy process; 0: as much as it likes."""
    requests_per_s_in_all: float
    """What all together may ask on average of each proxy process of its owner; 0: any."""
    cache: bool
    """Answers that say for how long they are fresh are kept, and given again."""
    purges: int
    """How often what was kept was thrown away."""
    hsts_s: int
    """For so long browsers shall ask by HTTPS only; 0: not said."""


class HttpChanges(Body, frozen=True):
    """What to change of that; what is left out stays."""

    redirect: bool | UnsetType = UNSET
    certificate: bool | UnsetType = UNSET
    log: Literal["off", "combined", "json"] | UnsetType = UNSET
    requests_per_s: Annotated[float, Meta(ge=0, le=1e6)] | UnsetType = UNSET
    requests_per_s_in_all: Annotated[float, Meta(ge=0, le=1e6)] | UnsetType = UNSET
    cache: bool | UnsetType = UNSET
    purge: Literal[True] | UnsetType = UNSET
    """Throw away what the cache keeps."""
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


def authority(found: Authority | None, wanted: dict[str, Trouble | None], issued: frozenset[str]) -> AuthorityAnswer:
    """Who issues, and what became of each name that wants a certificate; `issued`: names that some are for."""
    return AuthorityAnswer(
        agreed=found is not None,
        directory=found.directory if found is not None else "",
        contact=found.contact if found is not None else "",
        account=found.account if found is not None else "",
        wanted=tuple(_wanted(name, trouble, name in issued) for name, trouble in wanted.items()),
    )


def _wanted(name: str, trouble: Trouble | None, issued: bool) -> WantedAnswer:
    if trouble is None:
        return WantedAnswer(name=name, state="issued" if issued else "waiting")
    return WantedAnswer(
        name=name,
        state="failed",
        failures=trouble.failures,
        what=trouble.what,
        why=trouble.why,
        hint=trouble.try_,
        next_at=rfc3339(trouble.next_s),
    )
