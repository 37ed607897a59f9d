"""
Brings the mail of another branch into live data that a mail server goes on using. Shell, in the child.

What to do is decided by `maildir.union`, from the names and sizes of the files of three trees. Links are not followed.
That it was done is written into the live data itself, so it is known wherever, and for as long as, the data holds it:
were the branch brought in again, what people deleted since would come back.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from typing import assert_never

from hybrid_replicator.copying import MAX_DEPTH, MAX_ENTRIES, Copying, TooMuch, closing
from hybrid_replicator.filework import UniteMail
from hybrid_replicator.jail import open_beneath, open_root, relative
from hybrid_replicator.maildir import Bring, Move, Remove, Step, union

MAILDIR = "cur", "new", "tmp"
"""A directory that has these three is one."""
LOOKS = 5
"""Then what is still in motion stays as its reader left it."""
MARKS = ".hybrid-united"
"""In the site's top directory."""


def unite(work: UniteMail, root: int) -> int:
    """
    Do what is asked; `root` is the other branch, open.

    Returns:
        Steps done, 0 if all was done before. Where a file went away meanwhile, for people read mail, it looks again.

    Raises:
        OSError: No room, or a tree that is not there.
        TooMuch: More files than one call takes; nothing was done.
    """
    with closing(open_root(work.live_root)) as live, closing(_marks(live)) as marks:
        if work.tag in os.listdir(marks):
            return 0
        base = _listed_root(work.base_root, work.path) if work.base_root is not None else {}
        other, copying, done = dict(_messages(root, work.path)), Copying(), 0
        with copying.staging(live):
            for _ in range(LOOKS):
                steps = union(base, dict(_messages(live, work.path)), other, work.tag)
                done += sum(_done(step, root, live, copying) for step in steps)
                if not steps:
                    break
        with closing(os.open(work.tag, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600, dir_fd=marks)) as mark:
            os.fsync(mark)
        return done


def _marks(live: int) -> int:
    """The directory with a file for each branch that was brought in, open."""
    with suppress(FileExistsError):
        os.mkdir(MARKS, 0o700, dir_fd=live)
    return open_beneath(live, MARKS, os.O_RDONLY | os.O_DIRECTORY, links=False)


def _listed_root(path: str, below: str) -> dict[str, int]:
    with closing(open_root(path)) as root:
        return dict(_messages(root, below))


def _done(step: Step, root: int, live: int, copying: Copying) -> bool:
    try:
        match step:
            case Bring(source, target):
                _whole_maildir(root, live, os.path.dirname(os.path.dirname(source)), copying)
                copying.bring(root, live, source, target)
            case Move(source, target):
                with _folder(live, source) as old, _folder(live, target) as new:
                    os.rename(os.path.basename(source), os.path.basename(target), src_dir_fd=old, dst_dir_fd=new)
            case Remove(path):
                with _folder(live, path) as folder:
                    os.unlink(os.path.basename(path), dir_fd=folder)
            case _:
                assert_never(step)
    except FileNotFoundError:
        return False
    return True


def _whole_maildir(root: int, live: int, folder: str, copying: Copying) -> None:
    """A folder that is new here has all that a mail server looks for."""
    for place in MAILDIR:
        os.close(copying.folder(root, live, "/".join(filter(None, (folder, place)))))


def _folder(live: int, path: str) -> AbstractContextManager[int]:
    return closing(open_beneath(live, os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY, links=False))


def _messages(root: int, path: str) -> Iterator[tuple[str, int]]:
    """Path from `root` and size of each message below `path`; nothing where `path` is not there."""
    found, waiting = 0, [relative(path)]
    while waiting:
        folder = waiting.pop()
        if folder.count("/") > MAX_DEPTH:
            raise TooMuch("too deep")
        with suppress(FileNotFoundError), closing(_opened(root, folder)) as opened:
            names = sorted(os.listdir(opened))
            found += len(names)
            if found > MAX_ENTRIES:
                raise TooMuch("too many entries")
            below = [name for name in names if _is_folder(opened, name)]
            if set(MAILDIR) <= set(below):
                below = [name for name in below if name not in MAILDIR]
                for place in ("new", "cur"):
                    yield from _files(root, _joined(folder, place))
            waiting += [_joined(folder, name) for name in below]


def _is_folder(opened: int, name: str) -> bool:
    try:
        return stat.S_ISDIR(os.stat(name, dir_fd=opened, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def _files(root: int, folder: str) -> Iterator[tuple[str, int]]:
    with closing(_opened(root, folder)) as opened:
        for name in sorted(os.listdir(opened)):
            with suppress(FileNotFoundError):
                status = os.stat(name, dir_fd=opened, follow_symlinks=False)
                if stat.S_ISREG(status.st_mode):
                    yield _joined(folder, name), status.st_size


def _opened(root: int, folder: str) -> int:
    return open_beneath(root, folder, os.O_RDONLY | os.O_DIRECTORY, links=False)


def _joined(folder: str, name: str) -> str:
    return name if folder == "." else f"{folder}/{name}"
