"""Mounting by the `mountpoint` property, and clearing mounts whose daemon died. Shell."""

from __future__ import annotations

from twisted.logger import Logger

from hybrid.ports import Busy, StorageError, StorageSick
from hybrid.storage import parsing
from hybrid.storage.commands import ZfsCommands

PROBE_S = 5.0


class Mounts:
    """Datasets by full name. `canmount=noauto` keeps an import after a crash from mounting what is not to be."""

    log = Logger()

    def __init__(self, zfs: ZfsCommands) -> None:
        self._zfs = zfs

    async def mount(self, name: str, path: str) -> None:
        """See `hybrid.ports.Pool.mount`."""
        state = await self._zfs.values(name, "mounted", "mountpoint", "canmount")
        if state["mounted"] == "yes":
            if state["mountpoint"] == path:
                return
            raise Busy(f"{name} was not mounted at {path}", f"it is mounted at {state['mountpoint']}")
        if path in parsing.mountpoints(await self._table()):
            raise Busy(f"{name} was not mounted at {path}", "something else is mounted there")
        what = f"{name} was not mounted at {path}"
        if state["canmount"] != "noauto":
            await self._zfs.act(what, "set", "canmount=noauto", name)
        if state["mountpoint"] != path:
            await self._zfs.act(what, "set", f"mountpoint={path}", name)
        try:
            await self._zfs.act(what, "mount", name)
        except StorageError:
            await self._forget_path(name)
            raise

    async def unmount(self, name: str) -> None:
        """See `hybrid.ports.Pool.unmount`."""
        state = await self._zfs.values(name, "mounted", "mountpoint")
        if state["mounted"] == "yes":
            await self._zfs.act(f"{name} was not unmounted", "unmount", name)
        if state["mountpoint"] != "none":
            await self._forget_path(name)

    async def clear_dead(self, root: str) -> list[str]:
        """
        Take away mounts of datasets below `root` whose FUSE daemon is gone (every access fails with ENOTCONN).

        Returns:
            Their paths. What ran on them (a container) has to be started again.
        """
        cleared = []
        for path in parsing.mounts(await self._table(), root):
            if await self._is_dead(path):
                ended = await self._zfs.children.run(("umount", "-l", path), PROBE_S)
                if ended.status != 0:
                    raise StorageError(f"the dead mount at {path} was not cleared", ended.stderr)
                cleared.append(path)
        return cleared

    async def _is_dead(self, path: str) -> bool:
        try:
            ended = await self._zfs.children.run(("stat", "-f", path), PROBE_S)
        except StorageSick:
            return False  # slow, which is not dead
        return ended.status != 0 and "not connected" in ended.stderr

    async def _table(self) -> bytes:
        return (await self._zfs.children.run(("cat", "/proc/self/mounts"), PROBE_S)).stdout

    async def _forget_path(self, name: str) -> None:
        """It is not mounted; a path that stays behind (as on a full pool) is not used by anything."""
        try:
            await self._zfs.act(f"{name} keeps its mount point", "set", "mountpoint=none", name)
        except StorageError:
            self.log.failure("mount point of {name} not removed", name=name)
