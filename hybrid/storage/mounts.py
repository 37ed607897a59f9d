"""Mounting by the `mountpoint` property, and clearing mounts whose daemon died. Shell."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.logger import Logger

from hybrid.errors import Busy, StorageError
from hybrid.storage import parsing
from hybrid.storage.commands import ZfsCommands

PROBE_S = 5.0
_HIDING = 'n=$1; shift; while [ "$n" -gt 0 ]; do umount -l "$1" || exit; shift; n=$((n - 1)); done; exec "$@"'
"""In a mount namespace of its own, so that only the command does not see them."""


class Mounts:
    """Datasets by full name. `canmount=noauto` keeps an import after a crash from mounting what is not to be."""

    log = Logger()

    def __init__(self, zfs: ZfsCommands) -> None:
        self._zfs = zfs

    async def mount(self, name: str, path: str) -> None:
        """See `hybrid.ports.Pool.mount`. A dead mount of the same dataset is cleared first."""
        table = await self._table()
        if parsing.fuse_mounts(table, name) and await self.clear_dead(name):
            table = await self._table()
        state = await self._zfs.values(name, "mounted", "mountpoint", "canmount")
        if state["mounted"] == "yes":
            if state["mountpoint"] == path:
                return
            raise Busy(f"{name} was not mounted at {path}", f"it is mounted at {state['mountpoint']}")
        if path in [taken for _, taken, _ in parsing.mounts(table)]:
            raise Busy(f"{name} was not mounted at {path}", "something else is mounted there")
        await self._mount(name, path, state)

    async def unmount(self, name: str) -> None:
        """See `hybrid.ports.Pool.unmount`. A dead mount is cleared, whether its daemon is back or not."""
        await self.clear_dead(name)
        state = await self._zfs.values(name, "mounted", "mountpoint")
        if state["mounted"] == "yes":
            await self._zfs.act(f"{name} was not unmounted", "unmount", name)
        if state["mountpoint"] != "none":
            await self._forget_path(name)

    async def dead(self, root: str) -> list[str]:
        """
        Where `root`, and what is below it, is mounted from a FUSE daemon that is gone: every access is ENOTCONN.

        Raises:
            StorageSick: The daemon is there and does not answer.
        """
        paths = parsing.fuse_mounts(await self._table(), root)
        if not paths:
            return []
        ended = await self._zfs.children.run(("stat", "-f", "-c", "alive %n", *paths), PROBE_S)
        alive = {line.removeprefix("alive ") for line in ended.stdout.decode(errors="replace").splitlines()}
        return [path for path in paths if path not in alive] if "not connected" in ended.stderr else []

    async def clear_dead(self, root: str) -> list[str]:
        """
        Take away the dead mounts of `root` and of what is below it.

        Returns:
            Their paths. What ran on them (a container) has to be started again.
        """
        cleared = await self.dead(root)
        for path in cleared:
            ended = await self._zfs.children.run(("umount", "-l", path), PROBE_S)
            if ended.status != 0:
                raise StorageError(f"the dead mount at {path} was not cleared", ended.stderr)
            self.log.warn("cleared the dead mount at {path}", path=path)
        return cleared

    async def _mount(self, name: str, path: str, state: Mapping[str, str]) -> None:
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

    async def unseen(self, root: str) -> tuple[str, ...]:
        """
        A command that runs the one given after it where nothing of `root` and below is seen to be mounted.

        The `zfs rename` of pool version 23 unmounts every clone of what it renames and mounts it again, and refuses
        where one is in use, though the daemon itself does not mind (`changelist_gather` in libzfs, measured).
        """
        paths = parsing.fuse_mounts(await self._table(), root)
        return ("unshare", "--mount", "--propagation", "private", "sh", "-c", _HIDING, "sh", str(len(paths)), *paths)

    async def _table(self) -> bytes:
        return (await self._zfs.children.run(("cat", "/proc/self/mounts"), PROBE_S)).stdout

    async def _forget_path(self, name: str) -> None:
        """It is not mounted; a path that stays behind (as on a full pool) is not used by anything."""
        try:
            await self._zfs.act(f"{name} keeps its mount point", "set", "mountpoint=none", name)
        except StorageError:
            self.log.failure("mount point of {name} not removed", name=name)
