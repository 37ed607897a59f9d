"""
Gives up, for good, everything that work on a tenant's files does not need: Landlock and capabilities. Shell.

Landlock (Linux 5.13, https://docs.kernel.org/userspace-api/landlock.html): after it the process opens nothing but what
lies below the directories it named, whatever path, link or bug leads elsewhere. Where the kernel has none, `jail`
keeps the paths alone. Root stays root, because zfs-fuse looks at nothing else to let it read what a container's user
kept private; of its powers only those over files remain.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterable

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_PATH_BENEATH = 1
_VERSION = 1
_RIGHTS = {2: 14, 3: 15, 4: 15}
"""Version to number of rights on files it knows, bit by bit from EXECUTE; later ones know 16. The first is no use: it
allows no rename from one directory to another."""
_READ = 1 << 2 | 1 << 3
"""READ_FILE and READ_DIR."""
_WRITE = _READ | 1 << 1 | 1 << 4 | 1 << 5 | 1 << 7 | 1 << 8 | 1 << 12 | 1 << 13 | 1 << 14
"""And WRITE_FILE, REMOVE_DIR, REMOVE_FILE, MAKE_DIR, MAKE_REG, MAKE_SYM, REFER, TRUNCATE: neither devices nor fifos."""
_PR_SET_NO_NEW_PRIVS = 38
_CAPABILITIES_3 = 0x20080522
_KEPT = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 3
"""CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER."""


def confine(readable: Iterable[str], writable: Iterable[str]) -> bool:
    """
    Keep this process, for the rest of its life, from all files but those below these directories.

    Returns:
        Whether Landlock does so; if not, only capabilities were given up.

    Raises:
        OSError: A directory is not there, or the kernel refused.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    _must(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    landlocked = _landlock(libc, readable, writable)
    if os.geteuid() == 0:
        header = struct.pack("Ii", _CAPABILITIES_3, 0)
        _must(libc.capset(header, struct.pack("IIIIII", _KEPT, _KEPT, 0, 0, 0, 0)))
    return landlocked


def _landlock(libc: ctypes.CDLL, readable: Iterable[str], writable: Iterable[str]) -> bool:
    version = libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION)
    if version < min(_RIGHTS):
        return False
    all_rights = (1 << _RIGHTS.get(version, 16)) - 1
    attributes = struct.pack("Q", all_rights)
    ruleset = _must(libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0))
    try:
        for paths, rights in ((readable, _READ), (writable, _WRITE)):
            for path in paths:
                _allow(libc, ruleset, path, rights & all_rights)
        _must(libc.syscall(_RESTRICT_SELF, ruleset, 0))
    finally:
        os.close(ruleset)
    return True


def _allow(libc: ctypes.CDLL, ruleset: int, path: str, rights: int) -> None:
    directory = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        rule = struct.pack("=Qi", rights, directory)
        _must(libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0))
    finally:
        os.close(directory)


def _must(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno() or errno.EPERM
        raise OSError(code, os.strerror(code))
    return result
