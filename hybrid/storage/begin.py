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

MAGIC = 0x2F5BACBAC
_LAYOUT = "IIQQQIIQQ256s"
SUBSTREAM, COMPOUND = 1, 2
FILESYSTEM = 2
"""Objset type `DMU_OST_ZFS`."""
CLONE = 1
"""Flag: the receiver makes a clone of its copy of `from_guid`."""


class NotAStream(ValueError):
    """The bytes do not begin a ZFS stream; the message says why."""


@dataclass(frozen=True, slots=True)
class Begin:
    """What a stream says of itself."""

    to_guid: Guid
    from_guid: Guid | None
    """Where the receiver must stand; `None` for a full stream."""
    to_name: str
    """`pool/dataset@snapshot` at the sender."""
    created_at_s: int
    flags: int = 0
    features: int = 0
    """Feature flags; 0 for what every ZFS since pool version 23 reads."""
    header_type: int = SUBSTREAM
    objset_type: int = FILESYSTEM
    payload_bytes: int = 0
    """Of the nvlist that newer streams put after the record."""

    @property
    def clone(self) -> bool:
        """Whether the receiver makes a clone."""
        return bool(self.flags & CLONE)

    @property
    def compound(self) -> bool:
        """Several datasets with properties (`send -R`): never taken."""
        return self.header_type == COMPOUND


def pack(begin: Begin, byte_order: str = "<") -> bytes:
    """The record as bytes; `byte_order` is `<` or `>`."""
    return struct.pack(
        byte_order + _LAYOUT,
        0,
        begin.payload_bytes,
        MAGIC,
        begin.header_type | begin.features << 2,
        begin.created_at_s,
        begin.objset_type,
        begin.flags,
        begin.to_guid,
        begin.from_guid or 0,
        begin.to_name.encode()[:255],
    )


def parse(data: bytes) -> Begin:
    """
    Read the first `LENGTH` bytes of a stream, of either byte order.

    Raises:
        NotAStream: Too short, no magic number, or another record.
    """
    if len(data) < LENGTH:
        raise NotAStream(f"the stream ended after {len(data)} bytes, within its first record")
    for order in "<>":
        fields = struct.unpack_from(order + _LAYOUT, data)
        if fields[2] == MAGIC:
            break
    else:
        raise NotAStream("this is not a ZFS stream: the magic number is missing")
    record, payload, _, version, created, objset_type, flags, to_guid, from_guid, name = fields
    if record != 0:
        raise NotAStream(f"the stream begins with a record of type {record}")
    return Begin(
        to_guid=Guid(to_guid),
        from_guid=Guid(from_guid) if from_guid else None,
        to_name=name.split(b"\0", 1)[0].decode("utf-8", "replace"),
        created_at_s=created,
        flags=flags,
        features=version >> 2 & (1 << 30) - 1,
        header_type=version & 3,
        objset_type=objset_type,
        payload_bytes=payload,
    )
