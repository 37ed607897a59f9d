"""
Add to the access logs of sites, in files of their own. Does I/O, in a child process.

Run as a script (`python -I -S logfiles.py < RECORDS > REASONS`) this file imports the standard library only. The files
are tenants': for each of them a process of its own is confined to them (`chroot(2)`), becomes the site's first user,
and follows nothing at the end of a path. So it can do nothing that the site itself could not.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import stat
import sys
from typing import BinaryIO

FOLDER, NAME = "/var/log/hybrid", "access.log"
FILE_BYTES = 8 * 1024 * 1024
"""A file that would be larger is put aside, as `access.log.1`, and the older ones a number further."""
KEPT = 4
"""So many are kept beside the one that is written to."""
SPARED_BYTES = 4 * 1024 * 1024
"""A site's last free bytes, or the last twentieth of all if that is less, are left to the site."""
DEADLINE_S = 10


def append(root: str, owner: int, data: bytes) -> None:
    """
    Do it; afterwards this process is confined to `root`, the mounted data of a site, and is user `owner`.

    All of `data` is there afterwards, or nothing of it. Raises `OSError`.
    """
    _confine(root, owner)
    os.makedirs(FOLDER, 0o755, exist_ok=True)
    folder = os.open(FOLDER, os.O_RDONLY | os.O_DIRECTORY)
    space = os.fstatvfs(folder)
    spared = min(SPARED_BYTES, space.f_blocks * space.f_frsize // 20)
    if space.f_bavail * space.f_frsize < len(data) + spared:
        raise OSError(errno.ENOSPC, "its quota, or the pool, is used up but for what is left to the site")
    file = _open(folder)
    if os.fstat(file).st_size + len(data) > FILE_BYTES and os.fstat(file).st_size:
        os.close(file)
        _put_aside(folder)
        file = _open(folder)
    before = os.fstat(file).st_size
    if os.write(file, data) != len(data):
        os.ftruncate(file, before)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _confine(root: str, owner: int) -> None:
    """Held by its descriptor, it stays mounted meanwhile; where nothing is mounted nothing is written."""
    held = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    if os.fstat(held).st_dev == os.stat(os.path.dirname(root)).st_dev:
        raise OSError(errno.ENOENT, "its data are not mounted")
    os.fchdir(held)
    os.chroot(".")
    os.close(held)
    os.setgroups([])
    os.setresgid(owner, owner, owner)
    os.setresuid(owner, owner, owner)
    os.umask(0o022)


def _open(folder: int) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK
    file = os.open(NAME, flags, 0o640, dir_fd=folder)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        raise OSError(errno.EINVAL, f"{FOLDER}/{NAME} is no file")
    return file


def _put_aside(folder: int) -> None:
    for number in range(KEPT - 1, 0, -1):
        with contextlib.suppress(FileNotFoundError):
            os.rename(f"{NAME}.{number}", f"{NAME}.{number + 1}", src_dir_fd=folder, dst_dir_fd=folder)
    os.rename(NAME, f"{NAME}.1", src_dir_fd=folder, dst_dir_fd=folder)


def apart(root: str, owner: int, data: bytes) -> str:
    """`append` in a process of its own. Returns why it could not be done; empty: it was."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        signal.alarm(DEADLINE_S)
        why = ""
        try:
            append(root, owner, data)
        except OSError as error:
            why = error.strerror or str(error)
        except BaseException as error:
            why = repr(error)
        os.write(writing, why.encode()[:1000])
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as said:
        why = said.read().decode("utf-8", "replace")
    _, status = os.waitpid(child, 0)
    return why or ("" if status == 0 else "it took too long")


def every(records: BinaryIO) -> list[str]:
    """For each record, a line of JSON (root, owner, number of bytes) and as many bytes: why it could not be done."""
    whys = []
    while head := records.readline():
        root, owner, size = json.loads(head)
        whys.append(apart(root, owner, records.read(size)))
    return whys


if __name__ == "__main__":
    print(json.dumps(every(sys.stdin.buffer)))
