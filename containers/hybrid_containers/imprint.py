"""
Write into a new site's files what is its own: a machine id, a secret, and the part of its environment that is nobody
else's business. Does I/O, in a child process.

Run as a script (`python -I -S imprint.py PATH ID_BASE < ENVIRONMENT`) this file imports the standard library only. The
files may be a tenant's, of which the new site is a clone: the child is confined to them (`chroot(2)`), and replaces
what is there without following it.
"""

from __future__ import annotations

import os
import sys

ENVIRONMENT = "/etc/hybrid/environment"
SECRET = "/etc/hybrid/secret"
"""The site's init reads both: `NAME=value` lines of sh(1). Applications sign with what they make of the secret."""


def imprint(path: str, id_base: int, machine_id: str, secret: str, environment: bytes) -> None:
    """
    Do it; afterwards this process is confined to `path`. An empty `environment` leaves the one that is there, and a
    site keeps the secret that it has: what the one signed or sealed that it is a clone of, it can still read.
    """
    os.chroot(path)
    os.chdir("/")
    _write("/etc/machine-id", f"{machine_id}\n".encode(), 0o444, id_base)
    if not os.path.lexists(SECRET):
        _write(SECRET, f"HYBRID_SECRET={secret}\n".encode(), 0o600, id_base)
    if environment:
        _write(ENVIRONMENT, environment, 0o600, id_base)


def _write(path: str, content: bytes, mode: int, owner: int) -> None:
    _folder(os.path.dirname(path), owner)
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        os.write(file, content)
        os.fchown(file, owner, owner)
        os.fchmod(file, mode)
        os.fsync(file)
    finally:
        os.close(file)


def _folder(path: str, owner: int) -> None:
    if not os.path.isdir(path):
        _folder(os.path.dirname(path), owner)
        os.mkdir(path, 0o755)
        os.chown(path, owner, owner)


if __name__ == "__main__":
    try:
        imprint(sys.argv[1], int(sys.argv[2]), os.urandom(16).hex(), os.urandom(32).hex(), sys.stdin.buffer.read())
    except OSError as error:
        sys.exit(str(error))
