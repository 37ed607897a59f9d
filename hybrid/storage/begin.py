"""
The first record of a ZFS send stream (`DRR_BEGIN` of `sys/zfs_ioctl.h`), read and written. Pure.

    u32 drr_type = 0    u32 drr_payloadlen
    u64 magic           u64 versioninfo (2 bits kind, then feature flags)    u64 creation time
    u32 objset type     u32 flags     u64 toguid     u64 fromguid (0: a full stream)     char toname[256]
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from hybrid.model import Guid

LENGTH = 312
"""Bytes of the record; every later record of a stream has this length as well."""

_MAGIC = 0x2F5BACBAC
_LAYOUT = "IIQQQIIQQ256s"
_SUBSTREAM, _FILESYSTEM, _CLONE = 1, 2, 1


class NotAStream(ValueError):
    """The bytes do not begin a ZFS stream."""


@dataclass(frozen=True, slots=True)
class Begin:
    """What a stream says of itself."""

    to_guid: Guid
    from_guid: Guid | None
    """Where the receiver must stand; `None` for a full stream."""
    to_name: str
    """`pool/dataset@snapshot` at the sender."""
    created_at_s: int
    clone: bool = False
    """The receiver makes a clone of its copy of `from_guid`."""
    features: int = 0
    """Feature flags; 0 for what every ZFS since pool version 23 reads."""
    compound: bool = False
    """Several datasets with properties (`send -R`): never taken."""


def pack(begin: Begin) -> bytes:
    """The record as bytes, little-endian."""
    kind = 2 if begin.compound else _SUBSTREAM
    return struct.pack(
        "<" + _LAYOUT,
        0,
        0,
        _MAGIC,
        kind | begin.features << 2,
        begin.created_at_s,
        _FILESYSTEM,
        _CLONE if begin.clone else 0,
        begin.to_guid,
        begin.from_guid or 0,
        begin.to_name.encode()[:255],
    )


def parse(data: bytes) -> Begin:
    """
    Read the first `LENGTH` bytes of a stream, of either byte order.

    Raises:
        NotAStream: Too short, another record, or not the magic number.
    """
    if len(data) < LENGTH:
        raise NotAStream(f"only {len(data)} of {LENGTH} bytes of the first record")
    for order in "<>":
        kind, _, magic, version, created, _, flags, to_guid, from_guid, name = struct.unpack(
            order + _LAYOUT, data[:LENGTH]
        )
        if magic == _MAGIC and kind == 0:
            return Begin(
                to_guid=Guid(to_guid),
                from_guid=Guid(from_guid) if from_guid else None,
                to_name=name.rstrip(b"\0").decode(errors="replace"),
                created_at_s=created,
                clone=bool(flags & _CLONE),
                features=version >> 2 & (1 << 30) - 1,
                compound=version & 3 == 2,
            )
    raise NotAStream("no ZFS stream begins so")
