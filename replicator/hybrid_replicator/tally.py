"""How far a restore is: what was copied, and how much there is. Shell, in the child."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable

from hybrid_replicator.filework import PROGRESS
from hybrid_replicator.jail import open_beneath, relative
from hybrid_replicator.ports import Told, untold

TELL_S = 0.5
MEASURE_S = 3.0
"""What takes longer to look through is copied without knowing how much it is."""


class Tally:
    """Adds up what was copied, and tells of it now and then."""

    def __init__(self, told: Told, size_bytes: int | None, now_s: Callable[[], float] = time.monotonic) -> None:
        self._tell, self._size_bytes, self._now_s = told, size_bytes, now_s
        self._bytes, self._told_s = 0, float("-inf")

    def copied(self, size_bytes: int) -> None:
        """So many bytes more."""
        self._bytes += size_bytes
        if self._now_s() - self._told_s >= TELL_S:
            self._told_s = self._now_s()
            self._tell(self._bytes, self._size_bytes)


def teller() -> Told:
    """To be called before anything else is opened: who can tell the process that waits, if it listens."""
    try:
        listens = stat.S_ISFIFO(os.fstat(PROGRESS).st_mode)
    except OSError:
        listens = False
    return _tell if listens else untold


def _tell(copied_bytes: int, size_bytes: int | None) -> None:
    try:
        os.write(PROGRESS, f"{copied_bytes} {'' if size_bytes is None else size_bytes}\n".encode())
    except BrokenPipeError:
        return  # who waited is gone, and so is this process soon


def size_of(root: int, path: str, now_s: Callable[[], float] = time.monotonic) -> int | None:
    """
    Bytes in the files of `path` below `root`.

    Returns:
        `None` where that takes longer than `MEASURE_S`, or cannot be seen; what is wrong there, the copy will say.
    """
    until_s = now_s() + MEASURE_S
    try:
        opened = open_beneath(root, relative(path), os.O_PATH)
    except OSError:
        return None
    try:
        status = os.fstat(opened)
        if not stat.S_ISDIR(status.st_mode):
            return status.st_size
        total = 0
        for _, _, files, folder in os.fwalk(".", dir_fd=opened):
            for name in files:
                status = os.stat(name, dir_fd=folder, follow_symlinks=False)
                total += status.st_size if stat.S_ISREG(status.st_mode) else 0
            if now_s() > until_s:
                return None
        return total
    except OSError:
        return None
    finally:
        os.close(opened)
