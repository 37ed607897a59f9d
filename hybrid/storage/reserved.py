"""
A pool that keeps a reserve for the node's own deeds: on a full pool it is given free for as long as they take. Shell.

Tenants can fill a pool until ZFS refuses everything: no claim can be written down, nothing renamed, cloned or
snapshotted, so that a site could neither be taken over nor given up. Each call that needs a little room and finds none
is done once more with the reserve free; afterwards it is kept back again, as much of it as there is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from twisted.logger import Logger

from hybrid.errors import HybridError, OutOfSpace
from hybrid.model import Guid, Snapshot
from hybrid.ports import Pool, Space

PART = 0.03
LEAST_BYTES = 256 * 1024 * 1024
MOST_PART = 1 / 16
"""Of a small pool no more than this is kept back."""
T = TypeVar("T")


def wanted_bytes(size_bytes: int) -> int:
    """How much a pool of that size keeps back: 3 %, at least 256 MiB, at most a sixteenth."""
    return min(max(int(size_bytes * PART), LEAST_BYTES), int(size_bytes * MOST_PART))


class ReservedPool:
    """See `hybrid.ports.Pool`: `pool`, with its reserve."""

    log = Logger()

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._wanted = self._kept = 0
        self._borrowers = 0
        self.capabilities = pool.capabilities
        self.datasets, self.dataset, self.history, self.holds = pool.datasets, pool.dataset, pool.history, pool.holds
        self.mount, self.unmount, self.clear_dead_mounts = pool.mount, pool.unmount, pool.clear_dead_mounts
        self.send, self.receive, self.estimate = pool.send, pool.receive, pool.estimate
        self.partial, self.abandon = pool.partial, pool.abandon
        self.snapshot_path, self.diff, self.bookmarks = pool.snapshot_path, pool.diff, pool.bookmarks
        self.reserve, self.health, self.check = pool.reserve, pool.health, pool.check

    async def prepare(self) -> None:
        """See `hybrid.ports.Pool`."""
        await self._pool.prepare()
        self._wanted = wanted_bytes((await self._pool.space()).size_bytes)
        await self._keep(self._wanted)

    async def space(self) -> Space:
        """See `hybrid.ports.Pool`. What is missing of the reserve is not free: it is to be kept back again."""
        space = await self._pool.space()
        if self._kept < self._wanted and not self._borrowers:
            await self._keep(self._wanted)
            space = await self._pool.space()
        return Space(space.size_bytes, max(0, space.free_bytes - (self._wanted - self._kept)))

    # ------------------------------------------------------------------------------- calls that need some room

    async def create(self, name: str, properties: Mapping[str, str] | None = None) -> None:
        """See `hybrid.ports.Pool`."""
        await self._with_room(lambda: self._pool.create(name, properties))

    async def clone(self, origin: str, guid: Guid, name: str, properties: Mapping[str, str] | None = None) -> None:
        """See `hybrid.ports.Pool`."""
        await self._with_room(lambda: self._pool.clone(origin, guid, name, properties))

    async def snapshot(self, name: str, snapshot_name: str) -> Snapshot:
        """See `hybrid.ports.Pool`."""
        return await self._with_room(lambda: self._pool.snapshot(name, snapshot_name))

    async def snapshot_if_changed(self, name: str, snapshot_name: str) -> Snapshot | None:
        """See `hybrid.ports.Pool`."""
        return await self._with_room(lambda: self._pool.snapshot_if_changed(name, snapshot_name))

    async def snapshots(self, names: Sequence[str], snapshot_name: str) -> tuple[Snapshot, ...]:
        """See `hybrid.ports.Pool`."""
        return await self._with_room(lambda: self._pool.snapshots(names, snapshot_name))

    async def bookmark(self, name: str, guid: Guid, tag: str) -> None:
        """See `hybrid.ports.Pool`."""
        await self._with_room(lambda: self._pool.bookmark(name, guid, tag))

    async def forget_bookmark(self, name: str, tag: str) -> None:
        """See `hybrid.ports.Pool`."""
        await self._with_room(lambda: self._pool.forget_bookmark(name, tag))

    async def changed(self, names: Sequence[str]) -> frozenset[str]:
        """See `hybrid.ports.Pool`."""
        return await self._with_room(lambda: self._pool.changed(names))

    async def destroy_snapshot(self, name: str, guid: Guid) -> None:
        """See `hybrid.ports.Pool`."""
        await self._with_room(lambda: self._pool.destroy_snapshot(name, guid))

    async def destroy(self, name: str, with_history: bool = False) -> None:
        """See `hybrid.ports.Pool`."""
        await self._with_room(lambda: self._pool.destroy(name, with_history))

    async def rename(self, name: str, new_name: str) -> None:
        """See `hybrid.ports.Pool`."""
        await self._with_room(lambda: self._pool.rename(name, new_name))

    async def promote(self, name: str) -> None:
        """See `hybrid.ports.Pool`."""
        await self._with_room(lambda: self._pool.promote(name))

    async def set_properties(self, name: str, properties: Mapping[str, str | None]) -> None:
        """See `hybrid.ports.Pool`."""
        await self._with_room(lambda: self._pool.set_properties(name, properties))

    async def set_readonly(self, name: str, readonly: bool) -> None:
        """See `hybrid.ports.Pool`."""
        await self._with_room(lambda: self._pool.set_readonly(name, readonly))

    async def set_quota(self, name: str, quota_bytes: int | None) -> None:
        """See `hybrid.ports.Pool`."""
        await self._with_room(lambda: self._pool.set_quota(name, quota_bytes))

    async def set_record_size(self, name: str, record_bytes: int) -> None:
        """See `hybrid.ports.Pool`."""
        await self._with_room(lambda: self._pool.set_record_size(name, record_bytes))

    async def hold(self, name: str, guid: Guid, tag: str) -> None:
        """See `hybrid.ports.Pool`."""
        await self._with_room(lambda: self._pool.hold(name, guid, tag))

    async def release(self, name: str, guid: Guid, tag: str) -> None:
        """See `hybrid.ports.Pool`."""
        await self._with_room(lambda: self._pool.release(name, guid, tag))

    async def _with_room(self, call: Callable[[], Awaitable[T]]) -> T:
        try:
            return await call()
        except OutOfSpace:
            if not self._wanted:
                raise
        self._borrowers += 1
        try:
            await self._keep(0)
            return await call()
        finally:
            self._borrowers -= 1
            if not self._borrowers:
                await self._keep(self._wanted)

    async def _keep(self, wanted: int) -> None:
        """Never raises: a reserve that cannot be kept back just now is a matter of the next time."""
        try:
            self._kept = await self._pool.reserve(wanted)
        except HybridError as error:
            self.log.warn("the reserve was not changed to {wanted} bytes: {error}", wanted=wanted, error=str(error))
