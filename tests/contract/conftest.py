"""Storage pools of every driver, each with hands that write and read files as a site would."""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, Protocol

import pytest
from twisted.internet import reactor

from hybrid.model import Guid
from hybrid.ports import OutOfSpace, Pool, QuotaReached, StorageError
from hybrid.storage.memory import MemoryPool
from hybrid.storage.zfs import ZfsCommandPool

_NUMBERS = itertools.count(1)
SMALL_BYTES = 96 * 1024 * 1024


class Hands(Protocol):
    """A pool under test, and what a container would do to its files."""

    pool: Pool

    async def write(self, name: str, path: str, data: bytes) -> None:
        """Put a file into live data. Raises `StorageError`, `QuotaReached`, `OutOfSpace`."""

    async def remove(self, name: str, path: str) -> None:
        """Remove a file from live data."""

    async def files(self, name: str, guid: Guid | None = None) -> dict[str, bytes]:
        """All files of live data or of a snapshot."""

    async def occupied(self, name: str, occupied: bool) -> None:
        """Begin or end to use the mounted dataset."""

    def folder(self) -> str:
        """A path to mount at."""


class MemoryHands:
    """Hands in a pool in memory."""

    def __init__(self, seed: str) -> None:
        self.memory = MemoryPool(now=lambda: 1_795_000_000.0, seed=seed, size_bytes=SMALL_BYTES)
        self.pool: Pool = self.memory

    async def write(self, name: str, path: str, data: bytes) -> None:
        """See `Hands`."""
        self.memory.write(name, path, data)

    async def remove(self, name: str, path: str) -> None:
        """See `Hands`."""
        self.memory.remove(name, path)

    async def files(self, name: str, guid: Guid | None = None) -> dict[str, bytes]:
        """See `Hands`."""
        return dict(self.memory.files(name, guid))

    async def occupied(self, name: str, occupied: bool) -> None:
        """See `Hands`."""
        self.memory.occupy(name, occupied)

    def folder(self) -> str:
        """See `Hands`."""
        return f"/nowhere/{next(_NUMBERS)}"


class ZfsHands:
    """Hands in a real pool on zfs-fuse, through its mount namespace."""

    def __init__(self, namespace: Any, name: str) -> None:
        self.namespace, self.name = namespace, name
        self.pool: Pool = ZfsCommandPool(reactor, name, namespace.prefix)  # type: ignore[arg-type]  # the module is the reactor
        self._guest: Any = None

    async def write(self, name: str, path: str, data: bytes) -> None:
        """See `Hands`."""
        async with self._opened(name) as root:
            target = f"of={root}/{path}"
            ended = self.namespace.run("dd", target, "bs=1M", "conv=fsync", "status=none", data=data, check=False)
        text = ended.stderr.decode()
        for words, kind in (("quota", QuotaReached), ("No space left", OutOfSpace)):
            if words in text:
                raise kind(text)
        if ended.returncode != 0:
            raise StorageError(text)

    async def remove(self, name: str, path: str) -> None:
        """See `Hands`."""
        async with self._opened(name) as root:
            self.namespace.run("rm", f"{root}/{path}")

    async def files(self, name: str, guid: Guid | None = None) -> dict[str, bytes]:
        """See `Hands`."""
        if guid is not None:
            await self.pool.clone(name, guid, "temporary/look")
            found = await self.files("temporary/look")
            await self.pool.destroy("temporary/look")
            return found
        async with self._opened(name) as root:
            names = self.namespace.run("find", root, "-type", "f", "-printf", "%P\\n").stdout.decode().split()
            return {path: self.namespace.run("cat", f"{root}/{path}").stdout for path in names}

    async def occupied(self, name: str, occupied: bool) -> None:
        """See `Hands`."""
        if occupied:
            path = (await self.pool.dataset(name)).mountpoint
            argv = [*self.namespace.prefix, "sh", "-c", f"cd {path} && echo in && exec sleep 60"]
            self._guest = subprocess.Popen(argv, stdout=subprocess.PIPE)
            assert self._guest.stdout.readline() == b"in\n"
        else:
            self._guest.kill()
            self._guest.wait()

    def folder(self) -> str:
        """See `Hands`."""
        return str(self.namespace.where / f"mnt{next(_NUMBERS)}")

    @asynccontextmanager
    async def _opened(self, name: str) -> AsyncIterator[str]:
        """Where it is mounted; for the while, if it is not."""
        mounted = (await self.pool.dataset(name)).mountpoint
        path = mounted or self.folder()
        await self.pool.mount(name, path)
        yield path
        if mounted is None:
            await self.pool.unmount(name)


def _zfs_fuse_pair(request: pytest.FixtureRequest) -> Iterator[tuple[Hands, Hands]]:
    namespace = request.getfixturevalue("zfs_fuse")
    pools = [f"hyb{os.getpid()}x{next(_NUMBERS)}" for _ in range(2)]
    try:
        for name in pools:
            namespace.create_pool(name, str(SMALL_BYTES))
        yield ZfsHands(namespace, pools[0]), ZfsHands(namespace, pools[1])
    finally:
        for name in pools:
            namespace.destroy_pool(name)


@pytest.fixture(
    params=["memory", pytest.param("zfs-fuse", marks=pytest.mark.zfs), pytest.param("openzfs", marks=pytest.mark.zfs)]
)
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[Hands, Hands]]:
    """Two empty pools of one driver: where things happen, and where streams go."""
    if request.param == "memory":
        yield MemoryHands("here"), MemoryHands("there")
    elif request.param == "zfs-fuse":
        yield from _zfs_fuse_pair(request)
    else:
        pytest.skip("no OpenZFS module: there is no /dev/zfs")
