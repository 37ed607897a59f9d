"""
One request and its response, from the moment its head is understood. Shell.

It is routed, waits if it must, is sent to the owner, and is sent again where that is safe: when nothing of it was sent
yet, when its method is safe and nothing came back, or when the other node said that it did nothing with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from hybrid.model import SiteId
from hybrid_proxy import pages
from hybrid_proxy.body import LAST_CHUNK, chunk
from hybrid_proxy.cache import Visit
from hybrid_proxy.client import Client
from hybrid_proxy.conversation import Conversation
from hybrid_proxy.head import RequestHead
from hybrid_proxy.message import (
    CONTINUE,
    interim_bytes,
    is_websocket,
    reply_bytes,
    request_bytes,
    switching_bytes,
)
from hybrid_proxy.outgoing import Outgoing
from hybrid_proxy.pages import Page
from hybrid_proxy.relay import Side, Splice
from hybrid_proxy.reply import ReplyHead
from hybrid_proxy.route import Destination, Here, NotOwner, There, Unknown, Wait
from hybrid_proxy.upstream import Upstream

if TYPE_CHECKING:
    from hybrid_proxy.house import House

SAFE = frozenset((b"GET", b"HEAD", b"OPTIONS"))
NO_ROUTE = SiteId("")
FRESH_TRIES = 3
"""Times a safe request is sent on new connections that end without a word, before that is the answer."""


@implementer(IPushProducer)
class Exchange:
    """See the module. To the client's transport it is the producer of the response."""

    log = Logger()

    brief = False
    site = NO_ROUTE
    begun = False
    """The response has begun."""
    destination: Destination | None = None
    """Where it went last."""
    _upstream: Upstream | None = None
    _connecting: Deferred[Upstream] | None = None
    _sent_bytes = 0
    _told_to_continue = False
    _chunks = False
    _keep_alive = False
    _producing = False
    _fresh_tries = 0
    _scout = False
    _waiting_since_s = -1.0
    _status = 0
    _page: Page = pages.WAITED
    _kept: Outgoing | None = None
    _visit: Visit | None = None
    _minded = False
    """Its cache was asked, and it was counted."""

    def __init__(self, house: House, client: Client, head: RequestHead, came_from: bytes) -> None:
        self._house, self._client = house, client
        self.head, self._came_from = head, came_from
        self.method = head.method
        self._began_s = house.now_s()
        self.fully_sent = not (head.chunked or head.length)
        """Nothing of the request is left to send."""

    @property
    def wants_tunnel(self) -> bool:
        """See `hybrid_proxy.upstream.Asker`."""
        return is_websocket(self.head)

    @property
    def _outgoing(self) -> Outgoing:
        """The request with its body; not made for one without, unless it is sent again."""
        if self._kept is None:
            self._kept = Outgoing(self.head, self._came_from, self._house.limits.kept_body_bytes)
        return self._kept

    # -------------------------------------------------------------------------------------------------- routing

    def begin(self) -> None:
        """Find the owner and go there, wait, or answer."""
        route = self._client.route(self.head)
        if isinstance(route, (Here, There)):  # not a union: this is asked for each request
            self._go(route)
        elif isinstance(route, Wait):
            self.site = route.site
            self._wait(pages.WAITED, self._house.limits.hold_s)
        elif isinstance(route, NotOwner):
            self._answer(pages.not_owner(route.claim))
        elif isinstance(route, Unknown):
            self._answer(pages.UNKNOWN)
        elif isinstance(route, Page):
            self._answer(route)
        else:
            self._answer(pages.not_served(route))

    def carry_on(self, destination: Destination, upstream: Upstream, began_s: float) -> None:
        """It was begun as a brief one (`hybrid_proxy.brief`), and `upstream` was asked."""
        self.destination, self.site, self._upstream = destination, destination.site, upstream
        self._began_s = began_s

    def resume(self, scout: bool) -> None:
        """See `hybrid_proxy.room.Waiter`."""
        self._scout = scout
        self.begin()

    def _go(self, destination: Destination) -> None:
        house, self.destination, self.site = self._house, destination, destination.site
        if house.routes.minded and type(destination) is Here and self._answered_here(destination):
            return
        if destination.site in house.room.doubts and not self._scout:
            self._wait_for(destination)
            return
        upstream = house.pool.take(destination, self.method in SAFE)
        if upstream is not None:
            if self.fully_sent and self._kept is None:
                self._upstream = upstream
                upstream.ask(self, request_bytes(self.head, self._came_from))
                self._client.due_in(house.limits.reply_s)
            else:
                self._send(upstream)
        elif house.pool.full(destination):
            self._wait(pages.CROWDED, house.limits.hold_s)
        else:
            self._client.due_in(2 * house.limits.connect_s)
            self._connecting = self._client.open(destination)
            self._connecting.addCallbacks(self._connected, self._unreachable)

    def _answered_here(self, destination: Here) -> bool:
        """Whether the site is not to be asked: its answer is kept, or all together ask too much of it."""
        house, wish = self._house, self._house.routes.minded.get(destination.site)
        if wish is None or self._minded:
            return False
        self._minded = True
        if wish.cache:
            self._visit = house.cache.visit(self.site, self.head, self._came_from, (destination.claim, wish.purges))
            kept = self._visit.kept()
            if kept is not None:
                self._visit = None
                reply, body = kept
                self.replied(None, reply, len(body), body, True)
                return True
        per_s = wish.requests_per_s_in_all
        if per_s and not house.rates.allow(self.site, "", per_s, house.deadlines.now_s):
            self._answer(pages.TOO_MANY)
            return True
        return False

    def _connected(self, upstream: Upstream) -> None:
        self._connecting = None
        if isinstance(self.destination, Here):  # of another node only a response shows that it is well
            self._house.room.trust(self.site)
        self._send(upstream)

    def _unreachable(self, failure: Failure) -> None:
        if self._connecting is None:
            return  # given up
        self._connecting = None
        if self.site not in self._house.room.doubts:
            why, where = failure.getErrorMessage(), self.destination
            self.log.info("{site} does not answer at {where}: {why}", site=self.site, where=where, why=why)
        self._try_later()

    def _try_later(self) -> None:
        """The destination does not answer: wait for a better time or a better view."""
        assert self.destination is not None
        self._house.room.doubt(self.site)
        self._wait_for(self.destination)

    def _wait_for(self, destination: Destination) -> None:
        """Wait for a destination that does not answer."""
        if isinstance(destination, Here):
            self._wait(pages.BAD_GATEWAY, self._house.limits.local_hold_s)
        else:
            self._wait(pages.WAITED, self._house.limits.hold_s)

    def _wait(self, page: Page, hold_s: float) -> None:
        """Wait until resumed; `page` is the answer if nobody does so within `hold_s` of the first wait."""
        now_s = self._house.deadlines.now_s
        if self._waiting_since_s < 0:
            self._waiting_since_s = now_s
        left_s = self._waiting_since_s + hold_s - now_s
        self._page, self._scout = page, False
        if left_s <= 0:
            self._answer(page)
        elif not self._house.room.hold(self):
            self._answer(pages.CROWDED)
        else:
            self._client.due_in(left_s)

    # ------------------------------------------------------------------------------------------- the request

    def _send(self, upstream: Upstream) -> None:
        self._upstream, outgoing = upstream, self._outgoing
        data = outgoing.so_far()
        if outgoing.whole:
            upstream.ask(self, data)
            self._client.due_in(self._house.limits.reply_s)
            return
        if outgoing.head.expects_continue and not self._told_to_continue:
            self._told_to_continue = True
            self._client.transport.write(CONTINUE)
        self._client.take_body()
        upstream.transport.registerProducer(self._client, True)  # type: ignore[arg-type]  # it is an IPushProducer
        upstream.ask(self, data)
        outgoing.trim()

    def body(self, piece: bytes) -> None:
        """More of the request's body."""
        data = self._outgoing.add(piece)
        if self._upstream is not None:
            self._upstream.transport.write(data)
            self._outgoing.trim()
        elif self._outgoing.overfull:
            self._client.pauseProducing()

    def body_ended(self) -> None:
        """The request is complete."""
        self.fully_sent = True
        end, upstream = self._outgoing.finish(), self._upstream
        if upstream is None:
            return
        if end:
            upstream.transport.write(end)
        upstream.transport.unregisterProducer()
        self._client.resumeProducing()
        if not self.begun:
            self._client.due_in(self._house.limits.reply_s)

    # ------------------------------------------------------------------------------------------- the response

    def interim(self, reply: ReplyHead) -> None:
        """See `hybrid_proxy.upstream.Asker`."""
        if self.head.minor == 1 and reply.status != 100:
            self._client.transport.write(interim_bytes(reply))

    def replied(
        self, upstream: Upstream | None, reply: ReplyHead, length: int | None, piece: bytes, done: bool
    ) -> None:
        """See `hybrid_proxy.upstream.Asker`; without an upstream, it is an answer that was kept."""
        if reply.not_owner and isinstance(self.destination, There):
            self._misdirected(upstream, done)
            return
        if self._visit is not None:
            self._visit.answered(reply)
            self._visit.piece(piece, done)
        head, client, house = self.head, self._client, self._house
        self.begun = True
        if self._kept is not None:
            self._kept.forget()
        if house.room.doubts and upstream is not None:
            house.room.trust(self.site)
        self._chunks = length is None and head.minor == 1
        framed = length is not None or self._chunks
        self._keep_alive = head.keep_alive and self.fully_sent and framed and not house.draining
        self._status = reply.status
        house.traffic.answers[reply.status // 100] += 1
        if self._waiting_since_s >= 0:
            self._count_wait()
        self._begin_reply(reply, length, piece, done)
        if done:
            self._finish()
        else:
            self._producing = True
            client.transport.registerProducer(self, True)
            client.due_in(self._house.limits.body_idle_s)

    def _begin_reply(self, reply: ReplyHead, length: int | None, piece: bytes, done: bool) -> None:
        data = reply_bytes(reply, self.head, length, self._keep_alive)
        if done and not self._chunks:
            data += piece
            self._sent_bytes = len(data)
            self._client.transport.write(data)
        else:
            self._write(data, piece, done)

    def received(self, piece: bytes, done: bool) -> None:
        """See `hybrid_proxy.upstream.Asker`."""
        if self._visit is not None:
            self._visit.piece(piece, done)
        self._write(b"", piece, done)
        if done:
            self._finish()
        else:
            self._client.due_in(self._house.limits.body_idle_s)

    def _write(self, head: bytes, piece: bytes, done: bool) -> None:
        if self._chunks:
            data = head + chunk(piece) if piece else head
            data = data + LAST_CHUNK if done else data
        else:
            data = head + piece if head else piece
        if data:
            self._sent_bytes += len(data)
            self._client.transport.write(data)

    def _misdirected(self, upstream: Upstream | None, done: bool) -> None:
        """The other node says the site is not there. It did nothing with the request."""
        self._detach(upstream if not done else None)
        if self._outgoing.repeatable:
            self._try_later()
        else:
            self._answer(pages.WAITED)

    def lost(self, upstream: Upstream) -> None:
        """See `hybrid_proxy.upstream.Asker`."""
        self._upstream = None
        if self.begun:
            self._cut()
            return
        if self.method not in SAFE or not self._outgoing.repeatable:
            self._answer(pages.BAD_GATEWAY)
        elif upstream.requests > 1:  # it was idle, and the site closed it while the request was on its way
            self.begin()
        else:
            self._fresh_tries += 1
            if self._fresh_tries >= FRESH_TRIES and isinstance(self.destination, Here):
                self._answer(pages.BAD_GATEWAY)
            else:
                self._try_later()

    def broken(self, why: str) -> None:
        """See `hybrid_proxy.upstream.Asker`."""
        self.log.warn("{site} sent no proper response: {why}", site=self.site, why=why)
        self._upstream = None
        if self.begun:
            self._cut()
        else:
            self._answer(pages.BAD_GATEWAY)

    def switched(self, upstream: Upstream, reply: ReplyHead, data: bytes) -> None:
        """See `hybrid_proxy.upstream.Asker`."""
        self.begun, self._upstream, self._status = True, None, reply.status
        self._house.traffic.answers[1] += 1
        self._client.transport.write(switching_bytes(reply))
        near, far = Side(self._client.transport), Side(upstream.transport)
        splice = Conversation(near, far, lambda: self._tunnel_ended(splice))
        upstream.tunnel(splice)
        splice.begin()
        self._client.tunnel(splice)
        if data:
            splice.from_far(data)

    def _tunnel_ended(self, splice: Splice) -> None:
        self._sent_bytes += splice.moved_bytes
        self._count()

    # ------------------------------------------------------------------------------------------------ back-pressure

    def pauseProducing(self) -> None:
        """The client reads slower than the site writes."""
        if self._upstream is not None:
            self._upstream.transport.pauseProducing()
            self._client.due_in(self._house.limits.stuck_s)

    def resumeProducing(self) -> None:
        """The client has read what there was."""
        if self._upstream is not None:
            self._upstream.transport.resumeProducing()
            self._client.due_in(self._house.limits.body_idle_s)

    def stopProducing(self) -> None:
        """The client is gone; `cancel` follows."""

    # ------------------------------------------------------------------------------------------------------- the end

    def overdue(self) -> None:
        """A deadline of this exchange has passed."""
        if self.begun:
            self.cancel()
            self._client.cut()
        elif self._upstream is not None:
            self._answer(pages.TOO_LATE)
        elif self._connecting is not None:
            connecting, self._connecting = self._connecting, None
            connecting.cancel()
            self._try_later()
        else:
            self._house.room.leave(self)
            self._answer(self._page)

    def cancel(self) -> None:
        """Give up without an answer."""
        self._house.room.leave(self)
        connecting, self._connecting = self._connecting, None
        if connecting is not None:
            connecting.cancel()
        self._detach(self._upstream)
        self._stop_producing()

    def _answer(self, page: Page) -> None:
        self._detach(self._upstream)
        self._house.traffic.pages[page.status] += 1
        if self.site:
            self._house.traffic.refused(self.site)
        if self._waiting_since_s >= 0:
            self._count_wait()
        self._client.answer(page)

    def _detach(self, upstream: Upstream | None) -> None:
        self._upstream = None
        if upstream is not None:
            upstream.abandon()

    def _finish(self) -> None:
        if self._producing:
            self._stop_producing()
        self._upstream = None
        self._count()
        self._client.ended(self._keep_alive)

    def _cut(self) -> None:
        self._over()
        self._client.cut()

    def _over(self) -> None:
        self._stop_producing()
        self._upstream = None
        self._count()

    def _count(self) -> None:
        """Once for each request that the site answered, at its owner."""
        if type(self.destination) is not Here:
            return
        house = self._house
        seconds = house.now_s() - self._began_s
        house.traffic.served(self.site, self._sent_bytes, self._status, seconds)
        form = house.routes.logging.get(self.site)
        if form is not None:
            house.log(form, self.site, self.head, self._came_from, self._status, self._sent_bytes, seconds)

    def _count_wait(self) -> None:
        self._house.traffic.waited(self.site, self._house.deadlines.now_s - self._waiting_since_s)
        self._waiting_since_s = -1.0

    def _stop_producing(self) -> None:
        if self._producing:
            self._producing = False
            self._client.transport.unregisterProducer()
            if self._upstream is not None:  # paused by the last piece, maybe, and on its shelf already
                self._upstream.transport.resumeProducing()
