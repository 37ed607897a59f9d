"""
What a front door and a session in a container say to each other, on a stream of bytes. Pure; the standard library only.

A message is a byte that says what it is, a length of four bytes (big-endian) and so many bytes. The front door begins
with `OPEN` and says nothing more until it hears `STARTED`; a session ends with `STATUS`, `KILLED` or `REFUSED`, or with
the stream. Sessions run in processes of their own that import this module, so it stays light.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

OPEN, INPUT, END, WINDOW, SIGNAL = b"o", b"i", b"e", b"w", b"s"
"""From the front door: `Opening`; bytes for its standard input; no more of them; `Size`; a signal's name."""
STARTED, OUTPUT, ERRORS, STATUS, KILLED, REFUSED = b"S", b"O", b"E", b"X", b"K", b"R"
"""From the session: it runs; bytes of its standard output and error; its exit status (4 bytes); the name of the signal
that ended it; why there is none, in words for its user."""

MAX_MESSAGE = 64 * 1024
"""Bytes of one message: more is no message of ours."""
_HEADER = struct.Struct("!cI")
_SIZE = struct.Struct("!4I")
Kind = Literal["shell", "command", "files"]
"""A login shell; a command line for a shell; the files, by SFTP."""


class BadMessage(ValueError):
    """These are not messages of a session."""


@dataclass(frozen=True, slots=True)
class Size:
    """Of a terminal."""

    columns: int = 80
    rows: int = 24
    width: int = 0
    """In pixels, as `height`; 0: unknown."""
    height: int = 0

    def packed(self) -> bytes:
        """As bytes."""
        return _SIZE.pack(self.columns, self.rows, self.width, self.height)

    @property
    def winsize(self) -> bytes:
        """As `struct winsize` (tty_ioctl(4)): rows first, two bytes each."""
        return struct.pack("HHHH", *(min(n, 0xFFFF) for n in (self.rows, self.columns, self.width, self.height)))


def read_size(body: bytes) -> Size:
    """The size in a `WINDOW`. Raises `BadMessage`."""
    if len(body) != _SIZE.size:
        raise BadMessage("a size has 16 bytes")
    return Size(*_SIZE.unpack(body))


@dataclass(frozen=True, slots=True)
class Opening:
    """What somebody who logged in wants to have run."""

    site: str
    epoch: int
    node: str
    """With `epoch`: the claim under which the front door takes this node for the owner."""
    kind: Kind
    command: str = ""
    """Bytes that are not UTF-8 as `os.fsdecode` has them."""
    terminal: str = ""
    """Its type (`TERM`); empty: no terminal."""
    size: Size = field(default_factory=Size)
    environment: Mapping[str, str] = field(default_factory=dict)
    source: str = ""
    """Where the user is: address and port."""
    user: str = ""
    """Whose key it was, as its owner named it."""


_KINDS = ("shell", "command", "files")


def encode(opening: Opening) -> bytes:
    """As the body of `OPEN`."""
    size = opening.size
    return json.dumps(
        {
            "site": opening.site,
            "epoch": opening.epoch,
            "node": opening.node,
            "kind": opening.kind,
            "command": opening.command,
            "terminal": opening.terminal,
            "size": [size.columns, size.rows, size.width, size.height],
            "environment": dict(opening.environment),
            "source": opening.source,
            "user": opening.user,
        }
    ).encode()


def decode(body: bytes) -> Opening:
    """What an `OPEN` asks for. Raises `BadMessage`: also for what no program can be given (a zero byte)."""
    try:
        told = json.loads(body)
        size = Size(*(int(part) & 0xFFFFFFFF for part in told["size"]))
        environment = {str(name): str(value) for name, value in told["environment"].items()}
        texts = [told[name] for name in ("site", "node", "kind", "command", "terminal", "source", "user")]
        epoch = int(told["epoch"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadMessage(f"an opening is not understood: {error}") from error
    if not all(isinstance(text, str) for text in texts) or texts[2] not in _KINDS:
        raise BadMessage("an opening is not understood")
    if any("\0" in text for text in (*texts, *environment, *environment.values())):
        raise BadMessage("a zero byte in an opening")
    if any("=" in name or not name for name in environment):
        raise BadMessage("no name of a variable in an opening")
    site, node, kind, command, terminal, source, user = texts
    return Opening(site, epoch, node, kind, command, terminal, size, environment, source, user)


def message(kind: bytes, body: bytes = b"") -> bytes:
    """One message. `body` has at most `MAX_MESSAGE` bytes."""
    return _HEADER.pack(kind, len(body)) + body


def pieces(kind: bytes, data: bytes) -> bytes:
    """`data` in as many messages as that takes; none for none."""
    return b"".join(message(kind, data[at : at + MAX_MESSAGE]) for at in range(0, len(data), MAX_MESSAGE))


class Messages:
    """Cuts what arrives, in whatever pieces, into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[tuple[bytes, bytes]]:
        """Kind and body of each message that `data` completes, in order. Raises `BadMessage`."""
        self._buffer += data
        found, at = [], 0
        while len(self._buffer) - at >= _HEADER.size:
            kind, length = _HEADER.unpack_from(self._buffer, at)
            if length > MAX_MESSAGE:
                raise BadMessage(f"a message of {length} bytes, {MAX_MESSAGE} is the most")
            end = at + _HEADER.size + length
            if len(self._buffer) < end:
                break
            found.append((kind, bytes(self._buffer[at + _HEADER.size : end])))
            at = end
        del self._buffer[:at]
        return found

    @property
    def pending(self) -> bool:
        """Whether a message has begun and is not complete."""
        return bool(self._buffer)
