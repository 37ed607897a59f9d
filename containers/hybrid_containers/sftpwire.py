"""
Packets of SFTP version 3 (draft-ietf-secsh-filexfer-02), as OpenSSH speaks it. Pure; the standard library only.

A packet is a length of four bytes, a byte that says what it is, and its body; numbers are big-endian, strings have a
length of four bytes before them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

MAX_PACKET = 256 * 1024 + 1024
"""Bytes of a packet without its length; a client that sends more is sent away."""
MAX_DATA = 256 * 1024
"""Of one READ or WRITE."""
VERSION = 3

INIT, VERSION_IS = 1, 2
OPEN, CLOSE, READ, WRITE, LSTAT, FSTAT, SETSTAT, FSETSTAT, OPENDIR, READDIR = range(3, 13)
REMOVE, MKDIR, RMDIR, REALPATH, STAT, RENAME, READLINK, SYMLINK = range(13, 21)
STATUS, HANDLE, DATA, NAME, ATTRS = range(101, 106)
EXTENDED, EXTENDED_REPLY = 200, 201

OK, EOF, NO_SUCH_FILE, PERMISSION_DENIED, FAILURE, BAD_MESSAGE = range(6)
UNSUPPORTED = 8
FOR_READ, FOR_WRITE, APPEND, CREATE, TRUNCATE, EXCLUDE = 1, 2, 4, 8, 16, 32
_SIZE, _OWNER, _MODE, _TIMES, _EXTENDED = 1, 2, 4, 8, 0x80000000


class BadPacket(ValueError):
    """These bytes are no packet."""


@dataclass(frozen=True, slots=True)
class Attributes:
    """What is known, or is to be changed, of a file; `None`: not that."""

    size: int | None = None
    owner: tuple[int, int] | None = None
    """User and group."""
    mode: int | None = None
    times: tuple[int, int] | None = None
    """Of the last access and change, in seconds since the epoch."""

    def packed(self) -> bytes:
        """As bytes."""
        flags, parts = 0, b""
        if self.size is not None:
            flags, parts = flags | _SIZE, parts + struct.pack("!Q", self.size)
        if self.owner is not None:
            flags, parts = flags | _OWNER, parts + struct.pack("!2I", *self.owner)
        if self.mode is not None:
            flags, parts = flags | _MODE, parts + struct.pack("!I", self.mode)
        if self.times is not None:
            flags, parts = flags | _TIMES, parts + struct.pack("!2I", *(max(0, t) & 0xFFFFFFFF for t in self.times))
        return struct.pack("!I", flags) + parts


class Body:
    """Reads the body of a packet, piece by piece. All raise `BadPacket`."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def _take(self, form: str) -> tuple[int, ...]:
        try:
            found = struct.unpack_from(form, self._data, self._at)
        except struct.error as error:
            raise BadPacket("it is cut off") from error
        self._at += struct.calcsize(form)
        return found

    def number(self) -> int:
        """32 bits."""
        return self._take("!I")[0]

    def long(self) -> int:
        """64 bits."""
        return self._take("!Q")[0]

    def string(self) -> bytes:
        """A string."""
        length = self.number()
        found = self._data[self._at : self._at + length]
        if len(found) != length:
            raise BadPacket("a string is cut off")
        self._at += length
        return found

    def path(self) -> bytes:
        """A string that can be a path."""
        found = self.string()
        if b"\0" in found:
            raise BadPacket("a zero byte in a path")
        return found or b"."

    def attributes(self) -> Attributes:
        """What is to be changed of a file."""
        flags = self.number()
        size = self.long() if flags & _SIZE else None
        owner = (self.number(), self.number()) if flags & _OWNER else None
        mode = self.number() if flags & _MODE else None
        times = (self.number(), self.number()) if flags & _TIMES else None
        if flags & _EXTENDED:
            for _ in range(min(self.number(), 64)):
                self.string(), self.string()
        return Attributes(size, owner, mode, times)


def string(data: bytes) -> bytes:
    """`data` with its length."""
    return struct.pack("!I", len(data)) + data


def packet(kind: int, body: bytes) -> bytes:
    """A whole packet."""
    return struct.pack("!IB", len(body) + 1, kind) + body


def reply(kind: int, number: int, body: bytes) -> bytes:
    """The answer to request `number`."""
    return packet(kind, struct.pack("!I", number) + body)


def status(number: int, code: int, text: str) -> bytes:
    """How request `number` ended."""
    return reply(STATUS, number, struct.pack("!I", code) + string(text.encode("utf-8", "replace")) + string(b""))


class Packets:
    """Cuts what arrives, in whatever pieces, into packets."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Kind and body of each packet that `data` completes, in order. Raises `BadPacket`: nothing can follow."""
        self._buffer += data
        found, at = [], 0
        while len(self._buffer) - at >= 5:
            length, kind = struct.unpack_from("!IB", self._buffer, at)
            if not 1 <= length <= MAX_PACKET:
                raise BadPacket(f"a packet of {length} bytes")
            if len(self._buffer) - at < 4 + length:
                break
            found.append((kind, bytes(self._buffer[at + 5 : at + 4 + length])))
            at += 4 + length
        del self._buffer[:at]
        return found
