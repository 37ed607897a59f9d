"""
Reads the head of a ZFS send stream and checks it against what was announced. Pure.

The layout is `dmu_replay_record_t` of type `DRR_BEGIN` (`sys/zfs_ioctl.h` in OpenZFS, the same since Solaris): 312
bytes in the byte order of the sender, told by the magic number. `zfs receive` is not made for hostile streams, so
nothing reaches it before this.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from hybrid.wire import Offer

SIZE = 312
"""Bytes of the first record."""
MAGIC = 0x2F5BACBAC
MAX_PAYLOAD = 64 * 1024
"""Newer streams put an nvlist after the record; larger ones than this are refused."""

_RECORD = "IIQQQIIQQ256s"
_SUBSTREAM, _COMPOUND = 1, 2
_FILESYSTEM = 2
"""`DMU_OST_ZFS`."""
_FLAGS = 0b1111
"""Clone, case-insensitive data, free records, spill blocks."""
_FEATURES = sum(1 << bit for bit in (2, 16, 17, 19, 20, 22, 23, 25, 27, 28, 29))
"""Spill, embedded, LZ4, large blocks, resuming, compressed, large dnodes, zstd, switch to large blocks, long names,
large microzaps. Not: deduplicated, redacted, raw, with holds."""


class BadStream(ValueError):
    """The bytes are not a stream, or not the one that was announced. The message says why."""


@dataclass(frozen=True, slots=True)
class Begin:
    """What the first record says."""

    byte_order: str
    """`<` or `>`, as in `struct`."""
    payload_bytes: int
    header_type: int
    features: int
    kind: int
    flags: int
    to_guid: int
    from_guid: int
    """0 for a full stream."""
    to_name: str


def parse(data: bytes) -> Begin:
    """
    The first record in `data`, of which at least `SIZE` bytes are wanted.

    Raises:
        BadStream: Too short, no magic number, or not a begin record.
    """
    if len(data) < SIZE:
        raise BadStream(f"the stream ended after {len(data)} bytes, within its first record")
    for order in "<>":
        fields = struct.unpack_from(order + _RECORD, data)
        record, payload, magic, version, _, kind, flags, to_guid, from_guid, name = fields
        if magic == MAGIC:
            break
    else:
        raise BadStream("this is not a ZFS stream: the magic number is missing")
    if record != 0:
        raise BadStream(f"the stream begins with a record of type {record}")
    text = name.split(b"\0", 1)[0].decode("utf-8", "replace")
    header_type, features = version & 3, (version >> 2) & (2**30 - 1)
    return Begin(order, payload, header_type, features, kind, flags, to_guid, from_guid, text)


def check(begin: Begin, offer: Offer) -> None:
    """
    See that the stream is the one announced, and of a kind that is taken.

    Raises:
        BadStream: It is not; the message says in what it differs.
    """
    if begin.header_type != _SUBSTREAM:
        what = "a compound stream, which carries properties" if begin.header_type == _COMPOUND else "of unknown type"
        raise BadStream(f"the stream is {what}")
    if begin.kind != _FILESYSTEM:
        raise BadStream(f"the stream is not of a file system (objset type {begin.kind})")
    if begin.features & ~_FEATURES:
        raise BadStream(f"the stream uses features that are not taken: {begin.features & ~_FEATURES:#x}")
    if begin.flags & ~_FLAGS:
        raise BadStream(f"the stream has unknown flags: {begin.flags & ~_FLAGS:#x}")
    if begin.payload_bytes > MAX_PAYLOAD:
        raise BadStream(f"the stream's first record announces {begin.payload_bytes} bytes more")
    if begin.to_guid != offer.to.guid:
        raise BadStream(f"the stream makes snapshot {begin.to_guid}, {offer.to.guid} was announced")
    if begin.from_guid != (offer.base or 0):
        raise BadStream(f"the stream starts at {begin.from_guid or 'nothing'}, {offer.base or 'nothing'} was announced")
