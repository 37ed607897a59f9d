"""
Space that no dataset may use: `<root>/reserve`, an empty dataset with a reservation. Shell.

On a full pool ZFS refuses even to set a property, to rename or to clone (measured on zfs-fuse); giving the reservation
up is the one thing it still does, and makes the rest possible again.
"""

from __future__ import annotations

from hybrid.errors import NoSuchDataset, OutOfSpace
from hybrid.storage.commands import ZfsCommands

PARTS = (1.0, 0.97, 0.75, 0.5)
"""Of the free space of a pool that is too full for the whole reserve: what is tried, as what is free changes always."""


class Reserve:
    """The reserve of one pool."""

    def __init__(self, zfs: ZfsCommands, root: str) -> None:
        self._zfs, self._name, self._root = zfs, f"{root}/reserve", root

    async def keep(self, wanted_bytes: int) -> int:
        """See `hybrid.ports.Pool.reserve`."""
        kept = await self._kept()
        if kept is None:
            options = ("-o", "mountpoint=none", "-o", "canmount=off")
            await self._zfs.act(f"{self._name} was not created", "create", *options, self._name)
            kept = 0
        free = int((await self._zfs.values(self._root, "available"))["available"])
        if wanted_bytes <= kept + free:
            return await self._set(kept, wanted_bytes)
        for part in PARTS:
            try:
                return await self._set(kept, min(wanted_bytes, kept + int(free * part)))
            except OutOfSpace:
                continue
        return kept

    async def _set(self, kept: int, wanted: int) -> int:
        if wanted != kept:
            value = f"refreservation={wanted or 'none'}"
            await self._zfs.act(f"the reserve of {self._root} was not changed", "set", value, self._name)
        return wanted

    async def _kept(self) -> int | None:
        """What is kept now; `None` where there is no reserve yet."""
        try:
            value = (await self._zfs.values(self._name, "refreservation"))["refreservation"]
        except NoSuchDataset:
            return None
        return int(value) if value.isdigit() else 0
