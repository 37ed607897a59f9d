"""What the node process asks of the LXC worker, and how it is written: msgpack in frames with a 4-byte length. Pure."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Literal

import msgspec

MAX_FRAME = 64 * 1024
_LENGTH = struct.Struct("!I")


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to do with one container. All of them are safe to repeat."""

    id: int
    verb: Literal["start", "shutdown", "freeze", "thaw"]
    home: str
    """The `lxcpath`: the folder with one folder per container."""
    name: str
    deadline_s: float
    """From when the worker reads it; then it is killed and answered with an error."""
    root: str = ""
    """`start`: the root file system, looked at first, since LXC's own words about it are hard to understand."""
    id_base: int = 0
    init: tuple[str, ...] = ()
    """`start`: the first process and its arguments."""
    grace_s: float = 0.0
    """`shutdown`: how long it may take."""


class Reply(msgspec.Struct, frozen=True):
    """How call `id` ended; `error` is empty when it was done."""

    id: int
    error: str = ""


def frame(message: Call | Reply) -> bytes:
    """The message with its length in front."""
    data = msgspec.msgpack.encode(message)
    return _LENGTH.pack(len(data)) + data


class Frames:
    """Takes bytes as they come, gives whole messages without their lengths."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """
        The messages complete with `data`, oldest first.

        Raises:
            ValueError: A frame larger than `MAX_FRAME`: the other side does not speak this protocol.
        """
        self._buffer += data
        while len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            if length > MAX_FRAME:
                raise ValueError(f"frame of {length} bytes")
            if len(self._buffer) < _LENGTH.size + length:
                return
            message = bytes(self._buffer[_LENGTH.size : _LENGTH.size + length])
            del self._buffer[: _LENGTH.size + length]
            yield message
