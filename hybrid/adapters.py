"""Small pieces that fit one component's port to another's: the ledger as a map, the image store with a shelf. Shell."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Literal, Protocol

from hybrid.api.ports import HeldImage, IssuedJoinToken
from hybrid.cluster.admission import Admission
from hybrid.cluster.ledger import Ledger
from hybrid.deeds import Progress
from hybrid.dns_deeds import DnsZones, Edit
from hybrid.errors import ImageError
from hybrid.model import Manifest, NodeId, NodeRegister, Shared, image_dataset
from hybrid.ports import Pool
from hybrid.shelf import Shelf
from hybrid.wire import Gossip


class Memory(Protocol):
    """What outlives the process, besides datasets. See `hybrid.cluster.store.Store`."""

    def nodes(self) -> dict[NodeId, NodeRegister]:
        """Every node ever known."""

    def keep_nodes(self, registers: Iterable[NodeRegister]) -> None:
        """Remember nodes."""

    def forget_node(self, node: NodeId) -> None:
        """A node was removed."""

    def shared(self) -> dict[str, Shared]:
        """The shared map, tombstones too."""

    def keep_shared(self, entries: Mapping[str, Shared]) -> None:
        """Remember entries of the shared map."""

    def histories(self) -> dict[str, bytes]:
        """Histories of datasets that may be believed, by dataset. See `hybrid_replicator.kept`."""

    def keep_histories(self, records: Mapping[str, bytes]) -> None:
        """Remember these."""

    def drop_histories(self, datasets: Iterable[str]) -> None:
        """Believe these no longer."""


class Builds(Protocol):
    """Built images waiting beside the pool. See `hybrid_containers.image.ImageStore`."""

    def names(self) -> list[str]:
        """Of those there are."""

    def manifest(self, name: str) -> Manifest:
        """What one says of itself. Raises `ImageError`."""

    def packages(self, name: str) -> tuple[str, ...]:
        """What one was built from: `<name> <version>`; empty where that is not known."""

    def size_bytes(self, name: str) -> int:
        """How large one is."""

    async def import_image(self, pool: Pool, name: str, mount_dir: Path) -> str:
        """Make it a dataset; returns `name@digest`."""


class SharedValues:
    """The shared map of the ledger: written here, on disk, and on its way to the others. See `hybrid.api.ports`."""

    def __init__(self, ledger: Ledger, memory: Memory, hurry: Callable[[], None], wall_s: Callable[[], float]) -> None:
        self._ledger, self._memory, self._hurry, self._wall_s = ledger, memory, hurry, wall_s
        self._followers: list[Callable[[str], None]] = []

    def follow(self, heard: Callable[[str], None]) -> None:
        """Call `heard(key)` whenever a value is written, here or elsewhere."""
        self._followers.append(heard)

    def heard(self, keys: Iterable[str]) -> None:
        """Others wrote these."""
        for key in keys:
            for heard in self._followers:
                heard(key)

    def get(self, key: str) -> str | None:
        """See `hybrid.api.ports.SharedMap`."""
        return self._ledger.shared_value(key)

    def put(self, key: str, value: str | None) -> None:
        """See `hybrid.api.ports.SharedMap`."""
        entry = self._ledger.share(key, value, int(self._wall_s() * 1000))
        self._memory.keep_shared({key: entry})
        self._hurry()
        self.heard((key,))

    def prefix(self, prefix: str) -> dict[str, str]:
        """See `hybrid.api.ports.SharedMap`."""
        return {key: value for key, value in self._ledger.shared().items() if key.startswith(prefix)}

    def entries(self, keys: Collection[str] | None = None) -> dict[str, Shared]:
        """The entries themselves (of `keys`, or all), tombstones too: what another node needs to have the same map."""
        return self._ledger.shared_entries(keys)


class JoinTokens:
    """The judge of newcomers, as the API asks it. See `hybrid.api.ports.JoinTokens`."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission

    def create(self, ttl_s: float, dc: str, name: str) -> IssuedJoinToken:
        """See `hybrid.api.ports.JoinTokens`."""
        return IssuedJoinToken(*self._admission.issue(ttl_s, dc, name))


class ImageImports:
    """The store of built images and the shelf of the pool. See `hybrid.api.ports.ImageStore`."""

    def __init__(self, builds: Builds, shelf: Shelf, pool: Pool, mounts: Path) -> None:
        self._builds, self._shelf, self._pool, self._mounts = builds, shelf, pool, mounts

    def held(self) -> list[HeldImage]:
        """See `hybrid.api.ports.ImageStore`."""
        held = [
            HeldImage(manifest=one.manifest, reference=reference, size_bytes=one.size_bytes, packages=one.packages)
            for reference, one in self._shelf.kept().items()
        ]
        known = {one.manifest.name for one in held}
        held += [one for name in self._builds.names() if name not in known and (one := self._built(name)) is not None]
        return sorted(held, key=lambda one: one.manifest.name)

    def _built(self, name: str) -> HeldImage | None:
        """One that was not imported; `None`: it cannot be, as whoever tries is told."""
        builds = self._builds
        try:
            manifest, size_bytes = builds.manifest(name), builds.size_bytes(name)
        except (ImageError, OSError):
            return None
        return HeldImage(manifest=manifest, size_bytes=size_bytes, packages=builds.packages(name))

    async def import_image(self, name: str, progress: Progress) -> str:
        """See `hybrid.api.ports.ImageStore`."""
        with progress.step(f"import {name}"):
            image = await self._builds.import_image(self._pool, name, self._mounts)
            await self._shelf.came(image_dataset(image))
        return image


class TxtRecords:
    """Zones of this cluster, as certificates need them. See `hybrid.certs.ports.TxtRecords`."""

    def __init__(self, zones: DnsZones) -> None:
        self._zones = zones

    def add(self, name: str, text: str) -> bool:
        """See `hybrid.certs.ports.TxtRecords`."""
        return self._edited(name, text, "add")

    def remove(self, name: str, text: str) -> None:
        """See `hybrid.certs.ports.TxtRecords`."""
        self._edited(name, text, "remove")

    def _edited(self, name: str, text: str, do: Literal["add", "remove"]) -> bool:
        found = [zone.name for zone in self._zones.zones() if name.endswith("." + zone.name)]
        if found:
            edit = Edit(name=name + ".", type="TXT", ttl_s=60, records=(f'"{text}"',), do=do)
            self._zones.edit(max(found, key=len), (edit,))
        return bool(found)


def restore(ledger: Ledger, memory: Memory) -> None:
    """Bring back what the last run knew of nodes and shared values."""
    ledger.merge(Gossip(nodes=memory.nodes(), shared=memory.shared()))
