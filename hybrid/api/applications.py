"""
A site together with the database it uses, by one call: both on this node, in one consistency group, the site told how
to log in. Shell.

What it is told is in its own data and nowhere else (`hybrid.deeds.CreateSite.private`). It reaches the database at the
front doors of whatever node it runs on (`$HYBRID_GATEWAY`), so each of them may move without the other.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from msgspec.structs import replace

from hybrid.api.names import shown
from hybrid.api.parts import Parts
from hybrid.deeds import CreateSite, Progress
from hybrid.errors import BadRequest
from hybrid.model import Manifest, SiteId, SiteSpec

DATABASE = "database"
"""The kind of images that may be made with a site."""
USUAL = {"mysql": "mariadb", "postgres": "postgres"}
"""Image of a database that speaks a protocol."""
FILE = "/etc/hybrid/credentials"
"""Where a site of such an image keeps how to log in: `name=value` lines."""
GROUP_EVERY_S = 300.0


async def create(parts: Parts, request: CreateSite, database: str | None, progress: Progress) -> SiteSpec:
    """
    Make the site of `request`, and first the database it uses, where it is to have one.

    Leaves nothing of both when it fails.

    Raises:
        BadRequest: `database` is no image of a database, or not of one that the site can use.
        HybridError: As `Hosting.create`.
    """
    wanted = await _image(parts, request.image, progress)
    needs = "" if wanted is None else wanted.needs
    if database is None:
        if needs:
            what = f"a site of {request.image} cannot be made without a database"
            raise BadRequest(what, f"it needs one that speaks {needs}", f"--with {USUAL[needs]}")
        return await parts.hosting.create(request, progress)
    manifest = await _image(parts, database, progress)
    if manifest is None or manifest.kind != DATABASE:
        raise BadRequest(f"{shown(database)} is no image of a database", "", "hybrid image list")
    if needs and manifest.ports[0].protocol != needs:
        raise BadRequest(f"{shown(database)} is no database for {request.image}", f"it needs one that speaks {needs}")
    made = await parts.hosting.create(_companion(request, database), progress)
    try:
        login = await credentials(parts, made.id)
        spec = await parts.hosting.create(replace(request, private=environment(manifest, login)), progress)
    except BaseException:
        await parts.hosting.delete(made.id, progress)
        raise
    parts.groups.create(request.name, [spec.id, made.id], GROUP_EVERY_S)
    return spec


async def credentials(parts: Parts, site: SiteId) -> dict[str, str]:
    """How to log in to what runs in a site that this node owns; empty where it has no such thing."""
    done = await parts.hosting.execute(site, ("cat", FILE), b"")
    lines = done.stdout.decode("utf-8", "replace").splitlines() if done.status == 0 else []
    return {name: value for name, equals, value in (line.partition("=") for line in lines) if equals}


def environment(database: Manifest, login: Mapping[str, str]) -> str:
    """What a site that uses a database is told of it. Pure."""
    port = database.ports[0]
    given = {"NAME": "database", "USER": "user", "PASSWORD": "password"}
    lines = [f"DATABASE_KIND={port.protocol}", "DATABASE_HOST=$HYBRID_GATEWAY", f"DATABASE_PORT={port.port}"]
    lines += [f"DATABASE_{name}={shlex.quote(login.get(key, ''))}" for name, key in given.items()]
    return "\n".join([*lines, ""])


def _companion(request: CreateSite, image: str) -> CreateSite:
    name = f"{request.name}-{image.partition('@')[0]}"
    return replace(
        CreateSite(name=name, image=image),
        copies=request.copies,
        snapshot_every_s=request.snapshot_every_s,
        ttl_s=request.ttl_s,
        retention=request.retention,
        consistency=request.consistency,
        policy=request.policy,
        account=request.account,
    )


async def _image(parts: Parts, wanted: str, progress: Progress) -> Manifest | None:
    """The manifest of an image, imported first where it is only built; `None` where one is named by its digest."""
    name = wanted.partition("@")[0]
    known = next((manifest for manifest in parts.hosting.images() if manifest.name == name), None)
    if known is None and name == wanted:
        await parts.images.import_image(name, progress)
        known = next((manifest for manifest in parts.hosting.images() if manifest.name == name), None)
    return known
