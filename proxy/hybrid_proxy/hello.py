"""
The first message of a TLS client (RFC 8446 §4.1.2, RFC 6066 §3, RFC 7301), read only for which name it asks. Pure.

It is read before TLS is spoken, since some sites end TLS themselves and get these very bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

from hybrid_proxy.head import TLS_HANDSHAKE, normal_host

MAX_HELLO = 16 * 1024
"""Bytes of records; hybrid key shares make a hello 2 kB, more than this is no browser's."""
_CLIENT_HELLO = b"\x01"
_SERVER_NAME = 0
_ALPN = 16
UNRECOGNIZED_NAME = b"\x15\x03\x01\x00\x02\x02\x70"
"""The alert for a name nobody has (RFC 6066 §3): nothing of anybody else is shown instead."""


class BadHello(Exception):
    """What came is not the beginning of TLS."""


@dataclass(frozen=True, slots=True)
class Hello:
    """What a client asks for."""

    host: str | None
    """Lower case, without final dot; `None` when it names none, or nothing that is a host name."""
    protocols: tuple[bytes, ...]
    """ALPN, in the client's order; often empty."""


class _Short(Exception):
    """A field ends beyond what holds it."""


class _Reader:
    """Takes fields off a message."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def take(self, count: int) -> bytes:
        if count > self.left:
            raise _Short
        self._at += count
        return self._data[self._at - count : self._at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size))

    def vector(self, size: int) -> _Reader:
        """What stands behind a length of `size` bytes."""
        return _Reader(self.take(self.number(size)))

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(self.left)


def parse_hello(data: bytes) -> Hello | None:
    """
    The ClientHello at the start of `data`, which may come in several records.

    Returns:
        It, or `None` while it is incomplete.

    Raises:
        BadHello: It never will be one, or it is longer than `MAX_HELLO`.
    """
    message = b""
    at = 0
    while True:
        if len(data) > at and data[at] != TLS_HANDSHAKE:
            raise BadHello("not a handshake record")
        if len(data) > at + 1 and data[at + 1] != 3:
            raise BadHello("not a version of TLS")
        if len(data) < at + 5:
            break
        length = int.from_bytes(data[at + 3 : at + 5])
        if not 0 < length <= MAX_HELLO:
            raise BadHello("a record of no size that is used")
        message += data[at + 5 : at + 5 + length]
        if message[:1] not in (b"", _CLIENT_HELLO):
            raise BadHello("not a ClientHello")
        wanted = int.from_bytes(message[1:4]) if len(message) >= 4 else 0
        if wanted > MAX_HELLO:
            raise BadHello("too long")
        if wanted and len(message) >= 4 + wanted:
            return _read(message[4 : 4 + wanted])
        if len(data) < at + 5 + length:
            break
        at += 5 + length
    if len(data) > 2 * MAX_HELLO:
        raise BadHello("too long")
    return None


def _read(body: bytes) -> Hello:
    host: str | None = None
    protocols: tuple[bytes, ...] = ()
    reader = _Reader(body)
    try:
        reader.take(2 + 32)  # version, random
        for size in (1, 2, 1):  # session id, cipher suites, compression methods
            reader.vector(size)
        extensions = reader.vector(2) if reader.left else _Reader(b"")
        seen = set()
        while extensions.left:
            kind, content = extensions.number(2), extensions.vector(2)
            if kind in seen:
                raise BadHello("an extension stands twice")
            seen.add(kind)
            if kind == _SERVER_NAME:
                host = _server_name(content)
            elif kind == _ALPN:
                protocols = _protocols(content.vector(2))
    except _Short:
        raise BadHello("a field is longer than what holds it") from None
    return Hello(host, protocols)


def _server_name(content: _Reader) -> str | None:
    names = content.vector(2)
    if names.number(1) != 0:
        return None
    return normal_host(names.vector(2).rest())


def _protocols(names: _Reader) -> tuple[bytes, ...]:
    found = []
    while names.left:
        found.append(names.vector(1).rest())
    return tuple(found)
