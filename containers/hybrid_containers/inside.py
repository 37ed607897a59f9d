"""
Enters a container with a program that is already running, so that its image need not have it. Shell.

What enters is in the container's control groups (so whatever stops, freezes or limits the container does so with it),
user and mount namespaces, is root there, and has no power but those over files. It is in no process namespace of the
container: nobody there sees it. Standard library only.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import struct
from collections.abc import Sequence

_CLONE_NEWNS, _CLONE_NEWUSER = 0x00020000, 0x10000000
_PR_SET_NO_NEW_PRIVS = 38
_CAPABILITIES_3 = 0x20080522
_KEPT = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4
"""CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER, FSETID (capabilities(7))."""
HOME = "/root"


class Gone(Exception):
    """The container is not there any more."""


class Door:
    """
    The way into the container whose first process is `init`; holds on to that one, whatever gets its number later.

    Args:
        init: Its process id on the machine.
        groups: The folders of its control groups, one of each hierarchy.

    Raises:
        Gone: It has ended, or is not in these groups (any more).
    """

    def __init__(self, init: int, groups: Sequence[str]) -> None:
        self._groups = groups
        try:
            self.init = os.pidfd_open(init)
            self._user, self._mounts = (os.open(f"/proc/{init}/ns/{name}", os.O_RDONLY) for name in ("user", "mnt"))
            for group in groups:
                with open(f"{group}/cgroup.procs") as listed:
                    if str(init) not in listed.read().split():
                        raise Gone("its first process is in other control groups")
        except OSError as error:
            raise Gone(f"its first process has ended: {error.strerror}") from error
        if self.has_ended:  # then all that was read may be of another process
            raise Gone("its first process has ended")

    @property
    def has_ended(self) -> bool:
        """Whether the container's first process has."""
        poll = select.poll()
        poll.register(self.init, select.POLLIN)
        return bool(poll.poll(0))

    def enter(self) -> None:
        """Be in the container from now on, for good. Raises `OSError`: then this process must end."""
        libc = ctypes.CDLL(None, use_errno=True)
        for group in self._groups:
            with open(f"{group}/cgroup.procs", "w") as procs:
                procs.write(str(os.getpid()))
        if self.has_ended:
            raise OSError(errno.ESRCH, "the container has ended")
        _must(libc.setns(self._user, _CLONE_NEWUSER))
        _must(libc.setns(self._mounts, _CLONE_NEWNS))
        os.setgroups([])
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        _must(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        header = struct.pack("Ii", _CAPABILITIES_3, 0)
        _must(libc.capset(header, struct.pack("IIIIII", _KEPT, _KEPT, 0, 0, 0, 0)))
        os.chdir(HOME if os.path.isdir(HOME) else "/")


def _must(result: int) -> None:
    if result < 0:
        code = ctypes.get_errno() or errno.EPERM
        raise OSError(code, os.strerror(code))
