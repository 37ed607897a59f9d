"""
Checks what a ZFS send stream says of itself against what was announced. Pure.

`zfs receive` is not made for hostile streams, so nothing reaches it before this.
"""

from __future__ import annotations

from hybrid.storage import features
from hybrid.storage.begin import COMPOUND, FILESYSTEM, LENGTH, SUBSTREAM, Begin, NotAStream, parse
from hybrid.wire import Offer

SIZE = LENGTH
"""So many bytes are wanted to `read`."""
MAX_PAYLOAD = 64 * 1024
"""Newer streams put an nvlist after the record; larger ones than this are refused."""

_FLAGS = 0b1111
"""Clone, case-insensitive data, free records, spill blocks."""


class BadStream(ValueError):
    """The bytes are not a stream, or not the one that was announced. The message says why."""


def read(data: bytes) -> Begin:
    """The first record in `data`. Raises `BadStream`: too short, no magic number, or another record."""
    try:
        return parse(data)
    except NotAStream as error:
        raise BadStream(str(error)) from error


def check(begin: Begin, offer: Offer) -> None:
    """
    See that the stream is the one announced, and of a kind that is taken.

    Raises:
        BadStream: It is not; the message says in what it differs.
    """
    if begin.header_type != SUBSTREAM:
        what = "a compound stream, which carries properties" if begin.header_type == COMPOUND else "of unknown type"
        raise BadStream(f"the stream is {what}")
    if begin.objset_type != FILESYSTEM:
        raise BadStream(f"the stream is not of a file system (objset type {begin.objset_type})")
    refusal = features.refusal(begin.features, features.SAFE)
    if refusal is not None:
        raise BadStream(refusal[0])
    if begin.flags & ~_FLAGS:
        raise BadStream(f"the stream has unknown flags: {begin.flags & ~_FLAGS:#x}")
    if begin.payload_bytes > MAX_PAYLOAD:
        raise BadStream(f"the stream's first record announces {begin.payload_bytes} bytes more")
    if begin.to_guid != offer.to.guid:
        raise BadStream(f"the stream makes snapshot {begin.to_guid}, {offer.to.guid} was announced")
    if begin.from_guid != offer.base:
        raise BadStream(f"the stream starts at {begin.from_guid or 'nothing'}, {offer.base or 'nothing'} was announced")
