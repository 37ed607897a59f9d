"""
The few forms in which `zfs` is called: act, read properties, list. Shell.

Arguments are always lists, never a shell's line; names were checked before they come here.
"""

from __future__ import annotations

from collections.abc import Sequence

from hybrid.errors import NoSuchDataset
from hybrid.model import Guid
from hybrid.storage import parsing
from hybrid.storage.children import COMMAND_S, Children

LISTING_S = 300.0
"""Listing a whole pool of thousands of snapshots takes minutes."""
_BATCH = 64
"""Datasets asked for in one command."""


class ZfsCommands:
    """`zfs` on one pool. Every call raises what `parsing.failure` makes of the message, or `StorageSick`."""

    def __init__(self, children: Children) -> None:
        self.children = children
        self.acts = 0
        """Grows with whatever this process begins or ends that may change a dataset."""

    async def act(self, what: str, *arguments: str, deadline_s: float = COMMAND_S, through: Sequence[str] = ()) -> None:
        """
        Run `zfs arguments…`, whose output does not matter; `what` begins the message of its error.

        `through`: a command that runs the one given after it, see `Mounts.unseen`.
        """
        self.acts += 1
        try:
            ended = await self.children.run((*through, "zfs", *arguments), deadline_s)
        finally:
            self.acts += 1
        if ended.status != 0:
            raise parsing.failure(what, ended.stderr)

    async def quietly(self, *argv: str) -> None:
        """Run a command that changes no dataset, and whose output does not matter."""
        ended = await self.children.run(argv)
        if ended.status != 0:
            raise parsing.failure(f"`{' '.join(argv)}` failed", ended.stderr)

    async def rows(self, names: Sequence[str], wanted: Sequence[str] = ("all",)) -> list[parsing.Row]:
        """Properties `wanted` of `names`. Raises `NoSuchDataset` when one of them is missing."""
        return await self._get((), names, wanted)

    async def values(self, name: str, *wanted: str) -> dict[str, str]:
        """Properties `wanted` of a dataset or snapshot."""
        return {key: value for _, key, value, _ in await self.rows([name], wanted)}

    async def rows_with_snapshots(self, name: str, wanted: Sequence[str]) -> list[parsing.Row]:
        """Properties `wanted` of a dataset, of its snapshots, and of the datasets right below it."""
        return await self._get(("-r", "-d", "1"), [name], wanted, LISTING_S)

    async def rows_of_many(self, names: Sequence[str], wanted: Sequence[str] = ("all",)) -> list[parsing.Row]:
        """As `rows`, for any number of names; those that vanish meanwhile are left out."""
        found: list[parsing.Row] = []
        for at in range(0, len(names), _BATCH):
            batch = names[at : at + _BATCH]
            try:
                found += await self._get((), batch, wanted, LISTING_S)
            except NoSuchDataset:
                found += await self._one_by_one(batch, wanted)
        return found

    async def below(self, name: str) -> list[str]:
        """Names of the file systems below `name`, with itself, sorted."""
        argv = ("zfs", "list", "-H", "-r", "-t", "filesystem", "-o", "name", name)
        ended = await self.children.run(argv, LISTING_S)
        if ended.status != 0:
            raise parsing.failure(f"{name} cannot be listed", ended.stderr)
        return sorted(ended.stdout.decode().splitlines())

    async def guids(self, names: Sequence[str]) -> dict[str, Guid]:
        """Guids of snapshots by full name; those that vanish meanwhile are left out."""
        return {name: Guid(int(value)) for name, _, value, _ in await self.rows_of_many(names, ["guid"])}

    async def guids_below(self, name: str) -> dict[str, Guid]:
        """Guids of all snapshots of `name` and below, by full name. Costly."""
        found = await self._get(("-r",), [name], ["guid"], LISTING_S)
        return {full: Guid(int(guid)) for full, _, guid, _ in found if "@" in full}

    async def _get(
        self, flags: Sequence[str], names: Sequence[str], wanted: Sequence[str], deadline_s: float = COMMAND_S
    ) -> list[parsing.Row]:
        argv = ("zfs", "get", "-Hp", *flags, "-o", "name,property,value,source", ",".join(wanted), *names)
        ended = await self.children.run(argv, deadline_s)
        if ended.status != 0:
            raise parsing.failure(f"{names[0]} cannot be read", ended.stderr)
        return parsing.rows(ended.stdout)

    async def _one_by_one(self, names: Sequence[str], wanted: Sequence[str]) -> list[parsing.Row]:
        found: list[parsing.Row] = []
        for name in names:
            try:
                found += await self.rows([name], wanted)
            except NoSuchDataset:
                continue
        return found
