"""
As much of WHM's API as billing panels use to sell accounts (cPanel's documentation of WHM API 0 and 1). Shell.

Two dialects: without `api.version` the shape of version 0, where each function has one of its own; with it, `metadata`
and `data`. Panels mix both. What is ordered is an account with a site of its own, both called as the user is.
"""

from __future__ import annotations

import datetime
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hybrid.accounts import Package
from hybrid.api.accountschema import AccountAnswer, PackageAnswer
from hybrid.api.panels.forms import Fields, megabytes, needed
from hybrid.api.panels.orders import Order, Orders, account_name
from hybrid.errors import HybridError

VERSION = "11.120.0.0"
"""What panels expect that look at it."""
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Done:
    """How a function ended."""

    said: str = "OK"
    data: Json = field(default_factory=dict)
    old: Json | None = None
    """In version 0, where it is not `{"result": [{"status": 1, "statusmsg": …}]}`."""


class Whm:
    """Functions called by one panel."""

    def __init__(self, orders: Orders, user: str, hostname: str, load: float) -> None:
        """
        Args:
            user: Whom the panel says it is: packages come as `user_name`.
            load: Of this node.
        """
        self._orders, self._user, self._hostname, self._load = orders, user, hostname, load

    async def answer(self, function: str, fields: Fields) -> Json:
        """The answer, whatever happened."""
        new = fields.get("api.version", "0") not in ("", "0")
        deed = FUNCTIONS.get(function)
        if deed is None:
            return _failed(function, f'Unknown app ("{function[:40]}") requested', new)
        try:
            done = await deed(self, fields)
        except HybridError as error:
            return _failed(function, error.what + (f": {error.why}" if error.why else ""), new)
        return _told(function, done, new)

    async def version(self, fields: Fields) -> Done:
        """Whether the token is good is known before."""
        await self._orders.check()
        return Done(data={"version": VERSION}, old={"version": VERSION})

    async def gethostname(self, fields: Fields) -> Done:
        """Of this node."""
        return Done(data={"hostname": self._hostname}, old={"hostname": self._hostname})

    async def loadavg(self, fields: Fields) -> Done:
        """Of this node, as it was published."""
        load = f"{self._load:.2f}"
        averages = {"one": load, "five": load, "fifteen": load}
        return Done(data=averages, old=averages)

    async def applist(self, fields: Fields) -> Done:
        """What is there."""
        names = sorted(FUNCTIONS)
        return Done(data={"app": names}, old={"app": names})

    async def listpkgs(self, fields: Fields) -> Done:
        """All packages."""
        shown = [_package(one) for one in await self._orders.packages()]
        return Done(data={"pkg": shown}, old={"package": shown})

    async def getpkginfo(self, fields: Fields) -> Done:
        """One package."""
        name = await self._package(needed(fields, "pkg"))
        found = next((_package(one) for one in await self._orders.packages() if one.name == name), {})
        return Done(data={"pkg": found}, old={"pkg": found})

    async def addpkg(self, fields: Fields) -> Done:
        """Make a package, or change it: data of a site, sites, bandwidth."""
        name = needed(fields, "name")
        more = fields.get("maxaddon", "0").strip()
        package = Package(
            name=name,
            sites=1 + int(more) if more.isascii() and more.isdigit() and len(more) < 6 else None,
            quota_bytes=megabytes(fields.get("quota", "")),
            bandwidth_bytes=megabytes(fields.get("bwlimit", "")),
        )
        await self._orders.put_package(package)
        said = f"Successfully created the package {name}"
        return Done(said, {"pkg": name}, {"result": [{"status": 1, "statusmsg": said, "pkg": name}]})

    async def createacct(self, fields: Fields) -> Done:
        """Make an account and its site."""
        user, domain = needed(fields, "username", "user"), needed(fields, "domain")
        account = account_name(user)
        order = Order(
            account=account,
            site=account,
            domain=domain,
            package=await self._package(fields.get("plan") or fields.get("pkgname") or ""),
            email=fields.get("contactemail", ""),
            image=fields.get("image", ""),
            reference=f"whm-{account}-{domain.lower()}",
        )
        await self._orders.create(order)
        data = {"package": order.package, "ip": "", "nameserver": "", "nameserver2": "", "user": account}
        said = "Account Creation Ok"
        old = {"result": [{"status": 1, "statusmsg": said, "options": data, "rawout": said}]}
        return Done(said, data, old)

    async def accountsummary(self, fields: Fields) -> Done:
        """One account."""
        shown = [_account(await self._orders.account(account_name(needed(fields, "user", "username"))))]
        return Done(data={"acct": shown}, old={"status": 1, "statusmsg": "Ok", "acct": shown})

    async def listaccts(self, fields: Fields) -> Done:
        """All accounts, or those whose user or domain contains what is searched for."""
        key, text = fields.get("searchtype", "user"), fields.get("search", "").strip("^$").lower()
        known = [_account(one) for one in await self._orders.accounts()]
        shown = [one for one in known if text in str(one.get(key, "")).lower()]
        return Done(data={"acct": shown}, old={"status": 1, "statusmsg": "Ok", "acct": shown})

    async def modifyacct(self, fields: Fields) -> Done:
        """Another domain, another address."""
        account = account_name(needed(fields, "user"))
        domain = fields.get("DNS") or fields.get("dns") or fields.get("domain") or ""
        if domain:
            await self._orders.change_domain(account, domain)
        if fields.get("contactemail"):
            await self._orders.change_email(account, fields["contactemail"])
        return Done("Account Modified")

    async def changepackage(self, fields: Fields) -> Done:
        """Another package, and the limits that come with it."""
        account = account_name(needed(fields, "user"))
        await self._orders.change_package(account, await self._package(needed(fields, "pkg")))
        return Done(f"Account Upgrade/Downgrade Complete for {account}")

    async def suspendacct(self, fields: Fields) -> Done:
        """Stop its sites."""
        account = account_name(needed(fields, "user"))
        await self._orders.suspend(account, fields.get("reason", ""))
        return Done(f"{account}'s account has been suspended")

    async def unsuspendacct(self, fields: Fields) -> Done:
        """Have them run again."""
        account = account_name(needed(fields, "user"))
        await self._orders.resume(account)
        return Done(f"{account}'s account is now active")

    async def removeacct(self, fields: Fields) -> Done:
        """Put its sites into the trash."""
        account = account_name(needed(fields, "user", "username"))
        await self._orders.end(account)
        return Done(f"{account} account removed")

    async def create_user_session(self, fields: Fields) -> Done:
        """A link to the time machine, in the place of a session of a control panel."""
        link = await self._orders.link(account_name(needed(fields, "user")))
        data = {"url": link.url, "session": "", "cp_security_token": "", "service": fields.get("service", "cpaneld")}
        return Done("Created session", data, data)

    async def verify_new_username(self, fields: Fields) -> Done:
        """Whether an account may be called so."""
        user = needed(fields, "user", "username")
        account = account_name(user)
        if account != user or any(one.name == account for one in await self._orders.accounts()):
            raise HybridError(f"{user[:64]} cannot be used", "it is taken, or not made of a-z, 0-9 and `-`")
        return Done()

    async def passwd(self, fields: Fields) -> Done:
        """Always refused: nobody has a password here."""
        raise HybridError("there is no password to change", "people come by links that are good once")

    async def _package(self, name: str) -> str:
        """The package a panel means: it may put the name before it of whom it signs in as."""
        known = {one.name for one in await self._orders.packages()}
        short = name.removeprefix(f"{self._user}_")
        return short if name not in known and short in known else name


FUNCTIONS: Mapping[str, Callable[[Whm, Fields], Awaitable[Done]]] = {
    deed.__name__: deed
    for deed in (
        Whm.version,
        Whm.gethostname,
        Whm.loadavg,
        Whm.applist,
        Whm.listpkgs,
        Whm.getpkginfo,
        Whm.addpkg,
        Whm.createacct,
        Whm.accountsummary,
        Whm.listaccts,
        Whm.modifyacct,
        Whm.changepackage,
        Whm.suspendacct,
        Whm.unsuspendacct,
        Whm.removeacct,
        Whm.create_user_session,
        Whm.verify_new_username,
        Whm.passwd,
    )
}


def _told(function: str, done: Done, new: bool) -> Json:
    if new:
        return {"metadata": {"version": 1, "command": function, "result": 1, "reason": done.said}, "data": done.data}
    return done.old if done.old is not None else {"result": [{"status": 1, "statusmsg": done.said}]}


def _failed(function: str, why: str, new: bool) -> Json:
    if new:
        return {"metadata": {"version": 1, "command": function, "result": 0, "reason": why}}
    wrong = {"status": 0, "statusmsg": why}
    return {**wrong, "result": [wrong]}


def _account(account: AccountAnswer) -> Json:
    return {
        "user": account.name,
        "domain": account.domains[0] if account.domains else "",
        "email": account.email,
        "plan": account.package,
        "suspended": int(account.suspended),
        "suspendreason": account.reason or "not suspended",
        "diskused": f"{-(-account.data_bytes // 2**20)}M",
        "disklimit": "unlimited" if account.quota_bytes is None else f"{account.quota_bytes // 2**20}M",
        "owner": "root",
        "partition": "",
        "theme": "",
        "ip": "",
        "shell": "noshell",
        "startdate": account.created_at[:10],
        "unix_startdate": _seconds(account.created_at),
    }


def _package(package: PackageAnswer) -> Json:
    def bound(of: int | None) -> str:
        return "unlimited" if of is None else str(of // 2**20)

    return {
        "name": package.name,
        "QUOTA": bound(package.quota_bytes),
        "BWLIMIT": bound(package.bandwidth_bytes),
        "MAXADDON": "unlimited" if package.sites is None else str(max(0, package.sites - 1)),
        "MAXSQL": "unlimited",
        "MAXPOP": "unlimited",
        "MAXFTP": "unlimited",
        "MAXSUB": "unlimited",
        "MAXPARK": "unlimited",
        "IP": "n",
        "CGI": "y",
        "HASSHELL": "n",
    }


def _seconds(rfc3339: str) -> int:
    return int(datetime.datetime.fromisoformat(rfc3339).timestamp())
