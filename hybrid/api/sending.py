"""Streams as the body of an HTTP response: each piece when the client has room, no end where there is none. Shell."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as WaitedTooLong
from twisted.internet.interfaces import IPushProducer, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.server import Request
from zope.interface import implementer

from hybrid.errors import HybridError
from hybrid.ports import ByteSource

STALLED_S = 120.0
"""A client that takes nothing for so long is cut off."""


@implementer(IPushProducer)
class Sending:
    """
    One response under way. Its head was set, but for a length, so the body comes in chunks (RFC 9112, section 7.1).

    What breaks off is not ended by the last chunk: the client sees that it has only the beginning.
    """

    log = Logger()

    def __init__(self, clock: IReactorTime, request: Request, source: ByteSource) -> None:
        self._clock, self._request, self._source = clock, request, source
        self._room: Deferred[None] | None = None
        self._is_gone = False
        request.notifyFinish().addErrback(self._gone)

    async def send(self) -> None:
        """Send all of it. Never raises for what the source or the client do."""
        self._request.registerProducer(self, True)
        try:
            while not self._is_gone and (data := await self._source.read()):
                if not self._is_gone:
                    self._request.write(data)
                await self._until_room()
        except (HybridError, WaitedTooLong) as error:
            self.log.warn("a download broke off: {error}", error=str(error) or "its client took nothing any more")
            self._break_off()
        except BaseException:
            self._break_off()
            raise
        else:
            if not self._is_gone:
                self._request.unregisterProducer()
                self._request.finish()
        finally:
            await self._source.abort()

    def pauseProducing(self) -> None:
        """The client is slow."""
        self._room = self._room or Deferred()

    def resumeProducing(self) -> None:
        """It took what was written."""
        room, self._room = self._room, None
        if room is not None:
            room.callback(None)

    def stopProducing(self) -> None:
        """The connection is lost."""
        self._is_gone = True
        self.resumeProducing()

    async def _until_room(self) -> None:
        if self._room is not None and not self._is_gone:
            await self._room.addTimeout(STALLED_S, self._clock)

    def _break_off(self) -> None:
        if not self._is_gone:
            self._room = None
            self._request.unregisterProducer()
            self._request.loseConnection()

    def _gone(self, reason: Failure) -> None:
        self.stopProducing()
