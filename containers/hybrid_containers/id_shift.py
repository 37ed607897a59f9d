"""
Shift the owners of a mounted clone into a site's id range, in a child process. Does I/O.

An image holds owners 0…65535; a site's files belong to `id_base` onwards, the same on all nodes. Run as a script
(`python -I id_shift.py PATH ID_BASE`) this file imports the standard library only, so that it starts quickly.
"""

from __future__ import annotations

import os
import stat
import struct
import sys
from collections.abc import Iterator

RANGE = 65536
CAPABILITY = "security.capability"
NAMESPACED, VERSION_MASK, ROOT_AT = 0x03000000, 0xFF000000, 20


def shifted(owner: int, id_base: int) -> int:
    """
    Where `owner` belongs in the range from `id_base`: an owner that is in it already stays.

    Raises:
        ValueError: It is neither an image's nor in the range: the files are another site's.
    """
    if id_base <= owner < id_base + RANGE:
        return owner
    if owner >= RANGE:
        raise ValueError(f"owner {owner} is neither below {RANGE} nor in the range from {id_base}")
    return id_base + owner


def shift(path: str, id_base: int) -> int:
    """
    Shift everything below `path`, and `path` itself last: so it tells whether all is done, also after a crash.

    Never follows a symbolic link, never leaves the file system. Returns how many were changed.
    """
    top = os.lstat(path)
    if not stat.S_ISDIR(top.st_mode):
        raise ValueError(f"{path} is not a directory")
    if id_base <= top.st_uid < id_base + RANGE and id_base <= top.st_gid < id_base + RANGE:
        return 0
    changed = 0
    for folder, entry in _entries(path):
        status = entry.stat(follow_symlinks=False)
        if status.st_dev == top.st_dev:
            changed += _shift_one(entry.name, folder, status, id_base)
    return changed + _shift_one(path, None, top, id_base)


def _entries(path: str) -> Iterator[tuple[int, os.DirEntry[str]]]:
    """Everything below `path` with an open descriptor of its folder; folders after what is in them."""
    device = os.lstat(path).st_dev
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        yield from _below(folder, device)
    finally:
        os.close(folder)


def _below(folder: int, device: int) -> Iterator[tuple[int, os.DirEntry[str]]]:
    with os.scandir(folder) as entries:
        listed = list(entries)
    for entry in listed:
        if entry.is_dir(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_dev == device:
            inner = os.open(entry.name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            try:
                yield from _below(inner, device)
            finally:
                os.close(inner)
        yield folder, entry


def _shift_one(name: str, folder: int | None, status: os.stat_result, id_base: int) -> int:
    """Change one owner; `chown(2)` clears setuid and setgid bits and file capabilities, so those are set again."""
    uid, gid = shifted(status.st_uid, id_base), shifted(status.st_gid, id_base)
    if (uid, gid) == (status.st_uid, status.st_gid):
        return 0
    regular = stat.S_ISREG(status.st_mode)
    capability = _capability(name, folder) if regular and status.st_mode & 0o111 else None
    os.chown(name, uid, gid, dir_fd=folder, follow_symlinks=False)
    if regular and status.st_mode & (stat.S_ISUID | stat.S_ISGID):
        os.chmod(name, stat.S_IMODE(status.st_mode), dir_fd=folder)
    if capability:
        os.setxattr(_path(name, folder), CAPABILITY, of_namespace(capability, id_base), follow_symlinks=False)
    return 1


def _capability(name: str, folder: int | None) -> bytes | None:
    try:
        return os.getxattr(_path(name, folder), CAPABILITY, follow_symlinks=False)
    except OSError:  # none, or a file system without
        return None


def of_namespace(capability: bytes, id_base: int) -> bytes:
    """The file capability as one that only counts in the container whose root is `id_base` (`capabilities(7)`)."""
    (magic,) = struct.unpack_from("<I", capability)
    return struct.pack("<I", NAMESPACED | (magic & ~VERSION_MASK)) + capability[4:ROOT_AT] + struct.pack("<I", id_base)


def _path(name: str, folder: int | None) -> str:
    return name if folder is None else f"/proc/self/fd/{folder}/{name}"


if __name__ == "__main__":
    try:
        print(shift(sys.argv[1], int(sys.argv[2])))
    except (OSError, ValueError) as error:
        sys.exit(str(error))
