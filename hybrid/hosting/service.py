"""What the API can have done on this node: `hybrid.deeds.Hosting`, put together from the deeds. Shell."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from hybrid.cluster.placement import free_number
from hybrid.deeds import (
    CloneSite,
    CreateSite,
    Deleted,
    Differences,
    DiscardedStash,
    Folder,
    Form,
    Preview,
    Progress,
    TimeMachine,
    TransferSeen,
)
from hybrid.errors import BadRequest, Conflict, ImageError, NoSuchSite, NoSuchSnapshot
from hybrid.history import History
from hybrid.hosting.care import Care
from hybrid.hosting.choices import Choices
from hybrid.hosting.claims import Claims
from hybrid.hosting.cloning import clone_spec
from hybrid.hosting.creation import Creation, find_image, new_site_id, new_spec
from hybrid.hosting.deletions import Deletions
from hybrid.hosting.discards import Discards
from hybrid.hosting.extracts import Extracts
from hybrid.hosting.holdings import Holding, Holdings
from hybrid.hosting.keys import with_key, without_key
from hybrid.hosting.marks import marked, unmarked
from hybrid.hosting.moving import Moving
from hybrid.hosting.names import check_domain, check_free, check_policy, edited, without_cached
from hybrid.hosting.previews import Previews
from hybrid.hosting.rolling import Rolling
from hybrid.hosting.tasks import SiteTasks, in_background
from hybrid.hosting.terms import Terms
from hybrid.manifest import Extract
from hybrid.model import Guid, Manifest, Mark, NodeId, Proof, SiteId, SiteSpec, Snapshot, Stash, Version
from hybrid.ports import ByteSource, Containers, Executed
from hybrid.sshkeys import PublicKey
from hybrid.view import Pending, View


class Images(Protocol):
    """The images on this node."""

    def known(self) -> list[tuple[str, Manifest]]:
        """`(name@digest, manifest)`, oldest first."""

    async def load(self) -> None:
        """Read them from the pool again."""


class HostingService:
    """See `hybrid.deeds.Hosting`."""

    def __init__(
        self,
        view: Callable[[], View],
        images: Images,
        machine: TimeMachine,
        containers: Containers,
        holdings: Holdings,
        terms: Terms,
        tasks: SiteTasks,
        creation: Creation,
        moving: Moving,
        rolling: Rolling,
        deletions: Deletions,
        choices: Choices,
        discards: Discards,
        extracts: Extracts,
        previews: Previews,
        claims: Claims,
        care: Care,
        bits: Callable[[int], int],
    ) -> None:
        """`bits(n)`: a random number of n bits."""
        self._view, self._images, self._machine = view, images, machine
        self._containers, self._holdings, self._terms, self._tasks = containers, holdings, terms, tasks
        self._creation, self._moving, self._rolling = creation, moving, rolling
        self._deletions, self._choices, self._claims, self._bits = deletions, choices, claims, bits
        self._discards, self._extracts, self._previews = discards, extracts, previews
        self._proofs, self._cloning, self._hooked = care.proofs, care.cloning, care.hooked
        self._sleeping = care.sleeping

    # ------------------------------------------------------------------------------------------------- reading

    def view(self) -> View:
        """See `hybrid.deeds.Hosting`."""
        return self._view()

    def history(self, site: SiteId) -> History:
        """See `hybrid.deeds.Hosting`."""
        return self._machine.history(site)

    def images(self) -> list[Manifest]:
        """See `hybrid.deeds.Hosting`."""
        return sorted((manifest for _, manifest in self._images.known()), key=lambda manifest: manifest.name)

    def stash_history(self, site: SiteId, stash_id: str) -> History:
        """See `hybrid.deeds.Hosting`."""
        return self._machine.stash_history(site, stash_id)

    async def browse(self, site: SiteId, guid: Guid, path: str, after: str, limit: int) -> Folder:
        """See `hybrid.deeds.Hosting`."""
        return await self._machine.browse(site, guid, path, after, limit)

    async def read(self, site: SiteId, guid: Guid, path: str, form: Form) -> ByteSource:
        """See `hybrid.deeds.Hosting`."""
        return await self._machine.read(site, guid, path, form)

    async def compare(self, site: SiteId, old: Guid, new: Guid, path: str) -> Differences:
        """See `hybrid.deeds.Hosting`."""
        return await self._machine.compare(site, old, new, path)

    # -------------------------------------------------------------------------------------------------- making

    async def create(self, request: CreateSite, progress: Progress) -> SiteSpec:
        """See `hybrid.deeds.Hosting`."""
        view = self._view()
        image, manifest = await self._image(request.image)
        site = new_site_id(self._bits)
        spec = new_spec(request, image, manifest, view, free_number(view, site), site)
        await self._tasks.run(site, "create", lambda: self._creation.make(spec, progress, private=request.private))
        return spec

    async def clone(self, site: SiteId, request: CloneSite, progress: Progress) -> SiteSpec:
        """See `hybrid.deeds.Hosting`."""
        view, new = self._view(), new_site_id(self._bits)
        spec = clone_spec(request, self._owned(site).spec, view, free_number(view, new), new)
        await self._cloning.make(spec, request.at, progress)
        return spec

    async def detach(self, site: SiteId, progress: Progress) -> None:
        """See `hybrid.deeds.Hosting`."""
        self._owned(site)
        await self._cloning.detach(site, progress)

    async def _image(self, wanted: str) -> tuple[str, Manifest]:
        """Look again before giving up: an image may have come with a replica."""
        try:
            return find_image(self._images.known(), wanted)
        except ImageError:
            await self._images.load()
            return find_image(self._images.known(), wanted)

    async def edit(self, site: SiteId, changes: dict[str, object]) -> SiteSpec:
        """See `hybrid.deeds.Hosting`."""
        holding = self._owned(site)
        if "domains" in changes:
            domains = changes["domains"]
            names = [check_domain(str(name)) for name in domains] if isinstance(domains, list | tuple) else domains
            changes = {**changes, "domains": names}
        spec = edited(holding.spec, changes)
        check_free(self._view(), spec.name, spec.domains, but=site)
        check_policy(self._view(), spec.policy)
        return await self._tasks.run(site, "edit", lambda: self._edited(holding.spec, spec))

    async def _edited(self, old: SiteSpec, new: SiteSpec) -> SiteSpec:
        claim = await self._claims.switch(old, new)
        if claim is not None:
            new = msgspec.structs.replace(new, version=Version(claim.epoch, 0))
        await self._holdings.write_spec(new)  # first: only of a strict site others believe an epoch that leaps
        if claim is not None:
            await self._holdings.claim(new.id, claim)
        limits_changed = (old.memory_bytes, old.cpus, old.pids) != (new.memory_bytes, new.cpus, new.pids)
        if old.runs != new.runs or limits_changed:
            await (self._terms.stop(new.id) if new.runs else self._terms.halt(new.id))
        await self._terms.start(new.id)
        return new

    async def delete(self, site: SiteId, progress: Progress, moved_to: str = "") -> None:
        """See `hybrid.deeds.Hosting`."""
        self._owned(site)
        await self._tasks.run(site, "delete", lambda: self._deletions.delete(site, progress, moved_to))

    # ------------------------------------------------------------------------------------------------ choices

    def transfers(self) -> tuple[TransferSeen, ...]:
        """See `hybrid.deeds.Hosting`."""
        return self._machine.transfers()

    def decisions(self) -> list[Pending]:
        """See `hybrid.deeds.Hosting`."""
        return self._choices.pending()

    def deleted(self) -> list[Deleted]:
        """See `hybrid.deeds.Hosting`."""
        return self._choices.deleted()

    def undelete(self, site: SiteId, by: str) -> None:
        """See `hybrid.deeds.Hosting`."""
        self._choices.undelete(site, by)
        in_background("looking at deletions", self._deletions.look)

    def pick(self, site: SiteId, node: NodeId, by: str) -> None:
        """See `hybrid.deeds.Hosting`."""
        self._choices.pick(site, node, by)

    async def extracts(self, site: SiteId) -> dict[str, Extract]:
        """See `hybrid.deeds.Hosting`. Looks again before giving up, as `_image`."""
        wanted = self._holdings.need(site).spec.image
        if all(image != wanted for image, _ in self._images.known()):
            await self._images.load()
        return next((manifest.extracts for image, manifest in self._images.known() if image == wanted), {})

    async def extract(
        self, site: SiteId, guid: Guid, name: str, values: Mapping[str, str], token: str, progress: Progress
    ) -> None:
        """See `hybrid.deeds.Hosting`."""
        known = await self.extracts(site)
        if name not in known:
            names = ", ".join(sorted(known)) or "none"
            raise BadRequest(f"the image of site {site} cannot extract {name}", f"it can: {names}")
        await self._extracts.extract(self._holdings.need(site).spec, guid, known[name], values, token, progress)

    async def content(self, token: str) -> ByteSource:
        """See `hybrid.deeds.Hosting`."""
        return await self._extracts.content(token)

    async def preview(
        self, site: SiteId, guid: Guid, seconds: int, by: str, progress: Progress, label: str = ""
    ) -> Preview:
        """See `hybrid.deeds.Hosting`."""
        return await self._previews.open(self._holdings.need(site).spec, guid, seconds, by, progress, label)

    def previews(self, site: SiteId) -> list[Preview]:
        """See `hybrid.deeds.Hosting`."""
        return self._previews.of(site)

    def end_preview(self, site: SiteId, preview_id: str) -> None:
        """See `hybrid.deeds.Hosting`."""
        self._previews.end(site, preview_id)
        in_background("ending a preview", self._previews.look)

    def discard(self, stash: Stash, by: str) -> DiscardedStash:
        """See `hybrid.deeds.Hosting`."""
        entry = self._discards.discard(stash, by)
        in_background("discarding", self._discards.look)
        return self._discards.told(entry)

    def undiscard(self, site: SiteId, stash_id: str, by: str) -> None:
        """See `hybrid.deeds.Hosting`."""
        self._discards.bring_back(site, stash_id, by)
        in_background("bringing a stash back", self._discards.look)

    def discarded(self, site: SiteId) -> list[DiscardedStash]:
        """See `hybrid.deeds.Hosting`."""
        return [self._discards.told(entry) for entry in self._discards.of(site)]

    # --------------------------------------------------------------------------------------------------- deeds

    async def move(self, site: SiteId, to: NodeId, progress: Progress) -> None:
        """See `hybrid.deeds.Hosting`."""
        self._owned(site)
        await self._tasks.run(site, "move", lambda: self._moving.move(site, to, progress))

    async def snapshot(self, site: SiteId) -> Snapshot:
        """See `hybrid.deeds.Hosting`."""
        claim = self._owned(site).claim
        assert claim is not None  # _owned saw to it
        return await self._hooked.snapshot(site, claim)

    async def rollback(self, site: SiteId, to: Guid, progress: Progress) -> Stash:
        """See `hybrid.deeds.Hosting`."""
        self._owned(site)
        return await self._tasks.run(site, "rollback", lambda: self._rolling.rollback(site, to, progress))

    async def undo(self, site: SiteId, progress: Progress) -> Stash:
        """See `hybrid.deeds.Hosting`."""
        self._owned(site)
        return await self._tasks.run(site, "undo", lambda: self._rolling.undo(site, progress))

    async def adopt(self, site: SiteId, stash_id: str, progress: Progress) -> Stash:
        """See `hybrid.deeds.Hosting`."""
        self._owned(site)
        return await self._tasks.run(site, "adopt", lambda: self._rolling.adopt(site, stash_id, progress))

    async def restore(self, site: SiteId, guid: Guid, path: str, copy: str, progress: Progress) -> tuple[int, str]:
        """See `hybrid.deeds.Hosting`."""
        self._owned(site)
        return await self._tasks.run(site, "restore", lambda: self._restored(site, guid, path, copy, progress))

    async def _restored(self, site: SiteId, guid: Guid, path: str, copy: str, progress: Progress) -> tuple[int, str]:
        """What caches keep of the site may be of before, whatever came of it; and one that is off is kept at once."""
        try:
            return await self._rolling.restore(site, guid, path, copy, progress)
        finally:
            await self._respecified(site, without_cached)
            if not self._owned(site).serving:
                await self._terms.keep(site)

    async def mark(self, site: SiteId, mark: Mark) -> SiteSpec:
        """See `hybrid.deeds.Hosting`."""
        self._owned(site)
        if all(snapshot.guid != mark.guid for snapshot in self._machine.history(site)):
            raise NoSuchSnapshot(f"site {site} has no snapshot {mark.guid}")
        return await self._tasks.run(site, "mark", lambda: self._respecified(site, lambda spec: marked(spec, mark)))

    async def unmark(self, site: SiteId, guid: Guid) -> SiteSpec:
        """See `hybrid.deeds.Hosting`."""
        self._owned(site)
        return await self._tasks.run(site, "unmark", lambda: self._respecified(site, lambda spec: unmarked(spec, guid)))

    async def add_key(self, site: SiteId, key: PublicKey) -> SiteSpec:
        """See `hybrid.deeds.Hosting`."""
        self._owned(site)
        return await self._tasks.run(site, "key", lambda: self._respecified(site, lambda spec: with_key(spec, key)))

    async def remove_key(self, site: SiteId, name: str) -> SiteSpec:
        """See `hybrid.deeds.Hosting`."""
        self._owned(site)
        return await self._tasks.run(site, "key", lambda: self._respecified(site, lambda spec: without_key(spec, name)))

    async def _respecified(self, site: SiteId, change: Callable[[SiteSpec], SiteSpec]) -> SiteSpec:
        """Change what concerns no container."""
        spec = self._owned(site).spec
        new = change(spec)
        if new != spec:
            await self._holdings.write_spec(new)
        return new

    async def verify(self, site: SiteId, progress: Progress) -> Proof:
        """See `hybrid.deeds.Hosting`."""
        return await self._proofs.prove(site, progress)

    def verify_every_s(self) -> float:
        """See `hybrid.deeds.Hosting`."""
        return self._proofs.every_s()

    def set_verify_every_s(self, every_s: float) -> None:
        """See `hybrid.deeds.Hosting`."""
        self._proofs.set_every_s(every_s)

    async def execute(self, site: SiteId, argv: Sequence[str], stdin: bytes) -> Executed:
        """See `hybrid.deeds.Hosting`."""
        self._owned(site)
        async with self._sleeping.awake(site):
            return await self._containers.execute(site, argv, stdin)

    async def logs(self, site: SiteId, lines: int) -> str:
        """See `hybrid.deeds.Hosting`."""
        self._owned(site)
        return await self._containers.logs(site, lines)

    def _owned(self, site: SiteId) -> Holding:
        """The holding, if this node owns the site. Raises `NoSuchSite`, `Conflict`."""
        holding = self._holdings.get(site)
        if holding is None:
            raise NoSuchSite(f"site {site} is not on this node")
        if holding.role != "owner" or holding.claim is None:
            raise Conflict(f"site {holding.spec.name} is {holding.role} on this node", "", "try again in some seconds")
        if holding.awaiting:
            why = "it has two histories, and nothing changes before one is picked"
            raise Conflict(f"site {holding.spec.name} waits for a person", why, f"hybrid site pick {holding.spec.name}")
        return holding
