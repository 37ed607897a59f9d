"""What the API takes and gives about accounts and packages: see `hybrid.api.schema`. Pure."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from hybrid.api.schema import Body, Copies, Cpus, Memory, Retention, Size

Name = Annotated[str, Meta(pattern="^[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?$")]
PackageName = Annotated[str, Meta(pattern="^([A-Za-z0-9]([A-Za-z0-9 ._-]{0,62}[A-Za-z0-9])?)?$")]
Text = Annotated[str, Meta(max_length=200, pattern="^[^\\x00-\\x1f\\x7f]*$")]
Count = Annotated[int, Meta(ge=0, le=1_000_000)]


class PackageBody(Body, frozen=True):
    """What accounts of a package may have; what is left out has no bound."""

    sites: Count | None = None
    quota_bytes: Size | None = None
    history_budget_bytes: Size | None = None
    memory_bytes: Memory | None = None
    cpus: Cpus = 1.0
    retention: Retention = ""
    copies: Copies = 2
    bandwidth_bytes: Annotated[int, Meta(ge=0, le=2**62)] | None = None
    image: Annotated[str, Meta(max_length=128, pattern="^([a-z0-9][a-z0-9.@:-]*)?$")] = ""
    """What a site is made of that a panel orders and says nothing of; empty: `php`."""


class PackageAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A package."""

    name: str
    sites: int | None
    quota_bytes: int | None
    history_budget_bytes: int | None
    memory_bytes: int | None
    cpus: float
    retention: str
    copies: int
    bandwidth_bytes: int | None
    image: str
    accounts: int
    """How many have it."""


class NewAccount(Body, frozen=True):
    """An account to make."""

    name: Name
    package: PackageName = ""
    email: Text = ""
    reference: Text = ""
    """What the panel calls it. Made again under the same reference, it is answered as it is."""


class AccountChanges(Body, frozen=True):
    """What is left out stays. Another package changes the limits of all its sites."""

    package: PackageName | UnsetType = UNSET
    email: Text | UnsetType = UNSET
    reference: Text | UnsetType = UNSET


class Suspension(Body, frozen=True):
    """Why."""

    reason: Text = "suspended by the operator"


class AccountAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An account with what it uses."""

    name: str
    package: str
    email: str
    reference: str
    suspended: bool
    reason: str
    created_at: str
    sites: tuple[str, ...]
    """Names."""
    domains: tuple[str, ...]
    data_bytes: int
    history_bytes: int
    quota_bytes: int | None
    """Of all its sites together; `null` where one has no bound."""
    bandwidth_bytes: int | None
    """Its package's, in a month."""
