"""A node's disk: the verified fake of the pool, with ZFS's intent log, that tells the oracle what happens to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from hybrid.errors import Busy, OutOfSpace, StorageSick
from hybrid.hosting.holdings import PREFIX
from hybrid.model import NO_CLAIM, Claim, Guid, NodeId, SiteId, Snapshot
from hybrid.storage.memory import MemoryPool
from hybrid.storage.memory_state import Files, Volume
from tests.simulation.oracle import JOURNAL, Oracle, appended

HOUR_S = 3600
WEEK_S = 7 * 86400


def site_in(name: str) -> SiteId | None:
    """The site that a dataset belongs to: its main line, a stash of it, or its remains in the trash."""
    kind, _, rest = name.partition("/")
    return SiteId(rest.split(".", 1)[0]) if kind in ("sites", "stash", "trash") and rest.startswith("s-") else None


class Disk(MemoryPool):
    """
    See `hybrid.storage.memory.MemoryPool`.

    What was written since the newest snapshot is after a power cut in the intent log only: a mount brings it back,
    and until then the dataset cannot be snapshotted, and is not changed by a stream (measured on real ZFS).
    """

    def __init__(self, node: NodeId, label: str, oracle: Oracle, wall_s: Callable[[], float]) -> None:
        """`label` names the disk among all that ever were."""
        super().__init__(wall_s, seed=label)
        self.node, self.label, self._oracle, self._wall_s = node, label, oracle, wall_s
        self.changes = 0
        """Grows with each change."""
        self.full = False
        self._roomy_bytes = self.size_bytes
        self._logs: dict[int, tuple[Volume, Files]] = {}
        self.burials: Counter[SiteId] = Counter()
        """How often each site went to the trash here."""
        self._seen: dict[SiteId, Claim] = {}
        self._claims: dict[SiteId, Claim | None] = {}
        self._hanging: list[Callable[[], object]] | None = None
        self.kept_guids: Callable[[str, Guid], str | None] = lambda name, guid: None
        """Why retention must not remove a snapshot (S11), if so."""

    # ------------------------------------------------------------------------------------------------- faults

    def fill(self, full: bool) -> None:
        """No room any more, or room again."""
        self.full = full
        if full:
            self.fill_up()
        else:
            self.size_bytes = self._roomy_bytes

    def hang(self) -> None:
        """Calls do not return any more."""
        if self._hanging is None:
            self._hanging = []

    def go_on(self) -> None:
        """Calls return again, also those that hang."""
        hanging, self._hanging = self._hanging or [], None
        for call in hanging:
            call()

    @property
    def answers(self) -> bool:
        """Whether calls return."""
        return self._hanging is None

    def when_back(self, call: Callable[[], object]) -> None:
        """`call()` when calls return again."""
        assert self._hanging is not None
        self._hanging.append(call)

    def lose_power(self) -> None:
        """See `MemoryPool.lose_power`; what is not in a snapshot is in the intent log."""
        for volume in self._volumes.values():
            if volume.mountpoint is not None and volume.changed() and volume.moments:
                self._logs[id(volume)] = (volume, volume.files)
                volume.files = volume.moments[-1].files
        super().lose_power()

    def roll_back(self, name: str, base: Guid) -> None:
        """What `zfs receive -F` does first, which nothing but a mutant ever asks for."""
        volume = self._volumes[name]
        volume.moments = volume.moments[: [moment.snapshot.guid for moment in volume.moments].index(base) + 1]
        volume.files = volume.moments[-1].files
        self._touch()

    # ---------------------------------------------------------------------------------------------- the clients

    def accept(self, site: SiteId) -> bool:
        """A client's write, if the site is mounted and writable here."""
        volume = self._volumes.get(PREFIX + site)
        if volume is None or volume.mountpoint is None or volume.readonly or not self.answers:
            return False
        write = self._oracle.wrote(self.label, site)
        try:
            self.write(PREFIX + site, JOURNAL, appended(volume.files.get(JOURNAL, b""), write))
        except OutOfSpace:
            del self._oracle.loose[write]
            return False
        return True

    def journals(self) -> Iterator[bytes]:
        """What is in live data, or in the intent log, of each dataset."""
        for volume in self._volumes.values():
            yield volume.files.get(JOURNAL, b"")
        for _, files in self._logs.values():
            yield files.get(JOURNAL, b"")

    # ------------------------------------------------------------------------------------------- for the checks

    def _touch(self) -> None:
        self.changes += 1
        self._oracle.touched = True

    def volumes(self) -> Mapping[str, Volume]:
        """All datasets."""
        return self._volumes

    def properties(self, name: str) -> Mapping[str, str]:
        """Of a dataset; empty when there is none."""
        volume = self._volumes.get(name)
        return volume.properties if volume else {}

    def durable(self, site: SiteId) -> Claim | None:
        """The claim on `site` that stands on this disk."""
        text = self.properties(PREFIX + site).get("claim")
        return Claim.parse(text) if text else None

    # ----------------------------------------------------------------------------- what is told to the oracle

    async def mount(self, name: str, path: str) -> None:
        """See `hybrid.ports.Pool`."""
        await super().mount(name, path)
        _, files = self._logs.pop(id(self._volume(name)), (None, None))
        if files is not None:
            self._volume(name).files = files
            self._oracle.count("intent log replayed")

    async def set_properties(self, name: str, properties: Mapping[str, str | None]) -> None:
        """See `hybrid.ports.Pool`. S5: both claims only grow; S6: nobody uses one twice."""
        await super().set_properties(name, properties)
        self._touch()
        if name.startswith(PREFIX):
            site = SiteId(name.removeprefix(PREFIX))
            self._note_seen(site, properties.get("seen"))
            if "claim" in properties:
                self._note_claim(site, properties["claim"])

    def _note_seen(self, site: SiteId, text: str | None) -> None:
        if text:
            seen, before = Claim.parse(text), self._seen.get(site, NO_CLAIM)
            if seen < before:
                self._oracle.violated("S5", f"{self.label} has seen {before} of {site} and now writes {seen}")
            self._seen[site] = seen

    def _note_claim(self, site: SiteId, text: str | None) -> None:
        claim, before = Claim.parse(text) if text else None, self._claims.get(site)
        if claim is not None and claim != before:
            self._oracle.mint(site, claim, self.node)
        self._claims[site] = claim

    async def snapshot(self, name: str, snapshot_name: str) -> Snapshot:
        """See `hybrid.ports.Pool`."""
        self._refuse_unreplayed(name)
        return await super().snapshot(name, snapshot_name)

    async def snapshot_if_changed(self, name: str, snapshot_name: str) -> Snapshot | None:
        """See `hybrid.ports.Pool`."""
        self._refuse_unreplayed(name)
        return await super().snapshot_if_changed(name, snapshot_name)

    def _refuse_unreplayed(self, name: str) -> None:
        if name in self._volumes and id(self._volumes[name]) in self._logs:
            raise Busy(f"{name} cannot be snapshotted", "its intent log was not replayed")

    def _take(self, name: str, snapshot_name: str) -> Snapshot:
        volume = self._volume(name)
        before = volume.moments[-1] if volume.moments else volume.origin
        snapshot = super()._take(name, snapshot_name)
        self._touch()
        site = site_in(name)
        if site is not None:
            parent = before.snapshot.guid if before else None
            self._oracle.taken(snapshot.guid, parent, site, self.label, volume.files.get(JOURNAL, b""))
        return snapshot

    def _receive(self, name: str, data: bytes) -> None:
        volume = self._volumes.get(name)
        if volume is not None and (not volume.readonly or volume.mountpoint is not None):
            self._oracle.violated("S7", f"{self.label} receives into {name}, which is writable")
        if volume is not None and id(volume) in self._logs:
            raise Busy(f"{name} cannot be received into", "its intent log was not replayed")
        super()._receive(name, data)
        self._touch()
        self._oracle.received(self._volumes[name].moments[-1].snapshot.guid, self.label)

    async def clone(self, origin: str, guid: Guid, name: str, properties: Mapping[str, str] | None = None) -> None:
        """See `hybrid.ports.Pool`."""
        try:
            await super().clone(origin, guid, name, properties)
        except OutOfSpace:
            if origin.startswith("stash/"):
                self._oracle.count("full disk in a stash")
            raise
        self._touch()

    async def rename(self, name: str, new_name: str) -> None:
        """See `hybrid.ports.Pool`. What a user deleted is a site no more: one that comes back begins anew."""
        await super().rename(name, new_name)
        self._touch()
        site = site_in(new_name)
        if site is not None and new_name.startswith("trash/"):
            self.burials[site] += 1
            self._seen.pop(site, None)

    async def promote(self, name: str) -> None:
        """See `hybrid.ports.Pool`."""
        await super().promote(name)
        self._touch()

    async def destroy(self, name: str, with_history: bool = False) -> None:
        """See `hybrid.ports.Pool`. S3: history ends in the trash only, and where a site was never made."""
        volume = self._volumes.get(name)
        guids = [moment.snapshot.guid for moment in volume.moments] if volume else []
        trashed = volume.properties.get("trashed", "") if volume else ""
        await super().destroy(name, with_history)
        self._touch()
        site = site_in(name)
        made = site in self._oracle.made
        if name.startswith("trash/") and self._wall_s() - int(trashed or 0) < WEEK_S:
            self._oracle.violated("S3", f"{name} left the trash of {self.label} before its time")
        if name.startswith("stash/") or (name.startswith(PREFIX) and made):
            self._oracle.violated("S3", f"{self.label} destroyed {name}")
        for guid in guids:
            self._oracle.removed(guid, self.label)

    async def destroy_snapshot(self, name: str, guid: Guid) -> None:
        """See `hybrid.ports.Pool`. S11: retention never removes what somebody needs."""
        why = self.kept_guids(name, guid)
        await super().destroy_snapshot(name, guid)
        self._touch()
        if why is not None:
            self._oracle.violated("S11", f"{self.label} forgot snapshot {guid} of {name}, {why}")
        self._oracle.removed(guid, self.label)
        self._oracle.count("forgotten")


def sick(call: str) -> StorageSick:
    """What a caller that waited long enough is told."""
    return StorageSick("the pool does not answer", f"{call} did not return in time")
