"""A bounded hand-over of bytes from one who pushes to one who pulls. Shell, but touches no socket."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.internet.defer import Deferred


class Pipe:
    """
    Bytes in the order they were pushed, read by one reader at a time.

    The pusher looks at `full` after each push and stops until `on_room` is called; what is held is bounded by
    `limit_bytes` and one push.
    """

    def __init__(self, limit_bytes: int, on_room: Callable[[], None]) -> None:
        self._limit = limit_bytes
        self._on_room = on_room
        self._chunks: deque[bytes] = deque()
        self._held = 0
        self._ended = False
        self._error: Exception | None = None
        self._reader: Deferred[None] | None = None

    @property
    def full(self) -> bool:
        """Whether the pusher should stop for now."""
        return self._held >= self._limit

    def push(self, data: bytes) -> None:
        """Hand over `data` (not empty). After `end` or `fail` it is dropped."""
        if self._ended or self._error is not None:
            return
        self._chunks.append(data)
        self._held += len(data)
        self._wake()

    def end(self) -> None:
        """Nothing more comes: complete."""
        self._ended = True
        self._wake()

    def fail(self, error: Exception) -> None:
        """Nothing more comes: cut. What was not read yet is dropped. After a complete `end`: without effect."""
        if self._ended or self._error is not None:
            return
        self._error = error
        self._chunks.clear()
        self._held = 0
        self._wake()

    async def read(self) -> bytes:
        """The next bytes; `b""` for ever after `end`; raises what `fail` was given."""
        while not self._chunks:
            if self._error is not None:
                raise self._error
            if self._ended:
                return b""
            self._reader = Deferred()
            await self._reader
        was_full = self.full
        data = self._chunks.popleft()
        self._held -= len(data)
        if was_full and not self.full:
            self._on_room()
        return data

    def _wake(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None and not reader.called:
            reader.callback(None)
