"""What is asked of the child process that touches files, and what it answers: msgpack on stdin and stdout. Pure."""

from __future__ import annotations

from typing import Literal

import msgspec

from hybrid.deeds import Differences, Folder, Form

PROGRESS = 3
"""The descriptor on which a child tells how far it is: lines of bytes copied and, where known, bytes in all."""


class ListFolder(msgspec.Struct, frozen=True, tag=True):
    """The directory `path` below `root`: at most `limit` entries, those after the name `after`."""

    root: str
    path: str
    after: str
    limit: int


class ReadOut(msgspec.Struct, frozen=True, tag=True):
    """The content of `path` below `root`, as it is or as an archive. Not answered: it is what stdout carries."""

    root: str
    path: str
    form: Form


class CopyTree(msgspec.Struct, frozen=True, tag=True):
    """Bring `path` from below `root` to below `live_root`; with `copy` beside it, under a name with that in it."""

    root: str
    live_root: str
    path: str
    copy: str = ""


class Compare(msgspec.Struct, frozen=True, tag=True):
    """What is different in `path` below `root`, where `old_root` is what was before."""

    old_root: str
    root: str
    path: str
    settled_s: int
    """See `comparing.Comparison`, also for:"""
    touched: tuple[bytes, ...] | None = None


class UniteMail(msgspec.Struct, frozen=True, tag=True):
    """Bring the Maildirs below `path` of `root` into those of `live_root`, over those of `base_root`; see `maildir`."""

    base_root: str | None
    root: str
    live_root: str
    path: str
    tag: str


class Tidy(msgspec.Struct, frozen=True, tag=True):
    """Remove what a restore that was cut short left in `live_root`."""

    live_root: str
    path: str = ""


Work = ListFolder | ReadOut | CopyTree | Compare | UniteMail | Tidy
"""Paths are text as in `hybrid.filenames`, from the site's root."""


class Copied(msgspec.Struct, frozen=True, tag=True):
    """Files and links written, and where."""

    files: int
    path: str


class Counted(msgspec.Struct, frozen=True, tag=True):
    """Messages brought, moved or removed; or leftovers removed."""

    steps: int


class Listed(msgspec.Struct, frozen=True, tag=True):
    """Of a directory."""

    folder: Folder


class Compared(msgspec.Struct, frozen=True, tag=True):
    """All of it, or the beginning."""

    differences: Differences


Trouble = Literal["no such path", "too large", "out of space", "quota", "failed"]


class NotDone(msgspec.Struct, frozen=True, tag=True):
    """Why it was not done."""

    trouble: Trouble
    why: str


Answer = Listed | Compared | Copied | Counted | NotDone

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


def complaint(refused: NotDone) -> bytes:
    """`refused` as a line for stderr: what ends a `ReadOut` that could not be finished."""
    return msgspec.json.encode(refused) + b"\n"


def complained(text: str) -> NotDone:
    """Read what `complaint` wrote; anything else is the last words of a child that broke."""
    last = text.strip().rpartition("\n")[2]
    try:
        return msgspec.json.decode(last, type=NotDone)
    except msgspec.MsgspecError:
        return NotDone("failed", last or "the file worker broke off")
