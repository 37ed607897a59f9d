"""Endpoints about packages: what accounts may have. Shell."""

from __future__ import annotations

import msgspec

from hybrid.accounts import PACKAGE, Package, check, encode
from hybrid.api import accountschema as schema
from hybrid.api.calls import Answer, Call, json_answer
from hybrid.api.customers import accounts, packages
from hybrid.api.endpoints.pages import page
from hybrid.api.jsonbody import decode as body_of
from hybrid.api.names import shown
from hybrid.api.parts import Parts
from hybrid.api.routes import Route
from hybrid.api.schema import Page
from hybrid.errors import BadRequest, Conflict
from hybrid.grid import parse

ONE = "/v1/packages/{package}"


async def list_packages(parts: Parts, call: Call) -> Answer:
    """All of them, by name."""
    return page(parts, schema.PackageAnswer, [_shown(parts, one) for one in packages(parts).values()])


async def show_package(parts: Parts, call: Call) -> Answer:
    """One."""
    name = call.params["package"]
    return json_answer(_shown(parts, packages(parts, name)[name]))


async def put_package(parts: Parts, call: Call) -> Answer:
    """Make one, or say anew what it is; sites that exist keep their limits until their account's package is set."""
    wanted = body_of(call.body, schema.PackageBody)
    name = call.params["package"]
    try:
        msgspec.convert(name, schema.PackageName)
    except msgspec.ValidationError as error:
        raise BadRequest(f"{shown(name)} cannot be a package's name", str(error)) from error
    retention = str(parse(wanted.retention)) if wanted.retention else ""
    made = check(Package(name=name, **{**msgspec.structs.asdict(wanted), "retention": retention}))
    parts.shared.put(*encode(made))
    return json_answer(_shown(parts, made))


async def delete_package(parts: Parts, call: Call) -> Answer:
    """Take one away that no account has."""
    name = call.params["package"]
    packages(parts, name)
    has = _accounts(parts, name)
    if has:
        raise Conflict(f"package {name} is in use", f"by {len(has)} accounts, {has[0]} among them", "give them another")
    parts.shared.put(PACKAGE + name, None)
    return Answer(204)


def _accounts(parts: Parts, package: str) -> list[str]:
    return [account.name for account in accounts(parts).values() if account.package == package]


def _shown(parts: Parts, package: Package) -> schema.PackageAnswer:
    return schema.PackageAnswer(**msgspec.structs.asdict(package), accounts=len(_accounts(parts, package.name)))


ROUTES = (
    Route(
        method="GET",
        template="/v1/packages",
        endpoint=list_packages,
        summary="All packages: what accounts may have",
        answer=Page[schema.PackageAnswer],
    ),
    Route(
        method="GET",
        template=ONE,
        endpoint=show_package,
        summary="One package",
        answer=schema.PackageAnswer,
    ),
    Route(
        method="POST",
        template=ONE,
        endpoint=put_package,
        summary="Make a package, or say anew what accounts of it may have",
        body=schema.PackageBody,
        answer=schema.PackageAnswer,
    ),
    Route(
        method="DELETE",
        template=ONE,
        endpoint=delete_package,
        summary="Take a package away that no account has",
        answer=None,
        status=204,
    ),
)
