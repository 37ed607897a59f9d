"""
What is first done with bytes that come from a client or a site, in Python; `_brief.c` has the same, compiled. Shell.

Both keep what a request under way is about as attributes of the objects below; the rest of `front.Front` and
`upstream.Upstream` sees no difference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from hybrid_proxy.body import BodyReader
    from hybrid_proxy.door import Door
    from hybrid_proxy.exchange import Exchange
    from hybrid_proxy.house import House
    from hybrid_proxy.relay import IStream
    from hybrid_proxy.upstream import Asker


class ClientInPython:
    """Of `front.Front`."""

    transport: IStream
    due_s: float
    _house: House
    _door: Door
    _receive: Callable[[bytes], None] | None = None
    """What is done with bytes; `None` for a head."""
    _exchange: Exchange | None = None
    _buffer: bytes
    _half_closed = False
    _paused = False

    def dataReceived(self: Any, data: bytes) -> None:
        """See `twisted.internet.protocol.Protocol`."""
        if self._receive is not None:
            self._receive(data)
        elif self._exchange is not None:  # a brief one
            self._receive_early(data)
        elif self._buffer:
            self._receive_more(data)
        elif not self._house.ask(self, data):
            self._receive_first(data)


class SiteInPython:
    """Of `upstream.Upstream`."""

    transport: IStream
    due_s: float
    idle_since_s = 0.0
    requests = 0
    """Begun on it; more than one: it was idle in between and the site may have closed it meanwhile."""
    _asker: Asker | None = None
    _buffer: bytes
    _body: BodyReader | None = None

    def dataReceived(self: Any, data: bytes) -> None:
        """See `twisted.internet.protocol.Protocol`."""
        asker = self._asker
        if asker is None or not asker.brief or self._body is not None or not asker.answer(self, data):
            self._receive_reply(data)


if TYPE_CHECKING:
    ClientCore = ClientInPython
    SiteCore = SiteInPython
else:
    try:
        from hybrid_proxy._brief import ClientCore, SiteCore
    except ImportError:
        ClientCore, SiteCore = ClientInPython, SiteInPython
