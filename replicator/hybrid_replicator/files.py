"""
The child process that touches tenants' files: `python -m hybrid_replicator.files`, one request on stdin. Shell.

Its own process, because a read from a sick pool may never return, and because nothing of a tenant's file system is to
be resolved in the process that holds the keys of the cluster.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import stat
import sys
from typing import Literal, assert_never

from hybrid.deeds import Entry
from hybrid_replicator.copying import Copying, TooMuch, closing
from hybrid_replicator.filework import (
    Answer,
    Content,
    Copied,
    CopyTree,
    Listed,
    ListEntries,
    NotDone,
    ReadContent,
    Trouble,
    United,
    UniteMail,
    Work,
    decode_work,
    encode,
)
from hybrid_replicator.jail import open_beneath, open_root, relative
from hybrid_replicator.uniting import unite

MAX_LISTED = 100_000
"""Entries of one directory."""
_PR_SET_PDEATHSIG = 1
_TROUBLES: dict[int, Trouble] = {
    **dict.fromkeys((errno.ENOENT, errno.ENOTDIR, errno.EXDEV, errno.ELOOP, errno.ENAMETOOLONG), "no such path"),
    errno.ENOSPC: "out of space",
    errno.EDQUOT: "quota",
    errno.EFBIG: "too large",
}


def do(work: Work) -> Answer:
    """Do what is asked. Never raises for what lies in the files."""
    if "\0" in work.path:
        return NotDone("no such path", "a zero byte is in no name")
    try:
        with closing(open_root(work.root)) as root:
            match work:
                case ListEntries(path=path):
                    return _listed(root, path)
                case ReadContent(path=path, limit_bytes=limit_bytes):
                    return _content(root, path, limit_bytes)
                case CopyTree(live_root=live_root, path=path):
                    return _copied(root, live_root, path)
                case UniteMail():
                    return United(unite(work, root))
                case _:
                    assert_never(work)
    except OSError as error:
        return NotDone(_TROUBLES.get(error.errno or 0, "failed"), f"{error.filename or work.path}: {error.strerror}")
    except TooMuch as error:
        return NotDone("too large", str(error))


def _listed(root: int, path: str) -> Answer:
    with closing(open_beneath(root, relative(path), os.O_RDONLY | os.O_DIRECTORY)) as folder:
        names = os.listdir(folder)
        if len(names) > MAX_LISTED:
            return NotDone("too large", f"{len(names)} entries, more than {MAX_LISTED}")
        return Listed([_entry(folder, name) for name in sorted(names)])


def _entry(folder: int, name: str) -> Entry:
    status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    shown = os.fsencode(name).decode("utf-8", "backslashreplace")
    return Entry(shown, _kind(status.st_mode), status.st_size, int(status.st_mtime))


def _kind(mode: int) -> Literal["file", "directory", "link", "other"]:
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "directory"
    return "link" if stat.S_ISLNK(mode) else "other"


def _content(root: int, path: str, limit_bytes: int) -> Answer:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
    with closing(open_beneath(root, relative(path), flags, links=False)) as file:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            return NotDone("no such path", f"{path} is not a regular file")
        if status.st_size > limit_bytes:
            return NotDone("too large", f"{path} has {status.st_size} bytes, more than {limit_bytes}")
        with os.fdopen(os.dup(file), "rb") as opened:
            return Content(opened.read(limit_bytes))


def _copied(root: int, live_root: str, path: str) -> Answer:
    copying = Copying()
    with closing(open_root(live_root)) as live:
        copying.copy(root, live, path)
    return Copied(copying.files)


def main() -> None:
    """Answer the one request, and end; also when the parent ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    sys.stdout.buffer.write(encode(do(decode_work(sys.stdin.buffer.read()))))


if __name__ == "__main__":
    main()
