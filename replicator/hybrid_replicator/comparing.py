"""
Compares two mounted moments of one site by walking both. Shell, in the child.

What has the same inode and an old time of change is the same and is not looked into; what has not is compared byte by
byte, for a restore gives a file a new inode and the content it had. What is gone and what is new are walked too, so
that a folder that was renamed can be told from one that was deleted. Where the pool says in which folders something is
different, no others are walked.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator

from hybrid import filenames
from hybrid.deeds import Differences, Kind
from hybrid_replicator.copying import CHUNK, MAX_DEPTH, MAX_ENTRIES, TooMuch, closing
from hybrid_replicator.jail import open_beneath, relative
from hybrid_replicator.renames import Found, Pair, difference, paired

MAX_CHANGES = 20_000
"""As many are told."""
MAX_READ = 4 * 2**30
"""Bytes compared in one call; what is left then counts as changed."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY


def kind_of(mode: int) -> Kind:
    """What a file of that mode is."""
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "directory"
    return "link" if stat.S_ISLNK(mode) else "other"


class Comparison:
    """
    One comparison.

    Args:
        settled_s: Seconds since the epoch, a little before the earlier moment. Files tell times in steps, zfs-fuse in
            whole seconds: one that says it changed later may have changed between the two without telling.
        touched: The folders in which something is different, with all above them, where the pool could tell: of those
            that are in both moments no others are looked into.
    """

    def __init__(
        self,
        settled_s: int,
        max_entries: int = MAX_ENTRIES,
        max_changes: int = MAX_CHANGES,
        touched: Iterable[bytes] | None = None,
    ) -> None:
        self._settled_s = settled_s
        self._entries_left, self._max_changes = max_entries, max_changes
        self._touched = None if touched is None else frozenset(touched)
        self._bytes_left = MAX_READ
        self._deleted: list[Found] = []
        self._added: list[Found] = []
        self._changed: list[Pair] = []

    def compare(self, old: int, new: int, path: str) -> Differences:
        """
        What is different in the directory `path` of two open directories; it may be missing in one of them.

        Raises:
            OSError: It is in neither, or cannot be read.
            TooMuch: More entries or deeper than one call takes.
        """
        below = relative(path)
        before, after = _opened(old, below), _opened(new, below)
        try:
            if before is None and after is None:
                raise FileNotFoundError(2, "in neither of the two moments", path)
            self._folders(before, after, "" if below == "." else below, 0)
        finally:
            for descriptor in (before, after):
                if descriptor is not None:
                    os.close(descriptor)
        pairs = self._changed + self._renamed()
        told = sorted((difference(pair) for pair in pairs), key=lambda one: one.path)
        return Differences(tuple(told[: self._max_changes]), len(told) <= self._max_changes)

    def _renamed(self) -> list[Pair]:
        """Without what only moved along with a folder above it."""
        pairs = list(paired(self._deleted, self._added))
        moved = {pair.old.path: pair.new.path for pair in pairs if pair.old and pair.new}
        return [pair for pair in pairs if not _went_along(pair, moved)]

    def _folders(self, old: int | None, new: int | None, path: str, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise TooMuch("too deep")
        before = set(os.listdir(old)) if old is not None else set()
        after = set(os.listdir(new)) if new is not None else set()
        self._entries_left -= len(before | after)
        if self._entries_left < 0:
            raise TooMuch("too many entries")
        for name in before | after:
            inner = f"{path}/{name}" if path else name
            was = _status(old, name) if name in before else None
            now = _status(new, name) if name in after else None
            self._entry((old, was), (new, now), name, inner, depth)

    def _entry(
        self,
        before: tuple[int | None, os.stat_result | None],
        after: tuple[int | None, os.stat_result | None],
        name: str,
        path: str,
        depth: int,
    ) -> None:
        (old, was), (new, now) = before, after
        if was is not None and now is not None and stat.S_IFMT(was.st_mode) == stat.S_IFMT(now.st_mode):
            if self._differs(old, was, new, now, name):
                self._changed.append(Pair(_found(path, was), _found(path, now)))
        else:
            self._deleted += [] if was is None else [_found(path, was)]
            self._added += [] if now is None else [_found(path, now)]
        if was is not None and now is not None and self._touched is not None and os.fsencode(path) not in self._touched:
            return
        inner_old, inner_new = _folder_in(old, name, was), _folder_in(new, name, now)
        try:
            if inner_old is not None or inner_new is not None:
                self._folders(inner_old, inner_new, path, depth + 1)
        finally:
            for descriptor in (inner_old, inner_new):
                if descriptor is not None:
                    os.close(descriptor)

    def _differs(self, old: int | None, was: os.stat_result, new: int | None, now: os.stat_result, name: str) -> bool:
        if _dress(was) != _dress(now):
            return True
        if stat.S_ISDIR(now.st_mode) or surely_untouched(was, now, self._settled_s):
            return False
        if stat.S_ISLNK(now.st_mode):
            return os.readlink(name, dir_fd=old) != os.readlink(name, dir_fd=new)
        if not stat.S_ISREG(now.st_mode):
            return False
        if was.st_size != now.st_size:
            return True
        self._bytes_left -= now.st_size
        assert old is not None and new is not None  # it is in both
        return self._bytes_left < 0 or not _same_content(old, new, name)


def surely_untouched(was: os.stat_result, now: os.stat_result, settled_s: int) -> bool:
    """Whether there is no need to look into it; see `Comparison`."""
    same = (was.st_ino, was.st_ctime_ns, was.st_size) == (now.st_ino, now.st_ctime_ns, now.st_size)
    return same and now.st_ctime < settled_s


def _same_content(old: int, new: int, name: str) -> bool:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
    with closing(open_beneath(old, name, flags, links=False)) as one:
        with closing(open_beneath(new, name, flags, links=False)) as other:
            return all(left == right for left, right in _chunks(one, other))


def _chunks(one: int, other: int) -> Iterator[tuple[bytes, bytes]]:
    while True:
        left, right = os.read(one, CHUNK), os.read(other, CHUNK)
        if not left and not right:
            return
        yield left, right


def _dress(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_mode, status.st_uid, status.st_gid


def _opened(root: int, path: str) -> int | None:
    try:
        return open_beneath(root, path, _FOLDER, links=False)
    except FileNotFoundError:
        return None


def _folder_in(folder: int | None, name: str, status: os.stat_result | None) -> int | None:
    if folder is None or status is None or not stat.S_ISDIR(status.st_mode):
        return None
    return open_beneath(folder, name, _FOLDER, links=False)


def _status(folder: int | None, name: str) -> os.stat_result:
    return os.stat(name, dir_fd=folder, follow_symlinks=False)


def _found(path: str, status: os.stat_result) -> Found:
    size = status.st_size if stat.S_ISREG(status.st_mode) else 0
    shown = filenames.shown(os.fsencode(path))
    return Found(shown, kind_of(status.st_mode), status.st_ino, size, status.st_mtime_ns)


def _went_along(pair: Pair, moved: dict[str, str]) -> bool:
    """Whether it was renamed only because the folder it is in was."""
    if pair.old is None or pair.new is None:
        return False
    above_old, _, name_old = pair.old.path.rpartition("/")
    above_new, _, name_new = pair.new.path.rpartition("/")
    return name_old == name_new and moved.get(above_old) == above_new
