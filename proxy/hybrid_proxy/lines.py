"""What text protocols have in common: lines ended by CRLF, and names and passwords in them (RFC 4616). Pure."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass


class TooLong(Exception):
    """More was said than is listened to."""


class Lines:
    """
    Bytes into lines.

    Args:
        most: Bytes of a line, and of all that is kept.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._buffer = b""

    def add(self, data: bytes) -> None:
        """More came. Raises `TooLong` when nobody takes it."""
        self._buffer += data
        if len(self._buffer) > self._most and b"\r\n" not in self._buffer[: self._most]:
            raise TooLong
        if len(self._buffer) > 16 * self._most:
            raise TooLong

    def line(self) -> bytes | None:
        """The next line without its end; `None` while it is incomplete."""
        line, end, rest = self._buffer.partition(b"\r\n")
        if not end:
            return None
        self._buffer = rest
        return line

    def exactly(self, length: int) -> bytes | None:
        """So many bytes; `None` until they are there."""
        if len(self._buffer) < length:
            return None
        found, self._buffer = self._buffer[:length], self._buffer[length:]
        return found

    def rest(self) -> bytes:
        """All that is left."""
        rest, self._buffer = self._buffer, b""
        return rest

    @property
    def empty(self) -> bool:
        """Nothing is left."""
        return not self._buffer


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who logs in, and with what."""

    user: str
    password: str

    @property
    def domain(self) -> str:
        """What follows the last `@` of the user; empty without one."""
        _, mark, domain = self.user.rpartition("@")
        return domain if mark else ""

    def plain(self) -> bytes:
        """As the one message of SASL PLAIN, in base64."""
        message = f"\0{self.user}\0{self.password}".encode("utf-8", "surrogateescape")
        return base64.b64encode(message)

    @property
    def fits_a_line(self) -> bool:
        """No end of line or NUL is in it."""
        return not any(mark in self.user + self.password for mark in "\r\n\0")


def read_plain(message: bytes) -> Credentials | None:
    """The message of SASL PLAIN, in base64; `None` for anything else, and where somebody wants to be another."""
    try:
        parts = base64.b64decode(message, validate=True).split(b"\0")
    except binascii.Error:
        return None
    if len(parts) != 3 or not parts[1] or parts[0] not in (b"", parts[1]):
        return None
    return Credentials(parts[1].decode("utf-8", "surrogateescape"), parts[2].decode("utf-8", "surrogateescape"))


def read_word(message: bytes) -> str | None:
    """A user or password as AUTH LOGIN has it, in base64; `None` for anything else."""
    try:
        return base64.b64decode(message, validate=True).decode("utf-8", "surrogateescape")
    except binascii.Error:
        return None
