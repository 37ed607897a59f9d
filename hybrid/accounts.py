"""
Customers and what they may have: values in the shared map, `account/<name>` and `package/<name>`. Pure.

A site says itself whose it is (`SiteSpec.account`); an account does not list its sites: nothing has two writers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import msgspec

from hybrid.deeds import CreateSite
from hybrid.errors import BadRequest, Conflict

ACCOUNT, PACKAGE = "account/", "package/"


class Package(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an account of this package may have. `None`: no bound."""

    name: str
    sites: int | None = None
    quota_bytes: int | None = None
    """Of the data of each site, where the site itself says nothing."""
    history_budget_bytes: int | None = None
    """The same of its history."""
    memory_bytes: int | None = None
    cpus: float = 1.0
    retention: str = ""
    copies: int = 2
    bandwidth_bytes: int | None = None
    """In a month, for panels to bill by; nothing is cut off."""
    image: str = ""
    """What a site is made of that a panel orders and says nothing of; empty: `php`."""


class Account(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A customer of a panel, or of the operator."""

    name: str
    package: str = ""
    email: str = ""
    reference: str = ""
    """What the panel calls it: a service id. A panel that creates it again is told that it is there."""
    suspended: str = ""
    """Why; empty: it is not."""
    created_at_s: int = 0


T = TypeVar("T", Package, Account)


def encode(value: Package | Account) -> tuple[str, str]:
    """Key and value for the shared map."""
    return _key(type(value)) + value.name, msgspec.json.encode(value).decode()


def decode(entries: Mapping[str, str], kind: type[T]) -> dict[str, T]:
    """By name, from what the shared map holds under the kind's prefix; what cannot be read is left out."""
    found: dict[str, T] = {}
    for key, text in sorted(entries.items()):
        try:
            value = msgspec.json.decode(text, type=kind)
        except msgspec.MsgspecError:
            continue
        if key == _key(kind) + value.name:
            found[value.name] = value
    return found


def _key(kind: type[Package | Account]) -> str:
    return PACKAGE if kind is Package else ACCOUNT


def room_for_site(account: Account, package: Package | None, sites: int) -> None:
    """
    Whether `account`, which has `sites` sites, may have another.

    Raises:
        Conflict: It is suspended, or its package holds no more.
    """
    if account.suspended:
        raise Conflict(
            f"account {account.name} is suspended", account.suspended, f"hybrid account resume {account.name}"
        )
    if package is not None and package.sites is not None and sites >= package.sites:
        why = f"package {package.name} holds {package.sites}, and it has {sites}"
        raise Conflict(f"account {account.name} may have no more sites", why, "give it a larger package")


def with_package(request: CreateSite, package: Package) -> CreateSite:
    """`request`, where it says nothing itself, as `package` says."""
    plain = CreateSite(name="", image="")
    names = ("quota_bytes", "history_budget_bytes", "memory_bytes", "cpus", "retention", "copies")
    said = {name: getattr(package, name) for name in names}
    left = {name: value for name, value in said.items() if getattr(request, name) == getattr(plain, name)}
    return msgspec.structs.replace(request, **left)


def check(package: Package) -> Package:
    """`package`, if its figures make sense. Raises `BadRequest`."""
    budget_bytes = package.history_budget_bytes
    rules = (
        (package.sites is None or package.sites >= 0, "sites is 0 or more"),
        (package.quota_bytes is None or package.quota_bytes >= 2**20, "quota_bytes is at least 1 MiB"),
        (
            budget_bytes is None or budget_bytes >= 2**20,
            "history_budget_bytes is at least 1 MiB",
        ),
        (package.memory_bytes is None or package.memory_bytes >= 16 * 2**20, "memory_bytes is at least 16 MiB"),
        (0.01 <= package.cpus <= 1024, "cpus is 0.01 to 1024"),
        (0 <= package.copies <= 16, "copies is 0 to 16"),
    )
    for good, rule in rules:
        if not good:
            raise BadRequest(f"package {package.name} makes no sense", rule)
    return package
