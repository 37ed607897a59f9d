"""
The API of HybridCluster, 2013, because plugins for it still exist: HybridWHMCS, RcbDataVaultPlugin. Shell.

`POST /whmcs/<function>` and `/admin_api/<function>` with the form fields `username`, `apikey`, `api_format` and `json`,
in which a panel's whole parameters are; the answer is `{"result": "success", …}`, `{"result": "string", "string": …}`
or `{"result": "error", "error": …}`. A customer of the panel is an account, `client-<userid>`; each service is a site
of it, `service-<serviceid>`. Of what the panel sends nothing is kept but the address of mail.
"""

from __future__ import annotations

import datetime
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from hybrid.api.panels.orders import Order, Orders, account_name, domain_of
from hybrid.errors import BadRequest, HybridError

Json = dict[str, Any]


class Classic:
    """Functions called by one panel."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders

    async def answer(self, path: str, function: str, parameters: Json) -> Json:
        """The answer, whatever happened."""
        deed = FUNCTIONS.get((path, function))
        try:
            if deed is None:
                raise BadRequest(f"there is no function {path[:20]}/{function[:40]}")
            return await deed(self, parameters)
        except HybridError as error:
            why = ": ".join(part for part in (error.what, error.why) if part)
            return {"result": "error", "error": why}

    async def create_account(self, given: Json) -> Json:
        """Make the customer's account, where it is not there, and a site for the service."""
        account, site = _client(given), _service(given)
        order = Order(
            account=account,
            site=site,
            domain=_text(given, "domain"),
            email=_text(_details(given), "email"),
            image=_text(given, "image"),
            reference=account,
            quota_bytes=_quota(given),
        )
        operation = await self._orders.create(order)
        return {"result": "success", "step_action_id": operation.id if operation else ""}

    async def terminate_account(self, given: Json) -> Json:
        """Put the service's site into the trash, and forget the customer who has no other."""
        site = _service(given)
        owner = next((one.name for one in await self._orders.accounts() if site in one.sites), None)
        await self._orders.end_site(site)
        if owner is not None and not [one for one in (await self._orders.account(owner)).sites if one != site]:
            await self._orders.end(owner)
        return {"result": "success"}

    async def set_suspended(self, given: Json) -> Json:
        """Stop the service's site, or have it run again."""
        suspended = str(given.get("suspended", "")).strip().lower() in ("1", "true", "yes", "on")
        await self._orders.change_site(_service(given), {"suspended": suspended})
        return {"result": "success"}

    async def change_user_package(self, given: Json) -> Json:
        """Other limits of the service's site."""
        await self._orders.change_site(_service(given), {"quota_bytes": _quota(given)})
        return {"result": "success"}

    async def change_password(self, given: Json) -> Json:
        """Always refused: nobody has a password here."""
        raise HybridError("there is no password to change", "people come by links that are good once")

    async def get_login_token(self, given: Json) -> Json:
        """What the customer with that address signs in with, once, within a minute."""
        email = _text(given, "username").lower()
        account = next((one for one in await self._orders.accounts() if email and one.email.lower() == email), None)
        if account is None:
            raise BadRequest("no account has that address")
        link = await self._orders.link(account.name, email)
        return {"result": "string", "string": link.url.rpartition("ticket=")[2]}

    async def available_snapshots_for_email(self, given: Json) -> Json:
        """Moments a mailbox can be opened at: sign in as `address#name`."""
        domain = domain_of((_text(given, "email") or _text(given, "username")).rpartition("@")[2])
        site = next((one for one in await self._orders.sites() if domain and domain in one.domains), None)
        if site is None:
            raise BadRequest("no site has that domain")
        moments = [
            {"name": one.name, "timestamp": int(datetime.datetime.fromisoformat(one.created_at).timestamp())}
            for one in reversed(await self._orders.snapshots(site.name))
        ]
        return {"result": "success", "snapshots": moments}

    async def poll_step_action(self, given: Json) -> Json:
        """How far the making of a site is, step by step."""
        operation = await self._orders.operation(_text(given, "step_action_id"))
        states = {"done": "FINISHED", "running": "RUNNING", "failed": "FAILED"}
        steps = [{"description": one.name, "status": states.get(one.state, "PENDING")} for one in operation.steps]
        return {"result": "success", "finished": operation.state != "running", "steps": steps}


FUNCTIONS: Mapping[tuple[str, str], Callable[[Classic, Json], Awaitable[Json]]] = {
    ("whmcs", "create_account"): Classic.create_account,
    ("whmcs", "terminate_account"): Classic.terminate_account,
    ("whmcs", "set_suspended"): Classic.set_suspended,
    ("whmcs", "change_user_package"): Classic.change_user_package,
    ("whmcs", "change_website_password"): Classic.change_password,
    ("whmcs", "change_user_password"): Classic.change_password,
    ("whmcs", "poll_step_action"): Classic.poll_step_action,
    ("admin_api", "get_login_token"): Classic.get_login_token,
    ("admin_api", "available_snapshots_for_email"): Classic.available_snapshots_for_email,
    ("admin_api", "poll_step_action"): Classic.poll_step_action,
}


def parameters_of(fields: Mapping[str, str]) -> Json:
    """A call's parameters: those in `json`, or without it the form's. Raises `BadRequest`."""
    if "json" not in fields:
        return {name: value for name, value in fields.items() if name not in ("username", "apikey", "api_format")}
    try:
        return msgspec.json.decode(fields["json"], type=Json)
    except msgspec.MsgspecError as error:
        raise BadRequest("`json` is no object in JSON", str(error)) from error


def _text(given: Json, name: str) -> str:
    value = given.get(name, "")
    return str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _details(given: Json) -> Json:
    found = given.get("clientsdetails")
    return found if isinstance(found, dict) else {}


def _number(text: str, what: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise BadRequest(f"`{what}` is no number", text[:20])
    return int(text)


def _service(given: Json) -> str:
    return f"service-{_number(_text(given, 'serviceid'), 'serviceid')}"


def _client(given: Json) -> str:
    known = _text(given, "userid") or _text(_details(given), "userid") or _text(_details(given), "id")
    if known:
        return f"client-{_number(known, 'userid')}"
    name = account_name(_text(_details(given), "email"))
    if not name:
        raise BadRequest("whose it is to be is missing", "`userid`, or the customer's address of mail")
    return name


def _quota(given: Json) -> int | None:
    """Of GB, as the product's sixth option or the order's own says."""
    options = given.get("configoptions")
    own = _text(options, "Disk Quota") if isinstance(options, dict) else ""
    text = own or _text(given, "configoption6")
    return _number(text, "Disk Quota") * 2**30 if text not in ("", "0") else None
