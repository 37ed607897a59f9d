"""Storage pools of every driver, each with hands that write and read files as a site would."""

from __future__ import annotations

import importlib
import itertools
import os
import subprocess
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

import pytest
from twisted.internet import reactor as _reactor

from hybrid.errors import OutOfSpace, QuotaReached, StorageError
from hybrid.model import Guid
from hybrid.ports import Capabilities, Pool
from hybrid.storage import names
from hybrid.storage.memory import MEMORY, MemoryPool
from hybrid.storage.openzfs import OPENZFS, OpenZfsPool, unavailable
from hybrid.storage.parsing import failure
from hybrid.storage.zfs import ZFS_FUSE, ZfsCommandPool

reactor: Any = _reactor
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

    async def record_bytes(self, name: str) -> int | None:
        """Of which size its files' records are; `None`: nobody said."""

    async def occupied(self, name: str, occupied: bool) -> None:
        """Begin or end to use the mounted dataset."""

    def folder(self) -> str:
        """A path to mount at."""


class MemoryHands:
    """Hands in a pool in memory."""

    def __init__(self, seed: str, capabilities: Capabilities = MEMORY) -> None:
        self.memory = MemoryPool(lambda: 1_795_000_000.0, seed, SMALL_BYTES, capabilities)
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

    async def record_bytes(self, name: str) -> int | None:
        """See `Hands`."""
        return self.memory.record_bytes(name)

    def folder(self) -> str:
        """See `Hands`."""
        return f"/nowhere/{next(_NUMBERS)}"


class ZfsHands:
    """Hands in a real pool."""

    def __init__(self, namespace: Any, pool: ZfsCommandPool) -> None:
        self.namespace = namespace
        self.pool: Pool = pool
        self._name = pool.pool
        self._guest: Any = None

    async def write(self, name: str, path: str, data: bytes) -> None:
        """See `Hands`."""
        async with self._opened(name) as root:
            target = f"of={root}/{path}"
            ended = self.namespace.run("dd", target, "bs=1M", "conv=fsync", "status=none", data=data, check=False)
        self._settle()
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
        self._settle()

    def _settle(self) -> None:
        """OpenZFS counts what was `written` at the end of a transaction group, and until then many times its room."""
        if self.pool.capabilities.knows_written:
            self.namespace.run("zpool", "sync", self._name)

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

    async def record_bytes(self, name: str) -> int | None:
        """See `Hands`."""
        full = f"{self._name}/hybrid/{name}"
        return int(self.namespace.run("zfs", "get", "-Hpo", "value", "recordsize", full).stdout)

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


class CommandCore:
    """`ZfsCore` through commands: lets the threads and pipes of the OpenZFS driver run where there is only zfs-fuse."""

    def __init__(self, host: Any) -> None:
        self._host = host

    def snapshot(self, names: Sequence[str]) -> None:
        """See `ZfsCore`. One by one."""
        for name in names:
            self._run("snapshot", name)

    def bookmark(self, name: str, snapshot: str) -> None:
        """See `ZfsCore`. There are none by these commands."""
        raise AssertionError(name)

    def bookmarks(self, dataset: str) -> dict[str, Guid]:
        """See `ZfsCore`."""
        raise AssertionError(dataset)

    def destroy_bookmarks(self, names: Sequence[str]) -> None:
        """See `ZfsCore`."""
        raise AssertionError(names)

    def destroy_snapshot(self, name: str) -> None:
        """See `ZfsCore`."""
        self._run("destroy", name)

    def hold(self, name: str, tag: str) -> None:
        """See `ZfsCore`."""
        self._run("hold", tag, name)

    def release(self, name: str, tag: str) -> None:
        """See `ZfsCore`."""
        self._run("release", tag, name)

    def holds(self, name: str) -> frozenset[str]:
        """See `ZfsCore`. Cannot be told by these commands."""
        return frozenset()

    def send(
        self, name: str, base: str | None, fd: int, flags: Collection[str], resume: tuple[int, int] | None
    ) -> None:
        """See `ZfsCore`. Plain, from the beginning."""
        assert not flags and resume is None
        self._run("send", *(() if base is None else ("-i", base)), name, stdout=fd)

    def receive(self, name: str, origin: str | None, fd: int, resumable: bool, raw: bool) -> None:
        """See `ZfsCore`."""
        self._run("receive", name.partition("@")[0], stdin=fd)

    def send_space(self, name: str, base: str | None, flags: Collection[str]) -> int:
        """See `ZfsCore`."""
        return 300_000

    def _run(self, *arguments: str, stdin: int = subprocess.DEVNULL, stdout: int = subprocess.DEVNULL) -> None:
        argv = [*self._host.prefix, "zfs", *arguments]
        ended = subprocess.run(argv, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, timeout=60)
        if ended.returncode != 0:
            raise failure(f"zfs {arguments[0]}", ended.stderr.decode(), receiving=arguments[0] == "receive")


def _furnish(pool: str) -> None:
    """What `prepare` makes of a new pool (see `test_openzfs`), without a child for each dataset: a guest is slow."""
    library = importlib.import_module("libzfs_core")
    settings = {b"mountpoint": b"none", b"canmount": 0, b"atime": 0, b"readonly": 1}
    library.lzc_create(f"{pool}/hybrid".encode(), props=settings)
    for folder in names.STRUCTURE:
        library.lzc_create(f"{pool}/hybrid/{folder}".encode(), props={b"canmount": 0})


def _zfs_pair(
    host: Any, driver: Callable[[str], ZfsCommandPool], furnish: Callable[[str], None] = lambda pool: None
) -> Iterator[tuple[Hands, Hands]]:
    pools = [f"hyb{os.getpid()}x{next(_NUMBERS)}" for _ in range(2)]
    try:
        for name in pools:
            host.create_pool(name, str(SMALL_BYTES))
            furnish(name)
        yield ZfsHands(host, driver(pools[0])), ZfsHands(host, driver(pools[1]))
    finally:
        for name in pools:
            host.destroy_pool(name)


DRIVERS = [
    pytest.param("memory"),
    pytest.param("memory-like-openzfs"),
    pytest.param("zfs-fuse", marks=pytest.mark.zfs),
    pytest.param("openzfs", marks=pytest.mark.zfs),
]
THREADS = pytest.param("openzfs-threads-on-zfs-fuse", marks=pytest.mark.zfs)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each test of the pool on each driver; those of streams also with the threads of the OpenZFS driver."""
    if "pair" in metafunc.fixturenames:
        streams = metafunc.module.__name__.endswith("pool_streams")
        metafunc.parametrize("pair", [*DRIVERS, THREADS] if streams else DRIVERS, indirect=True)


@pytest.fixture
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[Hands, Hands]]:
    """Two empty pools of one driver: where things happen, and where streams go."""
    if request.param == "memory":
        yield MemoryHands("here"), MemoryHands("there")
    elif request.param == "memory-like-openzfs":
        yield MemoryHands("here", OPENZFS), MemoryHands("there", OPENZFS)
    elif request.param == "openzfs":
        host = request.getfixturevalue("openzfs")
        if unavailable():
            pytest.skip(unavailable())
        yield from _zfs_pair(host, lambda name: OpenZfsPool(reactor, name), _furnish)
    elif request.param == "zfs-fuse":
        host = request.getfixturevalue("zfs_fuse")
        yield from _zfs_pair(host, lambda name: ZfsCommandPool(reactor, name, host.prefix))
    else:
        host = request.getfixturevalue("zfs_fuse")
        yield from _zfs_pair(
            host, lambda name: OpenZfsPool(reactor, name, host.prefix, ZFS_FUSE, core=CommandCore(host))
        )
