"""
Which of many datasets changed since their newest snapshots: one cheap command for thousands of them. Shell.

OpenZFS calls it `written`. Pool version 23 has no such property, but a hidden one: `unique`, the bytes that only live
data refers to. It is 0 right after a snapshot, and any change leaves it above 0, because the root of the tree of blocks
is written anew with whatever lies below it (measured: a write, a removal, a changed time or mode; reading and mounting
leave it 0). Both tell of the last transaction group, so one is ended first, which takes in all that was written before.

Where nothing had changed at the last look, less is asked: a dataset that equals its newest snapshot can only grow, so
while the sum of all stays the same, and this process did nothing to any of them, nothing changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from twisted.internet.interfaces import IReactorTime

from hybrid.storage.commands import ZfsCommands

FULL_EVERY_S = 300.0
"""The sum is not trusted for longer: what is not asked for may shrink by just as much as another dataset grew."""


@dataclass(frozen=True, slots=True)
class _Rest:
    """A moment at which these datasets equalled their newest snapshots."""

    names: frozenset[str]
    used: str
    acts: int
    at_s: float


class Survey:
    """
    Looks at the datasets of one folder.

    Args:
        folder: Full name of the dataset that they are below.
        written: The property that tells.
        end_group: A command line that ends the transaction group, and leaves nothing behind that matters.
    """

    def __init__(
        self, clock: IReactorTime, zfs: ZfsCommands, folder: str, written: str, end_group: Sequence[str]
    ) -> None:
        self._clock, self._zfs, self._folder = clock, zfs, folder
        self._written, self._end_group = written, tuple(end_group)
        self._rest = _Rest(frozenset(), "", -1, float("-inf"))
        self._below = 0
        """Datasets in the folder, when last seen."""

    async def changed(self, names: Sequence[str]) -> frozenset[str]:
        """
        Those of `names` (full ones, all in the folder) that differ from their newest snapshots.

        Each has a snapshot. Those that are not here are in the answer too.
        """
        wanted = frozenset(names)
        await self._zfs.quietly(*self._end_group)
        acts, at_s = self._zfs.acts, self._clock.seconds()
        used = (await self._zfs.values(self._folder, "used"))["used"]
        rest = self._rest
        if (used, acts) == (rest.used, rest.acts) and wanted <= rest.names and at_s - rest.at_s < FULL_EVERY_S:
            return frozenset()
        written = await self._ask(wanted)
        found = frozenset(name for name in wanted if written.get(name) != "0")
        if not found and acts == self._zfs.acts:
            self._rest = _Rest(wanted, used, acts, at_s)
        return found

    async def one(self, name: str) -> tuple[bool, bool]:
        """Of a dataset in any folder, by its full name: whether it differs, and is mounted. Raises `NoSuchDataset`."""
        await self._zfs.quietly(*self._end_group)
        values = await self._zfs.values(name, self._written, "mounted")
        return values[self._written] != "0", values["mounted"] == "yes"

    async def _ask(self, wanted: frozenset[str]) -> dict[str, str]:
        """The property of each; going through the folder is cheaper than naming half of what is in it."""
        if len(wanted) * 2 < self._below:
            rows = await self._zfs.rows_of_many(sorted(wanted), [self._written])
        else:
            rows = await self._zfs.rows_with_snapshots(self._folder, [self._written])
            self._below = len(rows)
        return {name: value for name, _, value, _ in rows}
