"""
Namespaces for containers apart from the machine's own network: for tests, and to try things by hand. Does I/O.

`python -m hybrid_containers.sandbox COMMAND …` runs a command in one. LXC looks for its bridge in `/sys/class/net`,
which shows the network namespace that `/sys` was mounted in: so it is mounted again, and the control groups, which that
hides, are bound back over it (`namespaces(7)`, `sysfs(5)`).
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CLONE_FS, CLONE_NEWNS, CLONE_NEWNET = 0x00000200, 0x00020000, 0x40000000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
MNT_DETACH = 2

_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def namespaces() -> Iterator[None]:
    """
    Put the calling thread, with children and threads it starts, into new namespaces; back into the old ones at the end.

    Raises:
        OSError: Not root.
    """
    before = {flag: os.open(f"/proc/thread-self/ns/{name}", os.O_RDONLY) for flag, name in _KINDS.items()}
    folder = os.getcwd()
    try:
        _checked(_libc.unshare(CLONE_NEWNET | CLONE_NEWNS))
        try:
            _mount("none", "/", None, MS_REC | MS_PRIVATE)
            show_own_devices()
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
            yield
        finally:
            _checked(_libc.unshare(CLONE_FS))  # or threads started meanwhile would forbid the next
            for flag, descriptor in before.items():
                _checked(_libc.setns(descriptor, flag))
            os.chdir(folder)
    finally:
        for descriptor in before.values():
            os.close(descriptor)


def show_own_devices() -> None:
    """Mount this network namespace's `/sys`, with the machine's control groups. In a private mount namespace only."""
    with tempfile.TemporaryDirectory(prefix="hyb-cgroup-") as aside:
        _mount("/sys/fs/cgroup", aside, None, MS_BIND | MS_REC)
        _mount("sysfs", "/sys", "sysfs", 0)
        _mount(aside, "/sys/fs/cgroup", None, MS_BIND | MS_REC)
        _checked(_libc.umount2(aside.encode(), MNT_DETACH))


_KINDS = {CLONE_NEWNET: "net", CLONE_NEWNS: "mnt"}


def _mount(source: str, target: str, kind: str | None, flags: int) -> None:
    _checked(_libc.mount(source.encode(), target.encode(), kind.encode() if kind else None, flags, None), target)


def _checked(result: int, about: str | None = None) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), about)


def main() -> None:
    """Run the command given as arguments, with its standard files and status."""
    if not sys.argv[1:]:
        sys.exit("usage: python -m hybrid_containers.sandbox COMMAND [ARGUMENT …]")
    if os.geteuid() != 0 or not Path("/sys/fs/cgroup").is_dir():
        sys.exit("sandbox: needs root and control groups")
    with namespaces():
        status = subprocess.run(sys.argv[1:], check=False).returncode
    sys.exit(status)


if __name__ == "__main__":
    main()
