"""
Brings files from a mounted snapshot back into live data, which its users go on changing meanwhile. Shell, in the child.

Every file is made in a directory of ours in the top directory and renamed into its place, so that a crash leaves half
a file nowhere else; the next restore removes it (`tidy`), and so does the node when it starts again. What is newer and
not in the snapshot stays. A directory in the way of a file, or the other way round, is renamed and kept. Links are made
again as links, never followed; setuid bits, devices, sockets and fifos do not come back, nor attributes that are not
the users' own; hard links become files of their own. A copy beside what is there appears whole, by one rename.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from hybrid_replicator.jail import open_beneath, relative

MAX_ENTRIES = 1_000_000
MAX_DEPTH = 256
CHUNK = 1024 * 1024
STAGING = ".hybrid-restoring-"
"""How the name of the directory begins in which files are made."""
_MODE = 0o1777
"""Permission bits that come back."""
_LONGEST = 255
"""Bytes of a name."""


class TooMuch(Exception):
    """More entries or deeper than one call takes."""


@contextmanager
def closing(descriptor: int) -> Iterator[int]:
    """Close it in the end."""
    try:
        yield descriptor
    finally:
        os.close(descriptor)


class Copying:
    """One restore."""

    def __init__(
        self,
        max_entries: int = MAX_ENTRIES,
        max_depth: int = MAX_DEPTH,
        copied: Callable[[int], None] = lambda size_bytes: None,
    ) -> None:
        """`copied` is told of the bytes of each piece that was copied."""
        self._copied = copied
        self._entries_left, self._max_depth = max_entries, max_depth
        self._token = os.urandom(6).hex()
        self._staging = -1
        self.files = 0
        """Files and links written so far."""

    @contextmanager
    def staging(self, live: int) -> Iterator[None]:
        """Everything below is done within this: files are made in a directory of ours below `live`."""
        tidy(live)
        name = STAGING + self._token
        os.mkdir(name, 0o700, dir_fd=live)
        try:
            with closing(open_beneath(live, name, os.O_RDONLY | os.O_DIRECTORY, links=False)) as self._staging:
                yield
        finally:
            tidy(live)

    def copy(self, root: int, live: int, path: str) -> None:
        """
        Bring `path` back.

        Args:
            root: The snapshot's top directory, open.
            live: The live data's top directory, open.
            path: From there, with or without a leading slash; empty for everything.

        Raises:
            OSError: It is not in the snapshot, leads out of it, or there is no room.
            TooMuch: A limit was reached; what was copied stays.
        """
        folder, name = os.path.split(relative(path))
        if name in (".", ".."):
            with closing(open_beneath(root, relative(path), os.O_RDONLY | os.O_DIRECTORY)) as source:
                self._contents(source, live, 0)
            return
        with closing(open_beneath(root, folder or ".", os.O_RDONLY | os.O_DIRECTORY)) as source:
            os.stat(name, dir_fd=source, follow_symlinks=False)
            with closing(self.folder(root, live, folder)) as target:
                self._entry(source, target, name, 0)

    def copy_beside(self, root: int, live: int, path: str, as_name: str) -> str:
        """
        Bring `path` back beside what is there now: as `as_name` in its folder, with a number if that is taken.

        Returns:
            Where it is, from the top directory.

        Raises:
            OSError, TooMuch: As `copy`; then nothing of it is there.
        """
        folder, name = os.path.split(relative(path))
        if name in (".", ".."):
            raise FileNotFoundError(errno.ENOENT, "the whole site has no place beside it", path)
        with closing(open_beneath(root, folder or ".", os.O_RDONLY | os.O_DIRECTORY)) as source:
            os.stat(name, dir_fd=source, follow_symlinks=False)
            self._entry(source, self._staging, name, 0)
            if not _is_there(self._staging, name):
                raise FileNotFoundError(errno.ENOENT, "neither file, folder nor link", path)
            with closing(self.folder(root, live, folder)) as target:
                free = _free_name(target, as_name)
                os.rename(name, free, src_dir_fd=self._staging, dst_dir_fd=target)
        return os.path.join(folder, free)

    def bring(self, root: int, live: int, path: str, target: str) -> None:
        """Bring the file `path` back as `target`, in the same folder. Raises `OSError`."""
        folder, name = os.path.split(path)
        with closing(open_beneath(root, folder or ".", os.O_RDONLY | os.O_DIRECTORY, links=False)) as source:
            with closing(self.folder(root, live, folder)) as there:
                self._file(source, there, name, os.path.basename(target))

    def folder(self, root: int, live: int, folder: str) -> int:
        """The directory `folder` of live data, open; made as it was in the snapshot where it is missing."""
        try:
            return open_beneath(live, folder or ".", os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            above, name = os.path.split(folder)
        with closing(self.folder(root, live, above)) as parent:
            with closing(open_beneath(root, folder, os.O_RDONLY | os.O_DIRECTORY)) as source:
                os.mkdir(name, 0o700, dir_fd=parent)
                made = open_beneath(parent, name, os.O_RDONLY | os.O_DIRECTORY, links=False)
                _dress(source, made)
                return made

    def _entry(self, source: int, target: int, name: str, depth: int) -> None:
        self._entries_left -= 1
        if self._entries_left < 0 or depth > self._max_depth:
            raise TooMuch("too many entries" if self._entries_left < 0 else "too deep")
        kind = stat.S_IFMT(os.stat(name, dir_fd=source, follow_symlinks=False).st_mode)
        if kind == stat.S_IFREG:
            self._file(source, target, name, name)
        elif kind == stat.S_IFLNK:
            self._link(source, target, name)
        elif kind == stat.S_IFDIR:
            self._directory(source, target, name, depth)

    def _directory(self, source: int, target: int, name: str, depth: int) -> None:
        self._make_way(target, name, for_directory=True)
        with suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=target)
        flags = os.O_RDONLY | os.O_DIRECTORY
        with closing(open_beneath(source, name, flags, links=False)) as inner:
            with closing(open_beneath(target, name, flags, links=False)) as made:
                self._contents(inner, made, depth + 1)
                _dress(inner, made)

    def _contents(self, source: int, target: int, depth: int) -> None:
        for name in os.listdir(source):
            self._entry(source, target, name, depth)

    def _file(self, source: int, target: int, name: str, new_name: str) -> None:
        temporary = self._temporary()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with closing(open_beneath(source, name, os.O_RDONLY | os.O_NOFOLLOW, links=False)) as old:
            with closing(os.open(temporary, flags, 0o600, dir_fd=self._staging)) as new:
                _copy_data(old, new, self._copied)
                _dress(old, new)
                os.fsync(new)
        self._put(target, temporary, new_name)

    def _link(self, source: int, target: int, name: str) -> None:
        temporary, was = self._temporary(), os.stat(name, dir_fd=source, follow_symlinks=False)
        os.symlink(os.readlink(name, dir_fd=source), temporary, dir_fd=self._staging)
        os.chown(temporary, was.st_uid, was.st_gid, dir_fd=self._staging, follow_symlinks=False)
        times = (was.st_atime_ns, was.st_mtime_ns)
        os.utime(temporary, ns=times, dir_fd=self._staging, follow_symlinks=False)
        self._put(target, temporary, name)

    def _put(self, target: int, temporary: str, name: str) -> None:
        self._make_way(target, name, for_directory=False)
        os.rename(temporary, name, src_dir_fd=self._staging, dst_dir_fd=target)
        self.files += 1

    def _make_way(self, target: int, name: str, for_directory: bool) -> None:
        """Rename, and so keep, what is of the other kind."""
        try:
            mode = os.stat(name, dir_fd=target, follow_symlinks=False).st_mode
        except FileNotFoundError:
            return
        if stat.S_ISDIR(mode) != for_directory:
            os.rename(name, f"{name[:200]}.before-restore-{self._token}", src_dir_fd=target, dst_dir_fd=target)

    def _temporary(self) -> str:
        return f"{STAGING}{self._token}-{self._entries_left}"


def tidy(live: int) -> int:
    """Remove what a restore that was cut short left in the top directory `live`. Returns how many directories."""
    left = [name for name in os.listdir(live) if name.startswith(STAGING)]
    for name in left:
        if stat.S_ISDIR(os.stat(name, dir_fd=live, follow_symlinks=False).st_mode):
            shutil.rmtree(name, dir_fd=live)
    return len(left)


def beside(name: str, at: str) -> str:
    """The name of a copy of `name` as it was `at` some time: `notes (2026-11-20 14.05.10).txt`."""
    stem, dot, ending = name.rpartition(".")
    if not stem or len(ending) > 10:
        stem, dot, ending = name, "", ""
    suffix = f" ({at}){dot}{ending}"
    room = _LONGEST - len(os.fsencode(suffix)) - len(" 100")
    return os.fsdecode(os.fsencode(stem)[:room]) + suffix


def _free_name(folder: int, wanted: str) -> str:
    for number in range(1, 100):
        name = wanted if number == 1 else f"{wanted} {number}"
        if not _is_there(folder, name):
            return name
    raise FileExistsError(errno.EEXIST, "a hundred copies of it are there already", wanted)


def _is_there(folder: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _copy_data(old: int, new: int, copied: Callable[[int], None]) -> None:
    """All bytes; runs of zeros stay holes."""
    while chunk := os.read(old, CHUNK):
        if chunk.count(0) == len(chunk):
            os.lseek(new, len(chunk), os.SEEK_CUR)
        else:
            view = memoryview(chunk)
            while view:
                view = view[os.write(new, view) :]
        copied(len(chunk))
    os.ftruncate(new, os.lseek(new, 0, os.SEEK_CUR))


def _dress(old: int, new: int) -> None:
    """Owner, permissions, times and the users' own attributes."""
    was = os.fstat(old)
    os.fchown(new, was.st_uid, was.st_gid)
    os.fchmod(new, was.st_mode & _MODE)
    for key in _attributes(old):
        if key.startswith("user."):
            os.setxattr(new, key, os.getxattr(old, key))
    os.utime(new, ns=(was.st_atime_ns, was.st_mtime_ns))


def _attributes(descriptor: int) -> list[str]:
    try:
        return os.listxattr(descriptor)
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.ENOSYS, errno.EOPNOTSUPP):
            return []
        raise
