"""Putting an image's tar together: a busybox root, and overlays on any root. Writes files, blocks."""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from hybrid.errors import ImageError
from hybrid_containers.recipe import Directory

EPOCH_S = 1_767_225_600
"""All times in an image (2026-01-01): equal contents make an equal tar, so an equal digest, on every machine."""

FOLDERS = tuple(
    Directory(path, mode=mode)
    for path, mode in {
        **dict.fromkeys(
            ("bin", "dev", "etc", "proc", "run", "sbin", "srv", "sys", "usr/bin", "usr/sbin", "var"), 0o755
        ),
        "root": 0o700,
        "tmp": 0o1777,
    }.items()
)


def write_busybox(tar: tarfile.TarFile, busybox: Path) -> None:
    """
    A root file system of one statically linked program with all its names.

    Raises:
        ImageError: It is not there, or needs libraries.
    """
    try:
        names = subprocess.run([busybox, "--list-full"], capture_output=True, text=True, check=True).stdout.split()
        data = busybox.read_bytes()
    except (OSError, subprocess.CalledProcessError) as error:
        raise ImageError(f"{busybox} cannot be used", str(error), "apt-get install busybox-static") from error
    if b"/ld-" in data[:4096]:  # the name of its loader, among the program headers
        raise ImageError(f"{busybox} is linked dynamically", try_="apt-get install busybox-static")
    write_directories(tar, FOLDERS)
    add_file(tar, "bin/busybox", data, 0o755)
    for name in sorted({*names, "bin/sh"} - {"bin/busybox", "linuxrc", "sbin/init"}):
        add_link(tar, name, "/bin/busybox")


def write_directories(tar: tarfile.TarFile, directories: Iterable[Directory]) -> None:
    """Add directories with their owners."""
    for directory in directories:
        member = _member(directory.path, tarfile.DIRTYPE, directory.mode)
        member.uid, member.gid = directory.uid, directory.gid
        tar.addfile(member)


def write_overlay(tar: tarfile.TarFile, files: Mapping[str, Path]) -> None:
    """Add files, all root's; of their modes only the executable bit counts, whatever the umask of the checkout was."""
    for inside, path in sorted(files.items()):
        if path.is_symlink():
            add_link(tar, inside, str(path.readlink()))
        else:
            add_file(tar, inside, path.read_bytes(), 0o755 if path.stat().st_mode & 0o100 else 0o644)


def add_file(tar: tarfile.TarFile, inside: str, data: bytes, mode: int) -> None:
    """Add one file."""
    member = _member(inside, tarfile.REGTYPE, mode)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def add_link(tar: tarfile.TarFile, inside: str, target: str) -> None:
    """Add one symbolic link."""
    member = _member(inside, tarfile.SYMTYPE, 0o777)
    member.linkname = target
    tar.addfile(member)


def _member(inside: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(f"./{inside}")
    member.type, member.mode, member.mtime = kind, mode, EPOCH_S
    return member
