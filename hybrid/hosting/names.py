"""What a site and its domains may be called. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from hybrid.errors import BadRequest, Conflict, NoSuchSite
from hybrid.grid import parse
from hybrid.model import PREFER, SiteId, SiteSpec
from hybrid.sitehttp import purged
from hybrid.view import SiteView, View

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_NAME = re.compile(_LABEL)
_POLICY = re.compile(rf"value|epoch|ask|{PREFER}[a-z0-9-]{{1,63}}")
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})+")


def check_name(name: str) -> str:
    """`name` if a site may be called so (one DNS label, RFC 1123). Raises `BadRequest`."""
    if not _NAME.fullmatch(name):
        raise BadRequest(
            f"{name!r} cannot be a site's name", "", "use 1 to 63 of a-z 0-9 and -, not at the beginning or end"
        )
    return name


def check_domain(domain: str) -> str:
    """`domain` in lower case without a final dot, international names in their ASCII form. Raises `BadRequest`."""
    try:
        ascii_form = domain.rstrip(".").encode("idna").decode().lower()
    except UnicodeError:
        ascii_form = ""
    if not _DOMAIN.fullmatch(ascii_form) or len(ascii_form) > 253:
        raise BadRequest(f"{domain!r} is not a domain name", "", "for example www.example.org")
    return ascii_form


def check_free(view: View, name: str, domains: Iterable[str], but: SiteId | None = None) -> None:
    """Raises `Conflict` where another site than `but` has the name or one of the domains."""
    wanted = set(domains)
    for site in view.sites.values():
        if site.spec.id == but:
            continue
        if site.spec.name == name:
            raise Conflict(f"there is a site named {name} already", "", "choose another name")
        taken = wanted.intersection(site.spec.domains)
        if taken:
            raise Conflict(f"{min(taken)} belongs to site {site.spec.name} already")


def check_policy(view: View, policy: str) -> None:
    """Raises `BadRequest` where `policy` prefers a data centre that no node is in."""
    dcs = sorted({node.dc for node in view.nodes.values()})
    if policy.startswith(PREFER) and policy.removeprefix(PREFER) not in dcs:
        raise BadRequest(f"policy {policy} names no data centre", "", f"there are {', '.join(dcs)}")


def find(view: View, name_or_id: str) -> SiteView:
    """The site of that name or id; of two with one name (made on both sides of a partition) the lower id."""
    by_id = view.sites.get(SiteId(name_or_id))
    if by_id is not None:
        return by_id
    named = [site for site in view.sites.values() if site.spec.name == name_or_id]
    if not named:
        raise NoSuchSite(f"there is no site {name_or_id}", "", "hybrid site list shows those there are")
    return min(named, key=lambda site: site.spec.id)


EDITABLE = frozenset(
    (
        "domains",
        "http",
        "wanted",
        "suspended",
        "account",
        "copies",
        "snapshot_every_s",
        "ttl_s",
        "quota_bytes",
        "history_budget_bytes",
        "retention",
        "memory_bytes",
        "cpus",
        "pids",
        "policy",
        "consistency",
        "verify_every_s",
        "consistent_every_s",
        "pinned",
        "apart",
        "sleep_after_s",
    )
)


def edited(spec: SiteSpec, changes: dict[str, object]) -> SiteSpec:
    """`spec` with `changes` and the next version. Raises `BadRequest` for an unknown field or an odd value."""
    unknown = set(changes) - EDITABLE
    if unknown:
        raise BadRequest(f"{min(unknown)} cannot be changed", "", f"these can: {', '.join(sorted(EDITABLE))}")
    fields = {**msgspec.to_builtins(spec), **changes, "version": list(msgspec.to_builtins(spec.version.next()))}
    try:
        new = msgspec.convert(fields, type=SiteSpec)
    except msgspec.ValidationError as error:
        raise BadRequest("that value does not fit", str(error)) from error
    check_limits(new)
    if "wanted" in changes or not new.sleep_after_s:  # to start it is to wake it
        new = msgspec.structs.replace(new, asleep=False)
    return new


def without_cached(spec: SiteSpec) -> SiteSpec:
    """`spec` with all thrown away that caches keep of the site; itself where none does."""
    if not spec.http.cache:
        return spec
    return msgspec.structs.replace(spec, http=purged(spec.http), version=spec.version.next())


def check_limits(spec: SiteSpec) -> None:
    """Raises `BadRequest` for numbers no site can live with, and for a retention that is no grid."""
    if spec.retention:
        parse(spec.retention)
    budget_bytes = spec.history_budget_bytes
    rules = (
        (spec.snapshot_every_s >= 1, "snapshot_every_s is at least 1"),
        (0 <= spec.copies <= 16, "copies is 0 to 16"),
        (1 <= spec.ttl_s <= 86400, "ttl_s is 1 to 86400"),
        (spec.memory_bytes >= 16 * 2**20, "memory_bytes is at least 16 MiB"),
        (0.01 <= spec.cpus <= 1024, "cpus is 0.01 to 1024"),
        (spec.pids >= 10, "pids is at least 10"),
        (spec.quota_bytes is None or spec.quota_bytes >= 2**20, "quota_bytes is at least 1 MiB"),
        (budget_bytes is None or budget_bytes >= 2**20, "history_budget_bytes is at least 1 MiB"),
        (not spec.verify_every_s or spec.verify_every_s >= 600, "verify_every_s is 0, or at least 600"),
        (not spec.consistent_every_s or spec.consistent_every_s >= 10, "consistent_every_s is 0, or at least 10"),
        (spec.sleep_after_s == 0 or 10 <= spec.sleep_after_s <= 30 * 86400, "sleep_after_s is 0, or 10 s to 30 days"),
        (bool(spec.domains), "a site has at least one domain"),
        (_POLICY.fullmatch(spec.policy), "policy is value, epoch, ask or prefer:<data centre>"),
    )
    for holds, rule in rules:
        if not holds:
            raise BadRequest(f"site {spec.name} cannot be so", rule)
