"""
Unpack an image's tar into an empty dataset, in a child process: `python -I unpack.py TAR TARGET`. Does I/O.

The headers are looked at first, so that nothing of a tar that is not an image's gets written; the unpacking itself is
done by tar(1), several times as fast as Python. Imports the standard library only.
"""

from __future__ import annotations

import os
import posixpath
import sys
import tarfile

TAR = ("tar", "--extract", "--numeric-owner", "--preserve-permissions", "--delay-directory-restore")
XATTRS = ("--xattrs", "--xattrs-include=security.capability")


def refuse(member: tarfile.TarInfo) -> str:
    """Why `member` may not be in an image, or `""`."""
    if member.name.startswith("/") or ".." in member.name.split("/"):
        return "its path leads out of the image"
    if member.isdev():
        return "it is a device or a pipe"
    if member.islnk() and (member.linkname.startswith("/") or ".." in posixpath.normpath(member.linkname).split("/")):
        return "it links to a file outside of the image"
    if member.uid >= 65536 or member.gid >= 65536:
        return f"its owner {member.uid}:{member.gid} is outside a container's range"
    return ""


def check(path: str) -> None:
    """Look at every header. Raises `ValueError`, `OSError`, `tarfile.TarError`."""
    with tarfile.open(path, "r:") as tar:
        for count, member in enumerate(tar):
            if why := refuse(member):
                raise ValueError(f"{member.name!r}: {why}")
            if count > 2_000_000:
                raise ValueError("more than two million files")


def main() -> None:
    """Check, then become tar."""
    source, target = sys.argv[1:3]
    try:
        check(source)
    except (OSError, ValueError, tarfile.TarError) as error:
        sys.exit(f"{source}: {error}")
    os.execvp(TAR[0], [*TAR, *XATTRS, "--file", source, "--directory", target])


if __name__ == "__main__":
    main()
