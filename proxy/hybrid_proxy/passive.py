"""Ports of this node that are opened for one client's data connection. Shell."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Protocol, cast

from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IReactorTCP
from twisted.internet.protocol import Factory, ServerFactory

TRIES = 30
BACKLOG = 4


class Opened(Protocol):
    """A listening port."""

    port: int

    def close(self) -> None:
        """Listen no more."""


Listen = Callable[[str, int, Factory], Opened]
"""Listens on an address and port with a factory. Raises `OSError`."""


class Passive:
    """
    Opens ports.

    Args:
        listen: See `Listen`.
        ports: The first and the last one to take.
    """

    def __init__(self, listen: Listen, ports: tuple[int, int]) -> None:
        self._listen, self._ports = listen, ports

    def open(self, address: str, factory: Factory) -> Opened | None:
        """Listen on a port of `address` that is free, chosen by chance; `None` when none was found."""
        for _ in range(TRIES):
            try:
                return self._listen(address, random.randint(*self._ports), factory)
            except OSError:
                continue
        return None


class _Listening:
    def __init__(self, listening: IListeningPort, port: int) -> None:
        self._listening, self.port = listening, port

    def close(self) -> None:
        self._listening.stopListening()


def listen_with(reactor: IReactorTCP) -> Listen:
    """On sockets of this process alone: the other proxies of the node do not share them."""

    def listen(address: str, port: int, factory: Factory) -> Opened:
        try:
            listening = reactor.listenTCP(port, cast("ServerFactory[Any]", factory), BACKLOG, address)
        except CannotListenError as error:
            raise OSError(str(error)) from error
        return _Listening(listening, port)

    return listen
