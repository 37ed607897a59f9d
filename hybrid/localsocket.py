"""Speaking over a Unix socket of this node: who may open it (root and its group) is trusted. Shell."""

from __future__ import annotations

import os
from collections.abc import Callable

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import UNIXServerEndpoint
from twisted.internet.interfaces import IAddress, IListeningPort, IReactorUNIX
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger


class Frames(Factory[Protocol]):
    """Makes protocols by calling `build`."""

    noisy = False

    def __init__(self, build: Callable[[], Protocol]) -> None:
        self._build = build

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        """One more connection."""
        return self._build()


class LocalListener(Service):
    """Listens at `path`; a socket left by an earlier process is replaced. Connections are its owner's to end."""

    log = Logger()

    def __init__(self, reactor: IReactorUNIX, path: str, build: Callable[[], Protocol]) -> None:
        """`build()`: the protocol of one more connection."""
        self._reactor, self._path, self._build = reactor, path, build
        self._listening: IListeningPort | None = None

    def startService(self) -> None:
        """Listen."""
        super().startService()
        os.makedirs(os.path.dirname(self._path), mode=0o755, exist_ok=True)
        if os.path.exists(self._path):
            os.unlink(self._path)
        Deferred.fromCoroutine(self._listen())

    def stopService(self) -> Deferred[None]:
        """Listen no more."""
        super().stopService()
        return Deferred.fromCoroutine(self._close())

    async def _listen(self) -> None:
        endpoint = UNIXServerEndpoint(self._reactor, self._path, mode=0o660, wantPID=False)
        try:
            self._listening = await endpoint.listen(Frames(self._build))
        except Exception:
            self.log.failure("cannot listen on {path}", path=self._path)

    async def _close(self) -> None:
        if self._listening is not None:
            await maybeDeferred(self._listening.stopListening)
