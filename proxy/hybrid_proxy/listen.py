"""Listening sockets that several proxy processes share (SO_REUSEPORT), bound before privileges are dropped. Shell."""

from __future__ import annotations

import socket
from typing import Any, cast

from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IReactorSocket
from twisted.internet.protocol import ServerFactory
from twisted.internet.tcp import Port

BACKLOG = 1024


class Listener:
    """
    A socket that is bound at once, and accepts connections from `open` on.

    Raises:
        OSError: The address cannot be bound.
    """

    def __init__(self, address: str, port: int) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._socket: socket.socket | None = socket.socket(family, socket.SOCK_STREAM)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            self._socket.bind((address, port))
        except OSError:
            self._socket.close()
            raise
        self._family = family
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
