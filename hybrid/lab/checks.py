"""What the demo needs of this machine, looked at before anything is begun. Synchronous."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

COMMANDS = {
    "ip": "iproute2",
    "nft": "nftables",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "lxc-start": "lxc",
    "dig": "bind9-dnsutils",
}
NEEDED_BYTES = 2 * 1024**3


@dataclass(frozen=True, slots=True)
class Missing:
    """Something that keeps the demo from running."""

    what: str
    why: str
    try_: str

    def __str__(self) -> str:
        return f"{self.what}\n  why: {self.why}\n  try: {self.try_}"


def missing(image_dir: Path, images: tuple[str, ...], base_dir: Path) -> list[Missing]:
    """All that is missing, so that it can be mended at once."""
    return [*_rights(), *_commands(), *_storage(), *_images(image_dir, images), *_space(base_dir)]


def _rights() -> list[Missing]:
    if os.geteuid() == 0:
        return []
    return [Missing("not root", "nodes are made of namespaces, containers and pools", "sudo make demo")]


def _commands() -> list[Missing]:
    needed = dict(COMMANDS)
    if not Path("/dev/zfs").exists():
        needed["zfs-fuse"] = "zfs-fuse"
    needed["zfs"] = "zfs-fuse" if "zfs-fuse" in needed else "zfsutils-linux"
    absent = [command for command in needed if shutil.which(command, path="/usr/sbin:/usr/bin:/sbin:/bin") is None]
    return [
        Missing(f"the command `{command}` is missing", "nodes and tests use it", f"apt-get install {needed[command]}")
        for command in absent
    ]


def _storage() -> list[Missing]:
    if Path("/dev/zfs").exists() or Path("/dev/fuse").exists():
        return []
    why = "every site is a ZFS dataset, and neither the ZFS module nor FUSE (for zfs-fuse) is in this kernel"
    return [Missing("no /dev/zfs and no /dev/fuse", why, "modprobe fuse, or install zfs-dkms for this kernel")]


def _images(image_dir: Path, images: tuple[str, ...]) -> list[Missing]:
    absent = [image for image in images if not any(image_dir.glob(f"{image}*.tar*"))]
    return [
        Missing(f"image `{image}` is not in {image_dir}", "the demo's sites are made of it", "make images")
        for image in absent
    ]


def _space(base_dir: Path) -> list[Missing]:
    folder = next(parent for parent in (base_dir, *base_dir.parents) if parent.exists())
    free = shutil.disk_usage(folder).free
    if free >= NEEDED_BYTES:
        return []
    what = f"only {free // 1024**2} MiB free in {folder}"
    return [Missing(what, "the nodes' disks are files there", "free some space, or give --base-dir elsewhere")]
