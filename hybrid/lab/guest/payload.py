"""What a run brings along, on the guest's second disk: the checkout as it is, images, and what to do. Blocks."""

from __future__ import annotations

import io
import shlex
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from hybrid.errors import ImageError

JOB = ".guest"
IMAGES = f"/payload/{JOB}/images"
BLOCK_BYTES = 512


def write(disk: Path, checkout: Path, images: Sequence[Path], argv: Sequence[str], deadline_s: float) -> None:
    """
    A tar archive as the disk `disk`.

    Args:
        disk: Is made.
        checkout: Everything in it that git does not ignore.
        images: Files that the guest finds in `$HYBRID_IMAGES`.
        argv: What is run in the checkout.
        deadline_s: For `argv`.

    Raises:
        ImageError: The checkout's files cannot be told.
    """
    with tarfile.open(disk, "w", format=tarfile.GNU_FORMAT) as archive:
        for name in tracked(checkout):
            archive.add(checkout / name, name, recursive=False)
        for image in images:
            archive.add(image, f"{JOB}/images/{image.name}")
        for name, text in job(argv, deadline_s, {"HYBRID_IMAGES": IMAGES}).items():
            entry = tarfile.TarInfo(f"{JOB}/{name}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text))
    with disk.open("ab") as file:  # a disk is whole sectors
        file.truncate(-(-file.tell() // BLOCK_BYTES) * BLOCK_BYTES)


def job(argv: Sequence[str], deadline_s: float, environment: Mapping[str, str]) -> dict[str, bytes]:
    """The files by which `contrib/lab/guest/inside` knows what to do: name to content."""
    return {
        "argv": b"".join(word.encode() + b"\0" for word in argv),
        "deadline_s": f"{deadline_s:.0f}\n".encode(),
        "environment": "".join(f"{name}={shlex.quote(value)}\n" for name, value in environment.items()).encode(),
    }


def tracked(checkout: Path) -> list[str]:
    """Files of the checkout, also new ones, but not what git ignores; those that were deleted are left out."""
    argv = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(argv, cwd=checkout, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode != 0:
        raise ImageError(f"{checkout} is not a git checkout", done.stderr.strip())
    return [name for name in done.stdout.split("\0") if name and (checkout / name).exists()]
