"""
A client's HTTP/2 connection (RFC 9113): the library `h2` keeps the state of frames, requests go to exchanges. Shell.

What a client may cost is bounded: a hundred streams at a time, frames and heads by `hybrid_proxy.h2frames`, all bodies
together by a window of `CONNECTION_WINDOW`, and what only makes work by `hybrid_proxy.calm`.
"""

from __future__ import annotations

import contextlib

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RemoteSettingsChanged,
    RequestReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
    WindowUpdated,
)
from h2.exceptions import H2Error, ProtocolError
from hyperframe.frame import GoAwayFrame
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from hybrid_proxy import calm, pages
from hybrid_proxy.calm import Calm
from hybrid_proxy.deadlines import NEVER
from hybrid_proxy.door import Door
from hybrid_proxy.h2frames import Frames
from hybrid_proxy.h2head import Field, Malformed, page_fields, request_of
from hybrid_proxy.h2stream import Stream
from hybrid_proxy.head import MAX_HEAD, Refused, RequestHead
from hybrid_proxy.house import House
from hybrid_proxy.pages import Page
from hybrid_proxy.relay import IStream

CONNECTION_WINDOW = 1024 * 1024
_LAST = 2**31 - 1


class _Connection(H2Connection):
    """Remembers fewer closed streams."""

    MAX_CLOSED_STREAMS = 256
    DEFAULT_MAX_HEADER_LIST_SIZE = MAX_HEAD


@implementer(IPushProducer)
class H2Front(Protocol):
    """
    The connection. To its transport it is the producer of all that it sends.

    Args:
        house: What it shares with the others.
        door: How it came in.
    """

    log = Logger()
    transport: IStream

    def __init__(self, house: House, door: Door) -> None:
        self.house, self.door = house, door
        self.due_s = NEVER
        self._calm, self._frames = Calm(house.deadlines.now_s), Frames()
        config = H2Configuration(client_side=False, header_encoding=False, validate_outbound_headers=False)
        self._h2 = _Connection(config)
        self._streams: dict[int, Stream] = {}
        self._full = False
        """The transport takes no more for now."""
        self._closing = False
        self._reading = False

    # ------------------------------------------------------------------------------------------------------ reading

    def connectionMade(self) -> None:
        """See `twisted.internet.protocol.Protocol`."""
        self.transport.setTcpNoDelay(True)
        self.house.deadlines.watch(self)
        self._rest()
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(CONNECTION_WINDOW - self._h2.inbound_flow_control_window)
        self.transport.registerProducer(self, True)
        self._flush()

    def dataReceived(self, data: bytes) -> None:
        """See `twisted.internet.protocol.Protocol`."""
        if self._closing:
            return
        if not self._frames.bounded(data):
            self._refuse(ErrorCodes.FRAME_SIZE_ERROR)
            return
        self._reading = True
        try:
            events = self._h2.receive_data(data)
            taken_back = {event.stream_id for event in events if isinstance(event, StreamReset)}
            for event in events:
                if not isinstance(event, RequestReceived) or event.stream_id not in taken_back:
                    self._handle(event)
                if self._closing:
                    break
        except ProtocolError as error:
            self.log.debug("a client breaks HTTP/2: {why}", why=str(error))
            self._reading = False
            self._flush()
            self._end()
        finally:
            self._reading = False
            self._flush()

    def _handle(self, event: Event) -> None:
        match event:
            case RequestReceived():
                self._request(event)
            case DataReceived():
                self._body(event)
            case StreamEnded():
                stream = self._streams.get(event.stream_id or 0)
                if stream is not None and not stream.unasked:
                    stream.asked()
            case StreamReset():
                self._spend(calm.RESET)
                self._gone(event.stream_id)
            case WindowUpdated():
                self._spend(calm.FRAME)
                self._pump(event.stream_id or 0)
            case RemoteSettingsChanged():
                self._spend(calm.FRAME)
                self._pump(0)
            case ConnectionTerminated():
                self._end()
            case TrailersReceived():
                pass  # they are dropped, as those of HTTP/1.1 are
            case _:
                self._spend(calm.FRAME)

    def _spend(self, cost: float) -> None:
        if not self._closing and not self._calm.spend(cost, self.house.deadlines.now_s):
            self.log.info("{source} asks for too much that leads to nothing", source=self.door.source)
            self._refuse(ErrorCodes.ENHANCE_YOUR_CALM)

    def _refuse(self, code: ErrorCodes) -> None:
        """Say why, and end it."""
        self._reading = False
        with contextlib.suppress(H2Error):
            self._h2.close_connection(code)
        self._flush()
        self._end()

    # ----------------------------------------------------------------------------------------------------- requests

    def _request(self, event: RequestReceived) -> None:
        number, ended = event.stream_id or 0, event.stream_ended is not None
        try:
            head = request_of(event.headers or (), ended)
            came_from = self.door.came_from(head)
        except Malformed:
            self._h2.reset_stream(number, ErrorCodes.PROTOCOL_ERROR)
            self._spend(calm.RESET)
        except Refused as error:
            self._say(number, pages.refused(error), ended)
        except Page as page:
            self._say(number, page, ended)
        else:
            self._begin(number, head, ended, came_from)

    def _begin(self, number: int, head: RequestHead, ended: bool, came_from: bytes) -> None:
        if ended and head.has_body:  # its Content-Length promises what does not come
            self._h2.reset_stream(number, ErrorCodes.PROTOCOL_ERROR)
            return
        self.due_s = NEVER
        stream = self._streams[number] = Stream(self, number, head, ended)
        stream.begin(came_from)

    def _say(self, number: int, page: Page, ended: bool) -> None:
        """Answer what is not a request to serve."""
        self.house.traffic.pages[page.status] += 1
        self._spend(calm.FRAME)
        if self._closing:
            return
        fields, body = page_fields(page, True)
        self._h2.send_headers(number, fields)
        self._h2.send_data(number, body, end_stream=True)
        if not ended:
            self._h2.reset_stream(number, ErrorCodes.NO_ERROR)

    def _body(self, event: DataReceived) -> None:
        piece, count = bytes(event.data or b""), event.flow_controlled_length or 0
        if piece:
            self._calm.earn(len(piece))
        elif event.stream_ended is None:
            self._spend(calm.FRAME)
        stream = self._streams.get(event.stream_id or 0)
        if stream is not None and not stream.closed:
            stream.received(piece, count)
        elif count:
            self._acknowledge(event.stream_id or 0, count)

    def _acknowledge(self, number: int, count: int) -> None:
        with contextlib.suppress(H2Error):
            self._h2.acknowledge_received_data(count, number)

    # ------------------------------------------------------------------------------------------------- for streams

    def send_head(self, stream: Stream, fields: list[Field], ended: bool) -> None:
        """See `hybrid_proxy.h2stream.Sender`."""
        if stream.closed or self._closing:
            return
        try:
            self._h2.send_headers(stream.number, fields, end_stream=ended)
        except H2Error:
            self._gone(stream.number)  # it was taken back, as one of the next events will tell
        self._flush()

    def send_body(self, stream: Stream) -> None:
        """See `hybrid_proxy.h2stream.Sender`."""
        if stream.closed or self._closing:
            return
        try:
            self._send_pending(stream, stream.number, stream.pending)
        except H2Error:
            self._gone(stream.number)
        self._flush()

    def _send_pending(self, stream: Stream, number: int, pending: bytearray) -> None:
        while pending and not self._full:
            room = min(self._h2.local_flow_control_window(number), self._h2.max_outbound_frame_size, len(pending))
            if room <= 0:
                return
            piece = bytes(pending[:room])
            del pending[:room]
            self._h2.send_data(number, piece, end_stream=stream.ending and not pending)
            self._calm.earn(room)
            self._flush()
            if stream.ending and not pending:
                return
        if stream.ending and not pending:
            self._h2.end_stream(number)

    def took(self, stream: Stream, count: int) -> None:
        """See `hybrid_proxy.h2stream.Sender`."""
        if not self._closing:
            self._acknowledge(stream.number, count)
            self._flush()

    def reset(self, stream: Stream) -> None:
        """See `hybrid_proxy.h2stream.Sender`."""
        stream.gone()
        self._reset(stream.number, ErrorCodes.INTERNAL_ERROR)

    def over(self, stream: Stream) -> None:
        """See `hybrid_proxy.h2stream.Sender`."""
        if not stream.unasked:
            self._reset(stream.number, ErrorCodes.NO_ERROR)
        else:
            self._forget(stream.number)

    def _reset(self, number: int, code: ErrorCodes) -> None:
        self._forget(number)
        if not self._closing:
            with contextlib.suppress(H2Error):  # it ended by itself
                self._h2.reset_stream(number, code)
            self._flush()

    def _forget(self, number: int) -> None:
        self._streams.pop(number, None)
        if not self._streams:
            if self.house.draining:
                self._end()
            else:
                self._rest()

    def _gone(self, number: int | None) -> None:
        stream = self._streams.get(number or 0)
        if stream is not None:
            stream.gone()
            self._forget(stream.number)

    def _pump(self, number: int) -> None:
        """There may be room for what is pending: on one stream, or (0) on all."""
        for stream in [self._streams.get(number)] if number else list(self._streams.values()):
            if stream is not None and stream.pending:
                self.send_body(stream)
                stream.mind_producer()
                if not stream.pending:
                    stream.drained()

    # --------------------------------------------------------------------------------------------------- transport

    def _flush(self) -> None:
        """Send what `h2` has written; while events are handled, all at once after the last."""
        data = b"" if self._reading else self._h2.data_to_send()
        if data:
            self.transport.write(data)

    def pauseProducing(self) -> None:
        """See `IPushProducer`: the client does not read; nor is it read from."""
        self._full = True
        self.transport.pauseProducing()
        self._watch_stuck()

    def resumeProducing(self) -> None:
        """See `IPushProducer`."""
        self._full = False
        if self._streams:
            self.due_s = NEVER
        else:
            self._rest()
        self.transport.resumeProducing()
        self._pump(0)

    def stopProducing(self) -> None:
        """See `IPushProducer`: the connection is gone, which is told below."""

    def _watch_stuck(self) -> None:
        self.due_s = min(self.due_s, self.house.deadlines.now_s + self.house.limits.stuck_s)

    def _rest(self) -> None:
        """Without a request nothing puts the end off."""
        self.due_s = self.house.deadlines.now_s + self.house.limits.idle_s

    def overdue(self) -> None:
        """See `hybrid_proxy.deadlines.Watched`: idle, stuck, or its closing takes too long."""
        self.due_s = NEVER
        if self._closing or self._full:
            self.transport.abortConnection()
        else:
            self._refuse(ErrorCodes.NO_ERROR)

    # ----------------------------------------------------------------------------------------------------- the end

    @property
    def busy(self) -> bool:
        """Whether a request is under way."""
        return bool(self._streams)

    def drain(self) -> None:
        """Take no more requests; those under way are answered (RFC 9113 §6.8)."""
        if not self._closing:
            self.transport.write(GoAwayFrame(0, last_stream_id=_LAST, error_code=ErrorCodes.NO_ERROR).serialize())
            if not self._streams:
                self._end()

    def _end(self) -> None:
        """Close, when what was written is sent."""
        self._closing = True
        for stream in list(self._streams.values()):
            stream.gone()
        self._streams.clear()
        self.due_s = self.house.deadlines.now_s + self.house.limits.linger_s
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `twisted.internet.protocol.Protocol`."""
        self._closing = True
        self.house.deadlines.forget(self)
        self.due_s = NEVER
        streams, self._streams = list(self._streams.values()), {}
        for stream in streams:
            stream.gone()
