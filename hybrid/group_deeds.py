"""What a node can do with consistency groups, as a protocol. Pure declaration, like `hybrid.deeds`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from hybrid.cluster.groups import Group
from hybrid.deeds import Progress
from hybrid.model import SiteId, Snapshot, Stash


class GroupDeeds(Protocol):
    """
    Sites whose moments belong together.

    The first four are for any node, the others for the owner of a group's first site. All that take a name raise
    `NoSuchSite` where there is no such group.
    """

    def all(self) -> list[Group]:
        """By name."""

    def find(self, name: str) -> Group:
        """One."""

    def create(self, name: str, sites: Sequence[SiteId], every_s: float) -> Group:
        """Make one; its sites gather where the first is by themselves. Raises `BadRequest`, `Conflict`."""

    def delete(self, name: str) -> None:
        """Let its sites go their own ways. Raises `Conflict` while it is rolled back."""

    def moments(self, name: str) -> list[Snapshot]:
        """What all its sites have of one instant here, oldest first."""

    async def snapshot(self, name: str) -> Snapshot:
        """Take one of all in one instant. Raises `Conflict` while they are not all served here."""

    async def rollback(self, name: str, moment: str, progress: Progress) -> list[Stash]:
        """
        Make all as they were at the instant of that name; what came after is kept of each.

        All or none: what fails is undone, what a crash cuts short is finished. Returns what was set aside.

        Raises:
            NoSuchSnapshot: Not all of them have it.
            Conflict: They are not all served here.
        """

    async def undo(self, name: str, progress: Progress) -> list[Stash]:
        """Undo the newest roll-back (or undo) of all. Raises `Conflict` when there is none, or one went another way."""
