"""
Reads a file or folder of a mounted snapshot out as it is, as tar or as zip, while it walks. Shell, in the child.

Nothing is gathered first: what is written can be sent on at once, and a reader that waits makes this wait. Links go
along as links and are never followed; devices, sockets and fifos stay out, and so do setuid bits and owners, whose
numbers mean nothing outside of the container.
"""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
import time
import zipfile
from collections.abc import Iterator
from typing import BinaryIO, Protocol, assert_never

from hybrid.deeds import Form
from hybrid_replicator.copying import CHUNK, MAX_DEPTH, MAX_ENTRIES, TooMuch, closing
from hybrid_replicator.jail import open_beneath, relative

MAX_BYTES = 2**40
"""Of content in one download: a hole of exabytes ends somewhere."""
_MODE = 0o777
_OLDEST, _NEWEST = 315_532_800, 4_354_819_198
"""Of what zip can say: 1980 to 2107."""


class _Archive(Protocol):
    def folder(self, name: str, status: os.stat_result) -> None: ...
    def link(self, name: str, status: os.stat_result, target: str) -> None: ...
    def file(self, name: str, status: os.stat_result, content: BinaryIO) -> None: ...
    def close(self) -> None: ...


def read_out(root: int, path: str, form: Form, out: BinaryIO) -> None:
    """
    Write `path` below the open directory `root` to `out`.

    Raises:
        OSError: It is not there, not what `form` wants, or `out` was closed.
        TooMuch: More entries, deeper or larger than one call takes; `out` holds the beginning.
    """
    match form:
        case "file":
            with closing(_regular(root, relative(path))) as file, open(os.dup(file), "rb") as content:
                shutil.copyfileobj(content, out, CHUNK)
        case "tar":
            _pack(root, relative(path), _Tar(out))
        case "zip":
            _pack(root, relative(path), _Zip(out))
        case _:
            assert_never(form)


def _pack(root: int, path: str, archive: _Archive) -> None:
    """All of `path` below a directory of its own name; nothing is written before it was found."""
    above, name = os.path.split(path)
    name = "site" if name in (".", "..") else name
    entries_left, bytes_left = MAX_ENTRIES, MAX_BYTES
    with closing(open_beneath(root, above or ".", os.O_RDONLY | os.O_DIRECTORY)) as folder:
        for opened, entry, shown, status in _walk(folder, os.path.basename(path) or ".", name, 0):
            entries_left -= 1
            bytes_left -= status.st_size if stat.S_ISREG(status.st_mode) else 0
            if entries_left < 0 or bytes_left < 0:
                raise TooMuch("too many entries" if entries_left < 0 else "too many bytes")
            if stat.S_ISDIR(status.st_mode):
                archive.folder(shown, status)
            elif stat.S_ISLNK(status.st_mode):
                archive.link(shown, status, os.readlink(entry, dir_fd=opened))
            elif stat.S_ISREG(status.st_mode):
                with closing(_regular(opened, entry)) as file, open(os.dup(file), "rb") as content:
                    archive.file(shown, status, content)
    archive.close()


def _walk(folder: int, entry: str, shown: str, depth: int) -> Iterator[tuple[int, str, str, os.stat_result]]:
    """`(open folder, name in it, name in the archive, status)` of `entry` and all below it, by name."""
    if depth > MAX_DEPTH:
        raise TooMuch("too deep")
    status = os.stat(entry, dir_fd=folder, follow_symlinks=False)
    yield folder, entry, shown, status
    if stat.S_ISDIR(status.st_mode):
        with closing(open_beneath(folder, entry, os.O_RDONLY | os.O_DIRECTORY, links=False)) as inner:
            for name in sorted(os.listdir(inner)):
                yield from _walk(inner, name, f"{shown}/{name}", depth + 1)


def _regular(folder: int, path: str) -> int:
    """The regular file `path`, open; links are not followed. Raises `OSError`."""
    file = open_beneath(folder, path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, links=False)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise FileNotFoundError(2, "not a regular file", path)
    return file


class _Tar:
    """POSIX.1-2001 (pax): names of any bytes, sizes of any length."""

    def __init__(self, out: BinaryIO) -> None:
        self._tar = tarfile.open(mode="w|", fileobj=out, format=tarfile.PAX_FORMAT, bufsize=CHUNK)

    def folder(self, name: str, status: os.stat_result) -> None:
        self._tar.addfile(self._info(name, status, tarfile.DIRTYPE))

    def link(self, name: str, status: os.stat_result, target: str) -> None:
        info = self._info(name, status, tarfile.SYMTYPE)
        info.linkname = target
        self._tar.addfile(info)

    def file(self, name: str, status: os.stat_result, content: BinaryIO) -> None:
        info = self._info(name, status, tarfile.REGTYPE)
        info.size = status.st_size
        self._tar.addfile(info, content)

    def close(self) -> None:
        self._tar.close()

    def _info(self, name: str, status: os.stat_result, kind: bytes) -> tarfile.TarInfo:
        info = tarfile.TarInfo(name)
        info.type, info.mode, info.mtime = kind, status.st_mode & _MODE, int(status.st_mtime)
        return info


class _Zip:
    """As Info-ZIP writes it, with data descriptors: modes and links in the external attributes, UTF-8 names."""

    def __init__(self, out: BinaryIO) -> None:
        self._zip = zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1)

    def folder(self, name: str, status: os.stat_result) -> None:
        self._zip.writestr(self._info(name + "/", status), b"")

    def link(self, name: str, status: os.stat_result, target: str) -> None:
        self._zip.writestr(self._info(name, status), os.fsencode(target))

    def file(self, name: str, status: os.stat_result, content: BinaryIO) -> None:
        with self._zip.open(self._info(name, status), "w", force_zip64=True) as member:
            shutil.copyfileobj(content, member, CHUNK)

    def close(self) -> None:
        self._zip.close()

    def _info(self, name: str, status: os.stat_result) -> zipfile.ZipInfo:
        text = os.fsencode(name).decode("utf-8", "backslashreplace")
        info = zipfile.ZipInfo(text, time.gmtime(min(max(_OLDEST, status.st_mtime), _NEWEST))[:6])
        info.compress_type = zipfile.ZIP_DEFLATED
        info.external_attr = (stat.S_IFMT(status.st_mode) | status.st_mode & _MODE) << 16
        info.create_system = 3  # Unix: the attributes are a mode
        return info
