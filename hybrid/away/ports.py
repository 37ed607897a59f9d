"""What copies far away need of an object store and of the node. Pure declarations; errors are in `hybrid.errors`."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from hybrid.deeds import Progress
from hybrid.model import SiteId, SiteSpec, Snapshot


class Objects(Protocol):
    """A bucket. Names are `/`-separated ASCII, at most 512 characters; an object appears whole or not at all."""

    async def put(self, name: str, data: bytes) -> None:
        """Write or overwrite one; durable when this returns. Raises `StoreUnreachable`, `StoreRefused`."""

    async def get(self, name: str) -> bytes:
        """All of one. Raises `NoSuchObject`, `StoreUnreachable`, `StoreRefused`."""

    async def names(self, prefix: str) -> dict[str, int]:
        """Names that begin with `prefix`, sorted, with their sizes. Raises `StoreUnreachable`, `StoreRefused`."""

    async def folders(self, prefix: str) -> list[str]:
        """What stands between `prefix` and the next `/` in names, sorted. Raises as `names`."""

    async def remove(self, name: str) -> None:
        """Remove one; not there: fine. Raises `StoreUnreachable`, `StoreRefused`."""


class Shared(Protocol):
    """The cluster's shared map."""

    def put(self, key: str, value: str | None) -> None:
        """Write it and have it spread; `None` deletes."""

    def prefix(self, prefix: str) -> dict[str, str]:
        """Keys that begin with `prefix`, with their values."""


class Held(Protocol):
    """What this node holds of sites."""

    def holds(self, site: SiteId) -> bool:
        """Whether it holds anything of `site`."""

    async def refresh(self, site: SiteId) -> None:
        """Read the dataset of `site` again and publish what it says."""


class Owned(Protocol):
    """What is done with sites owned here. See `hybrid.deeds.Hosting`."""

    async def edit(self, site: SiteId, changes: dict[str, object]) -> SiteSpec:
        """Change fields of its spec."""

    async def snapshot(self, site: SiteId) -> Snapshot:
        """Take one now."""

    async def delete(self, site: SiteId, progress: Progress, moved_to: str = "") -> None:
        """Stop it and put it into the trash; `moved_to`: the store from which it may come back."""


Background = Callable[[str, Callable[[], Coroutine[Any, Any, object]]], None]
"""`background(what, deed)`: do it without waiting, log its failure."""
