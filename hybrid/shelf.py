"""The images on this node: those imported here and those that came from peers. Shell."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from hybrid.model import Manifest
from hybrid.ports import Dataset, Pool

PREFIX = "images/"


def read_image(dataset: Dataset) -> tuple[str, Manifest] | None:
    """`(name@digest, manifest)` from the properties of an image's dataset; `None` where it is not complete."""
    if "complete" not in dataset.properties:
        return None
    try:
        manifest = msgspec.json.decode(dataset.properties["manifest"], type=Manifest)
        return dataset.properties["image"], manifest
    except (KeyError, msgspec.MsgspecError):
        return None


@dataclass(frozen=True, slots=True)
class Kept:
    """An image in the pool."""

    manifest: Manifest
    size_bytes: int
    packages: tuple[str, ...]


class Shelf:
    """Knows the images of the pool; reads it at start and when told that one came."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._known: dict[str, Kept] = {}

    def known(self) -> list[tuple[str, Manifest]]:
        """`(name@digest, manifest)`, those that came last at the end."""
        return [(image, kept.manifest) for image, kept in self._known.items()]

    def kept(self) -> dict[str, Kept]:
        """By `name@digest`, those that came last at the end."""
        return dict(self._known)

    async def load(self) -> None:
        """Read all of them."""
        for dataset in await self._pool.datasets():
            if dataset.name.startswith(PREFIX):
                self._take(dataset)

    async def came(self, name: str) -> None:
        """The dataset `name` was imported or received."""
        self._take(await self._pool.dataset(name))

    def _take(self, dataset: Dataset) -> None:
        image = read_image(dataset)
        if image is not None:
            self._known.pop(image[0], None)
            packages = tuple(dataset.properties.get("packages", "").splitlines())
            self._known[image[0]] = Kept(image[1], dataset.referenced_bytes, packages)
