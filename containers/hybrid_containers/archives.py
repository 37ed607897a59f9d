"""
Reading archives that nobody vouches for: tar, packed by gzip, bzip2, xz or zstd, never more of it than is allowed.
Does I/O, blocks.

They are unpacked by children, whose memory is bounded where they can be told so; what they give out is counted. No
header is read that is larger than any honest one: Python's `tarfile` keeps a whole one in memory.
"""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Protocol, cast

from hybrid.errors import ImageError
from hybrid_containers.layers import Header, Kind

UNPACKERS = {
    b"\x1f\x8b": ("gzip", "-dc"),
    b"BZh": ("bzip2", "-dc"),
    b"\xfd7zXZ\x00": ("xz", "-dc", "--memlimit-decompress=512MiB"),
    b"\x28\xb5\x2f\xfd": ("zstd", "-dc", "-q", "--memory=512MB"),
}
"""By what a file begins with (RFC 1952, bzip2, the .xz format, RFC 8878)."""
ONE_READ = 1 << 20
CHUNK = 1 << 16
OVERHEAD_BYTES = 1 << 30
"""What headers and padding may take beyond the contents."""


class Source(Protocol):
    """What is read in order."""

    def read(self, size: int, /) -> bytes:
        """At most so much; empty at the end."""


class Bounded:
    """A stream that is read forwards, within bounds, by something that believes it can seek."""

    def __init__(self, source: IO[bytes], limit_bytes: int) -> None:
        self._source, self._left, self._at = source, limit_bytes, 0

    def read(self, size: int = -1, /) -> bytes:
        """Raises `ImageError` where more is asked for than anything honest needs, or there is more than allowed."""
        if not 0 <= size <= ONE_READ:
            raise ImageError("the archive cannot be used", f"it has a header of {size} bytes")
        data = self._source.read(size)
        self._at += len(data)
        self._left -= len(data)
        if self._left < 0:
            raise ImageError("the archive cannot be used", "unpacked it is larger than allowed", "--limit 20G")
        return data

    def tell(self) -> int:
        """How much was read."""
        return self._at

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Forwards only."""
        if whence != 0 or offset < self._at:
            raise ImageError("the archive cannot be used", "it says that something is before where it is")
        while self._at < offset:
            if not self.read(min(CHUNK, offset - self._at)):
                break
        return self._at


@contextmanager
def unpacked(path: Path, limit_bytes: int) -> Iterator[Bounded]:
    """
    What is in `path`, whatever it is packed by.

    Raises:
        ImageError: It is not there, cannot be unpacked, or is larger than allowed.
    """
    try:
        with path.open("rb", buffering=0) as file:  # a child goes on where it stands
            begins = file.read(6)
            file.seek(0)
            argv = next((argv for magic, argv in UNPACKERS.items() if begins.startswith(magic)), None)
            if argv is None:
                yield Bounded(io.BufferedReader(file), limit_bytes + OVERHEAD_BYTES)
                return
            with _child(argv, file) as output:
                bounded = Bounded(output, limit_bytes + OVERHEAD_BYTES)
                yield bounded
                while bounded.read(CHUNK):  # what follows the archive's end: the child has to say that all was well
                    pass
    except OSError as error:
        raise ImageError(f"{path} cannot be read", error.strerror or str(error)) from error


@contextmanager
def _child(argv: tuple[str, ...], file: IO[bytes]) -> Iterator[IO[bytes]]:
    try:
        child = subprocess.Popen(argv, stdin=file, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except FileNotFoundError:
        raise ImageError(
            f"{argv[0]} is not installed", "the archive is packed by it", f"apt-get install {argv[0]}"
        ) from None
    assert child.stdout is not None and child.stderr is not None
    try:
        yield child.stdout
        if child.wait() != 0:
            why = child.stderr.read(300).decode("utf-8", "replace").strip()
            raise ImageError("the archive cannot be unpacked", why or f"{argv[0]} ended with {child.returncode}")
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
        child.stderr.close()


_KINDS: dict[bytes, Kind] = {tarfile.DIRTYPE: "directory", tarfile.SYMTYPE: "symlink", tarfile.LNKTYPE: "link"}


def members(source: Bounded) -> Iterator[tuple[int, Header | None, Source]]:
    """
    Number, header and content of each member of a tar, in order; content is to be read before the next is asked for.

    The header of what is neither file, folder nor link (devices, pipes) is `None`: an image has none. Bits that give
    rights (setuid, setgid) and extended attributes are left out: no process of a site can gain any by them.

    Raises:
        ImageError: It is no tar, or a broken one.
    """
    try:
        with tarfile.open(fileobj=cast(IO[bytes], source), mode="r:") as tar:  # it reads, tells, seeks
            for number, member in enumerate(tar):
                tar.members = []  # type: ignore[attr-defined]  # or it keeps each of millions
                yield number, _header(member), _content(tar, member)
    except (tarfile.TarError, EOFError, UnicodeError, ValueError, OverflowError) as error:
        raise ImageError("the archive cannot be used", f"it is no tar, or a broken one: {error}") from error


def _header(member: tarfile.TarInfo) -> Header | None:
    if member.isreg():
        kind: Kind = "file"
    elif member.type in _KINDS:
        kind = _KINDS[member.type]
    else:
        return None
    size = member.size if kind == "file" else 0
    mode = member.mode & (0o1777 if kind == "directory" else 0o777)
    return Header(member.name, kind, mode, member.uid, member.gid, size, member.linkname)


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> Source:
    found = tar.extractfile(member) if member.isreg() else None
    return found if found is not None else _NOTHING


class _Nothing:
    def read(self, size: int, /) -> bytes:
        """See `Source`."""
        return b""


_NOTHING = _Nothing()
