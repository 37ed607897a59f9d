"""What is asked of the child process that touches files, and what it answers: msgpack on stdin and stdout. Pure."""

from __future__ import annotations

from typing import Literal

import msgspec

from hybrid.deeds import Entry


class ListEntries(msgspec.Struct, frozen=True, tag=True):
    """The directory `path` below `root`."""

    root: str
    path: str


class ReadContent(msgspec.Struct, frozen=True, tag=True):
    """The regular file `path` below `root`, of at most `limit_bytes`."""

    root: str
    path: str
    limit_bytes: int


class CopyTree(msgspec.Struct, frozen=True, tag=True):
    """Bring `path` from below `root` to below `live_root`."""

    root: str
    live_root: str
    path: str


class UniteMail(msgspec.Struct, frozen=True, tag=True):
    """Bring the Maildirs below `path` of `root` into those of `live_root`, over those of `base_root`; see `maildir`."""

    base_root: str | None
    root: str
    live_root: str
    path: str
    tag: str


Work = ListEntries | ReadContent | CopyTree | UniteMail


class Listed(msgspec.Struct, frozen=True, tag=True):
    """By name."""

    entries: list[Entry]


class Content(msgspec.Struct, frozen=True, tag=True):
    """All of the file."""

    data: bytes


class Copied(msgspec.Struct, frozen=True, tag=True):
    """Files and links written."""

    files: int


class United(msgspec.Struct, frozen=True, tag=True):
    """Messages brought, moved or removed."""

    steps: int


Trouble = Literal["no such path", "too large", "out of space", "quota", "failed"]


class NotDone(msgspec.Struct, frozen=True, tag=True):
    """Why it was not done."""

    trouble: Trouble
    why: str


Answer = Listed | Content | Copied | United | NotDone

_work: msgspec.msgpack.Decoder[Work] = msgspec.msgpack.Decoder(Work)
_answer: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)


def encode(message: Work | Answer) -> bytes:
    """The bytes of a request or an answer."""
    return msgspec.msgpack.encode(message)


def decode_work(data: bytes) -> Work:
    """Read a request. Raises `msgspec.MsgspecError`."""
    return _work.decode(data)


def decode_answer(data: bytes) -> Answer:
    """Read an answer. Raises `msgspec.MsgspecError`."""
    return _answer.decode(data)
