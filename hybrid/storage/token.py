"""
Reads the token of an interrupted receive, OpenZFS's property `receive_resume_token`. Pure.

    1-<checksum, hex>-<length, hex>-<zlib of a packed nvlist, hex>

The nvlist is in the native encoding (`nvpair.c`): u8 encoding, u8 little-endian, 2 bytes; s32 version; u32 flags; then
pairs, each a multiple of 8 bytes long: s32 size, s16 size of the name, 2 bytes, s32 elements, s32 type; the name with a
zero; at the next multiple of 8 the value. A size of 0 ends it. A token comes from the own pool and is never shown to a
peer: who sends is told what is missing (`hybrid.ports.Partial`) and looks for it among its own snapshots, since a
sender that obeys a foreign token could be made to send anything (openzfs/zfs#14153).
"""

from __future__ import annotations

import struct
import zlib

from hybrid.model import Guid
from hybrid.ports import Partial
from hybrid.storage.features import COMPRESSED, EMBEDDED, LARGE_BLOCKS, RAW

MAX_BYTES = 64 * 1024
_BOOLEAN, _U64 = 1, 8
_FLAGS = {"largeblockok": LARGE_BLOCKS, "embedok": EMBEDDED, "compressok": COMPRESSED, "rawok": RAW}


class NoToken(ValueError):
    """It is not a token; the message says why."""


def parse(token: str) -> Partial:
    """What a token says. Raises `NoToken`."""
    version, _, rest = token.partition("-")
    _, _, rest = rest.partition("-")
    length, _, packed = rest.partition("-")
    if version != "1":
        raise NoToken(f"a token of version {version[:20]!r}, 1 is known")
    try:
        unpacker = zlib.decompressobj()
        data = unpacker.decompress(bytes.fromhex(packed), MAX_BYTES)
        if len(data) != int(length, 16) or not unpacker.eof:
            raise NoToken(f"its content is {len(data)} bytes long, and not {length}")
        return _partial(pairs(data))
    except (ValueError, zlib.error, struct.error, KeyError) as error:
        raise NoToken(f"{type(error).__name__}: {error}") from error


def pairs(data: bytes) -> dict[str, int]:
    """The numbers (and flags, as 1) of a packed nvlist by name; other values are passed over."""
    order = "<" if data[1:2] == b"\1" else ">"
    found: dict[str, int] = {}
    at = 12
    while size := struct.unpack_from(order + "i", data, at)[0]:
        name_size, _, _, kind = struct.unpack_from(order + "hhii", data, at + 4)
        if size < 16 + name_size or at + size > len(data):
            raise NoToken(f"a pair of {size} bytes at {at}")
        name = data[at + 16 : at + 15 + name_size].decode()
        if kind == _U64:
            (found[name],) = struct.unpack_from(order + "Q", data, at + (16 + name_size + 7) // 8 * 8)
        elif kind == _BOOLEAN:
            found[name] = 1
        at += size
    return found


def _partial(said: dict[str, int]) -> Partial:
    return Partial(
        to=Guid(said["toguid"]),
        base=Guid(said["fromguid"]) if said.get("fromguid") else None,
        object=said["object"],
        offset=said["offset"],
        received_bytes=said["bytes"],
        features=sum(bit for name, bit in _FLAGS.items() if name in said),
    )
