"""Making a site, and taking it away. Shell."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from hybrid.cluster.room import Level, level, percent
from hybrid.deeds import CreateSite, Progress
from hybrid.errors import ImageError, NoSuchDataset, OutOfSpace
from hybrid.hosting.addresses import id_base
from hybrid.hosting.claims import Claims
from hybrid.hosting.holdings import Holdings, dataset_of, owned_properties
from hybrid.hosting.names import check_domain, check_free, check_limits, check_name, check_policy
from hybrid.hosting.terms import Terms
from hybrid.model import Guid, Manifest, NodeId, SiteId, SiteSpec, Version, image_dataset
from hybrid.ports import Pool
from hybrid.settings import Settings
from hybrid.view import View

TEMPORARY = "temporary/"
"""Where what is not complete yet lies; the replicator removes at start what a crash left there."""


def new_site_id(bits: Callable[[int], int]) -> SiteId:
    """A fresh id of 128 random bits; `bits(n)` gives that many, as `random.getrandbits`."""
    return SiteId("s-" + base64.b32encode(bits(128).to_bytes(16)).decode().lower().rstrip("="))


def find_image(images: list[tuple[str, Manifest]], wanted: str) -> tuple[str, Manifest]:
    """
    The image `<name>@<digest>` or the newest `<name>`.

    Args:
        images: `(name@digest, manifest)` of those on this node, oldest first.
        wanted: As the user said it.

    Raises:
        ImageError: There is none of that name here.
    """
    fitting = [entry for entry in images if wanted in (entry[0], entry[1].name)]
    if not fitting:
        known = ", ".join(sorted({manifest.name for _, manifest in images})) or "none"
        raise ImageError(f"there is no image {wanted}", f"this node has: {known}", "hybrid image import NAME")
    return fitting[-1]


def new_spec(request: CreateSite, image: str, manifest: Manifest, view: View, number: int, site: SiteId) -> SiteSpec:
    """The spec of a new site. Raises `BadRequest` or `Conflict` where the request cannot be met."""
    check_name(request.name)
    domains = tuple(check_domain(domain) for domain in request.domains) or (f"{request.name}.{view.zones[0]}",)
    check_free(view, request.name, domains)
    check_policy(view, request.policy)
    spec = SiteSpec(
        id=site,
        version=Version(1, 0),
        name=request.name,
        domains=domains,
        image=image,
        number=number,
        kind=manifest.kind,
        init=manifest.init,
        ports=manifest.ports,
        environment=manifest.environment,
        copies=request.copies,
        snapshot_every_s=request.snapshot_every_s,
        ttl_s=request.ttl_s,
        quota_bytes=request.quota_bytes,
        history_budget_bytes=request.history_budget_bytes,
        retention=request.retention,
        memory_bytes=request.memory_bytes or manifest.memory_bytes,
        cpus=request.cpus,
        consistency=request.consistency,
        pids=request.pids or manifest.pids,
        policy=request.policy,
        home_dc=view.nodes[view.me].dc if view.me in view.nodes else "",
        health=manifest.health,
        verify_every_s=request.verify_every_s,
        hooks=manifest.hooks,
        record_bytes=manifest.record_bytes,
        consistent_every_s=request.consistent_every_s,
        sleep_after_s=request.sleep_after_s,
        account=request.account,
    )
    check_limits(spec)
    return spec


class Creation:
    """Makes sites on this node."""

    def __init__(
        self,
        me: NodeId,
        settings: Settings,
        pool: Pool,
        holdings: Holdings,
        terms: Terms,
        shift_owners: Callable[[str, int], Awaitable[object]],
        claims: Claims,
        imprint: Callable[[str, int, str], Awaitable[None]] | None = None,
    ) -> None:
        """
        `shift_owners(path, id_base)` returns an awaitable that gives all files below `path` to the range.

        `imprint(path, id_base, private)` writes into them what is the new site's own (`CreateSite.private`).
        """
        self._me, self._settings, self._pool = me, settings, pool
        self._holdings, self._terms, self._shift_owners, self._claims = holdings, terms, shift_owners, claims
        self._imprint = imprint

    async def make(
        self, spec: SiteSpec, progress: Progress, origin: tuple[str, Guid] | None = None, private: str = ""
    ) -> None:
        """
        Clone the image (or snapshot `origin` of another dataset), give its files to the site's ids, put it in its place
        complete, and open it.

        Leaves nothing behind when it fails; a crash leaves a whole site, or something under `temporary/`.
        """
        await self._room(spec)
        claim, temporary = await self._claims.first(spec), TEMPORARY + spec.id
        async with AsyncExitStack() as undo:
            undo.push_async_callback(self._remove, spec.id, temporary)
            with progress.step("create filesystem"):
                dataset, guid = origin or await self._image(spec)
                await self._pool.clone(dataset, guid, temporary)
            with progress.step("give files to the site"):
                await self._pool.mount(temporary, self._terms.root(spec.id))
                await self._shift_owners(self._terms.root(spec.id), id_base(spec, self._settings))
                if self._imprint is not None:
                    await self._imprint(self._terms.root(spec.id), id_base(spec, self._settings), private)
                await self._terms.let_go(temporary)
                await self._pool.set_properties(temporary, owned_properties(spec, claim))
                await self._pool.rename(temporary, dataset_of(spec.id))
            with progress.step("start container"):
                self._holdings.add(spec, claim)
                await self._terms.open(spec.id, claim)
            undo.pop_all()

    async def _room(self, spec: SiteSpec) -> None:
        """Raises `OutOfSpace` where no new sites come any more."""
        space = await self._pool.space()
        if level(space.size_bytes, space.free_bytes) >= Level.SHORT:
            why = f"its pool is {percent(space.size_bytes, space.free_bytes)} % full"
            what = f"{spec.name} was not created on {self._settings.name}"
            raise OutOfSpace(what, why, "name another node, free some space, or add disks")

    async def _remove(self, site: SiteId, temporary: str) -> None:
        """Take away what was made, wherever it stands by now."""
        for name in (dataset_of(site), temporary):
            try:
                await self._terms.let_go(name)
                await self._pool.destroy(name, with_history=True)
            except NoSuchDataset:
                continue
        self._holdings.forget(site)

    async def _image(self, spec: SiteSpec) -> tuple[str, Guid]:
        origin = image_dataset(spec.image)
        try:
            history = await self._pool.history(origin)
        except NoSuchDataset:
            raise ImageError(f"image {spec.image} is not on this node") from None
        return origin, history[0].guid
