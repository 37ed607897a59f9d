"""
The child process that touches tenants' files: `python -m hybrid_replicator.files`, one request on stdin. Shell.

Its own process, because a read from a sick pool may never return, and because nothing of a tenant's file system is to
be resolved in the process that holds the keys of the cluster. It reaches nothing but the directories it is asked about
(`confining`), and in these nothing that a link leads out to (`jail`).
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import stat
import sys
from typing import BinaryIO, assert_never

from hybrid import filenames
from hybrid.deeds import Entry, Folder
from hybrid_replicator.archive import read_out
from hybrid_replicator.comparing import Comparison, kind_of
from hybrid_replicator.confining import confine
from hybrid_replicator.copying import Copying, TooMuch, beside, closing, tidy
from hybrid_replicator.filework import (
    Answer,
    Compare,
    Compared,
    Copied,
    CopyTree,
    Counted,
    Listed,
    ListFolder,
    NotDone,
    ReadOut,
    Tidy,
    Trouble,
    UniteMail,
    Work,
    complaint,
    decode_work,
    encode,
)
from hybrid_replicator.jail import open_beneath, open_root, relative
from hybrid_replicator.ports import Told, untold
from hybrid_replicator.tally import Tally, size_of, teller
from hybrid_replicator.uniting import unite

MAX_LISTED = 1_000_000
"""Entries of one directory."""
_PR_SET_PDEATHSIG = 1
_TROUBLES: dict[int, Trouble] = {
    **dict.fromkeys((errno.ENOENT, errno.ENOTDIR, errno.EXDEV, errno.ELOOP, errno.ENAMETOOLONG), "no such path"),
    errno.ENOSPC: "out of space",
    errno.EDQUOT: "quota",
    errno.EFBIG: "too large",
}


def do(work: Work, out: BinaryIO | None = None, told: Told = untold) -> Answer | None:
    """
    Do what is asked, and tell how far it is.

    A `ReadOut` goes to `out` and has no answer but a refusal. Never raises for what lies there.
    """
    path = os.fsdecode(filenames.given(work.path))
    if "\0" in path:
        return NotDone("no such path", "a zero byte is in no name")
    try:
        match work:
            case ReadOut(root=root, form=form):
                assert out is not None  # who asks for content gives it a place
                with closing(open_root(root)) as opened:
                    read_out(opened, path, form, out)
                return None
            case ListFolder(root=root, after=after, limit=limit):
                with closing(open_root(root)) as opened:
                    return Listed(_folder(opened, path, filenames.given(after), limit))
            case CopyTree(root=root, live_root=live_root, copy=copy):
                return _copied(root, live_root, path, copy, told)
            case Compare(old_root=old_root, root=root, settled_s=settled_s, touched=touched):
                with closing(open_root(old_root)) as old, closing(open_root(root)) as new:
                    return Compared(Comparison(settled_s, touched=touched).compare(old, new, path))
            case UniteMail(root=root):
                with closing(open_root(root)) as opened:
                    return Counted(unite(work, opened))
            case Tidy(live_root=live_root):
                with closing(open_root(live_root)) as live:
                    return Counted(tidy(live))
            case _:
                assert_never(work)
    except BrokenPipeError:
        return NotDone("failed", "nobody reads it any more")
    except OSError as error:
        return NotDone(_TROUBLES.get(error.errno or 0, "failed"), f"{error.filename or work.path}: {error.strerror}")
    except TooMuch as error:
        return NotDone("too large", str(error))


def _folder(root: int, path: str, after: bytes, limit: int) -> Folder:
    with closing(open_beneath(root, relative(path), os.O_RDONLY | os.O_DIRECTORY)) as folder:
        names = [os.fsencode(name) for name in os.listdir(folder)]
        if len(names) > MAX_LISTED:
            raise TooMuch(f"{len(names)} entries, more than {MAX_LISTED}")
        later = sorted(name for name in names if name > after)
        return Folder(tuple(_entry(folder, name) for name in later[:limit]), len(later) > limit)


def _entry(folder: int, name: bytes) -> Entry:
    status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    size = status.st_size if stat.S_ISREG(status.st_mode) else 0
    return Entry(filenames.shown(name), kind_of(status.st_mode), size, int(status.st_mtime))


def _copied(root_path: str, live_root: str, path: str, copy: str, told: Told) -> Answer:
    with closing(open_root(root_path)) as root:
        copying = Copying(copied=Tally(told, size_of(root, path)).copied)
        with closing(open_root(live_root)) as live, copying.staging(live):
            at = _copied_into(copying, root, live, path, copy)
    return Copied(copying.files, "/" + filenames.shown(os.fsencode(at)).lstrip("/"))


def _copied_into(copying: Copying, root: int, live: int, path: str, copy: str) -> str:
    """Where it is then."""
    if copy:
        return copying.copy_beside(root, live, path, beside(os.path.basename(path.rstrip("/")), copy))
    copying.copy(root, live, path)
    return path


def reach(work: Work) -> tuple[list[str], list[str]]:
    """The directories that have to be read, and written, for `work`."""
    match work:
        case ListFolder() | ReadOut():
            return [work.root], []
        case Compare():
            return [work.old_root, work.root], []
        case CopyTree():
            return [work.root], [work.live_root]
        case UniteMail():
            return [work.root, *([work.base_root] if work.base_root is not None else [])], [work.live_root]
        case Tidy():
            return [], [work.live_root]
        case _:
            assert_never(work)


def main() -> int:
    """Answer the one request, and end; also when the parent ends. A `ReadOut` that fails says why on stderr."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    told = teller()
    work = decode_work(sys.stdin.buffer.read())
    try:
        confine(*reach(work))
        answer = do(work, sys.stdout.buffer, told)
    except FileNotFoundError as error:
        answer = NotDone("no such path", f"{error.filename}: {error.strerror}")
    if not isinstance(work, ReadOut):
        assert answer is not None  # only content goes without
        sys.stdout.buffer.write(encode(answer))
    elif isinstance(answer, NotDone):
        sys.stderr.buffer.write(complaint(answer))
        sys.stderr.flush()
        os._exit(1)  # what is left in the buffer would come after a hole
    return 0


if __name__ == "__main__":
    sys.exit(main())
