"""Events as server-sent events (HTML Living Standard §9.2): replay after `Last-Event-ID`, back-pressure. Shell."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from twisted.internet.interfaces import IPushProducer, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure
from twisted.web.server import Request
from zope.interface import implementer

from hybrid.api.events import Events
from hybrid.errors import BadRequest

KEEP_ALIVE_S = 15.0
BATCH = 100


def start_of(events: Events, node: str, last_event_id: str, since: int | None) -> int:
    """
    The number after which a stream begins: that of the last event the client has, else the newest now.

    Ids are `<node>-<number>`, since numbers belong to a node: a client that comes from another node begins with now.

    Raises:
        BadRequest: `last_event_id` is not one of ours.
    """
    if not last_event_id:
        return events.newest if since is None else since
    from_node, _, number = last_event_id.rpartition("-")
    if not (number.isascii() and number.isdigit() and len(number) < 20):
        raise BadRequest("Last-Event-ID is not valid", "ids are <node>-<number>", "leave it out to begin with now")
    return int(number) if from_node == node else events.newest


@implementer(IPushProducer)
class EventStream:
    """One client that follows the events. A slow one is not written to until it has read; nothing is kept for it."""

    def __init__(
        self,
        clock: IReactorTime,
        request: Request,
        events: Events,
        node: str,
        since: int,
        ended: Callable[[EventStream], None],
    ) -> None:
        """`ended(stream)` is called once, when it is over for whatever reason."""
        self._request, self._events, self._node, self._sent = request, events, node, since
        self._ended = ended
        self._paused = False
        self._over = False
        self._stop_following = events.follow(self._flush)
        self._keep_alive = LoopingCall(self._comment)
        self._keep_alive.clock = clock

    def begin(self) -> None:
        """Send the head and what is there already."""
        self._request.setHeader(b"content-type", b"text/event-stream")
        self._request.setHeader(b"cache-control", b"no-store")
        self._request.notifyFinish().addBoth(self._gone)
        self._request.registerProducer(self, True)
        self._request.write(b"retry: 2000\n\n")
        if self._events.missed(self._sent):
            self._request.write(b"event: missed\ndata: {}\n\n")
        self._keep_alive.start(KEEP_ALIVE_S, now=False)
        self._flush()

    def close(self) -> None:
        """End it from this side."""
        if not self._over:
            self._request.unregisterProducer()
            self._request.finish()

    def pauseProducing(self) -> None:
        """The client is slow."""
        self._paused = True

    def resumeProducing(self) -> None:
        """It has read: go on after the last event it was sent."""
        self._paused = False
        self._flush()

    def stopProducing(self) -> None:
        """It is gone."""
        self._gone(None)

    def _flush(self) -> None:
        """Send what is new, as long as the client takes it."""
        while not (self._paused or self._over) and (batch := self._events.since(self._sent, BATCH)):
            for event in batch:
                data = msgspec.json.encode(event)
                self._request.write(b"id: %s-%d\ndata: %s\n\n" % (self._node.encode(), event.seq, data))
            self._sent = batch[-1].seq

    def _comment(self) -> None:
        if not self._paused:
            self._request.write(b": still here\n\n")

    def _gone(self, _: Failure | None) -> None:
        if not self._over:
            self._over = True
            self._stop_following()
            if self._keep_alive.running:
                self._keep_alive.stop()
            self._ended(self)
