"""What sites and nodes have to do, as nodes tell each other, and why a site is where it is. Pure values."""

from __future__ import annotations

import msgspec


class SiteLoad(msgspec.Struct, frozen=True, array_like=True):
    """What a site takes of its owner, on average of the last minute or so."""

    cpu: float = 0.0
    """Processor cores: seconds of processor time in a second."""
    memory_bytes: int = 0
    """That cannot be had back by dropping caches."""
    io_bytes_s: float = 0.0
    """Read from disks and written to them, where the kernel tells whose that is."""
    requests_s: float = 0.0
    """HTTP requests answered."""


IDLE = SiteLoad()


class NodeLoad(msgspec.Struct, frozen=True, array_like=True):
    """What a node has, and which part of it is in use: 0 to 1, more where more is wanted than there is."""

    cores: float
    memory_bytes: int
    cpu: float = 0.0
    memory: float = 0.0
    """Of containers; or four times the part of time in which something waited for memory, if that is more."""
    io: float = 0.0
    """The part of time in which something waited for a disk (`some` of /proc/pressure/io)."""


class Placed(msgspec.Struct, frozen=True, array_like=True):
    """A site came to a node."""

    at_s: int
    on: str
    """The node's id."""
    came: str
    """`move`: a person wished so. `burst`, `drain`, `relief`: see these. `election`: its owner was gone."""
    why: str = ""


KEPT = 4
"""So many of the last moves of a site are told."""
MAX_WHY = 300
