"""
What a pool of OpenZFS can do: its own features say, not only the module's. Pure.

A pool that was made by an older system keeps its version (28 is the last of those with numbers) until it is upgraded:
it then has no bookmarks, keeps nothing of a stream that was cut, and takes plain streams only.
"""

from __future__ import annotations

from collections.abc import Mapping

from hybrid.ports import Capabilities
from hybrid.storage.features import BOOKMARKS, RESUMABLE, RESUMING, enabled, taken_by


def abilities(properties: Mapping[str, str], library: bool) -> Capabilities:
    """
    What a driver can do with a pool.

    Args:
        properties: Of the pool, as `zpool get all` tells them.
        library: libzfs_core is used; by the `zfs` command alone nothing is resumed and there are no bookmarks.
    """
    has = enabled(properties)
    takes = taken_by(has)
    return Capabilities(
        driver="openzfs",
        knows_written=True,
        bookmarks=library and BOOKMARKS in has,
        resumable=library and RESUMABLE in has,
        snapshot_directory=True,
        many_snapshots_at_once=True,
        diff=True,
        takes=takes if library else takes & ~RESUMING,
    )


def warnings(pool: str, properties: Mapping[str, str]) -> tuple[str, ...]:
    """What people should know of a pool before it matters: what, why, and what to try. Mostly empty."""
    found = []
    if properties.get("multihost") == "off":
        found.append(
            f"nothing keeps another machine from importing pool {pool} while it is in use here (multihost is off), "
            f"which would destroy it: where disks can be reached by two machines, zgenhostid; zpool set multihost=on "
            f"{pool}"
        )
    if properties.get("version", "-") not in ("-", "5000"):
        found.append(
            f"pool {pool} has version {properties['version']}: streams to it are plain and begin anew when cut; "
            f"zpool upgrade {pool}, if no older system has to read it"
        )
    return tuple(found)
