"""Pools themselves: making, finding, importing. Shell. Nothing here forces, destroys or overwrites anything."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hybrid.errors import AlreadyExists, NoSuchDataset, StorageError
from hybrid.storage import parsing
from hybrid.storage.children import Children, Ended, Reactor

MIN_BYTES = 64 * 1024 * 1024
POOL_S = 120.0

_ELSEWHERE = ("in use from other system", "was previously in use", "is in use by", "imported by another", "multihost")
"""How `zpool import` says that another machine has it, or had it when it died."""
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}\Z")
_RESERVED = re.compile(r"(mirror|raidz|draid|spare|log|cache|special|dedup|c\d).*")


async def pool_exists(reactor: Reactor, name: str, prefix: Sequence[str] = ()) -> bool:
    """Whether the pool is imported now. Raises `StorageSick` when nothing answers, `StorageError`."""
    ended = await _zpool(reactor, prefix, "list", "-H", "-o", "name", _checked(name))
    if ended.status != 0 and "no such pool" not in ended.stderr:
        raise parsing.failure(f"pool {name} cannot be looked up", ended.stderr)
    return ended.status == 0


async def pool_properties(reactor: Reactor, name: str, prefix: Sequence[str] = ()) -> dict[str, str]:
    """All properties of an imported pool, with its features (`feature@…`). Raises `NoSuchDataset`, `StorageError`."""
    ended = await _zpool(reactor, prefix, "get", "-Hp", "-o", "property,value", "all", _checked(name))
    if ended.status != 0:
        raise _pool_failure(f"pool {name} cannot be looked at", ended)
    rows = [line.split("\t") for line in ended.stdout.decode(errors="replace").splitlines()]
    return {row[0]: row[1] for row in rows if len(row) == 2}


async def create_pool(
    reactor: Reactor, name: str, vdev_path: str, size_bytes: int | None, prefix: Sequence[str] = ()
) -> None:
    """
    Make a pool.

    Args:
        vdev_path: A whole device or partition without a file system; or, with `size_bytes`, a file to be made.
        size_bytes: Length of the sparse file, at least 64 MiB.
        prefix: See `Children`.

    Raises:
        AlreadyExists: The file, or a pool of that name.
        StorageError: Anything else; a file made for it is gone again.
    """
    _checked(name)
    if not vdev_path.startswith("/"):
        raise StorageError(f"no pool on {vdev_path}", "the path is not absolute")
    if size_bytes is not None:
        await _make_file(reactor, vdev_path, size_bytes, prefix)
    ended = await _zpool(reactor, prefix, "create", "-m", "none", name, vdev_path)
    if ended.status != 0:
        if size_bytes is not None:
            await Children(reactor, prefix).run(("rm", "--", vdev_path))
        raise _pool_failure(f"pool {name} was not created on {vdev_path}", ended)


async def import_pool(reactor: Reactor, name: str, folders: Sequence[str] = (), prefix: Sequence[str] = ()) -> None:
    """
    Take a pool in use; it is already: fine.

    Args:
        folders: Where files or devices of it are, besides `/dev`.

    Raises:
        NoSuchDataset: No such pool is found.
        StorageError: It is found and cannot be used: damaged, or in use by another system.
    """
    if await pool_exists(reactor, name, prefix):
        return
    ended = Ended(1, b"", "no such pool available")
    for search in [*(("-d", folder) for folder in folders), ()]:
        ended = await _zpool(reactor, prefix, "import", *search, name)
        if ended.status == 0:
            return
        if "no such pool" not in ended.stderr and "no pools available" not in ended.stderr:
            break
    raise _pool_failure(f"pool {name} was not imported", ended)


async def _make_file(reactor: Reactor, path: str, size_bytes: int, prefix: Sequence[str]) -> None:
    if size_bytes < MIN_BYTES:
        raise StorageError(f"no pool in {path}", f"{size_bytes} bytes are too few", f"at least {MIN_BYTES}")
    children = Children(reactor, prefix)
    if (await children.run(("test", "-e", path))).status == 0:
        raise AlreadyExists(f"no pool in {path}", "the file exists", "import the pool, or name another file")
    ended = await children.run(("truncate", "-s", str(size_bytes), "--", path))
    if ended.status != 0:
        raise StorageError(f"{path} was not made", ended.stderr)


async def _zpool(reactor: Reactor, prefix: Sequence[str], *arguments: str) -> Ended:
    return await Children(reactor, prefix).run(("zpool", *arguments), POOL_S)


def _pool_failure(what: str, ended: Ended) -> StorageError:
    if "pool already exists" in ended.stderr or "a pool with that name" in ended.stderr:
        return AlreadyExists(what, ended.stderr)
    if "no such pool" in ended.stderr or "no pools available" in ended.stderr:
        return NoSuchDataset(what, "no such pool is found", "is its disk attached?")
    if any(words in ended.stderr for words in _ELSEWHERE):
        return StorageError(
            what,
            " ".join(ended.stderr.split())[:500],
            "make sure that no other machine uses it, export it there; never force it while one might",
        )
    return parsing.failure(what, ended.stderr)


def _checked(name: str) -> str:
    if not _NAME.match(name) or _RESERVED.match(name):
        raise StorageError(f"{name!r} cannot name a pool", "lower-case letters, digits, _ and -; no word of `zpool`")
    return name
