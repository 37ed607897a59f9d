"""
Holds on snapshots, with their tags, which `zfs holds` of zfs-fuse cannot list (a file of it is not shipped). Shell.

The tags are written beside the hold in the snapshot's user property `hybrid:holds`: before a hold is made and after one
is undone, so the property never names too few. Where it names more than there are (`userrefs`), each is tried.
"""

from __future__ import annotations

from twisted.internet.defer import DeferredLock

from hybrid.errors import NoSuchSnapshot, OutOfSpace
from hybrid.storage.children import COMMAND_S
from hybrid.storage.commands import ZfsCommands
from hybrid.storage.parsing import failure

_TAGS = "hybrid:holds"
MOST_TAGS = 14
"""Of 64 characters each, they fit into one property."""


class Holds:
    """Holds by full snapshot name."""

    def __init__(self, zfs: ZfsCommands) -> None:
        self._zfs = zfs
        self._one_at_a_time = DeferredLock()

    async def hold(self, snapshot: str, tag: str) -> None:
        """See `hybrid.ports.Pool.hold`."""
        await self._one_at_a_time.acquire()
        try:
            tags, _ = await self._read(snapshot)
            if tag not in tags:
                await self._write(snapshot, tags | {tag})
            await self._hold(snapshot, tag)
        finally:
            self._one_at_a_time.release()

    async def release(self, snapshot: str, tag: str) -> None:
        """See `hybrid.ports.Pool.release`."""
        await self._one_at_a_time.acquire()
        try:
            ended = await self._zfs.children.run(("zfs", "release", tag, snapshot), COMMAND_S)
            if ended.status != 0 and "no such tag" not in ended.stderr:
                raise failure(f"hold {tag} on {snapshot} was not released", ended.stderr)
            tags, _ = await self._read(snapshot)
            if tag in tags:
                await self._write(snapshot, tags - {tag})
        except OutOfSpace:
            pass  # released all the same; `tags` finds out that the property names one too many
        finally:
            self._one_at_a_time.release()

    async def tags(self, snapshot: str) -> frozenset[str]:
        """See `hybrid.ports.Pool.holds`."""
        tags, count = await self._read(snapshot)
        if len(tags) <= count:
            return tags
        await self._one_at_a_time.acquire()
        try:
            real = frozenset([tag for tag in sorted(tags) if await self._holds(snapshot, tag)])
            await self._write(snapshot, real)
            return real
        finally:
            self._one_at_a_time.release()

    async def _hold(self, snapshot: str, tag: str) -> bool:
        """Whether it was not held with that tag before."""
        ended = await self._zfs.children.run(("zfs", "hold", tag, snapshot), COMMAND_S)
        if ended.status == 0:
            return True
        if "tag already exists" in ended.stderr:
            return False
        raise failure(f"{snapshot} was not held", ended.stderr)

    async def _holds(self, snapshot: str, tag: str) -> bool:
        if not await self._hold(snapshot, tag):
            return True
        await self._zfs.act(f"hold {tag} on {snapshot} was not released", "release", tag, snapshot)
        return False

    async def _read(self, snapshot: str) -> tuple[frozenset[str], int]:
        rows = await self._zfs.rows([snapshot], ["userrefs", _TAGS])
        values = {key: value for _, key, value, source in rows if key != _TAGS or source == "local"}
        if "userrefs" not in values:
            raise NoSuchSnapshot(f"{snapshot} cannot be held", "it does not say how often it is")
        return frozenset(filter(None, values.get(_TAGS, "").split(","))), int(values["userrefs"])

    async def _write(self, snapshot: str, tags: frozenset[str]) -> None:
        what = f"the tags of {snapshot} were not written"
        if tags:
            await self._zfs.act(what, "set", f"{_TAGS}={','.join(sorted(tags))}", snapshot)
        else:
            await self._zfs.act(what, "inherit", _TAGS, snapshot)
