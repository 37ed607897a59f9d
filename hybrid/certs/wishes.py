"""Which names want a certificate, which of them are due, and what went wrong. Pure; values of the shared map."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from typing import TypeVar

import msgspec

from hybrid.certs.names import covers, is_name
from hybrid.certs.records import Record
from hybrid.certs.vault import Sealed
from hybrid.model import NodeId, SiteId
from hybrid.view import View

_T = TypeVar("_T")

AUTHORITY = "acme-authority"
WISH = "acme-wish/"
TROUBLE = "acme-trouble/"
ANSWER = "acme-answer/"
LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"
RESTS_S = (60.0, 300.0, 1800.0, 7200.0, 28800.0, 86400.0)
"""After so many failures in a row; the last one repeats."""
LEAST_S = 3600.0
"""No sooner than this after the last one is another one asked for, whatever it says of itself."""
STALE_S = 3600
"""An answer that was not taken back by who showed it goes after so long."""


class Authority(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who issues, and our account there."""

    directory: str = LETS_ENCRYPT
    contact: str = ""
    ca: str = ""
    """PEM: what its own server is trusted by, where that is none of the usual roots."""
    account: str = ""
    """URL; empty: not made yet."""
    key: Sealed | None = None


class Trouble(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why a name has no new certificate yet."""

    failures: int
    at_s: int
    next_s: int
    what: str
    why: str = ""
    try_: str = ""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What is shown to the authority under a token."""

    text: str
    at_s: int


def authority(value: str | None) -> Authority | None:
    """In a value of the shared map; `None`: nobody agreed to anybody's terms."""
    return _read(value, Authority)


def trouble(value: str | None) -> Trouble | None:
    """In a value of the shared map."""
    return _read(value, Trouble)


def answer(value: str | None) -> Answer | None:
    """In a value of the shared map."""
    return _read(value, Answer)


def wished(view: View, wishes: Iterable[str]) -> dict[str, SiteId | None]:
    """
    Names that want a certificate, with the site whose domain each is.

    Args:
        view: Sites that want one for each of their domains say so in their spec.
        wishes: Names that people asked for, wildcards too; those that no site has any more are left out.
    """
    owners = {domain: seen.spec.id for seen in view.sites.values() for domain in seen.spec.domains}
    found: dict[str, SiteId | None] = {}
    for seen in view.sites.values():
        if seen.spec.http.certificate:
            found.update({domain: seen.spec.id for domain in seen.spec.domains if is_name(domain)})
    for name in wishes:
        if name in owners or any(covers(name, domain) for domain in owners):
            found[name] = owners.get(name)
    return found


def is_due(name: str, site: SiteId | None, known: Iterable[Record], trouble: Trouble | None, now_s: float) -> bool:
    """Whether a certificate for `name` is to be asked for now."""
    if trouble is not None and now_s < trouble.next_s:
        return False
    fit = [one for one in known if one.site in (None, site) and is_for(one, name)]
    return all(renewed_from_s(one) <= now_s for one in fit)


def is_for(record: Record, name: str) -> bool:
    """Whether `record` is good for `name`, itself perhaps a wildcard."""
    return name in record.names or any(covers(own, name) for own in record.names)


def renewed_from_s(record: Record) -> float:
    """
    From when on a new one is asked for: in the last third of its life, each at its own time.

    One that was uploaded is its user's own affair, until it is over.
    """
    if record.source == "uploaded":
        return float(record.not_after_s)
    life_s = record.not_after_s - record.not_before_s
    early = zlib.crc32(record.name.encode()) / 2**32
    return max(record.not_after_s - life_s / 3 - early * life_s / 12, record.at_s + LEAST_S)


def failed(name: str, before: Trouble | None, error: tuple[str, str, str], wait_s: float, now_s: float) -> Trouble:
    """
    The trouble with `name` after one more failure.

    Args:
        error: What, why, what to try.
        wait_s: What the authority asks to wait; 0.0: it does not say.
    """
    failures = before.failures + 1 if before is not None else 1
    rest_s = RESTS_S[min(failures, len(RESTS_S)) - 1]
    rest_s *= 1 + zlib.crc32(f"{name} {failures}".encode()) / 2**32 / 4
    what, why, try_ = error
    next_s = int(now_s + max(rest_s, wait_s))
    return Trouble(failures=failures, at_s=int(now_s), next_s=next_s, what=what, why=why, try_=try_)


def issuer(view: View, site: SiteId | None) -> NodeId:
    """The node that asks for a certificate: the owner of the site, else the first of the living."""
    seen = view.sites.get(site) if site is not None else None
    living = [node.id for node in view.nodes.values() if node.live]
    if seen is not None and seen.owner in living:
        assert seen.owner is not None
        return seen.owner
    return min(living, default=view.me)


def _read(value: str | None, kind: type[_T]) -> _T | None:
    try:
        return msgspec.json.decode(value, type=kind) if value else None
    except msgspec.MsgspecError:
        return None


def texts(entries: Mapping[str, str]) -> dict[str, str]:
    """What the front doors answer, from the shared map: `acme/<token>` to the text."""
    found = ((key.removeprefix(ANSWER), answer(value)) for key, value in entries.items())
    return {f"acme/{token}": one.text for token, one in found if one is not None}
