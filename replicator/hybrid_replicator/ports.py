"""What the replicator needs of the node it runs in, as protocols. Pure declarations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from hybrid.deeds import Differences, Folder, Form
from hybrid.model import Claim, Guid, NodeId, SiteId
from hybrid.ports import ByteSource
from hybrid.view import SiteView


class Fences(Protocol):
    """What keeps an outdated owner from being listened to."""

    def seen(self, site: SiteId) -> Claim:
        """The largest claim on `site` ever heard of here; `NO_CLAIM` if none."""

    async def saw(self, site: SiteId, claim: Claim) -> None:
        """Remember `claim`; durable when this returns, where this node holds the site."""

    def writing(self, site: SiteId) -> AbstractAsyncContextManager[None]:
        """Entered by whoever writes what was seen of `site` to its dataset: it never goes back, so one at a time."""

    def is_writer(self, site: SiteId) -> bool:
        """Whether live data of `site` may change on this node now."""


Targets = Callable[[SiteView], tuple[NodeId, ...]]
"""Which nodes should hold a copy of a site owned here; not this node itself."""

LiveRoot = Callable[[SiteId], str | None]
"""Where the live data of a site is mounted on this node, or `None`."""

Heads = Callable[[SiteId], Mapping[NodeId, tuple[Guid, ...]]]
"""The newest snapshots that each other node publishes of a site, head first: common bases to be, never forgotten."""


Told = Callable[[int, int | None], None]
"""Told from time to time of the bytes that were copied, and of how many there are in all, where that is known."""


def untold(copied_bytes: int, size_bytes: int | None) -> None:
    """`Told` for nobody."""


class Files(Protocol):
    """Work on files below a directory that is not trusted. Every call has a deadline."""

    async def folder(self, root: str, path: str, after: str, limit: int) -> Folder:
        """The directory `path` below `root`: at most `limit` entries after the name `after`. Raises `NoSuchPath`."""

    async def read(self, root: str, path: str, form: Form) -> ByteSource:
        """What `path` below `root` holds, begun: links are not followed. Raises `NoSuchPath`, `TooLarge`."""

    async def compare(
        self, old_root: str, root: str, path: str, settled_s: int, touched: tuple[bytes, ...] | None = None
    ) -> Differences:
        """
        What is different in the directory `path` below `root` from that below `old_root`. Raises `NoSuchPath`.

        Args:
            settled_s: A file that did not change since before that time, by its own account, was not changed.
            touched: The folders in which something is different, with all above them, where that is known.
        """

    async def copy(self, root: str, live_root: str, path: str, copy: str, told: Told = untold) -> tuple[int, str]:
        """
        Bring `path` from `root` to the same place below `live_root`; with `copy` beside it, as `name (copy).ending`.

        Returns:
            Files and links written, and where it is now.

        Raises:
            NoSuchPath, OutOfSpace, QuotaReached: Of a copy nothing is there then.
        """

    async def tidy(self, live_root: str) -> int:
        """Remove what a copy that was cut short left below `live_root`. Returns how many leftovers there were."""

    async def unite(self, base: str | None, root: str, live_root: str, path: str, tag: str) -> int:
        """
        Bring the mail of every Maildir below `path` of `root` into `live_root`, see `hybrid_replicator.maildir`.

        Args:
            base: What both had, mounted; `None` where they have nothing in common.
            tag: Tells `root` from every other branch.

        Returns:
            How many messages were brought, moved or removed. Safe to repeat.
        """


class Probe(Protocol):
    """What others notice of a busy pool."""

    async def writes_s(self) -> list[float]:
        """Seconds that each of some small synchronous writes to the pool took just now; empty: it is not known."""
