"""
Send streams of a pool in memory: a true ZFS first record, then the changed files in msgpack, then their digest. Pure.

Cut, reordered or otherwise damaged bytes are told from whole ones by the digest, as ZFS tells them by its checksums.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace

import msgspec

from hybrid.errors import StorageError, StreamRefused
from hybrid.model import Guid, Snapshot
from hybrid.ports import Partial
from hybrid.storage import begin
from hybrid.storage.features import RESUMING
from hybrid.storage.memory_state import Files

_DIGEST = 16
_PIECE_BYTES = 256 * 1024


class Body(msgspec.Struct, frozen=True):
    """What follows the first record: from the base's content to the snapshot's."""

    snapshot: Snapshot
    written: dict[str, bytes]
    removed: list[str]


def encode(
    dataset: str,
    snapshot: Snapshot,
    files: Files,
    base: Guid | None,
    base_files: Files,
    uses: int = 0,
    clone: bool = False,
) -> bytes:
    """The stream that makes `snapshot` out of `base` (out of nothing with `None`)."""
    written = {path: data for path, data in files.items() if base_files.get(path) != data}
    removed = [path for path in base_files if path not in files]
    head = begin.Begin(
        snapshot.guid, base, f"{dataset}@{snapshot.name}", snapshot.created_at_s, begin.CLONE if clone else 0, uses
    )
    data = begin.pack(head) + msgspec.msgpack.encode(Body(snapshot, written, removed))
    return data + _digest(data)


def decode(data: bytes) -> tuple[begin.Begin, Body]:
    """
    Read a whole stream.

    Raises:
        StreamRefused: Not a stream, cut short, or damaged.
    """
    payload, digest = data[:-_DIGEST], data[-_DIGEST:]
    try:
        head = begin.parse(data)
        if digest != _digest(payload):
            raise StreamRefused("the stream was not taken", "it is cut short or damaged")
        return head, msgspec.msgpack.decode(payload[begin.LENGTH :], type=Body)
    except (begin.NotAStream, msgspec.DecodeError) as error:
        raise StreamRefused("the stream was not taken", str(error)) from error


def rest(data: bytes, offset: int) -> bytes:
    """The stream that goes on after `offset` bytes of `data`."""
    head = begin.parse(data)
    return begin.pack(replace(head, features=head.features | RESUMING)) + data[offset:]


def whole(data: bytes, before: bytes) -> bytes:
    """
    The stream that `data` is, or goes on with.

    Raises:
        StreamRefused: It goes on with another one than `before` is the beginning of.
    """
    head = beginning(data)
    if not head.features & RESUMING:
        return data
    if replace(head, features=head.features & ~RESUMING) != beginning(before):
        raise StreamRefused("the stream was not taken", "it goes on with one of which nothing is here")
    return before + data[begin.LENGTH :]


def partial(before: bytes) -> Partial | None:
    """What is known of the beginning of a stream; `None` if that does not even tell which."""
    try:
        head = begin.parse(before)
    except begin.NotAStream:
        return None
    size = len(before)
    return Partial(
        to=head.to_guid, base=head.from_guid, object=0, offset=size, received_bytes=size, features=head.features
    )


def beginning(data: bytes) -> begin.Begin:
    """The first record. Raises `StreamRefused`."""
    try:
        return begin.parse(data)
    except begin.NotAStream as error:
        raise StreamRefused("the stream was not taken", str(error)) from error


def apply(body: Body, base_files: Files) -> Files:
    """The content of the received snapshot."""
    kept = {path: data for path, data in base_files.items() if path not in set(body.removed)}
    return {**kept, **body.written}


class Source:
    """See `hybrid.ports.ByteSource`: a stream made beforehand."""

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self._aborted = False

    async def read(self) -> bytes:
        """See `hybrid.ports.ByteSource`."""
        if self._aborted:
            raise StorageError("the stream was cut")
        piece, self._data = bytes(self._data[:_PIECE_BYTES]), self._data[_PIECE_BYTES:]
        return piece

    async def abort(self) -> None:
        """Nothing is taken any more."""
        self._aborted = True


class Sink:
    """
    See `hybrid.ports.ByteSink`: collects a stream; nothing is taken before `finish`.

    Args:
        keep: Called with what came of a stream that was cut.
    """

    def __init__(self, take: Callable[[bytes], None], keep: Callable[[bytes], None] | None = None) -> None:
        self._take: Callable[[bytes], None] | None = take
        self._keep = keep
        self._data = bytearray()

    async def write(self, data: bytes) -> None:
        """See `hybrid.ports.ByteSink`."""
        if self._take is None:
            raise StorageError("nothing was received", "the stream has ended")
        self._data += data

    async def finish(self) -> None:
        """See `hybrid.ports.ByteSink`."""
        if self._take is None:
            raise StorageError("nothing was received", "the stream has ended")
        take, self._take = self._take, None
        take(bytes(self._data))

    async def abort(self) -> None:
        """Nothing is taken any more."""
        if self._take is not None and self._keep is not None and len(self._data) > begin.LENGTH:
            self._keep(bytes(self._data))
        self._take = None
        self._data.clear()


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=_DIGEST).digest()
