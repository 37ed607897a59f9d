"""
Exchanges as nearly all of them are, by a short way: a GET or HEAD without a body, a site that is known to be here, a
connection to it that is idle, and a response that comes whole. Shell.

Nothing is decided here: what a request for an authority comes to was found the whole way before (`prepare`), and is
forgotten whenever routes or certificates change. Whatever is not as said, or goes wrong on the way, becomes a whole
`Exchange`, which carries on as if it had been one from the start. `_brief.c` is this in C, used where it was built; the
tests of the front doors hold for both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from hybrid.model import SiteId
from hybrid.sitehttp import Http
from hybrid_proxy import plain
from hybrid_proxy.door import PublicDoor
from hybrid_proxy.exchange import Exchange
from hybrid_proxy.head import RequestHead, parse_request
from hybrid_proxy.message import STRICT
from hybrid_proxy.reply import ReplyHead
from hybrid_proxy.route import Destination, Here
from hybrid_proxy.upstream import Upstream

try:
    from hybrid_proxy._heads import parse_reply as _reply
    from hybrid_proxy._heads import parse_request as _request
except ImportError:
    _request, _reply = plain.parse_request, plain.parse_reply

if TYPE_CHECKING:
    from hybrid_proxy.front import Front
    from hybrid_proxy.house import House
    from hybrid_proxy.pool import Shelf

MOST_PREPARED = 65_536
"""Authorities: clients may write one in many ways."""
CHALLENGES = b"/.well-known/"
"""What is asked for below it may be the platform's own business."""


class PreparedInPython:
    """
    What requests for one authority come to, by one kind of door.

    Args:
        house: Whose doors.
        shelf: Connections there.
        host: That the authority names.
        adds: See `RequestHead.adds`.
    """

    __slots__ = ("adds", "host", "shelf", "site")

    def __init__(self, house: House, shelf: Shelf, host: str, adds: bytes) -> None:
        self.shelf, self.host, self.adds = shelf, host, adds
        self.site: SiteId = shelf.destination.site


if TYPE_CHECKING:
    Prepared = PreparedInPython
else:
    try:
        from hybrid_proxy._brief import Prepared
    except ImportError:
        Prepared = PreparedInPython


def prepare(house: House, door: PublicDoor, head: RequestHead, destination: Destination | None) -> None:
    """Let requests like `head`, which went to `destination`, take the short way, if nothing else is to be seen to."""
    routes, table, host = house.routes, door.prepared, head.host
    if table is None or type(destination) is not Here or host is None or host in routes.bounded:
        return
    if door.shown_for not in ("", host):
        return
    http = routes.http(destination.site)
    if msgspec.structs.replace(http, redirect=False, certificate=False, log="off", hsts_s=0, purges=0) != Http():
        return  # more is wished for than is seen to here
    if len(table) >= MOST_PREPARED:
        table.clear()
    table[head.authority] = Prepared(house, house.pool.shelf(destination), host, head.adds)


class Kept:
    """What is kept of a request under way, as `_brief.c` keeps it too."""

    __slots__ = ("_began_s", "_came_from", "_data", "_front", "_prepared", "_upstream", "keep_alive", "method", "minor")
    _front: Front
    """Who asked."""
    _upstream: Upstream
    """Who is asked."""
    _prepared: Prepared
    _data: bytes
    """The request's head, as it came."""
    _came_from: bytes
    """See `hybrid_proxy.door`."""
    _began_s: float
    method: bytes
    minor: int
    keep_alive: bool
    """Whether the client may send another one."""


class UnderWay:
    """A request that is under way; to `Front` and `Upstream` it is an `Exchange`. Mixed into what keeps it."""

    __slots__ = ()
    brief = True
    begun = False
    fully_sent = True
    wants_tunnel = False

    def whole(self: Any) -> Exchange:
        """Become what carries on from here."""
        front, upstream = self._front, self._upstream
        head = parse_request(self._data)
        assert head is not None
        head.adds = self._prepared.adds
        exchange = Exchange(front._house, front, head, self._came_from)
        exchange.carry_on(self._prepared.shelf.destination, upstream, self._began_s)
        stands_in: object = self
        if upstream._asker is stands_in:
            upstream._asker = exchange
        if front._exchange is stands_in:
            front.carry_on(exchange, head)
        return exchange

    def journalled(self: Any, form: str, status: int, sent: int, seconds: float) -> None:
        """Write a line in the site's access log."""
        head = parse_request(self._data)
        assert head is not None
        self._front._house.log(form, self._prepared.site, head, self._came_from, status, sent, seconds)

    # ------------------------------------------------------------------------------- what only a whole one can do

    def overdue(self) -> None:
        """See `Exchange`."""
        self.whole().overdue()

    def cancel(self) -> None:
        """See `Exchange`."""
        self.whole().cancel()

    def lost(self, upstream: Upstream) -> None:
        """See `hybrid_proxy.upstream.Asker`."""
        self.whole().lost(upstream)

    def broken(self, why: str) -> None:
        """See `hybrid_proxy.upstream.Asker`."""
        self.whole().broken(why)

    def interim(self, reply: ReplyHead) -> None:
        """See `hybrid_proxy.upstream.Asker`."""
        self.whole().interim(reply)

    def replied(self, upstream: Upstream, reply: ReplyHead, length: int | None, piece: bytes, done: bool) -> None:
        """See `hybrid_proxy.upstream.Asker`."""
        self.whole().replied(upstream, reply, length, piece, done)

    def received(self, piece: bytes, done: bool) -> None:
        """See `hybrid_proxy.upstream.Asker`."""
        self.whole().received(piece, done)

    def switched(self, upstream: Upstream, reply: ReplyHead, data: bytes) -> None:
        """See `hybrid_proxy.upstream.Asker`."""
        self.whole().switched(upstream, reply, data)


class Brief(Kept, UnderWay):
    """In Python."""

    __slots__ = ()

    def answer(self, upstream: Upstream, data: bytes) -> bool:
        """Pass the response on, if it is whole in `data` and nothing else is to be seen to; else do nothing."""
        front, prepared = self._front, self._prepared
        house = front._house
        found = _reply(data)
        if found is None or upstream._buffer or front._buffer or front._half_closed:
            return False
        if house.draining or house.room.doubts:
            return False
        status, reason, minor, end, length, lines, chunked, connection = found
        bodiless = self.method == b"HEAD" or status in (204, 304)
        if status < 200 or chunked or len(data) - end != (0 if bodiless else length):
            return False
        if not (minor == 1 if connection == 0 else connection == 2):
            return False
        upstream._asker = None
        prepared.shelf.idle(upstream)
        if prepared.adds and not (b"\r\n" + lines).lower().count(b"\r\n%b:" % STRICT):
            lines += prepared.adds
        if length >= 0 and status != 204:
            lines += b"Content-Length: %d\r\n" % length
        if not self.keep_alive:
            lines += b"Connection: close\r\n"
        elif self.minor == 0:
            lines += b"Connection: keep-alive\r\n"
        written = b"HTTP/1.1 %d %b\r\n%b\r\n%b" % (status, reason, lines, data[end:])
        front.transport.write(written)
        house.traffic.answers[status // 100] += 1
        self._count(status, len(written))
        front._exchange = None
        if self.keep_alive:
            front.due_s = house.deadlines.now_s + house.limits.idle_s
        else:
            front.ended(False)
        return True

    def _count(self, status: int, sent: int) -> None:
        house, prepared = self._front._house, self._prepared
        seconds = house.now_s() - self._began_s
        house.traffic.served(prepared.site, sent, status, seconds)
        form = house.routes.logging.get(prepared.site)
        if form is not None:
            self.journalled(form, status, sent, seconds)


def ask_in_python(front: Front, data: bytes) -> bool:
    """Send the request in `data` on, if it may go the short way; else do nothing. `front` awaits a head."""
    door, house = front._door, front._house
    table = door.prepared
    found = _request(data) if table else None
    if (
        table is None
        or not isinstance(door, PublicDoor)
        or found is None
        or front._half_closed
        or front._paused
        or house.draining
    ):
        return False
    method, target, minor, end, authority, length, lines, forwarding, connection = found
    if end != len(data) or length >= 0 or forwarding is not None or target.startswith(CHALLENGES):
        return False
    prepared = table.get(authority)
    if prepared is None or method not in (b"GET", b"HEAD") or door.shown_for not in ("", prepared.host):
        return False
    shelf = prepared.shelf
    if not shelf.waiting or prepared.site in house.room.doubts:
        return False
    came_from = door.next_origin(authority, minor)
    upstream = shelf.waiting.pop()
    shelf.busy[upstream] = None
    brief = Brief()
    brief._front, brief._upstream, brief._prepared = front, upstream, prepared
    brief._data, brief._came_from, brief._began_s = data, came_from, house.now_s()
    brief.method, brief.minor = method, minor
    brief.keep_alive = minor == 1 if connection == 0 else connection == 2
    front._exchange = brief  # type: ignore[assignment]  # stands for one
    front.due_s = house.deadlines.now_s + house.limits.reply_s
    upstream.ask(brief, b"%b %b HTTP/1.1\r\nHost: %b\r\n%b%b\r\n" % (method, target, authority, lines, came_from))
    return True


ask: Callable[[Front, bytes], bool]
try:
    from hybrid_proxy import _brief
except ImportError:
    ask = ask_in_python
else:

    class CompiledBrief(_brief.Flight, UnderWay):
        """In C."""

        __slots__ = ()

    _brief.use(CompiledBrief)
    ask = _brief.ask
