"""
What a panel orders, whatever its language: accounts with a site of their own. Shell.

Every call may be repeated: a panel that did not hear the answer asks again. All is done by calls of the API with the
rights of the panel's token.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import msgspec

from hybrid.accounts import Package
from hybrid.api.accountschema import AccountAnswer, PackageAnswer
from hybrid.api.asking import Asking, Refused
from hybrid.api.endpoints.links import LinkAnswer
from hybrid.api.pastschema import SnapshotAnswer
from hybrid.api.schema import Operation, Page, Site
from hybrid.errors import BadRequest

WAIT_S = 25.0
"""A panel's page waits so long; what takes longer goes on, and is answered as done: asking again does no harm."""
IMAGE = "php"
_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A new service."""

    account: str
    site: str
    domain: str = ""
    package: str = ""
    email: str = ""
    image: str = ""
    """Empty: as the package says."""
    reference: str = ""
    """What the panel calls it."""
    quota_bytes: int | None = None


class Orders:
    """Orders of one panel."""

    def __init__(self, asking: Asking) -> None:
        self._asking = asking

    async def create(self, order: Order) -> Operation | None:
        """
        Make the account and its site, as far as they are not there; the operation that makes the site.

        Raises:
            Refused: The account is another order's; it cannot be.
        """
        account = {"name": order.account, "package": order.package, "email": order.email, "reference": order.reference}
        await self._asking.call("POST", "/v1/accounts", account)
        known = {one.name: one for one in await self.packages()}
        package = known.get(order.package)
        image = order.image or (package.image if package else "") or IMAGE
        site: dict[str, object] = {"name": order.site, "image": image, "account": order.account}
        if order.domain:
            site["domains"] = [domain_of(order.domain)]
        if order.quota_bytes is not None:
            site["quota_bytes"] = order.quota_bytes
        try:
            key = f"{order.reference}-{order.site}" if order.reference else ""
            begun = await self._asking.call("POST", "/v1/sites", site, key=key)
        except Refused as refused:
            if refused.problem.status != 409 or order.site not in (await self.account(order.account)).sites:
                raise
            return None
        return await self._asking.waited(begun, WAIT_S)

    async def end(self, account: str) -> None:
        """Put its sites into the trash; one that is not there has ended already."""
        try:
            await self._begin("DELETE", _path(account))
        except Refused as refused:
            if refused.problem.status != 404:
                raise

    async def end_site(self, site: str) -> None:
        """The same of one site."""
        try:
            await self._begin("DELETE", f"/v1/sites/{_checked(site)}")
        except Refused as refused:
            if refused.problem.status != 404:
                raise

    async def suspend(self, account: str, reason: str) -> None:
        """Stop its sites."""
        await self._begin("POST", _path(account, "/suspend"), {"reason": reason} if reason else {})

    async def resume(self, account: str) -> None:
        """Have them run again."""
        await self._begin("POST", _path(account, "/resume"), {})

    async def change_package(self, account: str, package: str) -> None:
        """Another package, and so other limits of its sites."""
        await self._begin("PATCH", _path(account), {"package": package})

    async def change_site(self, site: str, changes: dict[str, object]) -> None:
        """Fields of a site."""
        await self._asking.call("PATCH", f"/v1/sites/{_checked(site)}", changes)

    async def change_domain(self, account: str, domain: str) -> None:
        """The domain of the site it was made with."""
        await self.change_site(account, {"domains": [domain_of(domain)]})

    async def change_email(self, account: str, email: str) -> None:
        """Its customer's address."""
        await self._begin("PATCH", _path(account), {"email": email})

    async def link(self, account: str, name: str = "") -> LinkAnswer:
        """A link to its time machine for one person."""
        answer = await self._asking.call("POST", _path(account, "/links"), {"name": name[:64]})
        return msgspec.json.decode(answer.body, type=LinkAnswer)

    async def account(self, name: str) -> AccountAnswer:
        """One. Raises `Refused` (404)."""
        return await self._asking.read(_path(name), AccountAnswer)

    async def accounts(self) -> tuple[AccountAnswer, ...]:
        """All."""
        return (await self._asking.read("/v1/accounts", Page[AccountAnswer])).items

    async def packages(self) -> tuple[PackageAnswer, ...]:
        """All."""
        return (await self._asking.read("/v1/packages", Page[PackageAnswer])).items

    async def put_package(self, package: Package) -> None:
        """Make one, or change it."""
        body = {name: getattr(package, name) for name in ("sites", "quota_bytes", "bandwidth_bytes")}
        await self._asking.call("POST", f"/v1/packages/{package.name}", body)

    async def sites(self) -> tuple[Site, ...]:
        """All."""
        return (await self._asking.read("/v1/sites", Page[Site])).items

    async def snapshots(self, site: str) -> tuple[SnapshotAnswer, ...]:
        """Newest first, old ones by day."""
        path = f"/v1/sites/{_checked(site)}/snapshots"
        return (await self._asking.read(path, Page[SnapshotAnswer], "per=age")).items

    async def operation(self, operation: str) -> Operation:
        """How far one is. Raises `Refused` (404)."""
        return await self._asking.read(f"/v1/operations/{_checked(operation)}", Operation)

    async def check(self) -> None:
        """Raises `Refused` when the panel's token may not ask for accounts."""
        await self.packages()

    async def _begin(self, method: str, path: str, body: object = None) -> None:
        await self._asking.waited(await self._asking.call(method, path, body), WAIT_S)


def account_name(text: str) -> str:
    """What a panel calls a user, as an account may be called here; empty where nothing of it can stay."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:63]


def domain_of(text: str) -> str:
    """As sites have it."""
    return text.strip().lower().rstrip(".").removeprefix("www.")


def _path(account: str, rest: str = "") -> str:
    return f"/v1/accounts/{_checked(account)}{rest}"


def _checked(name: str) -> str:
    """A name that may stand in a path. Raises `BadRequest`."""
    if _NAME.fullmatch(name) is None:
        raise BadRequest("that cannot be its name", "a-z, 0-9, `-`, `_`, `.`; at most 64 characters")
    return name
