"""Endpoints about accounts: made, changed, suspended, resumed, ended, each with all its sites. Shell."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping

import msgspec
from msgspec import UNSET

from hybrid.accounts import ACCOUNT, Account, Package, encode
from hybrid.api import accountschema as schema
from hybrid.api.asking import Asking
from hybrid.api.calls import Answer, Call, json_answer
from hybrid.api.customers import account_of, accounts, packages, sites_of
from hybrid.api.endpoints.links import LinkAnswer, NewLink, link_for
from hybrid.api.endpoints.pages import page
from hybrid.api.jsonbody import decode as body_of
from hybrid.api.moments import rfc3339
from hybrid.api.parts import Parts
from hybrid.api.routes import Route
from hybrid.api.schema import Empty, Operation, Page
from hybrid.deeds import Progress
from hybrid.errors import Conflict, HybridError
from hybrid.view import SiteView

ONE = "/v1/accounts/{account}"
_SITE_S = 120.0
"""A site has so long to end, before the operation goes on to the next and tells of it."""


def shown_account(parts: Parts, account: Account, known: Mapping[str, Package]) -> schema.AccountAnswer:
    """As the API tells it."""
    sites = sites_of(parts, account.name)
    package = known.get(account.package)
    return schema.AccountAnswer(
        name=account.name,
        package=account.package,
        email=account.email,
        reference=account.reference,
        suspended=bool(account.suspended),
        reason=account.suspended,
        created_at=rfc3339(account.created_at_s),
        sites=tuple(site.spec.name for site in sites),
        domains=tuple(domain for site in sites for domain in site.spec.domains),
        data_bytes=sum(site.data_bytes for site in sites),
        history_bytes=sum(site.history_bytes for site in sites),
        quota_bytes=_sum(site.spec.quota_bytes for site in sites),
        bandwidth_bytes=package.bandwidth_bytes if package else None,
    )


def _sum(bounds: Iterable[int | None]) -> int | None:
    total = 0
    for bound in bounds:
        if bound is None:
            return None
        total += bound
    return total


async def list_accounts(parts: Parts, call: Call) -> Answer:
    """All of them, with what they use: a panel asks once for all."""
    known = packages(parts)
    return page(parts, schema.AccountAnswer, [shown_account(parts, one, known) for one in accounts(parts).values()])


async def show_account(parts: Parts, call: Call) -> Answer:
    """One."""
    return json_answer(shown_account(parts, account_of(parts, call.params["account"]), packages(parts)))


async def create_account(parts: Parts, call: Call) -> Answer:
    """Make one; the same again is answered as it is."""
    wanted = body_of(call.body, schema.NewAccount)
    if wanted.package:
        packages(parts, wanted.package)
    known = accounts(parts).get(wanted.name)
    if known is not None:
        if wanted.reference and wanted.reference == known.reference:
            return json_answer(shown_account(parts, known, packages(parts)), 201)
        raise Conflict(f"there is an account {wanted.name} already", "", "choose another name")
    made = Account(
        name=wanted.name,
        package=wanted.package,
        email=wanted.email,
        reference=wanted.reference,
        created_at_s=int(parts.wall_s()),
    )
    parts.shared.put(*encode(made))
    return json_answer(shown_account(parts, made, packages(parts)), 201)


async def change_account(parts: Parts, call: Call) -> Answer:
    """Change it; with another package, the limits of each of its sites."""
    changes = body_of(call.body, schema.AccountChanges)
    account = account_of(parts, call.params["account"])
    given = {name: value for name in changes.__struct_fields__ if (value := getattr(changes, name)) is not UNSET}
    package = packages(parts, changes.package)[changes.package] if changes.package else None
    parts.shared.put(*encode(msgspec.structs.replace(account, **given)))

    async def one(site: SiteView) -> None:
        assert package is not None
        await _asking(parts, call).call("PATCH", f"/v1/sites/{site.spec.id}", limits(package))

    return _each(parts, call, account, "change", one if package else None)


def limits(package: Package) -> dict[str, object]:
    """What a site of an account with `package` is set to."""
    found: dict[str, object] = {
        "quota_bytes": package.quota_bytes,
        "history_budget_bytes": package.history_budget_bytes,
        "cpus": package.cpus,
        "retention": package.retention,
        "copies": package.copies,
    }
    if package.memory_bytes is not None:
        found["memory_bytes"] = package.memory_bytes
    return found


async def suspend_account(parts: Parts, call: Call) -> Answer:
    """Stop its sites until it is resumed; their data stay and stay replicated."""
    reason = body_of(call.body, schema.Suspension).reason or "suspended"
    return _switch(parts, call, "suspend", reason)


async def resume_account(parts: Parts, call: Call) -> Answer:
    """Have its sites run again that ran before."""
    body_of(call.body, Empty)
    return _switch(parts, call, "resume", "")


def _switch(parts: Parts, call: Call, kind: str, reason: str) -> Answer:
    account = account_of(parts, call.params["account"])
    parts.shared.put(*encode(msgspec.structs.replace(account, suspended=reason)))

    async def one(site: SiteView) -> None:
        if site.spec.suspended != bool(reason):
            await _asking(parts, call).call("PATCH", f"/v1/sites/{site.spec.id}", {"suspended": bool(reason)})

    return _each(parts, call, account, kind, one)


async def end_account(parts: Parts, call: Call) -> Answer:
    """Put its sites into the trash, where they stay for a week, and forget it."""
    account = account_of(parts, call.params["account"])

    async def one(site: SiteView) -> None:
        asking = _asking(parts, call)
        ended = await asking.waited(await asking.call("DELETE", f"/v1/sites/{site.spec.id}"), _SITE_S)
        if ended.state != "done":
            raise Conflict(
                f"deleting {site.spec.name} goes on", f"it is {ended.state} after {_SITE_S:.0f} s", "try again"
            )

    def forget() -> None:
        parts.shared.put(ACCOUNT + account.name, None)

    return _each(parts, call, account, "end", one, forget)


async def link_account(parts: Parts, call: Call) -> Answer:
    """A link to the pages of all its sites, for one person."""
    wanted = body_of(call.body, NewLink)
    account = account_of(parts, call.params["account"])
    return json_answer(link_for(parts, wanted.name or account.name, account=account.name), 201)


def _asking(parts: Parts, call: Call) -> Asking:
    """Calls about the account's sites, each answered by its owner."""
    return Asking(parts.ask, parts.monotonic_s, call.actor)


def _each(
    parts: Parts,
    call: Call,
    account: Account,
    kind: str,
    one: Callable[[SiteView], Awaitable[None]] | None,
    at_last: Callable[[], None] | None = None,
) -> Answer:
    """
    An operation that does `one` to each of the account's sites; a site's trouble keeps no other from its turn.

    What was decided of the account itself holds at once; called again, it does what is left.
    """

    async def work(progress: Progress) -> dict[str, object]:
        failed: list[str] = []
        sites = sites_of(parts, account.name) if one else []
        for site in sites:
            assert one is not None
            try:
                with progress.step(f"{kind} {site.spec.name}"):
                    await one(site)
            except HybridError as error:
                failed.append(f"{site.spec.name}: {error.what}")
        if failed:
            raise Conflict(
                f"{len(failed)} of {len(sites)} sites of {account.name} are left", "; ".join(failed), "try again"
            )
        if at_last is not None:
            at_last()
        return {"account": account.name, "sites": [site.spec.name for site in sites]}

    begun = parts.operations.start(kind, f"account {account.name}", None, call.actor.name, work, call.key)
    return json_answer(begun, 202, {"location": f"/v1/operations/{begun.id}"})


ROUTES = (
    Route(
        method="GET",
        template="/v1/accounts",
        endpoint=list_accounts,
        summary="All accounts with what they use",
        answer=Page[schema.AccountAnswer],
    ),
    Route(
        method="POST",
        template="/v1/accounts",
        endpoint=create_account,
        summary="Make an account; made again under the same reference, it is answered as it is",
        body=schema.NewAccount,
        answer=schema.AccountAnswer,
        status=201,
    ),
    Route(
        method="GET",
        template=ONE,
        endpoint=show_account,
        summary="One account with what it uses",
        answer=schema.AccountAnswer,
    ),
    Route(
        method="PATCH",
        template=ONE,
        endpoint=change_account,
        summary="Change an account; another package changes the limits of all its sites",
        body=schema.AccountChanges,
        answer=Operation,
        status=202,
    ),
    Route(
        method="POST",
        template=f"{ONE}/suspend",
        endpoint=suspend_account,
        summary="Stop all sites of an account until it is resumed; their data stay",
        body=schema.Suspension,
        answer=Operation,
        status=202,
    ),
    Route(
        method="POST",
        template=f"{ONE}/resume",
        endpoint=resume_account,
        summary="Have the sites of a suspended account run again",
        body=Empty,
        answer=Operation,
        status=202,
    ),
    Route(
        method="DELETE",
        template=ONE,
        endpoint=end_account,
        summary="Put all sites of an account into the trash, and forget it",
        answer=Operation,
        status=202,
    ),
    Route(
        method="POST",
        template=f"{ONE}/links",
        endpoint=link_account,
        summary="A link to all sites of an account for one person: good for a minute, once, on any node",
        body=NewLink,
        answer=LinkAnswer,
        status=201,
    ),
)
