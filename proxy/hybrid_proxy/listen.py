"""Listening sockets that several proxy processes share (SO_REUSEPORT), bound before privileges are dropped. Shell."""

from __future__ import annotations

import socket
from typing import Any, cast

from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IReactorSocket
from twisted.internet.protocol import ServerFactory
from twisted.internet.tcp import Port

from hybrid.systemd import SYSTEMD, bound

BACKLOG = 1024


class Listener:
    """
    A socket that is bound at once, and accepts connections from `open` on.

    Args:
        address: Empty for all IPv4 addresses.
        port: 0 for any that is free.
        kept: Over a restart of this process, where systemd runs it: who connects meanwhile waits, and is not refused.

    Raises:
        OSError: The address cannot be bound.
    """

    def __init__(self, address: str, port: int, kept: bool = False) -> None:
        self._socket: socket.socket | None = (SYSTEMD.bound if kept else bound)(socket.SOCK_STREAM, address, port)
        self._family = self._socket.family
        self.port: int = self._socket.getsockname()[1]
        self._open: IListeningPort | None = None
        self._paused = False

    def open(self, reactor: IReactorSocket, factory: IProtocolFactory) -> None:
        """Accept connections for `factory`. Once only."""
        assert self._socket is not None
        self._socket.listen(BACKLOG)
        self._socket.setblocking(False)
        self._open = reactor.adoptStreamPort(self._socket.fileno(), self._family, cast("ServerFactory[Any]", factory))
        self._socket.close()
        self._socket = None

    def pause(self, paused: bool) -> None:
        """Leave new connections in the kernel's queue, or take them again."""
        if self._open is not None and paused != self._paused:
            self._paused = paused
            port = cast(Port, self._open)  # or a `StreamPort`, which has the same two methods
            if paused:
                port.stopReading()
            else:
                port.startReading()

    def close(self) -> None:
        """Accept no more; connections there are stay."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._open is not None:
            self._open.stopListening()
            self._open = None
