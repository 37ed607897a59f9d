"""
Opens paths below a directory and never outside it, whatever links lie there: `openat2(2)`, Linux 5.6 and later. Shell.

The kernel resolves the path in one step (`RESOLVE_BENEATH`), so there is no moment between a check and a use. Where it
cannot (an older one, or a filter of system calls), each component is opened from the one before, and no link followed.
"""

from __future__ import annotations

import ctypes
import errno
import os

SYS_OPENAT2 = 437
"""The same on every architecture."""
NO_XDEV, NO_MAGICLINKS, NO_SYMLINKS, BENEATH = 0x01, 0x02, 0x04, 0x08
RETRIES = 16
"""A rename elsewhere while `..` is resolved gives EAGAIN."""

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


class _OpenHow(ctypes.Structure):
    """`struct open_how`."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def open_beneath(directory: int, path: str, flags: int, links: bool = True) -> int:
    """
    A file descriptor of `path`, which lies below the open `directory` or is it.

    Args:
        path: Relative, `.` for the directory itself; without a zero byte.
        flags: As for `os.open`; `O_CLOEXEC` is added.
        links: Follow symbolic links that stay below; otherwise none, not even on the way.

    Raises:
        OSError: `EXDEV` when it leads out, `ELOOP` for a link that must not be followed, `ENOENT`, …
    """
    resolve = BENEATH | NO_MAGICLINKS | NO_XDEV | (0 if links else NO_SYMLINKS)
    how = _OpenHow(flags | os.O_CLOEXEC, 0, resolve)
    name = os.fsencode(path)
    for _ in range(RETRIES):
        opened = _libc.syscall(SYS_OPENAT2, directory, name, ctypes.byref(how), ctypes.sizeof(how))
        if opened >= 0:
            return int(opened)
        if ctypes.get_errno() not in (errno.EAGAIN, errno.EINTR):
            break
    code = ctypes.get_errno()
    if code in (errno.ENOSYS, errno.EPERM):
        return walk_beneath(directory, path, flags)
    raise OSError(code, os.strerror(code), path)


def walk_beneath(directory: int, path: str, flags: int) -> int:
    """`open_beneath` without `openat2`: one component after the other, links never followed. Raises `OSError`."""
    if path.startswith("/"):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), path)
    *above, last = [part for part in path.split("/") if part not in ("", ".")] or ["."]
    here = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
    try:
        device = os.fstat(here).st_dev
        for part, how in [*((part, os.O_PATH | os.O_DIRECTORY) for part in above), (last, flags)]:
            if part == "..":
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), path)
            opened = os.open(part, how | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
            os.close(here)
            here = opened
            if os.fstat(here).st_dev != device:
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), path)
        return here
    except BaseException:
        os.close(here)
        raise


def open_root(path: str) -> int:
    """A file descriptor of a directory that is ours: the last component must not be a link."""
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)


def relative(path: str) -> str:
    """A path from the site's root, given with or without the leading slash, as `open_beneath` wants it."""
    return path.strip("/") or "."
