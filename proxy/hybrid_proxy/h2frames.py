"""
Looks at the headers of HTTP/2 frames before the library keeps what belongs to them (RFC 9113 §4.1, §4.2). Pure.

The library refuses a frame that is too long, or a head in too many frames, only once all of it has come; until then it
would keep megabytes.
"""

from __future__ import annotations

from hybrid_proxy.head import MAX_HEAD

PREFACE_BYTES = 24
MAX_FRAME = 16 * 1024
_HEADER = 9
_HEADERS, _CONTINUATION = 1, 9
_END_HEADERS = 4


class Frames:
    """Follows a connection from its preface on."""

    __slots__ = ("_block", "_partial", "_skip")

    def __init__(self) -> None:
        self._skip = PREFACE_BYTES
        self._partial = b""
        self._block = 0
        """Bytes of a head that has not ended."""

    def bounded(self, data: bytes) -> bool:
        """Whether every frame that begins in `data`, the next bytes of the connection, may be as long as it says."""
        at = 0
        while True:
            skipped = min(self._skip, len(data) - at)
            self._skip -= skipped
            at += skipped
            if at == len(data):
                return True
            needed = _HEADER - len(self._partial)
            header = self._partial + data[at : at + needed]
            at += needed
            if len(header) < _HEADER:
                self._partial = header
                return True
            self._partial = b""
            length = int.from_bytes(header[:3])
            if length > MAX_FRAME or not self._block_bounded(header[3], header[4], length):
                return False
            self._skip = length

    def _block_bounded(self, kind: int, flags: int, length: int) -> bool:
        if kind in (_HEADERS, _CONTINUATION):
            self._block = 0 if flags & _END_HEADERS else self._block + length
        return self._block <= MAX_HEAD
