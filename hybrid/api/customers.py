"""Finding accounts, their packages and their sites, and what a new site of an account is like. Pure."""

from __future__ import annotations

from hybrid.accounts import ACCOUNT, PACKAGE, Account, Package, decode, room_for_site, with_package
from hybrid.api.names import nearest, shown
from hybrid.api.parts import Parts
from hybrid.api.problems import Refusal, problem
from hybrid.deeds import CreateSite
from hybrid.view import SiteView


def accounts(parts: Parts) -> dict[str, Account]:
    """All of them, by name."""
    return decode(parts.shared.prefix(ACCOUNT), Account)


def account_of(parts: Parts, name: str) -> Account:
    """One. Raises `Refusal` (404)."""
    known = accounts(parts)
    if name not in known:
        hint = nearest(name, known) or "`hybrid account list` shows them"
        raise Refusal(problem(404, "no-such-account", f"there is no account {shown(name)}", "", hint))
    return known[name]


def sites_of(parts: Parts, name: str) -> list[SiteView]:
    """Its sites, by name."""
    found = (site for site in parts.view.sites.values() if site.spec.account == name)
    return sorted(found, key=lambda site: (site.spec.name, site.spec.id))


def packages(parts: Parts, needed: str = "") -> dict[str, Package]:
    """All of them, by name. Raises `Refusal` (404) when `needed` is not among them."""
    known = decode(parts.shared.prefix(PACKAGE), Package)
    if needed and needed not in known:
        hint = nearest(needed, known) or "`hybrid package list` shows them"
        raise Refusal(problem(404, "no-such-package", f"there is no package {shown(needed)}", "", hint))
    return known


def of_account(parts: Parts, request: CreateSite) -> CreateSite:
    """The request with what its account's package says. Raises `Refusal`, `Conflict`."""
    if not request.account:
        return request
    account = account_of(parts, request.account)
    package = packages(parts).get(account.package)
    room_for_site(account, package, len(sites_of(parts, account.name)))
    return request if package is None else with_package(request, package)
