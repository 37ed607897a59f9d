"""
Gives root away once the ports are bound and the keys are loaded, but for binding low ports of sites later. Shell.

The group stays root's, because the feed's socket is opened to it; files of other users are out of reach either way,
and keys and state are readable by their owner only.
"""

from __future__ import annotations

import ctypes
import errno
import os
import pwd
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

USERS = ("hybrid-front", "nobody")
"""The first that exists."""

CODE = (Path(__file__).parent, Path(sys.prefix), Path(sys.base_prefix))
"""Python and what is ours: some modules are imported only when they are first used."""

_PR_SET_KEEPCAPS = 8
_CAPABILITY_VERSION_3 = 0x20080522
_CAP_NET_BIND_SERVICE = 1 << 10


def drop_root(needed: Iterable[Path]) -> str:
    """
    Become an ordinary user.

    Args:
        needed: Folders that must still be in reach afterwards (they may be made later), see `CODE`.

    Returns:
        Its name; empty when this process was not root to begin with.

    Raises:
        OSError: The kernel would not, or a folder would be out of reach; then nothing has changed.
        KeyError: There is no user to become.
    """
    if os.geteuid() != 0:
        return ""
    user = _user()
    for folder in needed:
        if not _reaches(user.pw_uid, folder):
            raise PermissionError(errno.EACCES, f"the user {user.pw_name} could not reach", str(folder))
    libc = ctypes.CDLL(None, use_errno=True)
    _check(libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0))
    os.setgroups([])
    os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
    header = struct.pack("Ii", _CAPABILITY_VERSION_3, 0)
    kept = struct.pack("IIIIII", _CAP_NET_BIND_SERVICE, _CAP_NET_BIND_SERVICE, 0, 0, 0, 0)
    _check(libc.capset(header, kept))
    return user.pw_name


def _reaches(uid: int, folder: Path) -> bool:
    """Whether the user may enter `folder`, or the nearest folder above that exists."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    os.seteuid(uid)
    try:
        return os.access(existing, os.X_OK, effective_ids=True)
    finally:
        os.seteuid(0)


def _user() -> pwd.struct_passwd:
    for name in USERS[:-1]:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    return pwd.getpwnam(USERS[-1])


def _check(result: int) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
