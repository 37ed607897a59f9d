"""
What clumsy or hurried people do to a node's storage with their own hands, and its undoing. Synchronous.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from hybrid.lab.command import LabError
from hybrid.lab.node import Node


def zfs(node: Node, *arguments: str, command: str = "zfs", deadline_s: float = 60.0) -> str:
    """What `zfs arguments…` prints inside the running `node`. Raises `LabError`."""
    done = node.shell([command, *arguments], deadline_s=deadline_s)
    if done.returncode:
        raise LabError(f"{node.name}: `{command} {' '.join(arguments)}` failed", done.stderr.decode(errors="replace"))
    return done.stdout.decode()


def dataset(node: Node, site: str) -> str:
    """The dataset of the main line of a site, by its id."""
    return f"{node.pool}/hybrid/sites/{site}"


def snapshots(node: Node, name: str) -> list[str]:
    """Full names of the snapshots of a dataset, oldest first; none of one that is not there."""
    try:
        listed = zfs(node, "list", "-H", "-r", "-d", "1", "-t", "snapshot", "-o", "name", "-s", "createtxg", name)
    except LabError:
        return []
    return listed.split()


def guids(node: Node, site: str) -> set[str]:
    """Guids of all snapshots that `node` has of a site, on the main line or set aside."""
    listed = zfs(node, "get", "-Hp", "-r", "-o", "name,value", "guid", f"{node.pool}/hybrid")
    rows = [line.split("\t") for line in listed.splitlines()]
    return {guid for name, guid in rows if "@" in name and site in name}


def line(node: Node, site: str) -> set[str]:
    """Guids of the snapshots on the main line of a site."""
    listed = zfs(node, "get", "-Hp", "-r", "-d", "1", "-o", "name,value", "guid", dataset(node, site))
    rows = [row.split("\t") for row in listed.splitlines()]
    return {guid for name, guid in rows if "@" in name}


def forget(node: Node, snapshot: str) -> bool:
    """Destroy a snapshot whoever holds it. Returns whether it is gone."""
    with suppress(LabError):
        for tag in _tags(node, snapshot):
            zfs(node, "release", tag, snapshot)
        zfs(node, "destroy", snapshot)
        return True
    return False


def _tags(node: Node, snapshot: str) -> list[str]:
    """Of holds: as the driver for zfs-fuse writes them down, or as OpenZFS lists them."""
    noted = zfs(node, "get", "-H", "-o", "value", "hybrid:holds", snapshot).strip()
    if noted not in ("-", ""):
        return noted.split(",")
    with suppress(LabError):
        return [line.split()[1] for line in zfs(node, "holds", snapshot).splitlines()[1:]]
    return []


@contextmanager
def full(node: Node, left_bytes: int = 0) -> Iterator[None]:
    """
    A pool without room but for `left_bytes`: somebody else's dataset has all of it. Left: there is room again.

    A reservation takes the space at once, without writing it.
    """
    ballast = f"{node.pool}/ballast"
    zfs(node, "create", "-o", "mountpoint=none", ballast)
    try:
        take_all(node, left_bytes)
        yield
    finally:
        with suppress(LabError):
            zfs(node, "destroy", ballast)


def take_all(node: Node, left_bytes: int = 0) -> None:
    """Take what is free again, but for `left_bytes`. The node must be `full`."""
    ballast = f"{node.pool}/ballast"
    for less in (0, 65536, 2**20, 2**22):
        read = zfs(node, "get", "-Hp", "-o", "value", "available,refreservation", ballast).split()
        room = int(read[0]) - left_bytes - less
        with suppress(LabError):
            zfs(node, "set", f"refreservation={max(room, 0) or 'none'}", ballast)
            return
    raise LabError(f"{node.name}: its pool could not be filled")
