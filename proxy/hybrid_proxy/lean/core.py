"""The usual steps of a stream and of its reactor, in Python; `_lean.c` is the same, compiled. Shell."""

from __future__ import annotations

import socket
from collections import deque
from select import EPOLLIN
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hybrid_proxy.lean.reactor import LeanReactor

SMALL_BYTES, LARGE_BYTES = 8 * 1024, 256 * 1024
"""Read at a time, usually and once so much came."""
EVENTS = 512
"""Taken from the kernel at a time."""


class CoreInPython:
    """What `lean.stream.Stream` is made of; it leaves to that what is not usual."""

    __slots__ = (
        *("_held", "_out", "_read_bytes", "_write_closed", "connected", "fd", "mask", "protocol"),
        *("relayed_bytes", "sink"),
    )
    _out: deque[bytes | memoryview] | None
    _read_bytes: int
    _held: Any
    """The socket, here always made."""
    _write_closed: bool
    connected: bool
    fd: int
    mask: int
    protocol: Any
    sink: CoreInPython | None
    """What is read goes there, past the protocol, but where it is much."""
    relayed_bytes: int
    """That went there."""

    def do_read(self: Any) -> None:
        """There is something to read."""
        if not self.connected:
            return
        if self._read_bytes != SMALL_BYTES:
            self._read_much()
            return
        try:
            data = self._held.recv(SMALL_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self._broke()
            return
        if not data:
            self._read_ended()
            return
        if len(data) == SMALL_BYTES:
            self._read_bytes = LARGE_BYTES
        if self.sink is None:
            self.protocol.dataReceived(data)
        else:
            self.relayed_bytes += len(data)
            self.sink.write(data)

    def write(self: Any, data: bytes) -> None:
        """See `ITransport`: it is sent at once if nothing waits before it."""
        if self._out or not self.connected or self._write_closed:
            self._write_later(data)
            return
        try:
            sent = self._held.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            sent = -1
        if sent != len(data):
            self._left_over(data, sent)


def poll_in_python(reactor: LeanReactor, streams: dict[int, Any], epoll: Any, timeout_s: float) -> None:
    """Wait, at most so long or for ever if that is negative, and tell all streams that have something."""
    for fd, event in epoll.poll(timeout_s, EVENTS):
        stream = streams.get(fd)
        if stream is None:
            reactor._do_other(fd, event)
            continue
        try:
            if event == EPOLLIN:
                stream.do_read()
            else:
                stream.happened(event)
        except Exception as error:
            reactor._failed(stream, error)


def accept_in_python(listening: socket.socket) -> tuple[socket.socket, tuple[Any, ...]] | None:
    """The next connection, not blocking, and its other end as the socket module says it, if there is one now."""
    try:
        fd, peer = listening._accept()  # type: ignore[attr-defined]  # what `accept` wraps at some cost
    except BlockingIOError:
        return None
    made = socket.socket(listening.family, socket.SOCK_STREAM, 0, fd)
    made.setblocking(False)
    return made, peer
