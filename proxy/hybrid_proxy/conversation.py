"""
A WebSocket through the front door: bytes are passed as they are, and its end is said in its own words. Shell.

When the site ends without a word (its owner changes, its container stops, its node dies), the client gets a Close frame
with 1012, "service restart" (RFC 6455 §7.4, the IANA registry), and knows that it may come back at once.
"""

from __future__ import annotations

from collections.abc import Callable

from hybrid_proxy.relay import Side, Splice

RESTART = b"\x88\x02\x03\xf4"
"""A Close frame from a server: 1012."""
_CLOSE = 8


class Frames:
    """Follows the frames of one direction (RFC 6455 §5.2)."""

    __slots__ = ("_header", "_skip", "closed")

    def __init__(self) -> None:
        self._header = b""
        self._skip = 0
        self.closed = False
        """A Close frame has begun."""

    @property
    def between(self) -> bool:
        """Whether the last frame is complete."""
        return not self._skip and not self._header

    def feed(self, data: bytes) -> None:
        """The next bytes."""
        at = 0
        while at < len(data):
            if self._skip:
                skipped = min(self._skip, len(data) - at)
                self._skip -= skipped
                at += skipped
                continue
            self._header += data[at : at + 1]
            at += 1
            self._look()

    def _look(self) -> None:
        """Whether the header is complete; if so, what follows it is known."""
        header = self._header
        if len(header) < 2:
            return
        short = header[1] & 0x7F
        wide = {126: 2, 127: 8}.get(short, 0)
        whole = 2 + wide + (4 if header[1] & 0x80 else 0)
        if len(header) < whole:
            return
        self._skip = int.from_bytes(header[2 : 2 + wide]) if wide else short
        self.closed = self.closed or header[0] & 0x0F == _CLOSE
        self._header = b""


class Conversation(Splice):
    """A splice whose far end speaks WebSocket to the near one."""

    def __init__(self, near: Side, far: Side, ended: Callable[[], None]) -> None:
        super().__init__(near, far, ended)
        self._frames = Frames()

    def from_far(self, data: bytes) -> None:
        """See `Splice`."""
        self._frames.feed(data)
        super().from_far(data)

    def far_ended(self) -> None:
        """See `Splice`."""
        self._say_restart()
        super().far_ended()

    def far_gone(self) -> None:
        """The site is lost."""
        self._say_restart()
        self.gone()

    def _say_restart(self) -> None:
        """Once, where a frame may stand."""
        if not self._over and self._near.unwritten and self._frames.between and not self._frames.closed:
            self._frames.closed = True
            self._near.write(RESTART)
